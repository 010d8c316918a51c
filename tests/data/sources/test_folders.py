from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gradlab import machine
from gradlab.config import DataConfig
from gradlab.data import image_cache, listing
from gradlab.data.dataset import Dataset, Source
from gradlab.data.sources import folders, load, source
from gradlab.errors import UserError

Usage = namedtuple("Usage", "total used free")
COLOURS = {"ants": (255, 0, 0), "bees": (0, 255, 0), "cats": (0, 0, 255)}


def png(colour: Any = "red", size: tuple[int, int] = (8, 8), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def plain(*labels: str, count: int = 2, prefix: str = "") -> dict[str, bytes]:
    """Files of class folders, each class of its own colour."""
    return {
        f"{prefix}{label}/{n}.png": png((*COLOURS[label][:2], COLOURS[label][2] or n))
        for label in labels
        for n in range(count)
    }


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    kind = path.suffix.lstrip(".")
    with tarfile.open(path, "w:" if kind == "tar" else f"w:{kind}") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def read(path: Path, **options: Any) -> Source:
    return source(DataConfig(name=str(path), **options))


def classes(made: Source) -> tuple[str, ...]:
    found: Any = made.schema.targets["label"]
    return found.classes


def refused(path: Path, *words: str) -> str:
    with pytest.raises(UserError) as error:
        read(path)
    for word in words:
        assert word in str(error.value)
    return str(error.value)


def test_class_folders(tmp_path: Path) -> None:
    made = read(write(tmp_path, plain("bees", "ants")))
    train = made.parts["train"]
    assert classes(made) == ("ants", "bees") and list(made.parts) == ["train"]
    assert train.ids == ("ants/0.png", "ants/1.png", "bees/0.png", "bees/1.png")
    assert train["label"][:].tolist() == [0, 0, 1, 1] and train["label"].dtype == np.int64
    assert train["image"][0, 0, 0].tolist() == [255, 0, 0] and train["image"][3, 0, 0].tolist() == [
        0,
        255,
        1,
    ]
    assert train["image"].shape == (4, 8, 8, 3) and train["image"].dtype == np.uint8
    assert made.schema.inputs["image"].shape == (3, 8, 8) and made.notes == ()


def test_images_deeper_in_a_class_folder_belong_to_it(tmp_path: Path) -> None:
    files = {**plain("ants", "bees"), "bees/2024/june/x.png": png()}
    made = read(write(tmp_path, files))
    assert classes(made) == ("ants", "bees")
    assert made.parts["train"].ids[-1] == "bees/2024/june/x.png"


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_split_folders(tmp_path: Path, val: str) -> None:
    files = {
        **plain("ants", "bees", count=3, prefix="train/"),
        **plain("ants", "bees", count=2, prefix=f"{val}/"),
        **plain("ants", "bees", count=1, prefix="test/"),
    }
    made = read(write(tmp_path, files))
    assert {name: len(split) for name, split in made.parts.items()} == {
        "train": 6,
        "val": 4,
        "test": 2,
    }
    assert made.parts["val"].ids[0] == f"{val}/ants/0.png"
    assert made.parts["test"]["label"][:].tolist() == [0, 1]


def test_classes_may_be_called_like_splits(tmp_path: Path) -> None:
    files = {f"{name}/{n}.png": png() for name in ("train", "test", "bus") for n in range(2)}
    assert classes(read(write(tmp_path, files))) == ("bus", "test", "train")


@pytest.mark.parametrize("top", ["", "photos/", "./photos/"])
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz"])
def test_archives(tmp_path: Path, kind: str, top: str) -> None:
    files = {
        **plain("ants", "bees", count=3, prefix=f"{top}train/"),
        **plain("ants", "bees", count=1, prefix=f"{top}test/"),
        f"{top}train/ants/.DS_Store": b"x",
        "__MACOSX/photos/train/ants/._0.png": b"x",
        f"{top}README.txt": b"x",
    }
    pack = write_zip if kind == "zip" else write_tar
    made = read(pack(tmp_path / f"photos.{kind}", files))
    expected = read(write(tmp_path / "unpacked", files) / top)
    assert {n: len(s) for n, s in made.parts.items()} == {"train": 6, "test": 2}
    for name, split in made.parts.items():
        assert np.array_equal(split["image"], expected.parts[name]["image"])
        assert np.array_equal(split["label"], expected.parts[name]["label"])
        prefix = top.removeprefix("./")  # a name is that of the member
        assert split.ids == tuple(f"{prefix}{id_}" for id_ in expected.parts[name].ids)
    assert made.notes == ("left out, no images: 1 .txt",)


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", ["../ants/x.png", "/ants/x.png", "ants/../../x.png", "C:/x.png"])
def test_members_outside_the_archive_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    pack = write_zip if kind == "zip" else write_tar
    path = pack(tmp_path / f"a.{kind}", {**plain("ants", "bees"), name: png()})
    refused(path, "outside the archive")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_links_in_an_archive_are_left_out(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", plain("ants", "bees"))
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("ants/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    made = read(path)
    assert len(made.parts["train"]) == 4 and "1 links" in made.notes[0]


def test_huge_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "LARGEST_FILE", 1000)
    files = {**plain("ants", "bees"), "ants/big.png": bytes(5000)}
    refused(write_zip(tmp_path / "a.zip", files), "ants/big.png", "5,000 bytes")
    refused(write_tar(tmp_path / "a.tar.xz", files), "ants/big.png", "5,000 bytes")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz"])
@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_damaged_archives(tmp_path: Path, kind: str, damage: str) -> None:
    pack = write_zip if kind == "zip" else write_tar
    rng = np.random.default_rng(0)
    path = pack(tmp_path / f"a.{kind}", {**plain("ants"), "bees/a.png": rng.bytes(9000)})
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"hello", "empty": b""}[damage])
    refused(path, str(path))


