from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradlab import machine
from gradlab.config import DataConfig
from gradlab.data import npz as npz_files
from gradlab.data.dataset import Source
from gradlab.data.sources import load, source
from gradlab.errors import UserError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 8, 8, 3), np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def made(folder: Path, config: dict[str, Any] | None = None, **given: Any) -> Source:
    path = folder / "set.npz"
    np.savez(path, **given)
    return source(DataConfig(name=str(path), **(config or {})))


def shape(got: Source) -> tuple[int, ...]:
    (field,) = got.schema.inputs.values()
    return field.shape


def classes(got: Source) -> tuple[str, ...]:
    found: Any = got.schema.targets["label"]
    return found.classes


def test_colour_images(tmp_path: Path) -> None:
    got = made(tmp_path, x=IMAGES, y=LABELS)
    assert np.array_equal(got.parts["train"]["image"], IMAGES)
    assert got.parts["train"]["label"].dtype == np.int64
    assert np.array_equal(got.parts["train"]["label"], LABELS)
    assert shape(got) == (3, 8, 8) and list(got.schema.inputs) == ["image"]
    assert classes(got) == ("0", "1", "2") and got.notes == ()


def test_grey_images_as_they_come(tmp_path: Path) -> None:
    grey = IMAGES[..., 0]
    for x in (grey, grey.astype(np.int64), (grey / 255).astype(np.float32)):
        got = made(tmp_path, x=x, y=LABELS)
        assert shape(got) == (1, 8, 8)
        assert np.array_equal(got.parts["train"]["image"][..., 0], grey)


def test_images_in_another_form(tmp_path: Path) -> None:
    got = made(tmp_path, {"image_size": 4, "channels": 1}, x=IMAGES, y=LABELS)
    assert got.parts["train"]["image"].shape == (6, 4, 4, 1) and shape(got) == (1, 4, 4)
    oblong = made(tmp_path, x=RNG.integers(0, 256, (6, 8, 12), np.uint8), y=LABELS)
    assert shape(oblong) == (1, 8, 12) and oblong.notes == ()
    small = made(tmp_path, {"image_size": "4x5"}, x=oblong.parts["train"]["image"], y=LABELS)
    assert shape(small) == (1, 5, 4) and "12x8" in small.notes[0]
    clear = np.zeros((6, 8, 8, 4), np.uint8)
    got = made(tmp_path, x=clear, y=LABELS)
    assert shape(got) == (3, 8, 8) and got.parts["train"]["image"][:].min() == 255
    assert "laid on white" in got.notes[0]


def test_inputs_and_splits(tmp_path: Path) -> None:
    x = RNG.normal(size=(6, 5))
    got = made(tmp_path, x_train=x, y_train=LABELS, x_val=x[:3], y_val=LABELS[:3])
    assert shape(got) == (5,) and list(got.schema.inputs) == ["values"]
    assert got.parts["train"]["values"].dtype == np.float32 and set(got.parts) == {"train", "val"}
    assert np.allclose(got.parts["val"]["values"], x[:3])


def test_float_targets_are_numbers(tmp_path: Path) -> None:
    got = made(tmp_path, x=RNG.normal(size=(6, 5)), y=np.arange(6) / 2)
    assert (
        list(got.schema.targets) == ["number"] and got.parts["train"]["number"].dtype == np.float32
    )
    assert got.parts["train"]["number"][:].tolist() == [0, 0.5, 1, 1.5, 2, 2.5]


def test_labels_that_are_mapped(tmp_path: Path) -> None:
    got = made(tmp_path, x=IMAGES, y=np.array([[1], [-1], [1], [-1], [1], [7]]))
    assert classes(got) == ("-1", "1", "7")
    assert got.parts["train"]["label"][:].tolist() == [1, 0, 1, 0, 1, 2]
    assert "-1, 1, 7 are the classes 0 to 2" in got.notes[0]
    got = made(tmp_path, x=IMAGES, y=np.array(["cat", "ant", "cat", "bee", "ant", "bee"]))
    assert classes(got) == ("ant", "bee", "cat")
    assert got.parts["train"]["label"][:].tolist() == [2, 0, 2, 1, 0, 1]


