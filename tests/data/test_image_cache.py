"""The cache of decoded images: what is in it, who builds it, how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gradlab.config import DataConfig
from gradlab.data import Split, image_cache, image_store, load
from gradlab.data.columns import Dense, Placement
from gradlab.data.decode import ImageFile, decode, survey
from gradlab.data.fields.image import Image as ImageField
from gradlab.data.fields.label import Label
from gradlab.data.loader import Loader

HYMENOPTERA = Path(os.environ.get("GRADLAB_DATA", "absent")) / "hymenoptera"
real = pytest.mark.skipif(not HYMENOPTERA.is_dir(), reason="GRADLAB_DATA has no hymenoptera")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def made(folder: Path, count: int, seed: int = 0) -> list[ImageFile]:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    for n in range(count):
        pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{n:04}.png")
    return [ImageFile.at(path) for path in sorted(folder.iterdir())]


def get(files, shape=(16, 16), channels=3):
    return image_cache.decoded(files, survey(files), shape, channels)


def entry(cache: Path) -> Path:
    (folder,) = [path for path in cache.iterdir() if path.is_dir()]
    return folder


def test_the_pixels_are_those_of_the_images_and_lie_on_the_disk(tmp_path, cache):
    files = made(tmp_path / "p", 70)
    x, looks, notes = get(files)
    assert isinstance(x, np.memmap) and notes == ()
    for index in (0, 63, 64, 69):
        assert np.array_equal(x[index], decode(files[index], (16, 16), 3))
    assert not any(look.error for look in looks)
    assert sorted(path.name for path in entry(cache).iterdir()) == [
        "CACHEDIR.TAG",
        "entry.json",
        "pixels.bin",
    ]
    x[0] = 0  # a training may write to its copy
    assert get(files)[0][0].any()


def test_a_second_time_nothing_is_decoded(tmp_path, monkeypatch):
    files = made(tmp_path / "p", 5)
    first = np.array(get(files)[0])
    monkeypatch.setattr(image_cache, "fill", None)
    assert np.array_equal(get(files)[0], first)
    copies = made(tmp_path / "copy", 5)  # the same images elsewhere
    assert np.array_equal(get(copies)[0], first)


def test_a_changed_image_and_another_form_are_decoded_anew(tmp_path):
    files = made(tmp_path / "p", 3)
    get(files)
    Image.new("RGB", (20, 20), "red").save(tmp_path / "p" / "0001.png")
    assert get(files)[0][1, 0, 0].tolist() == [255, 0, 0]
    assert get(files, channels=1)[0].shape == (3, 16, 16, 1)
    assert len(image_store.entries()) == 3


def test_what_cannot_be_decoded_is_said_again_from_the_cache(tmp_path):
    files = made(tmp_path / "p", 3)
    whole = files[1].path.read_bytes()
    files[1].path.write_bytes(whole[: len(whole) // 2])
    for _ in range(2):
        assert [bool(look.error) for look in get(files)[1]] == [False, True, False]


@pytest.mark.parametrize("harm", ["entry", "pixels", "gone"])
def test_a_damaged_entry_is_built_again(tmp_path, cache, harm):
    files = made(tmp_path / "p", 3)
    expected = np.array(get(files)[0])
    folder = entry(cache)
    if harm == "entry":
        (folder / "entry.json").write_text("{", encoding="utf-8")
    elif harm == "pixels":
        (folder / "pixels.bin").write_bytes(b"short")
    else:
        (folder / "pixels.bin").unlink()
    assert np.array_equal(get(files)[0], expected)


def test_without_a_cache_they_are_decoded_into_memory(tmp_path, monkeypatch):
    files = made(tmp_path / "p", 3)
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("GRADLAB_CACHE", str(tmp_path / "file" / "images"))
    x, _, notes = get(files)
    assert np.array_equal(x[2], decode(files[2], (16, 16), 3))
    assert "into memory" in notes[0] and str(tmp_path / "file") in notes[0]


BUILD = """
import sys
import time
from pathlib import Path
from gradlab.data import image_cache
from gradlab.data.decode import ImageFile, survey

