from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gradlab.data.fields.base import Field
from gradlab.data.fields.image import Image as ImageField
from gradlab.data.fields.image import image_files
from gradlab.data.fields.values import Values
from gradlab.errors import UserError

GREY = ImageField(height=8, width=8, channels=1)
COLOUR = ImageField(height=8, width=8, channels=3)
ARRAY = Values(size=(3,))
PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


def read(field: Field, inputs: list[Any]) -> tuple[np.ndarray, tuple[str, ...]]:
    found: Any = field.read(inputs)
    return found.column[:], found.names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("c.png", "a.png", "sub/b.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(PIXELS + np.uint8(number)).save(tmp_path / name)
    (tmp_path / "list.txt").write_text("x", encoding="utf-8")
    (tmp_path / ".hidden.png").write_bytes(b"x")
    return tmp_path


def test_files_in_the_order_given(folder: Path) -> None:
    x, names = read(GREY, [folder / "c.png", str(folder / "a.png")])
    assert x.shape == (2, 8, 8, 1) and x.dtype == np.uint8
    assert np.array_equal(x[0, ..., 0], PIXELS) and np.array_equal(x[1, ..., 0], PIXELS + 1)
    assert names == (str(folder / "c.png"), str(folder / "a.png"))


def test_folders_and_globs_are_sorted(folder: Path) -> None:
    _, names = read(GREY, [folder])
    assert names == tuple(str(folder / n) for n in ("a.png", "c.png", "sub/b.png"))
    assert image_files(f"{folder}/*") == ([folder / "a.png", folder / "c.png"], {".txt": 1})
    assert image_files(f"{folder}/**/b*.png") == ([folder / "sub" / "b.png"], {})
    assert image_files(folder)[1] == {".txt": 1}
    found: Any = GREY.read([folder, f"{folder}/*"])
    assert found.column.notes == (
        f"{folder}: left out, no images: 1 .txt",
        f"{folder}/*: left out, no images: 1 .txt",
    )


def test_order_of_a_glob_is_not_that_of_the_disk(tmp_path: Path) -> None:
    for name in "hbkdaigcjfe":
        Image.fromarray(PIXELS).save(tmp_path / f"{name}.png")
    assert [path.stem for path in image_files(f"{tmp_path}/?.png")[0]] == list("abcdefghijk")


def test_name_with_brackets_is_a_file_first(folder: Path) -> None:
    Image.fromarray(PIXELS).save(folder / "x[1].png")
    assert image_files(folder / "x[1].png")[0] == [folder / "x[1].png"]


def test_arrays_and_pictures(folder: Path) -> None:
    inputs: list[Any] = [
        PIXELS,  # H W
        PIXELS[..., None],  # H W C
        np.stack([PIXELS, PIXELS]),  # N H W
        PIXELS[None, ..., None] / 255,  # N H W C, from 0 to 1
        Image.fromarray(PIXELS),
        folder / "c.png",
        PIXELS.tolist(),
    ]
    x, names = read(GREY, inputs)
    assert x.shape == (8, 8, 8, 1) and all(np.array_equal(row[..., 0], PIXELS) for row in x)
    assert names == ("", "", "", "", "", "", str(folder / "c.png"), "")


def test_inputs_take_the_form_of_the_schema() -> None:
    given = [Image.new("L", (20, 10), 7), np.full((30, 30), 9, np.uint8)]
    found: Any = COLOUR.read(given)
    x, notes = found.column[:], found.column.notes
    assert x.shape == (2, 8, 8, 3) and x[0].max() == 7 and x[1].min() == 9
    assert "grey, converted to colour (input 1)" in notes[0]
    assert notes[1] == "input 2: 1 channels, made 3"
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    found = GREY.read([clear, np.zeros((8, 8, 4), np.uint8)])
    x, notes = found.column[:], found.column.notes
    assert x.min() == 255 and "laid on white" in notes[1]


def test_images_are_read_as_in_training(tmp_path: Path) -> None:
    from gradlab.config import DataConfig
    from gradlab.data.sources import source

    rng = np.random.default_rng(0)
    for name in ("ants/0.jpg", "ants/1.jpg", "bees/0.jpg", "bees/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (300, 200, 3), np.uint8)).save(tmp_path / name)
    made = source(DataConfig(name=str(tmp_path), image_size=24))
    x, _ = read(made.schema.inputs["image"], [tmp_path])
    assert np.array_equal(x, made.parts["train"]["image"])


def test_arrays_of_numbers(tmp_path: Path) -> None:
    x, names = read(ARRAY, [[1, 2, 3], np.ones((2, 3)), np.array([4, 5, 6])])
    assert x.dtype == np.float32 and names == ("",) * 4
    assert x.tolist() == [[1, 2, 3], [1, 1, 1], [1, 1, 1], [4, 5, 6]]
    np.savez(tmp_path / "a.npz", x=np.zeros((5, 3)))
    assert read(ARRAY, [tmp_path / "a.npz"])[0].shape == (5, 3)
    np.savez(tmp_path / "b.npz", x=PIXELS[None])
    assert np.array_equal(read(GREY, [tmp_path / "b.npz"])[0][0, ..., 0], PIXELS)


BAD: list[tuple[Field, list[Any], str]] = [
    (GREY, [], "nothing to predict"),
    (GREY, ["absent.png"], "no file absent.png"),
    (GREY, ["absent/*.png"], "has no image"),
    (GREY, [np.zeros(8, np.uint8)], r"input 1 has the shape \(8,\)"),
    (GREY, [np.zeros((8, 8), np.uint8), np.zeros((2, 8, 8, 2), np.uint8)], "input 2 has the shape"),
    (GREY, [np.zeros((0, 8, 8), np.uint8)], "shape"),
    (GREY, [np.full((8, 8), 200.0)], "not 0 to 1"),
    (GREY, [np.full((8, 8), np.nan)], "not 0 to 1"),
    (GREY, [{"a": 1}], "type dict"),
    (GREY, [3], "type int"),
    (GREY, [[[1, 2], [3]]], "differ in length"),
    (ARRAY, [[1, 2]], "expected 3 values"),
    (ARRAY, [1, 2, 3], "type int"),
    (ARRAY, [[1, 2, float("nan")]], "no finite"),
    (ARRAY, ["a.png"], "input 1 is 'a.png'"),
    (ARRAY, ["absent.npz"], "cannot be read"),
]


@pytest.mark.parametrize(("field", "inputs", "message"), BAD, ids=[case[2] for case in BAD])
def test_inputs_that_do_not_fit(field: Field, inputs: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(field, inputs)


def test_pictures_that_cannot_be_read_are_skipped_with_their_places(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"hello")
    Image.fromarray(PIXELS).save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes((tmp_path / "b.png").read_bytes()[:-30])
    with Image.open(tmp_path / "c.png") as cut:
        found: Any = GREY.read([PIXELS, tmp_path, cut, PIXELS.T])
    assert found.names == ("", str(tmp_path / "b.png"), "")
    assert np.array_equal(found.column[:][..., 0], [PIXELS, PIXELS, PIXELS.T])
    assert [(one.name, one.place) for one in found.skipped] == [
        (str(tmp_path / "a.jpg"), 1), (str(tmp_path / "c.png"), 3), ("", 4),
    ]  # fmt: skip
    assert found.skipped[0].reason == "it is no image, or of a kind that is not read"
    assert all("truncated" in one.reason for one in found.skipped[1:])
    nothing: Any = GREY.read([tmp_path / "a.jpg"])
    assert len(nothing.column) == 0 and len(nothing.skipped) == 1


def test_folders_without_images(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no image"):
        read(GREY, [tmp_path / "empty"])
    (tmp_path / "empty" / "x.txt").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match=r"has no image \(found: 1 \.txt\)"):
        read(GREY, [tmp_path / "empty"])
