"""Retrieval: the images whose features are nearest to those of an image."""

from __future__ import annotations

import io
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlab import files
from gradlab.data import Split
from gradlab.data.inputs import read
from gradlab.errors import UserError
from gradlab.recipes.features import Examples, Features, gather, of_examples
from gradlab.recipes.figures import short
from gradlab.recipes.run import Run, load

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

    query: str
    layer: str
    neighbours: tuple[Neighbour, ...]
    left_out: int
    images: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """For JSON; without the pictures."""
        return {
            "query": self.query,
            "layer": self.layer,
            "left_out": self.left_out,
            "neighbours": [asdict(neighbour) for neighbour in self.neighbours],
        }

    def grid(self) -> Figure:
        """The pictures as a matplotlib figure, the query first."""
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
                name = found.id if found.label is None else found.label
                title = f"{Path(str(name)).name}\n{found.similarity:.3f}"
            axes.set_title(
                "\n".join(short(line, 18) for line in title.split("\n")),
                fontsize=8,
                fontweight="normal" if place else "bold",
                parse_math=False,
            )
        return figure

    def save_grid(self, path: str | os.PathLike[str]) -> None:
        """Write the grid as a PNG."""
        check_png(path)
        buffer = io.BytesIO()
        self.grid().savefig(buffer, format="png", dpi=120)
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
    run = run if isinstance(run, Run) else load(run)
    if run.schema.kind != "image":
        raise UserError(f"similar images need a run on images; {run.path} reads a table or arrays")
    if count < 1:
        raise UserError(f"count: expected at least 1, found {count}")
    x, names = read(run.schema, [image])
    if len(x) != 1:
        raise UserError(f"expected one image to compare with, found {len(x)} in {image}")
    examples = gather(run, data, split or ("train" if data is None else None))
    known = of_examples(run, examples, layer=layer)
    query = of_examples(
        run, Examples({"": Split(x, np.zeros(1, np.int64), names)}, labelled=False), layer=layer
    )
    pixels = np.concatenate([part.x for part in examples.parts.values()])
    itself = (pixels == x).all(axis=(1, 2, 3))
    cosine = cosines(known.values, query.values[0])
    cosine[itself] = -np.inf
    order = np.argsort(-cosine, kind="stable")[: min(count, int((~itself).sum()))]
    return Similar(
        names[0] if isinstance(image, str | os.PathLike) else "image",
        known.layer,
        tuple(_neighbour(known, int(i), float(cosine[i])) for i in order),
        int(itself.sum()),
        np.concatenate([x, pixels[order]]),
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


def _neighbour(known: Features, index: int, similarity: float) -> Neighbour:
    label: str | float | None = None
    if known.labels is not None:
        value = known.labels[index]
        label = known.classes[value] if known.classes else float(value)
    return Neighbour(known.ids[index], label, similarity, known.splits[index])