def test_names_of_the_classes(tmp_path: Path) -> None:
    names = np.array(["zebra", "ant", "bee"])
    got = made(tmp_path, x=IMAGES, y=LABELS, classes=names)
    assert classes(got) == ("zebra", "ant", "bee")
    assert got.parts["train"]["label"][:].tolist() == LABELS.tolist()
    got = made(tmp_path, x=IMAGES, y=names[LABELS], classes=names)
    assert got.parts["train"]["label"][:].tolist() == LABELS.tolist()


def test_no_classes_where_the_task_asks_for_none(tmp_path: Path) -> None:
    none = {"target_kind": "none"}
    bare = made(tmp_path, none, x=IMAGES)
    assert bare.schema.targets == {} and list(bare.parts["train"].columns) == ["image"]
    assert np.array_equal(bare.parts["train"]["image"], IMAGES)
    split = made(tmp_path, none, x_train=IMAGES, x_val=IMAGES[:2])
    assert {name: len(part) for name, part in split.parts.items()} == {"train": 6, "val": 2}
    one = made(tmp_path, none, x=IMAGES, y=np.full(6, 3))
    assert list(one.schema.targets) == ["label"] and classes(one) == ("3",)
    cut = load(DataConfig(name=str(tmp_path / "set.npz"), target_kind="none"))
    assert sum(cut.counts.values()) == 6
    with pytest.raises(UserError, match="none for val"):
        made(tmp_path, none, x_train=IMAGES, y_train=LABELS, x_val=IMAGES)


def test_what_y_is_may_be_said(tmp_path: Path) -> None:
    x = RNG.normal(size=(6, 5))
    rating = made(tmp_path, {"target_kind": "number"}, x=x, y=LABELS)
    assert (
        list(rating.schema.targets) == ["number"]
        and rating.parts["train"]["number"][:].tolist() == LABELS.tolist()
    )
    named = made(tmp_path, {"target_kind": "class"}, x=x, y=LABELS.astype(float))
    assert classes(named) == ("0", "1", "2")
    with pytest.raises(UserError, match="y holds fractions: expected class numbers"):
        made(tmp_path, {"target_kind": "class"}, x=x, y=LABELS / 2)


