"""Images: uint8 N H W C as they are kept, float N C H W as a model reads them."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import PIL.Image
import torch
from pydantic import Field as Described
from torch import Tensor

from gradlab import paths
from gradlab.data import decode
from gradlab.data.augment import Draws, apply
from gradlab.data.columns import Column, Dense, DenseTensor, Rows
from gradlab.data.fields import fields
from gradlab.data.fields.base import Checked, Field, Inputs, Picture, Skipped
from gradlab.data.kinds import IMAGES, kind_of
from gradlab.data.listing import image_paths, in_words
from gradlab.data.npz import given_array
from gradlab.errors import UserError

_COUNTED = 1 << 24
"""Pixels that are counted together: bincount makes an int64 copy of them."""
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@fields.register("image")
class Image(Field):
    """Pictures of one height, width and number of channels."""

    augmented = True
    baseline = "nearest_mean"

    type: Literal["image"] = "image"
    height: int = Described(ge=1, description="pixels")
    width: int = Described(ge=1, description="pixels")
    channels: int = Described(ge=1, description="1 grey, 3 colour")
    mean: tuple[float, ...] = Described((), description="per channel, of values from 0 to 1")
    std: tuple[float, ...] = Described((), description="standard deviation, in the same units")

    @property
    def shape(self) -> tuple[int, int, int]:
        """C H W."""
        return self.channels, self.height, self.width

    def fit(self, raw: Dense) -> Image:
        """With the mean and standard deviation of each channel of the training split."""
        mean, std = statistics(raw)
        return self.model_copy(update={"mean": mean, "std": std})

    def encode(self, raw: Dense) -> Dense:
        """Decoded pictures, brought to this size and number of channels where theirs is another."""
        if raw.shape[1:] == (self.height, self.width, self.channels):
            return raw
        x = decode.refit(raw[:], (self.height, self.width), self.channels)
        return Dense(x, notes=raw.notes)

    def batch(self, column: DenseTensor, rows: Rows, draws: Draws | None) -> Tensor:
        """N C H W of mean 0 and standard deviation 1 per channel, in channels-last memory."""
        x = column.gather(rows)  # uint8 N H W C
        if draws is not None:
            x = apply(x, draws.changes(self.height, self.width))
        return self.normalise(x)

    def normalise(self, x: Tensor) -> Tensor:
        """Pixels (N H W C, 0..255) as a model reads them (N C H W)."""
        if self.mean:
            pixels = self.height * self.width
            scale, shift = _scaling(self.mean, self.std, pixels, x.device)
            flat = x.reshape(len(x), -1) if len(scale) > 1 else x
            x = torch.addcmul(shift, flat.float(), scale).view(x.shape)
        return x.permute(0, 3, 1, 2)

    def pixels(self, x: Tensor) -> np.ndarray:
        """What `normalise` undid: N C H W as a model makes them -> uint8 N H W C."""
        mean, std = (x.new_tensor(value).view(-1, 1, 1) for value in (self.mean, self.std))
        scaled = ((x.detach().float() * std + mean) * 255).round().clamp(0, 255)
        found: np.ndarray = scaled.permute(0, 2, 3, 1).byte().cpu().numpy()
        return found

    def read(self, items: Sequence[Any]) -> Inputs:
        """Files, folders, globs, PIL images, or arrays (H W, H W C, or N of them; uint8, 0..255,
        or floats 0..1), brought to this size and number of channels.

        Files and pictures that cannot be decoded are skipped; UserError for what is no picture.

        >>> field = Image(height=8, width=8, channels=1)
        >>> field.read([np.zeros((28, 28), np.uint8)]).column.shape
        (1, 8, 8, 1)
        """
        blocks = list(self._blocks(items))
        if not blocks:
            raise UserError("there is nothing to predict: expected at least one image")
        notes = tuple(dict.fromkeys(note for block in blocks for note in block.notes))
        errors = [error for block in blocks for error in block.errors or [""] * len(block.x)]
        names = [name for block in blocks for name in block.names or [""] * len(block.x)]
        pixels = np.ascontiguousarray(np.concatenate([block.x for block in blocks]))
        good = np.flatnonzero([not error for error in errors])
        return Inputs(
            Dense(pixels if len(good) == len(pixels) else pixels[good], notes=notes),
            tuple(names[place] for place in good),
            tuple(
                Skipped(names[place], error, place) for place, error in enumerate(errors) if error
            ),
        )

    def _blocks(self, items: Sequence[Any]) -> Iterator[_Block]:
        form, channels = (self.height, self.width), self.channels
        for kind, group in groupby(enumerate(items, 1), lambda item: _kind(item[1])):
            if kind == "path":
                named = [(given, *_files(given)) for _, given in group]
                files = [file for _, found, _ in named for file in found]
                x, looks = decode.decode_all(files, decode.survey(files), form, channels)
                left = [
                    f"{where}: left out, no images: {in_words(o)}" for where, _, o in named if o
                ]
                said = decode.conversions([look for look in looks if not look.error], channels)
                names, errors = zip(*((look.name, look.error) for look in looks), strict=True)
                yield _Block(x, names, (*left, *said), errors)
                continue
            for number, item in group:
                where = f"input {number}"
                if kind == "picture":
                    yield self._picture(item, where)
                else:
                    images = _array(item, where)
                    count = images.shape[-1]
                    note = f"{where}: {count} channels, made {channels}"
                    notes = () if count == channels else (note,)
                    yield _Block(decode.refit(images, form, channels), notes=notes)

    def _picture(self, item: PIL.Image.Image, where: str) -> _Block:
        form = (self.height, self.width)
        clear = item.has_transparency_data
        look = decode.Look(where, item.width, item.height, item.mode, transparent=clear)
        try:
            item.load()
            x = decode.to_array(item, form, self.channels)[None]
        except (OSError, ValueError) as error:
            nothing = np.zeros((1, *form, self.channels), np.uint8)
            return _Block(nothing, errors=(decode.reason(error),))
        return _Block(x, notes=decode.conversions([look], self.channels))

    def issues(self, raw: Mapping[str, Column]) -> Checked:
        """How many pictures there are of which size and mode; photos are looked at as files."""
        count = sum(map(len, raw.values()))
        size = f"{self.width}x{self.height}"
        return Checked({"sizes": {size: count}, "modes": {_MODES[self.channels]: count}})

    def show(self, value: Any) -> Picture:
        """The picture itself."""
        return np.asarray(value)

    def example(self) -> Tensor:
        """1 C H W."""
        return torch.zeros(1, *self.shape)


class _Block(NamedTuple):
    """Some new pictures: uint8 N H W C, their names (none: they have none), notes, and for each
    why it cannot be read ("": it can; none: all of them can)."""

    x: np.ndarray
    names: Sequence[str] = ()
    notes: tuple[str, ...] = ()
    errors: Sequence[str] = ()


@lru_cache(maxsize=16)
def _scaling(
    mean: tuple[float, ...], std: tuple[float, ...], pixels: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Factor and summand that normalise pixels of 0..255."""
    means, stds = torch.tensor(mean), torch.tensor(std)
    if len(mean) > 1:
        # One row for a whole image: broadcasting over a last axis of 3 is five times slower.
        means, stds = means.repeat(pixels), stds.repeat(pixels)
    return (1 / (stds * 255.0)).to(device), (-means / stds).to(device)


