"""Images out of a run that has learnt to make them: as arrays, a grid, a folder, a file."""

from __future__ import annotations

import io
import math
import os
from pathlib import Path

import numpy as np

from gradlab import files
from gradlab.errors import UserError
from gradlab.insight.generated import Judgement
from gradlab.recipes.reporting import png
from gradlab.recipes.run import Run, load
from gradlab.tasks.gan import Gan
from gradlab.tasks.generating import Generative, blend, latents
from gradlab.tasks.judge import MOST, Judge
from gradlab.tasks.pictures import grid

STEPS = 8
"""Images in a row of an interpolation."""
_KINDS = "a grid (.png), arrays (.npz) or a folder of PNGs (no suffix)"


def generate(
    run: str | os.PathLike[str] | Run,
    count: int = 64,
    *,
    seed: int = 0,
    interpolate: bool = False,
) -> np.ndarray:
    """Images that a run makes: uint8 N H W C, equal for equal seeds.

    With `interpolate` they are ways of 8 images between pairs of random points. UserError for a
    run that makes no images.
    """
    run = run if isinstance(run, Run) else load(run)
    if count < 1:
        raise UserError(f"--count: expected at least 1, found {count}")
    task = getattr(run, "task", None)  # an ensemble has none
    if not isinstance(task, Generative):
        raise UserError(
            f"{run.path} makes no images ({run.recipe.name}): generate needs the run of a "
            "generator, such as 'gradlab train dcgan'"
        )
    if not interpolate:
        return task.make(latents(task, count, seed))
    ways = -(-count // STEPS)
    ends = latents(task, 2 * ways, seed)
    return task.make(blend(ends[:ways], ends[ways:], STEPS)[:count])


def check_out(path: str | os.PathLike[str]) -> str:
    """The suffix that says how images are written; UserError for a kind that is not."""
    kind = Path(path).suffix.lower()
    if kind not in (".png", ".npz") and (kind or Path(path).is_file()):
        raise UserError(f"--out: images are written as {_KINDS}, found {str(path)!r}")
    return kind


def save(images: np.ndarray, path: str | os.PathLike[str], columns: int = 0) -> None:
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


def judge(
    run: str | os.PathLike[str] | Run,
    by: str | os.PathLike[str],
    *,
    split: str = "test",
    count: int = MOST,
) -> Judgement:
    """The figures of a generator's images, in the features of a classifier's run `by`.

    `count` images are made, at most as many as `split` has. Reading test is recorded in the run.
    """
    run = run if isinstance(run, Run) else load(run)
    if not isinstance(task := getattr(run, "task", None), Gan):
        raise UserError(f"{run.path} makes no images to judge: expected the run of a gan")
    opened = Judge.open(str(by), task.setup)
    if task.dataset is None:
        task.dataset = run.dataset
    found = task.judged(opened, split, count)
    if split == "test":
        run.folder.append({"event": "test read", "by": "judge", "metrics": found.metrics})
    return found
