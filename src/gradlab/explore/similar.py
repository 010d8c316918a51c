"""Retrieval: the images whose features are nearest to those of an image."""

from __future__ import annotations

import io
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlab import files
from gradlab.data.columns import Dense
from gradlab.data.fields.image import Image
from gradlab.drawing import short
from gradlab.errors import UserError
from gradlab.explore.features import Examples, Features, gather, of_examples
from gradlab.runs import Run, load
from gradlab.tasks.evaluation import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACROSS = 5
"""Pictures in a row of the grid."""


@dataclass(frozen=True)
class Neighbour:
    """An image that was found: `similarity` is the cosine of the angle between the features."""

    id: str
    label: str | float | None
    similarity: float
    split: str = ""


@dataclass(frozen=True)
class Similar:
    """The images nearest to `query`, nearest first.

    `left_out` counts those that are the query itself, pixel for pixel. images: uint8 N H W C, the
    query and then the neighbours, in the size that the network reads.
    """

    run: str
    query: str
    layer: str
    neighbours: tuple[Neighbour, ...]
    left_out: int
    images: np.ndarray = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; without the pictures."""
        return {
            "run": self.run,
            "query": self.query,
            "layer": self.layer,
            "left_out": self.left_out,
            "neighbours": [asdict(neighbour) for neighbour in self.neighbours],
        }

    def tables(self) -> tuple[Table, ...]:
        """The neighbours."""
        rows = tuple((n.id, _words(n.label), f"{n.similarity:.4f}") for n in self.neighbours)
        return (Table(("image", "label", "similarity"), rows),)

    def figure(self) -> Figure:
        """The pictures in a grid, the query first."""
        from matplotlib.figure import Figure

        rows = math.ceil(len(self.images) / ACROSS)
        figure = Figure(figsize=(1.5 * ACROSS, 1.9 * rows), layout="constrained")
        for place, image in enumerate(self.images):
            axes = figure.add_subplot(rows, ACROSS, place + 1)
            axes.imshow(
                image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255
            )
            axes.set_xticks([])
            axes.set_yticks([])
            title = f"query\n{Path(self.query).name}"
            if place:
                found = self.neighbours[place - 1]
                title = f"{_words(found.label) or Path(found.id).name}\n{found.similarity:.3f}"
            axes.set_title(
                "\n".join(short(line, 18) for line in title.split("\n")),
                fontsize=8,
                fontweight="normal" if place else "bold",
                parse_math=False,
            )
        return figure

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the grid as a PNG."""
        check_png(path)
        buffer = io.BytesIO()
        self.figure().savefig(buffer, format="png", dpi=120)
        files.write_bytes(Path(path), buffer.getvalue())


def similar(
    run: Run | str | os.PathLike[str],
    image: Any,
    data: Any = None,
    *,
    count: int = 8,
    layer: str | None = None,
    split: str | None = None,
) -> Similar:
    """The `count` images of `data` that a network finds most like `image`.

    `image` is a path, an array or a PIL image; `data` as in `gradlab.features`, but None stands
    for the training split of the run's own dataset. Images equal to `image` pixel for pixel are
    left out. Features are those before the last linear layer, or of `layer`; they are compared by
    the cosine of their angle.
    """
    run = load(run)
    name, _ = run.schema.input(Image, f"{run.path}: a search for similar images")
    if count < 1:
        raise UserError(f"count: expected at least 1, found {count}")
    given = run.read([image])
    wanted, notes = given.split, given.notes
    if len(wanted) != 1:
        raise UserError(f"expected one image to compare with, found {len(wanted)} in {image}")
    examples = gather(run, data, split or ("train" if data is None else None), by="similar")
    known = of_examples(run, examples, layer=layer)
    query = of_examples(run, Examples({"": wanted}, notes=notes), layer=layer)
    columns = [part[name] for part in examples.parts.values()]
    picture = wanted[name][0]
    itself = np.concatenate([_equal(column, picture) for column in columns])
    cosine = cosines(known.values, query.values[0])
    cosine[itself] = -np.inf
    order = np.argsort(-cosine, kind="stable")[: min(count, int((~itself).sum()))]
    return Similar(
        str(run.path),
        wanted.ids[0] if isinstance(image, str | os.PathLike) else "image",
        known.layer,
        tuple(_neighbour(known, int(i), float(cosine[i])) for i in order),
        int(itself.sum()),
        np.stack([picture, *(_at(columns, int(i)) for i in order)]),
    )


def cosines(values: np.ndarray, query: np.ndarray) -> np.ndarray:
    """The cosine of the angle between each row of N D and a query of D; 0 for a row of zeros.

    >>> cosines(np.array([[2.0, 0.0], [0.0, 3.0], [0.0, 0.0]]), np.array([1.0, 0.0])).tolist()
    [1.0, 0.0, 0.0]
    """
    lengths = np.linalg.norm(values, axis=1) * np.linalg.norm(query)
    found: np.ndarray = values @ query / np.where(lengths > 0, lengths, 1)
    return found


def check_png(path: str | os.PathLike[str]) -> None:
    """UserError for a grid that is no PNG."""
    if Path(path).suffix.lower() != ".png":
        raise UserError(f"the grid is written as .png, found {str(path)!r}")


def _equal(column: Dense, picture: np.ndarray) -> np.ndarray:
    """Which images of a column (N H W C) are a picture (H W C), pixel for pixel."""
    return np.concatenate([(block == picture).all(axis=(1, 2, 3)) for block in column.blocks()])


def _at(columns: list[Dense], number: int) -> np.ndarray:
    """An image of several columns, counted through."""
    for column in columns:
        if number < len(column):
            return column[number]
        number -= len(column)
    raise IndexError(number)


def _neighbour(known: Features, index: int, similarity: float) -> Neighbour:
    label: str | float | None = None
    if known.labels is not None:
        value = known.labels[index]
        label = known.classes[value] if known.classes else float(value)
    return Neighbour(known.ids[index], label, similarity, known.splits[index])


def _words(label: str | float | None) -> str:
    if label is None:
        return ""
    return label if isinstance(label, str) else f"{label:.4g}"
