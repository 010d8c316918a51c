"""What a person wants a prediction for, in the form that a model was trained on."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gradlab import paths
from gradlab.data.dataset import Schema
from gradlab.data.decode import (
    ImageFile,
    Look,
    conversions,
    decode_all,
    pixels,
    refit,
    survey,
    to_array,
    unreadable,
)
from gradlab.data.kinds import IMAGES, kind_of
from gradlab.errors import UserError

Block = tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]
"""Some inputs, their names (none: they are numbered), and what is said of them."""


def read(schema: Schema, inputs: Sequence[Any]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Inputs shaped as the x of a split of this schema, and a name for each.

    For images: files, folders, globs, PIL images, or arrays (H W, H W C, or N of them; uint8,
    0..255, or floats 0..1), which are brought to the size and channels of the schema. For tables:
    CSV or Parquet files, or a dictionary for each row. For arrays: D values, N of them, or an
    .npz file with x. A file is named by its path, anything else by its number, counted from 1.
    UserError says which input does not fit.

    >>> schema = Schema(kind="image", shape=(1, 8, 8), target="class", classes=("a", "b"))
    >>> x, names = read(schema, [np.zeros((28, 28), np.uint8)])
    >>> x.shape, names
    ((1, 8, 8, 1), ('1',))
    """
    x, names, _ = read_noted(schema, inputs)
    return x, names


def read_noted(schema: Schema, inputs: Sequence[Any]) -> Block:
    """As `read`, and notes on what was converted."""
    kinds = {"image": _images, "table": _tables, "array": _arrays}
    blocks = list(kinds[schema.kind](schema, inputs))
    if not blocks:
        raise UserError("there is nothing to predict: expected at least one input")
    names: list[str] = []
    for x, given, _ in blocks:
        names += given or [str(len(names) + n + 1) for n in range(len(x))]
    notes = dict.fromkeys(note for block in blocks for note in block[2])
    return np.concatenate([x for x, _, _ in blocks]), tuple(names), tuple(notes)


def image_files(given: str | os.PathLike[str]) -> list[Path]:
    """The image files that are meant by a file, a folder (all in it) or a glob; UserError if none.

    Folders and globs are sorted, and only what is named as an image is taken of them.
    """
    from gradlab.data.sources.folders import image_paths

    path = paths.given(given, "predict")
    if path.is_dir():
        found = image_paths(path)
    elif path.exists():
        return [path]
    elif glob.has_magic(str(path)):
        matches = map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207 - absolute too
        found = sorted(file for file in matches if kind_of(file) == "image")
    else:
        raise UserError(f"there is no file {path}")
    if not found:
        raise UserError(f"{path} has no image; kinds that are read: {' '.join(IMAGES)}")
    return found


def _images(schema: Schema, inputs: Sequence[Any]) -> Iterator[Block]:
    from gradlab.data.sources.arrays import given_array

    channels, height, width = schema.shape
    for kind, group in groupby(enumerate(inputs, 1), lambda item: _kind(item[1])):
        if kind == "path":
            found = [path for _, given in group for path in image_files(given)]
            files = [ImageFile.at(path) for path in found]
            x, looks = decode_all(files, survey(files), (height, width), channels)
            if any(look.error for look in looks):
                raise unreadable("predict", looks)
            yield x, tuple(look.name for look in looks), conversions(looks, channels)
            continue
        for number, item in group:
            where = f"input {number}"
            if kind == "picture":
                clear = item.has_transparency_data
                look = Look(where, item.width, item.height, item.mode, transparent=clear)
                try:
                    item.load()
                    x = to_array(item, (height, width), channels)[None]
                except (OSError, ValueError) as error:
                    raise UserError(f"{where} is an image that cannot be read: {error}") from None
                yield x, (), conversions([look], channels)
            else:
                images = _pixels(given_array(item, where), where)
                count = images.shape[-1]
                note = f"{where}: {count} channels, made {channels}"
                yield (
                    refit(images, (height, width), channels),
                    (),
                    () if count == channels else (note,),
                )


def _pixels(values: np.ndarray, where: str) -> np.ndarray:
    """An array of one image or of several as uint8 N H W C."""
    shape = values.shape
    if values.ndim == 2 or (values.ndim == 3 and shape[-1] in (1, 3, 4)):
        values = values[None]
    if values.ndim == 3:
        values = values[..., None]
    if values.ndim != 4 or values.shape[-1] not in (1, 3, 4) or not values.size:
        raise UserError(f"{where} has the shape {shape}: expected H W or H W C (or N of them)")
    try:
        return pixels(values)
    except ValueError as error:
        raise UserError(f"{where} is no image: {error}") from None


def _arrays(schema: Schema, inputs: Sequence[Any]) -> Iterator[Block]:
    from gradlab.data.sources.arrays import given_array, numbers

    for number, item in enumerate(inputs, 1):
        where = f"input {number}"
        values = np.atleast_2d(numbers(given_array(item, where), where))
        if values.shape[1:] != schema.shape:
            raise UserError(
                f"{where} has the shape {values.shape}: expected {schema.shape[0]} values for each"
            )
        yield values, (), ()


def _tables(schema: Schema, inputs: Sequence[Any]) -> Iterator[Block]:
    from gradlab.data.sources.tables import read_rows

    for kind, group in groupby(inputs, _kind):
        items = list(group)
        if kind == "row":
            x, _ = read_rows(schema, items)
            yield x, (), ()
        elif kind == "path":
            for path in items:
                yield *read_rows(schema, Path(path)), ()
        else:
            raise UserError(
                f"expected a CSV or Parquet file, or a dictionary for each row, found "
                f"{type(items[0]).__name__}"
            )


def _kind(item: Any) -> str:
    if isinstance(item, str | os.PathLike):
        return "arrays" if kind_of(item) == "arrays" else "path"
    if isinstance(item, dict):
        return "row"
    return "picture" if isinstance(item, Image.Image) else "array"