def test_archive_with_a_password(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", plain("ants", "bees"))
    content = bytearray(path.read_bytes())
    start = content.find(b"PK\x01\x02")
    while start >= 0:
        content[start + 8] |= 1  # the flag in the directory that says encrypted
        start = content.find(b"PK\x01\x02", start + 4)
    path.write_bytes(content)
    refused(path, "password")


def test_what_systems_leave_behind_is_ignored(tmp_path: Path) -> None:
    junk = {
        ".git/config": b"x",
        ".DS_Store": b"x",
        "ants/Thumbs.db": b"x",
        "bees/desktop.ini": b"x",
        "__MACOSX/ants/._0.png": b"x",
        "ants/._0.png": b"x",
    }
    made = read(write(tmp_path, {**plain("ants", "bees"), **junk}))
    assert len(made.parts["train"]) == 4 and made.notes == ()


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    extra = {"ants/list.txt": b"x", "notes.txt": b"x", "bees/a.mp4": b"x", "cover.png": png()}
    made = read(write(tmp_path, {**plain("ants", "bees"), **extra}))
    assert made.notes == (
        "left out, in no class folder: cover.png",
        "left out, no images: 1 .mp4, 2 .txt",
    )


def test_images_of_many_kinds(tmp_path: Path) -> None:
    files = {
        **plain("ants", "bees"),
        "ants/grey.png": png(7, (20, 10), "L"),
        "bees/clear.png": png((0, 0, 0, 0), (8, 8), "RGBA"),
    }
    made = read(write(tmp_path, files))
    assert made.parts["train"]["image"].shape == (6, 64, 64, 3)
    said = "\n".join(made.notes)
    for words in ("8x8 to 20x10", "--data.image_size", "1 of 6 images is grey", "laid on white"):
        assert words in said
    small = read(tmp_path, image_size=5, channels=1)
    assert small.parts["train"]["image"].shape == (6, 5, 5, 1) and small.schema.inputs[
        "image"
    ].shape == (1, 5, 5)


def test_images_of_one_size_stay_as_they_are(tmp_path: Path) -> None:
    files = {f"{name}/{n}.png": png(n, (12, 8), "L") for name in "ab" for n in range(3)}
    made = read(write(tmp_path, files))
    assert made.schema.inputs["image"].shape == (1, 8, 12) and made.notes == ()
    assert made.parts["train"]["image"].shape == (6, 8, 12, 1)
    assert read(tmp_path, image_size="6x10").parts["train"]["image"].shape == (6, 10, 6, 1)


def test_it_is_said_what_large_images_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "set", plain("ants", "bees"))
    monkeypatch.setenv("GRADLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(machine, "memory", lambda: 1000)
    monkeypatch.setattr(folders, "MUCH", 4 * 1000 * 1000 * 3)
    made = read(tmp_path / "set", image_size=1000)  # on the disk: it need not fit into memory
    assert made.notes[-1] == "images: 4 of this size take 0.0 GB"
    monkeypatch.setattr(image_cache.shutil, "disk_usage", lambda folder: Usage(1, 1, 1000))
    with pytest.raises(UserError) as error:
        read(tmp_path / "set", image_size=1001)
    for words in ("4 images of 1001x1001", "choose a smaller --data.image_size", "GRADLAB_CACHE"):
        assert words in str(error.value)


def test_grey_images_have_one_channel(tmp_path: Path) -> None:
    files = {f"{name}/{n}.png": png(n, mode="L") for name in "ab" for n in range(3)}
    made = read(write(tmp_path, files))
    assert made.schema.inputs["image"].shape == (1, 8, 8)
    assert made.parts["train"]["image"][:, 0, 0, 0].tolist() == [0, 1, 2, 0, 1, 2]


def test_missing_path(tmp_path: Path) -> None:
    refused(tmp_path / "absent", "neither a named dataset nor a path")


def test_empty_folder(tmp_path: Path) -> None:
    refused(tmp_path, str(tmp_path), "no image", "found: nothing", "Expected")


def test_folder_without_images(tmp_path: Path) -> None:
    refused(write(tmp_path, {"a/x.txt": b"x", "b/y.mp4": b"x"}), "1 .mp4, 1 .txt", ".png")


def test_images_in_no_class_folder(tmp_path: Path) -> None:
    refused(write(tmp_path, {"a.png": png(), "b.png": png()}), "no class folder", "a.png")
    write(tmp_path / "s", {"train/a.png": png(), "val/ants/b.png": png()})
    refused(tmp_path / "s", "at least two classes, found none")


def test_one_class(tmp_path: Path) -> None:
    message = refused(write(tmp_path, plain("ants")), "two classes", "found one (ants, 2 images)")
    assert "inside" not in message.split("images).")[0]
    refused(write(tmp_path / "b", plain("ants", prefix="train/")), "found one (ants, 2 images)")
    deeper = write(tmp_path / "c", plain("ants", "bees", prefix="photos/"))
    refused(deeper, f"folders inside {deeper / 'photos'}")


def test_class_folder_without_an_image(tmp_path: Path) -> None:
    write(tmp_path, plain("ants", "bees"))
    (tmp_path / "cats").mkdir()
    made = read(tmp_path)
    assert classes(made) == ("ants", "bees") and made.left_out == {}
    assert made.notes == ("left out, no image in the class folder: cats",)
    write(tmp_path, {"cats/x.txt": b"x"})
    assert read(tmp_path).notes[1] == "left out, no image in the class folder: cats"
    write(tmp_path / "two", plain("ants"))
    (tmp_path / "two" / "cats").mkdir()
    refused(tmp_path / "two", "two classes", "found one (ants, 2 images)")


def test_class_of_one_image_is_left_out_in_every_split(tmp_path: Path) -> None:
    files = {
        **plain("ants", "bees", count=12, prefix="train/"),
        **plain("cats", count=1, prefix="train/"),
        **plain("ants", "cats", prefix="val/"),
    }
    made = read(write(tmp_path, files))
    assert classes(made) == ("ants", "bees")
    assert {name: np.bincount(part["label"][:]).tolist() for name, part in made.parts.items()} == {
        "train": [12, 12], "val": [2],
    }  # fmt: skip
    assert made.notes == (
        "val has no image of bees",
        "left out, classes of fewer than 2 images in train: cats (1)",
    )
    assert list(made.left_out) == ["train/cats/0.png", "val/cats/0.png", "val/cats/1.png"]
    # A second one that cannot be read is as good as none.
    made = read(write(tmp_path, {"train/cats/9.png": b"x"}))
    assert classes(made) == ("ants", "bees") and made.notes[1] == (
        "left out, not readable: train/cats/9.png (it is no image, or of a kind that is not read)"
    )
    assert made.left_out["train/cats/0.png"] == "too few images of the class cats"
    write(tmp_path / "b", {**plain("ants"), **plain("bees", "cats", count=1)})
    refused(tmp_path / "b", "two classes of 2 images each, found ants", "bees (1), cats (1)")


def test_splits_of_different_classes(tmp_path: Path) -> None:
    files = {**plain("ants", "bees", prefix="train/"), **plain("ants", "cats", prefix="val/")}
    refused(write(tmp_path, files), "val has classes that train has not: cats", "ants, bees")


def test_split_that_lacks_a_class(tmp_path: Path) -> None:
    files = {**plain("ants", "bees", prefix="train/"), **plain("ants", prefix="val/")}
    made = read(write(tmp_path, files))
    assert made.notes == ("val has no image of bees",)
    assert classes(made) == ("ants", "bees")


def test_splits_without_train(tmp_path: Path) -> None:
    files = {**plain("ants", prefix="val/"), **plain("ants", prefix="test/")}
    refused(write(tmp_path, files), "none in train", "test, val")


def test_folders_beside_the_splits(tmp_path: Path) -> None:
    files = {**plain("ants", "bees", prefix="train/"), **plain("cats", prefix="extra/")}
    refused(write(tmp_path, files), "beside them extra")


def test_unreadable_images_are_named(tmp_path: Path) -> None:
    files = plain("ants", "bees", count=3)
    whole = files["ants/1.png"]
    files |= {"ants/1.png": whole[: len(whole) // 2], "bees/text.jpg": b"hello"}
    message = refused(write(tmp_path, files), "2 images cannot be read", "ants/1.png", "data check")
    assert "bees/text.jpg: it is no image" in message and "bees/1.png" not in message
    assert message.endswith("29% of all: to leave them out, give --data.unreadable any")


def test_up_to_a_tenth_unreadable_is_left_out_unless_none_may_be(tmp_path: Path) -> None:
    write(tmp_path, {**plain("ants", "bees", count=9), "ants/bad.png": b"x", "bees/bad.png": b"x"})
    data = load(DataConfig(name=str(tmp_path)))
    assert sum(data.counts.values()) == 18
    why = "it is no image, or of a kind that is not read"
    assert data.notes[0] == f"left out, not readable: ants/bad.png ({why}), bees/bad.png ({why})"
    assert data.describe()["left_out"] == {"ants/bad.png": why, "bees/bad.png": why}
    with pytest.raises(UserError, match="2 images cannot be read"):
        read(tmp_path, unreadable="refuse")
    (tmp_path / "ants" / "8.png").unlink()
    refused(tmp_path, "2 images cannot be read", "11% of all")


def test_unreadable_images_may_be_left_out(tmp_path: Path) -> None:
    write(tmp_path, {**plain("ants", "bees", count=3), "ants/1.png": b"x", "bees/4.jpg": b"x"})
    made = read(tmp_path, unreadable="any")
    assert made.parts["train"].ids == (
        "ants/0.png", "ants/2.png", "bees/0.png", "bees/1.png", "bees/2.png",
    )  # fmt: skip
    assert made.parts["train"]["label"][:].tolist() == [0, 0, 1, 1, 1]
    assert made.parts["train"]["image"][1, 0, 0].tolist() == [255, 0, 2]
    assert "ants/1.png (it is no image" in made.notes[0] and "bees/4.jpg (it" in made.notes[0]
    facts, (issue,) = made.checked.facts, made.checked.issues
    assert list(facts["unreadable"]) == ["ants/1.png", "bees/4.jpg"]
    assert facts["sizes"] == {"8x8": 5} and facts["modes"] == {"RGB": 5}
    assert issue.level == "error" and "2 of 7" in issue.what and len(issue.where) == 2
    assert load(DataConfig(name=str(tmp_path), unreadable="any", test=0, val=0)).counts == {
        "train": 5
    }


def test_no_image_can_be_read(tmp_path: Path) -> None:
    write(tmp_path, {"a/1.png": b"x", "b/1.png": b"x"})
    with pytest.raises(UserError, match="2 images cannot be read"):
        read(tmp_path, unreadable="any")
    write(tmp_path / "set", {"train/a.png": b"x", "val/b.png": png()})
    with pytest.raises(UserError, match="1 image cannot be read"):
        read(tmp_path / "set", unreadable="any", target_kind="none")


def test_folder_without_permission(tmp_path: Path) -> None:
    if os.name == "nt" or os.geteuid() == 0:
        pytest.skip("permissions do not bind this user")
    write(tmp_path, plain("ants", "bees"))
    (tmp_path / "bees").chmod(0)
    try:
        refused(tmp_path, "Permission")
    finally:
        (tmp_path / "bees").chmod(0o700)


def test_link_to_a_folder_above_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path, plain("ants", "bees"))
    try:
        (tmp_path / "ants" / "loop").symlink_to(tmp_path, target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no links")
    assert len(read(tmp_path).parts["train"]) == 4


def test_linked_class_folders_are_read(tmp_path: Path) -> None:
    write(tmp_path / "store", plain("ants", "bees"))
    (tmp_path / "set").mkdir()
    try:
        for name in ("ants", "bees"):
            (tmp_path / "set" / name).symlink_to(tmp_path / "store" / name)
    except OSError:
        pytest.skip("this system makes no links")
    assert len(read(tmp_path / "set").parts["train"]) == 4


def test_four_images_are_too_few(tmp_path: Path) -> None:
    write(tmp_path, plain("ants", "bees"))
    with pytest.raises(
        UserError, match=r"2 training examples \(2 different\) are too few to hold out"
    ):
        load(DataConfig(name=str(tmp_path)))
    whole = load(DataConfig(name=str(tmp_path), val=0, test=0))
    assert whole.counts == {"train": 4}


def test_fingerprint_is_that_of_the_content(tmp_path: Path) -> None:
    def loaded(path: Path) -> Dataset:
        return load(DataConfig(name=str(path)))

    files = plain("ants", "bees", "cats", count=12)
    first = loaded(write(tmp_path / "a", files))
    again = loaded(write(tmp_path / "b", dict(reversed(files.items()))))
    packed = loaded(write_zip(tmp_path / "c.zip", files))
    assert first.fingerprint == again.fingerprint == packed.fingerprint
    files["ants/3.png"] = png((1, 2, 3))
    assert loaded(write(tmp_path / "d", files)).fingerprint != first.fingerprint


def test_hymenoptera() -> None:
    folder = Path(os.environ.get("GRADLAB_DATA", "absent")) / "hymenoptera"
    if not folder.is_dir():
        pytest.skip("hymenoptera is not in the cache (GRADLAB_DATA)")
    made = read(folder, image_size=32)
    assert {n: len(s) for n, s in made.parts.items()} == {"train": 244, "val": 153}
    assert classes(made) == ("ants", "bees")
    assert np.bincount(made.parts["train"]["label"]).tolist() == [123, 121]
    assert made.parts["train"]["image"].shape == (244, 32, 32, 3)


def test_cifar10_jpeg() -> None:
    path = Path(os.environ.get("GRADLAB_DATA", "absent")) / "cifar10" / "cifar10_jpeg.tar.xz"
    if not path.is_file():
        pytest.skip("cifar10_jpeg.tar.xz is not in the cache (GRADLAB_DATA)")
    with listing.opened(path) as found:  # decoding all of it takes seconds
        items, notes = folders.arrange(found)
    assert len(items) == 60000 and notes == ()
    assert sum(split == "train" for split, _, _ in items) == 50000
    assert len({label for _, label, _ in items}) == 10
    some = items[::6000]
    looks = folders.survey([file for _, _, file in some])
    assert {(look.width, look.height, look.mode) for look in looks} == {(32, 32, "RGB")}


def test_images_need_no_class_where_the_task_asks_for_none(tmp_path: Path) -> None:
    flat = write(tmp_path / "flat", {"a.png": png(), "b.png": png("blue")})
    made = read(flat, target_kind="none")
    assert made.schema.targets == {} and list(made.parts["train"].columns) == ["image"]
    assert made.parts["train"].ids == ("a.png", "b.png")
    split = write(tmp_path / "split", {"train/a.png": png(), "val/c.png": png("blue")})
    parts = read(split, target_kind="none").parts
    assert {name: part.ids for name, part in parts.items()} == {
        "train": ("train/a.png",),
        "val": ("val/c.png",),
    }
    one = write(tmp_path / "one", plain("bees"))
    assert classes(read(one, target_kind="none")) == ("bees",)
    refused(one, "at least two classes")