plain, begun = image_cache.decode, []

def decode(*given):
    begun.append(given)
    if len(begun) == int(sys.argv[2]):
        print("stopped", flush=True)
        sys.stdin.readline()
    return plain(*given)

image_cache.decode = decode
image_cache._workers = lambda: 1
files = [ImageFile.at(path) for path in sorted(Path(sys.argv[1]).iterdir())]
x, _, _ = image_cache.decoded(files, survey(files), (16, 16), 3)
print(int(x.sum()))
"""


def start(folder: Path, stop_at: int = 0) -> subprocess.Popen[str]:
    """Another process that builds; before the decoding of one image it waits for a line."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", BUILD, str(folder), str(stop_at)]
    child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8")
    if stop_at:
        assert child.stdout.readline() == "stopped\n", child.stderr.read()
    return child


def test_a_build_that_was_killed_continues_where_it_was(tmp_path, cache, monkeypatch):
    files = made(tmp_path / "p", 4 * image_cache.BLOCK)
    child = start(tmp_path / "p", stop_at=2 * image_cache.BLOCK + 1)
    journal = entry(cache) / "journal.jsonl"
    while journal.read_bytes().count(b"}}") < 2:
        time.sleep(0.01)  # two blocks are done; they are being written down
    child.kill()
    child.communicate()
    with journal.open("a", encoding="utf-8") as file:
        file.write('{"start": 19')  # cut short in the middle of a line
    decoded = []
    plain = image_cache.decode
    monkeypatch.setattr(image_cache, "decode", lambda *given: decoded.append(1) or plain(*given))
    x, _, _ = get(files)
    assert len(decoded) == 2 * image_cache.BLOCK
    assert all(np.array_equal(row, plain(f, (16, 16), 3)) for row, f in zip(x, files, strict=True))


def test_two_that_want_the_same_build_it_once(tmp_path, cache):
    made(tmp_path / "p", 3)
    first = start(tmp_path / "p", stop_at=2)
    second = start(tmp_path / "p")
    assert "waiting for it" in second.stderr.readline()
    one, _ = first.communicate("\n")
    two, _ = second.communicate()
    assert one == two and int(one) > 0
    assert len(image_store.entries()) == 1


def test_what_another_process_builds_is_not_removed(tmp_path, cache):
    made(tmp_path / "p", 3)
    child = start(tmp_path / "p", stop_at=2)
    assert image_store.trim(0) == (0, 1)
    assert int(child.communicate("\n")[0]) > 0
    assert image_store.trim(0)[1] == 0 and list(cache.iterdir()) == []


FULL = """
import os, shutil, sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from gradlab.data import image_cache
from gradlab.data.decode import ImageFile, survey

shutil.disk_usage = lambda folder: SimpleNamespace(free=1 << 40)
if sys.argv[2] == "holes":
    def reserve(path, size):
        with path.open("xb") as file:
            file.truncate(size)
    image_cache.reserve = reserve
files = [ImageFile.at(path) for path in sorted(Path(sys.argv[1]).iterdir())]
x, _, notes = image_cache.decoded(files, survey(files), (64, 64), 3)
print(type(x).__name__, int(x.sum()), *notes, *os.listdir(os.environ["GRADLAB_CACHE"]))
"""


@pytest.mark.parametrize("file", ["reserved", "holes"])
def test_a_disk_that_is_full_stops_nothing(tmp_path, cache, file):
    files = made(tmp_path / "p", 100)
    cache.mkdir()
    mount = f"mount -t tmpfs -o size=256k none {cache} && exec"
    python = [sys.executable, "-c", FULL, str(tmp_path / "p"), file]
    try:  # a small disk of this child's own, which goes with it
        shell = ["unshare", "-rm", "sh", "-c", f'{mount} "$@"', "sh"]
        child = subprocess.run([*shell, *python], capture_output=True, encoding="utf-8")
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if "unshare" in child.stderr or "mount" in child.stderr:
        pytest.skip("this user may mount nothing")
    assert child.returncode == 0, (child.returncode, child.stderr)
    expected = np.stack([decode(each, (64, 64), 3) for each in files])
    assert child.stdout.startswith(f"ndarray {int(expected.sum())} images: decoded into memory")
    assert child.stdout.endswith("No space left on device\n")  # and nothing lies in the folder