def npz(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def header(descr: str, shape: tuple[int, ...], version: int = 1) -> bytes:
    said = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    size = len(said).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header("<f8", (10**6, 10**6)) + bytes(80), "8,000,000,000,000 bytes, but 80 follow"),
        (header("<U100000000", (6,)) + bytes(24), "2,400,000,000 bytes, but 24 follow"),
        (header("<i8", (-6,)) + bytes(48), "damaged"),
        (header("<i8", (7,)) + bytes(48), "56 bytes, but 48 follow"),
        (header("<i8", (5,)) + bytes(48), "40 bytes, but 48 follow"),
        (header("|O", (6,)) + bytes(48), "Python objects"),
        (header("<i8", (6,), version=3) + bytes(48), r"of the format \(3, 0\)"),
        (header("<i8", (6,))[:20], "cannot be read"),
        (header("(" * 5000, (6,)), "cannot be read"),
        (b"no array", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_arrays_that_are_not_what_they_say(tmp_path: Path, content: bytes, message: str) -> None:
    good = header("|u1", (6, 8, 8)) + bytes(6 * 64)
    path = npz(tmp_path / "set.npz", {"x": good, "y": content})
    with pytest.raises(UserError, match=message) as error:
        source(DataConfig(name=str(path)))
    assert "set.npz" in str(error.value) and len(str(error.value)) < 500


def test_arrays_that_do_not_fit_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = npz(tmp_path / "set.npz", {"x": header("<f8", (6, 10_000)) + bytes(480_000)})
    monkeypatch.setattr(machine, "memory", lambda: 900_000)
    monkeypatch.setattr(npz_files.npy, "read_array", None)  # nothing is read of it
    with pytest.raises(UserError, match=r"its arrays take 0\.0 GB of memory, .* are free"):
        source(DataConfig(name=str(path)))


def test_an_npz_of_an_unknown_version_or_compression(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", x=IMAGES, y=LABELS)
    whole = (tmp_path / "set.npz").read_bytes()
    for place, value in ((6, 99), (10, 77), (8, 1)):  # version, compression, encrypted
        content = bytearray(whole)
        start = content.find(b"PK\x01\x02")
        content[start + place] = value
        (tmp_path / "set.npz").write_bytes(content)
        with pytest.raises(UserError, match=r"set\.npz cannot be read"):
            source(DataConfig(name=str(tmp_path / "set.npz")))


def test_classes_that_are_no_text(tmp_path: Path) -> None:
    names = np.array(["ant", "caf\udce9", "bee"])
    with pytest.raises(UserError, match=r"'caf\\xe9' is no text"):
        made(tmp_path, x=IMAGES, y=LABELS, classes=names)


def test_load_cuts_the_splits(tmp_path: Path) -> None:
    x = RNG.integers(0, 256, (40, 8, 8), np.uint8)
    np.savez(tmp_path / "set.npz", x=x, y=np.arange(40) % 2)
    dataset = load(DataConfig(name=str(tmp_path / "set.npz")))
    assert sum(dataset.counts.values()) == 40 and set(dataset.counts) == {"train", "val", "test"}
    assert len(dataset.schema.inputs["image"].mean) == 1


BAD: list[tuple[dict[str, Any], str]] = [
    ({"x": IMAGES}, "no array 'y'"),
    ({"y": LABELS}, "no array 'x'"),
    ({"x_train": IMAGES, "y": LABELS}, "no array 'y_train'"),
    ({"x": IMAGES, "y": LABELS[:5]}, "5 values, but there are 6 examples"),
    ({"x": IMAGES, "y": np.eye(3)[LABELS]}, "argmax"),
    ({"x": IMAGES[:0], "y": LABELS[:0]}, "empty"),
    ({"x": IMAGES[..., None], "y": LABELS}, "shape"),
    ({"x": IMAGES[..., :2], "y": LABELS}, "C 1, 3 or 4"),
    ({"x": IMAGES.astype(np.float32), "y": LABELS}, "not 0 to 1"),
    ({"x": IMAGES.astype(np.int64) - 1, "y": LABELS}, "from -1 to"),
    ({"x": IMAGES, "y": np.array([0, 1, 2, 0, 1, np.nan])}, r"first at \[5\]"),
    ({"x": np.full((6, 5), np.inf), "y": LABELS}, "30 of its values are no finite"),
    ({"x": np.full((6, 5), "a"), "y": LABELS}, "expected numbers"),
    ({"x": IMAGES, "y": np.zeros(6, int)}, "at least two classes, found only 0"),
    ({"x": IMAGES, "y": LABELS, "classes": np.array(["a", "b"])}, "out of range: 2"),
    ({"x": IMAGES, "y": LABELS - 1, "classes": np.array(["a", "b"])}, "out of range: -1"),
    ({"x_train": IMAGES, "y_train": LABELS, "x_val": IMAGES, "y_val": LABELS + 1}, "val has .* 3"),
    (
        {"x_train": IMAGES, "y_train": LABELS, "x_val": IMAGES[:, :4], "y_val": LABELS},
        "differ in shape",
    ),
    ({"x": IMAGES, "y": np.array([0, "a", 1, 2, 0, 1], object)}, "Save plain arrays"),
]


@pytest.mark.parametrize(("given", "message"), BAD)
def test_arrays_that_do_not_fit(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        made(tmp_path, **given)
    assert "set.npz" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut short"])
def test_file_that_is_no_npz(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "set.npz").write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        source(DataConfig(name=str(tmp_path / "set.npz")))


def test_single_array(tmp_path: Path) -> None:
    np.save(tmp_path / "set.npy", IMAGES)
    (tmp_path / "set.npy").rename(tmp_path / "set.npz")
    with pytest.raises(UserError, match="single array"):
        source(DataConfig(name=str(tmp_path / "set.npz")))
