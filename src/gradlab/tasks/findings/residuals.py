"""Predicted against true, and what is left: for a number that is estimated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from gradlab.data.dataset import Split
from gradlab.data.loader import Batch
from gradlab.tasks.evaluation import Collector, Part, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 2000
"""Examples that are drawn, from all over the split."""
_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Residuals(Part):
    """Truths and predictions of some examples of a split, N each, in the units of `what`."""

    truth: np.ndarray
    predicted: np.ndarray
    what: str
    title = "Predicted and true"
    caption = (
        "A residual is the prediction less the truth. On the dashed line a prediction is right; a "
        "bend or a fan in the residuals is structure that the model has missed."
    )

    @property
    def left(self) -> np.ndarray:
        """The residuals, N."""
        return np.asarray(self.predicted - self.truth)

    def to_dict(self) -> dict[str, Any]:
        """Mean, standard deviation and quantiles of the residuals."""
        quantiles = zip(_SHARES, np.quantile(self.left, _SHARES).tolist(), strict=True)
        return {
            "residuals": {
                "examples": len(self.left),
                "mean": float(self.left.mean()),
                "std": float(self.left.std()),
                "quantiles": {f"{share:g}": value for share, value in quantiles},
            }
        }

    def tables(self) -> Sequence[Table]:
        """The same."""
        found = self.to_dict()["residuals"]
        rows = [("mean", found["mean"]), ("standard deviation", found["std"])]
        rows += [(f"{float(k):.0%} are below", value) for k, value in found["quantiles"].items()]
        cells = tuple((name, f"{value:.4g}") for name, value in rows)
        return (Table(("residuals", "value"), cells),)

    def figure(self) -> Figure | None:
        """Both clouds of points."""
        from gradlab.figures import predictions

        return predictions(self.truth, self.predicted, self.what)

    def words(self) -> str:
        """The residuals."""
        return (
            f"Predicted against true values of {len(self.left)} examples; residuals of mean "
            f"{self.left.mean():.4g} and standard deviation {self.left.std():.4g}"
        )


class ResidualCollector(Collector):
    """Keeps predictions and truths of examples from all over a split."""

    def __init__(self, task: Any, split: Split) -> None:
        super().__init__(task, split)
        self.step = max(-(-len(split) // MOST), 1)
        self.seen = 0
        self.kept: list[np.ndarray] = []

    def update(self, output: Tensor, batch: Batch) -> None:
        """Keep each so manieth."""
        pairs = (batch[self.task.target].double(), self.task.interpreted(output).double())
        first = -self.seen % self.step
        self.kept.append(np.stack([one.cpu().numpy()[first :: self.step] for one in pairs]))
        self.seen += len(batch)

    def compute(self) -> Part | None:
        """None where a prediction is not finite."""
        truth, predicted = np.concatenate(self.kept, axis=1) if self.kept else np.empty((2, 0))
        if not len(truth) or not np.isfinite(predicted).all():
            return None
        return Residuals(truth, predicted, self.task.field.column or "y")