def test_processes_decode_what_threads_decode(tmp_path, cache, monkeypatch):
    files = made(tmp_path / "p", 2 * image_cache.BLOCK + 3)
    files[5].path.write_bytes(b"no image")
    threads, looks, _ = get(files)
    expected = np.array(threads)
    image_store.trim(0)
    monkeypatch.setattr(image_cache, "LARGE", 0)
    monkeypatch.setattr(image_cache, "_workers", lambda: 2)
    monkeypatch.setattr(image_cache, "_threads", None)  # the processes must have done all of it
    x, again, _ = get(files)
    assert np.array_equal(np.delete(x, 5, 0), np.delete(expected, 5, 0))
    assert [look.error for look in again] == [look.error for look in looks]


def test_the_least_recently_used_goes_first(tmp_path, monkeypatch):
    sets = [made(tmp_path / f"p{n}", 4, seed=n) for n in range(3)]
    for n, files in enumerate(sets):
        before = {folder for folder, _ in image_store.entries()}
        get(files)
        ((folder, _),) = [each for each in image_store.entries() if each[0] not in before]
        os.utime(folder / "entry.json", (1000 + n, 1000 + n))
    get(sets[0])  # used again
    sizes = [size for _, size in image_store.entries()]
    monkeypatch.setenv("GRADLAB_CACHE_GB", str((sum(sizes) - 1) / 1e9))
    assert image_store.trim(image_store.limit()) == (sizes[0], 0)
    monkeypatch.setattr(image_cache, "fill", None)
    get(sets[0])
    get(sets[2])
    with pytest.raises(TypeError):
        get(sets[1])


def test_clear_says_what_it_removed(tmp_path, cache, capsys):
    from gradlab.cli import main

    get(made(tmp_path / "p", 3))
    main(["data", "clear", "--json"])
    record = json.loads(capsys.readouterr().out)
    assert record["removed_bytes"] >= 3 * 16 * 16 * 3 and record["entries_in_use"] == 0
    assert image_store.entries() == []


def test_a_split_on_the_disk_is_not_copied(tmp_path):
    files = made(tmp_path / "p", 40)
    x = get(files)[0]
    y = np.arange(40)
    whole = Split({"image": Dense(x), "label": Dense(y)})
    split = whole.take(np.arange(0, 40, 2)).take(np.array([3, 1]))
    assert split["image"].base is x and split["image"].rows.tolist() == [6, 2]
    assert np.array_equal(np.asarray(split["image"]), np.asarray(x)[[6, 2]])
    assert np.array_equal(split["image"][1, 2:5], x[2, 2:5])
    assert np.array_equal(split["image"][..., 0], np.asarray(x)[[6, 2], ..., 0])
    assert np.array_equal(split["image"][:, 1, 2:5, 0], np.asarray(x)[[6, 2], 1, 2:5, 0])
    fields = {
        "image": ImageField(height=16, width=16, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3),
        "label": Label(classes=tuple(map(str, y))),
    }
    place = Placement(torch.device("cpu"))
    copies = Split({"image": Dense(np.array(x)[[6, 2]]), "label": Dense(y[[6, 2]])})
    loader = Loader(split, fields, batch_size=2, placement=place)
    copied = Loader(copies, fields, batch_size=2, placement=place)
    assert loader.columns["image"].base.data_ptr() == x.ctypes.data
    for ours, theirs in (
        (loader.batches(0), copied.batches(0)),
        (loader.in_order(2), copied.in_order(2)),
    ):
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(a["image"], b["image"]) and torch.equal(a["label"], b["label"])


@real
def test_photos_train_from_the_disk(monkeypatch):
    config = DataConfig(name=str(HYMENOPTERA), image_size=32)
    first = load(config)
    train = first.splits["train"]["image"]
    assert isinstance(train.base, np.memmap) and len(train) == 208
    monkeypatch.setattr(image_cache, "fill", None)
    assert load(config).fingerprint == first.fingerprint