def statistics(x: Dense) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, of values scaled to 0..1, over all pictures.

    They are counted through a histogram, so that no float copy of them is made.
    """
    levels = np.arange(256) / 255.0
    counts = np.zeros((x.shape[-1], 256), np.int64)
    for block in x.blocks():
        for channel, count in enumerate(counts):
            values = block[..., channel].reshape(-1)
            for start in range(0, len(values), _COUNTED):
                count += np.bincount(values[start : start + _COUNTED], minlength=256)
    means = [float(np.average(levels, weights=c)) for c in counts]
    stds = [
        float(np.sqrt(np.average((levels - m) ** 2, weights=c)))
        for c, m in zip(counts, means, strict=True)
    ]
    return tuple(means), tuple(std if std > 1e-8 else 1.0 for std in stds)


def image_files(given: str | os.PathLike[str]) -> tuple[list[Path], Counter[str]]:
    """The image files that are meant by a file, a folder (all in it) or a glob; UserError if none.

    Folders and globs are sorted, and only what is named as an image is taken of them: also returned
    is how many others there are of each kind.
    """
    path = paths.given(given, "predict")
    if path.is_dir():
        found, others = image_paths(path)
    elif path.exists():
        return [path], Counter()
    elif glob.has_magic(str(path)):
        matches = map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207 - absolute too
        files = sorted(file for file in matches if not file.is_dir())
        found = [file for file in files if kind_of(file) == "image"]
        left = (file.suffix.lower() for file in files if kind_of(file) != "image")
        others = Counter(suffix or "without suffix" for suffix in left)
    else:
        raise UserError(f"there is no file {path}")
    if not found:
        there = f" (found: {in_words(others)})" if others else ""
        raise UserError(f"{path} has no image{there}; kinds that are read: {' '.join(IMAGES)}")
    return found, others


def _files(given: Any) -> tuple[list[decode.ImageFile], Counter[str]]:
    """As `image_files`, ready to be opened."""
    if isinstance(given, decode.ImageFile):
        return [given], Counter()
    found, others = image_files(given)
    return [decode.ImageFile.at(path) for path in found], others


def _kind(item: Any) -> str:
    if isinstance(item, decode.ImageFile):
        return "path"
    if isinstance(item, str | os.PathLike):
        return "array" if kind_of(item) == "arrays" else "path"
    return "picture" if isinstance(item, PIL.Image.Image) else "array"


def _array(item: Any, where: str) -> np.ndarray:
    """An array of one image or of several as uint8 N H W C."""
    values = given_array(item, where)
    shape = values.shape
    if values.ndim == 2 or (values.ndim == 3 and shape[-1] in (1, 3, 4)):
        values = values[None]
    if values.ndim == 3:
        values = values[..., None]
    if values.ndim != 4 or values.shape[-1] not in (1, 3, 4) or not values.size:
        raise UserError(f"{where} has the shape {shape}: expected H W or H W C (or N of them)")
    try:
        return decode.pixels(values)
    except ValueError as error:
        raise UserError(f"{where} is no image: {error}") from None
