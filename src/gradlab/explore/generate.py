"""Images from a run that has learnt to make them: as arrays, a grid, a folder, a file."""

from __future__ import annotations

import io
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gradlab import files
from gradlab.config import Runtime
from gradlab.errors import UserError
from gradlab.report.writing import png
from gradlab.runs import Run, load
from gradlab.tasks.evaluation import Table
from gradlab.tasks.generating import Generative, latent_vectors, slerp
from gradlab.tasks.pictures import grid

STEPS = 8
"""Images in a row of an interpolation."""
KINDS = "a grid (.png), arrays (.npz) or a folder of PNGs (no suffix)"


@dataclass(frozen=True)
class Generated:
    """Images that a run has made. images: uint8 N H W C."""

    run: str
    seed: int
    interpolated: bool
    images: np.ndarray = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """How many there are, and of what form, for JSON."""
        count, height, width, channels = self.images.shape
        return {
            "run": self.run,
            "count": count,
            "seed": self.seed,
            "width": width,
            "height": height,
            "channels": channels,
        }

    def tables(self) -> list[Table]:
        """The same in a row."""
        count, height, width, channels = self.images.shape
        header = ("images", "width", "height", "channels", "seed")
        row = tuple(map(str, (count, width, height, channels, self.seed)))
        return [Table(header, (row,))]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the images, see `save_images`; interpolations in rows of their own."""
        save_images(self.images, path, columns=STEPS if self.interpolated else 0)


def generate(
    run: str | os.PathLike[str] | Run,
    count: int = 64,
    *,
    seed: int = 0,
    interpolate: bool = False,
    runtime: Runtime | None = None,
) -> Generated:
    """Images that a run makes, equal for equal seeds.

    With `interpolate` they are ways of 8 images between pairs of random points. `runtime` is that
    of a run given by its folder. UserError for a run that makes no images.
    """
    if count < 1:
        raise UserError(f"--count: expected at least 1, found {count}")
    run = load(run, runtime=runtime)
    task = run.task
    if not isinstance(task, Generative):
        raise UserError(
            f"{run.path} makes no images ({run.recipe.name}): generate needs the run of a "
            "generator, such as 'gradlab train dcgan'"
        )
    if interpolate:
        ways = -(-count // STEPS)
        ends = latent_vectors(task, 2 * ways, seed)
        z = slerp(ends[:ways], ends[ways:], STEPS)[:count]
    else:
        z = latent_vectors(task, count, seed)
    with run.task.setup.applied():
        return Generated(str(run.path), seed, interpolate, task.generate(z))


def check_out(path: str | os.PathLike[str]) -> str:
    """The suffix that says how images are written; UserError for a kind that is not."""
    kind = Path(path).suffix.lower()
    if kind not in (".png", ".npz") and (kind or Path(path).is_file()):
        raise UserError(f"--out: images are written as {KINDS}, found {str(path)!r}")
    return kind


def save_images(images: np.ndarray, path: str | os.PathLike[str], columns: int = 0) -> None:
    """Write images (uint8 N H W C) as the name says: .png a grid, .npz an array x, else a folder.

    `columns` of the grid, 0: as many as rows. Files of a folder are numbered; those that are there
    already are replaced, others are left.
    """
    kind, place = check_out(path), Path(path)
    if kind == ".png":
        files.write_bytes(place, png(grid(images, columns or math.ceil(math.sqrt(len(images))))))
    elif kind == ".npz":
        buffer = io.BytesIO()
        np.savez_compressed(buffer, x=images)
        files.write_bytes(place, buffer.getvalue())
    else:
        width = len(str(len(images)))
        for number, image in enumerate(images, 1):
            files.write_bytes(place / f"{number:0{width}}.png", png(image))
