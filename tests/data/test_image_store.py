"""The folder of decoded images: what is gradlab's in it, and what is never touched."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from gradlab.cli import main
from gradlab.data import image_cache, image_store
from gradlab.data.decode import ImageFile, decode, survey
from gradlab.data.image_store import MARK, PIXELS, RECORD, TAG, Entry
from gradlab.errors import UserError

FORM = (16, 16, 3)
KEY = "0123456789abcdef" * 2


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def images(tmp_path) -> list[ImageFile]:
    (tmp_path / "p").mkdir()
    for n in range(3):
        Image.new("RGB", (20, 20), (n, 50, 100)).save(tmp_path / "p" / f"{n}.png")
    return [ImageFile.at(path) for path in sorted((tmp_path / "p").iterdir())]


def get(images):
    return image_cache.decoded(images, survey(images), FORM[:2], FORM[2])


def place(cache: Path, images: list[ImageFile]) -> Path:
    """The folder that an entry of these images gets."""
    return cache / image_cache._key(images, FORM)


def link(path: Path, target: Path) -> None:
    try:
        path.symlink_to(target, target_is_directory=target.is_dir())
    except OSError:
        pytest.skip("this system makes no links")


def tree(folder: Path) -> dict[str, bytes | None]:
    """All that lies in a folder, links as what they are."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def of_others(folder: Path) -> None:
    """Things in a cache folder that gradlab did not make, some of them much like its entries."""
    victim = folder.parent / "victim"
    (victim / "deep").mkdir(parents=True)
    (victim / "deep" / "letter.txt").write_text("dear", encoding="utf-8")

    def entry(name: str, **files: str) -> Path:
        (folder / name).mkdir(parents=True)
        for file, text in files.items():
            (folder / name / file.replace("_", ".")).write_text(text, encoding="utf-8")
        return folder / name

    entry("Documents", letter_txt="dear", entry_json="{}", CACHEDIR_TAG=TAG)
    entry("a" * 32, entry_json="{}", pixels_bin="x")  # no mark
    entry("b" * 32, entry_json="{}", CACHEDIR_TAG="Signature: 8a477f597d28d172789f06886806bc55\n")
    entry("c" * 32, entry_json="{}", pixels_bin="x", CACHEDIR_TAG=TAG, letter_txt="dear")
    (entry("d" * 32, CACHEDIR_TAG=TAG) / "pixels.bin").mkdir()
    link(entry("e" * 32, CACHEDIR_TAG=TAG) / "pixels.bin", victim / "deep" / "letter.txt")
    entry("real/" + "f" * 32, CACHEDIR_TAG=TAG, pixels_bin="x")
    link(folder / ("f" * 32), folder / "real" / ("f" * 32))
    entry("A" * 32, CACHEDIR_TAG=TAG)
    entry("0" * 31, CACHEDIR_TAG=TAG)
    (folder / ("1" * 32)).write_text("a file", encoding="utf-8")
    (folder / ("2" * 32 + ".lock")).write_text("a file", encoding="utf-8")


def test_clear_removes_its_own_entries_alone(images, cache, capsys):
    of_others(cache)
    before = tree(cache.parent)
    get(images)
    assert len(tree(cache.parent)) > len(before)
    main(["data", "clear", "--json"])
    assert json.loads(capsys.readouterr().out)["removed_bytes"] >= 3 * 16 * 16 * 3
    assert tree(cache.parent) == before  # the entry is gone, its lock too


def test_a_small_cap_removes_its_own_entries_alone(images, cache, tmp_path, monkeypatch, capsys):
    of_others(cache)
    before = tree(cache)
    get(images)
    first = place(cache, images).name
    monkeypatch.setenv("GRADLAB_CACHE_GB", "0")
    for label in "ab":
        (tmp_path / "set" / label).mkdir(parents=True)
        for n in range(8):
            shade = Image.new("L", (9, 9), n * 20 + ord(label))
            shade.save(tmp_path / "set" / label / f"{n}.png")
    main(["data", "check", str(tmp_path / "set")])
    after = tree(cache)
    assert before.items() <= after.items()
    assert not any(name.startswith(first) for name in after)
    assert len(image_store.entries()) == 1  # what is in use stays


@pytest.mark.parametrize("given", ["-1", "nan", "-inf", "many", "1,5", "9" * 5000 + "x"])
def test_a_cap_that_is_no_number_is_refused(images, cache, monkeypatch, given):
    monkeypatch.setenv("GRADLAB_CACHE_GB", given)
    with pytest.raises(UserError, match=r"GRADLAB_CACHE_GB: expected a number of GB, 0 or more"):
        get(images)
    assert not cache.exists()


def test_a_folder_of_others_in_the_place_of_an_entry(images, cache):
    folder = place(cache, images)
    folder.mkdir(parents=True)
    (folder / "pixels.bin").write_bytes(b"not gradlab's")
    x, _, notes = get(images)
    assert np.array_equal(x[2], decode(images[2], FORM[:2], 3))
    assert "not gradlab's" in notes[0]
    assert tree(folder) == {"pixels.bin": b"not gradlab's"}


