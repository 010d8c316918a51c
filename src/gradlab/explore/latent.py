"""What an autoencoder's latent vector holds, beside as many principal components."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlab import files
from gradlab.config import Runtime
from gradlab.data import Dataset
from gradlab.data.fields.label import Label
from gradlab.drawing import short
from gradlab.errors import UserError
from gradlab.runs import Run, load
from gradlab.tasks.activations import activations
from gradlab.tasks.autoencoder import Autoencoder
from gradlab.tasks.evaluation import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAWN = 5_000
"""Examples on a map, at most."""
NAMED = 20
"""Classes up to which a map names them."""


@dataclass(frozen=True)
class Latent:
    """An autoencoder beside the principal components of its training split.

    mse, pca_mse: mean squared error of what is reconstructed from `code` numbers (the size
    of the latent vector), per value (of pixels from 0 to 1), on `split`. latents, components: N 2,
    the first two principal components of the latent vectors (the vectors themselves when they are
    of two numbers) and of the examples. labels: N class numbers, None where the dataset has no
    classes.
    """

    run: str
    split: str
    code: int
    examples: int
    mse: float
    pca_mse: float
    latents: np.ndarray = field(repr=False)
    components: np.ndarray = field(repr=False)
    labels: np.ndarray | None = field(default=None, repr=False)
    classes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The figures, for JSON."""
        return {
            "run": self.run,
            "split": self.split,
            "code": self.code,
            "examples": self.examples,
            "mse": self.mse,
            "pca_mse": self.pca_mse,
            "classes": list(self.classes),
        }

    def tables(self) -> list[Table]:
        """The error of both."""
        header = (f"{self.code} numbers for an example", f"mse on {self.split}")
        rows = (("autoencoder", f"{self.mse:.5f}"), ("PCA", f"{self.pca_mse:.5f}"))
        return [Table(header, rows)]

    def figure(self) -> Figure:
        """Both maps side by side, coloured by class where there are classes."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 5.2), layout="constrained")
        named = "the latent vector"
        if self.code != 2:
            named = f"two principal components of a latent vector of {self.code}"
        maps = ((f"autoencoder: {named}", self.latents), ("PCA: two components", self.components))
        for place, (title, points) in enumerate(maps, 1):
            axes = figure.add_subplot(1, 2, place)
            handles = self._scatter(axes, points)
            axes.set_title(f"{title}\nof {len(points):,} {self.split} examples", fontsize=10)
            axes.set_xticks([])
            axes.set_yticks([])
        if 0 < len(self.classes) <= NAMED:
            names = [short(name, 30) for name in self.classes]
            legend = figure.legend(handles, names, loc="outside right center", markerscale=4)
            for text in legend.get_texts():
                text.set_parse_math(False)  # a class may be called "$"
        return figure

    def _scatter(self, axes: Axes, points: np.ndarray) -> list[Any]:
        """The points of a map, one cloud for each class."""
        if self.labels is None:
            return [axes.scatter(points[:, 0], points[:, 1], s=3, alpha=0.6)]
        clouds = [points[self.labels == number] for number in range(len(self.classes))]
        return [
            axes.scatter(cloud[:, 0], cloud[:, 1], s=3, alpha=0.6, color=colour)
            for cloud, colour in zip(clouds, colours(len(clouds)), strict=True)
        ]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the maps as a PNG."""
        check_out(path)
        buffer = io.BytesIO()
        self.figure().savefig(buffer, format="png", dpi=100)
        files.write_bytes(Path(path), buffer.getvalue())


def latent(
    run: Run | str | os.PathLike[str], split: str = "val", *, runtime: Runtime | None = None
) -> Latent:
    """Measure the run of an autoencoder on a split; reading test is recorded in the run.

    The principal components are those of `Autoencoder.principal_components`. `runtime` is that of
    a run given by its folder. UserError for a run of another task.
    """
    from sklearn.decomposition import PCA

    opened = load(run, runtime=runtime)
    task = opened.task
    if not isinstance(task, Autoencoder):
        raise UserError(
            f"{opened.path} is a run of {opened.recipe.name!r}: expected that of an autoencoder "
            "(gradlab train autoencoder)"
        )
    size = int(getattr(task.model, "code", 0))
    if not size:
        raise UserError("this network has no `.code`: how many numbers its `.encoder` gives")
    dataset: Dataset = opened.dataset
    examples = dataset.split(split)
    if task.dataset is None:
        task.dataset = dataset
    with task.setup.applied():
        metrics = task.measure(split)
        if split == "test":
            opened.note_reading("latent", metrics)
        pca = task.principal_components(max(size, 2))
        values = task.values(examples)
        drawn = np.linspace(0, len(values) - 1, min(len(values), DRAWN)).astype(int)
        latents = activations(task, examples.take(drawn), None)[0]
    points = pca.transform(values)
    kept = min(size, pca.n_components_)
    reconstructed = points[:, :kept] @ pca.components_[:kept] + pca.mean_
    if latents.shape[1] != 2:
        latents = _two(PCA(min(2, *latents.shape)).fit_transform(latents))
    label = next((n for n, f in dataset.schema.targets.items() if isinstance(f, Label)), None)
    return Latent(
        run=str(opened.path),
        split=split,
        code=size,
        examples=len(values),
        mse=metrics["mse"],
        pca_mse=float(np.mean((values - reconstructed) ** 2)),
        latents=latents,
        components=_two(points[drawn, :2]),
        labels=None if label is None else np.asarray(examples[label][drawn]),
        classes=() if label is None else dataset.schema.targets[label].classes,  # type: ignore[attr-defined]
    )


def check_out(path: str | os.PathLike[str]) -> None:
    """UserError for a file in which the maps cannot be written."""
    if Path(path).suffix.lower() != ".png":
        raise UserError(f"the maps are written as .png, found {str(path)!r}")


def colours(count: int) -> list[Any]:
    """A colour for each class, none twice: those of matplotlib up to 20, else a spectrum.

    >>> len(set(colours(37)))
    37
    """
    from matplotlib import colormaps

    if count <= 20:
        return [colormaps["tab10" if count <= 10 else "tab20"](number) for number in range(count)]
    return [colormaps["turbo"](place) for place in np.linspace(0, 1, count)]


def _two(points: np.ndarray) -> np.ndarray:
    """Points of one dimension or two as N 2."""
    return np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
