"""What an autoencoder's code holds, beside what principal components of the same number hold."""

from __future__ import annotations

import io
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlab import files
from gradlab.data import Split
from gradlab.errors import UserError
from gradlab.recipes.run import Run, load
from gradlab.recipes.similar import check_png
from gradlab.tasks.activations import activations
from gradlab.tasks.autoencoder import AutoencoderTask

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FITTED = 20_000
"""Training examples that the principal components are fitted to, at most."""
EXACT = 2_500
"""Values of an example up to which the principal components are exact."""
DRAWN = 5_000
"""Examples on a map, at most."""


@dataclass(frozen=True)
class Latent:
    """An autoencoder beside the principal components of its training split.

    mse, pca_mse: mean squared error of what is restored from `code` numbers, per value (of pixels
    from 0 to 1), on `split`. codes, components: N 2, the first two principal components of the
    codes (the codes themselves when there are two) and of the examples. labels: N class numbers.
    """

    run: str
    split: str
    code: int
    examples: int
    mse: float
    pca_mse: float
    codes: np.ndarray = field(repr=False)
    components: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    classes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The figures, for JSON."""
        arrays = ("codes", "components", "labels")
        return {key: value for key, value in asdict(self).items() if key not in arrays}

    def figure(self) -> Figure:
        """Both maps side by side, coloured by class."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 5.2), layout="constrained")
        named = "the code" if self.code == 2 else f"two principal components of {self.code} codes"
        maps = ((f"autoencoder: {named}", self.codes), ("PCA: two components", self.components))
        for place, (title, points) in enumerate(maps, 1):
            axes = figure.add_subplot(1, 2, place)
            for number, name in enumerate(self.classes or ("",)):
                chosen = self.labels == number if self.classes else slice(None)
                x, y = points[chosen, 0], points[chosen, 1]
                axes.scatter(x, y, s=3, alpha=0.6, color=f"C{number % 10}", label=name)
            axes.set_title(f"{title}\nof {len(points):,} {self.split} examples", fontsize=10)
            axes.set_xticks([])
            axes.set_yticks([])
        if 0 < len(self.classes) <= 20:
            handles, names = figure.axes[0].get_legend_handles_labels()
            figure.legend(handles, names, loc="outside right center", markerscale=4)
        return figure

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the maps as a PNG."""
        check_png(path)
        buffer = io.BytesIO()
        self.figure().savefig(buffer, format="png", dpi=100)
        files.write_bytes(Path(path), buffer.getvalue())


def latent(run: Run | str | os.PathLike[str], split: str = "val") -> Latent:
    """Measure the run of an autoencoder on a split; reading test is recorded in the run.

    The principal components are fitted to at most `FITTED` examples of the training split, spread
    over all of it. UserError for a run of another task.
    """
    from sklearn.decomposition import PCA

    opened = run if isinstance(run, Run) else load(run)
    task = opened.task
    if not isinstance(task, AutoencoderTask):
        raise UserError(
            f"{opened.path} is a run of {opened.recipe.name!r}: expected that of an autoencoder "
            "(gradlab train autoencoder)"
        )
    metrics = opened.details(split).metrics
    train = opened.dataset.splits["train"]
    spread = np.linspace(0, len(train) - 1, min(len(train), FITTED)).astype(int)
    size = int(getattr(task.model, "code", 0))
    if not size:
        raise UserError("this network says no `.code`: the numbers that its `.encoder` makes")
    least = min(len(spread), int(np.prod(opened.schema.shape)))
    # A code wider than the data has rank for nothing more than the data themselves.
    # The exact solver holds a square matrix of the values of an example.
    solver = "covariance_eigh" if np.prod(opened.schema.shape) <= EXACT else "randomized"
    pca = PCA(min(max(size, 2), least), svd_solver=solver, random_state=0)
    pca.fit(_values(train.x[spread]))
    examples = opened.dataset.splits[split]  # type: ignore[index]
    values = _values(np.asarray(examples.x))
    points = pca.transform(values)
    kept = min(size, pca.n_components_)
    restored = points[:, :kept] @ pca.components_[:kept] + pca.mean_
    pca_mse = float(np.mean((values - restored) ** 2))
    drawn = np.linspace(0, len(values) - 1, min(len(values), DRAWN)).astype(int)
    part = Split(np.ascontiguousarray(examples.x[drawn]), examples.y[drawn])
    codes = activations(task, part, None)[0]
    if codes.shape[1] != 2:
        codes = PCA(min(2, codes.shape[1])).fit_transform(codes)
        codes = np.pad(codes, ((0, 0), (0, 2 - codes.shape[1])))
    return Latent(
        str(opened.path), split, size, len(values), metrics["mse"], pca_mse, codes,
        points[drawn, :2], np.asarray(examples.y[drawn]), opened.schema.classes,
    )  # fmt: skip


def _values(x: np.ndarray) -> np.ndarray:
    """Examples as float64 N D; pixels from 0 to 1."""
    flat = np.asarray(x).reshape(len(x), -1).astype(np.float64)
    return flat / 255 if x.dtype == np.uint8 else flat