def test_a_link_in_the_place_of_an_entry(images, cache, tmp_path):
    cache.mkdir()
    (tmp_path / "empty").mkdir()
    link(place(cache, images), tmp_path / "empty")
    assert "into memory" in get(images)[2][0]
    assert tree(tmp_path / "empty") == {}


def test_a_link_in_the_place_of_a_lock(images, cache, tmp_path):
    cache.mkdir()
    (tmp_path / "letter.txt").write_text("dear", encoding="utf-8")
    link(place(cache, images).with_suffix(".lock"), tmp_path / "letter.txt")
    assert "into memory" in get(images)[2][0]
    assert (tmp_path / "letter.txt").read_text(encoding="utf-8") == "dear"


@pytest.mark.parametrize("left", [(), (f".{MARK}.01234567.part",)])
def test_a_folder_that_was_made_and_not_yet_marked_is_used(images, cache, left):
    folder = place(cache, images)
    folder.mkdir(parents=True)
    for name in left:
        (folder / name).write_text("Signa", encoding="utf-8")
    assert get(images)[2] == ()
    assert image_store.trim(0)[1] == 0 and list(cache.iterdir()) == []


def test_the_mark_is_there_before_the_pixels(images, monkeypatch):
    seen = []

    def reserve(path, size):
        seen.append({each.name for each in path.parent.iterdir()})
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(image_cache, "reserve", reserve)
    get(images)
    assert seen == [{MARK}]


def test_an_entry_whose_pixels_cannot_be_removed_stays_whole(images, cache, monkeypatch):
    get(images)
    plain = Path.unlink

    def unlink(path, **options):
        if path.name == PIXELS:
            raise PermissionError(errno.EACCES, "in use")
        plain(path, **options)

    monkeypatch.setattr(Path, "unlink", unlink)
    assert image_store.trim(0) == (0, 1)
    assert set(tree(place(cache, images))) == {MARK, PIXELS, RECORD}


@pytest.mark.parametrize(
    "record",
    ["5", "null", "[]", "{}", '{"errors": 5, "format": 2}', '{"errors": {}}', "[" * 100_000],
)
def test_an_edited_record_is_no_record(images, cache, record):
    get(images)
    (place(cache, images) / RECORD).write_text(record, encoding="utf-8")
    assert Entry(place(cache, images), 3, FORM).errors() is None
    x, _, notes = get(images)
    assert notes == () and np.array_equal(x[1], decode(images[1], FORM[:2], 3))


def test_room_is_taken_before_it_is_needed(tmp_path, monkeypatch):
    image_store.reserve(tmp_path / "a", 3 << 20)
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    image_store.reserve(tmp_path / "b", (3 << 20) + 5)
    for name, size in (("a", 3 << 20), ("b", (3 << 20) + 5)):
        info = (tmp_path / name).stat()
        assert info.st_size == size
        if hasattr(info, "st_blocks"):
            assert info.st_blocks * 512 >= size


def test_a_file_system_that_reserves_nothing_is_written_to(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr(os, "posix_fallocate", refused, raising=False)
    image_store.reserve(tmp_path / "a", 100)
    assert (tmp_path / "a").read_bytes() == bytes(100)


@pytest.mark.skipif(os.name == "nt", reason="commits memory to what may be written to")
def test_a_file_larger_than_the_memory_is_opened(tmp_path):
    folder = tmp_path / KEY
    folder.mkdir()
    count = (1 << 42) // (1 << 24)  # 4 TB, none of it written
    entry = Entry(folder, count, (2048, 2048, 4))
    try:
        with entry.pixels.open("wb") as file:
            file.truncate(entry.size)
    except OSError:
        pytest.skip("this disk holds no such file")
    x = entry.open()
    x[7, 0, 0, 0] = 9
    assert x.shape == (count, 2048, 2048, 4) and x[7, 0, 0].tolist() == [9, 0, 0, 0]
    assert entry.open()[7, 0, 0, 0] == 0  # a copy of the page was changed


def test_a_full_disk_is_found_out_at_once(images, cache, monkeypatch):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def refused(*_):
        raise full

    monkeypatch.setattr(os, "posix_fallocate", refused, raising=False)
    x, _, notes = get(images)
    assert not isinstance(x, np.memmap)
    assert np.array_equal(x[2], decode(images[2], FORM[:2], 3))
    assert "into memory" in notes[0] and full.strerror in notes[0]
    assert list(cache.iterdir()) == []  # nothing is left behind

    monkeypatch.setattr(image_cache.shutil, "disk_usage", lambda folder: SimpleNamespace(free=2000))
    assert "3 images take 0.0 GB, 0.0 GB are free" in get(images)[2][0]


def test_a_disk_that_fills_while_images_are_written(images, cache, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(image_cache, "fill", full)
    x, _, notes = get(images)
    assert np.array_equal(x[2], decode(images[2], FORM[:2], 3)) and "into memory" in notes[0]
    assert list(cache.iterdir()) == []
