"""Whether probabilities are what they say: of all that is said with 80 %, 80 % should be so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from gradlab.data.dataset import Split
from gradlab.data.loader import Batch
from gradlab.tasks.evaluation import Collector, Part, Table
from gradlab.tasks.metrics import Bins

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Reliability(Part):
    """Examples by the probability that is said: `counts`, mean `said`, share `found` (NaN in an
    empty bin), of bins of equal width; `of` is what the probability is of."""

    of: str
    counts: np.ndarray
    said: np.ndarray
    found: np.ndarray
    error: float
    title = "Calibration"

    @property
    def caption(self) -> str:  # type: ignore[override]
        """How to read it, and the figure."""
        return (
            "Above the dashed line more is so than is said, below it less. Expected calibration "
            f"error: {self.error:.4g}, the mean distance from the line over all examples "
            f"({len(self.counts)} bins of equal width)."
        )

    def to_dict(self) -> dict[str, Any]:
        """The error and the bins that are not empty."""
        edges = np.linspace(0, 1, len(self.counts) + 1)
        bins = [
            {
                "from": float(edges[k]),
                "to": float(edges[k + 1]),
                "count": int(self.counts[k]),
                "said": float(self.said[k]),
                "found": float(self.found[k]),
            }
            for k in np.flatnonzero(self.counts)
        ]
        return {"calibration": {"of": self.of, "error": self.error, "bins": bins}}

    def tables(self) -> Sequence[Table]:
        """The bins that are not empty."""
        rows = tuple(
            (
                f"{one['from']:.1%} to {one['to']:.1%}",
                str(one["count"]),
                f"{one['said']:.1%}",
                f"{one['found']:.1%}",
            )
            for one in self.to_dict()["calibration"]["bins"]
        )
        header = (f"probability of {self.of}", "examples", "said", "is so")
        return (Table(header, rows, folded=True, title="Calibration in numbers"),)

    def figure(self) -> Figure | None:
        """The reliability diagram."""
        from gradlab.figures import reliability

        return reliability(self.said, self.found, self.counts, self.of)

    def words(self) -> str:
        """The error."""
        return f"Reliability diagram: expected calibration error {self.error:.4g}"


class ReliabilityCollector(Collector):
    """Sorts examples by how sure the task is of them (`task.sureness`)."""

    def __init__(self, task: Any, split: Split) -> None:
        super().__init__(task, split)
        self.bins = Bins()

    def update(self, output: Tensor, batch: Batch) -> None:
        """Sort a batch in."""
        self.bins.update(*self.task.sureness(output, batch))

    def compute(self) -> Part | None:
        """The bins; None where a probability is not finite."""
        error = self.bins.error
        if error is None or not np.isfinite(error):
            return None
        count, said, found = self.bins.sums
        each = np.where(count > 0, count, np.nan)
        classes = self.task.field.classes
        of = repr(classes[self.task.positive]) if len(classes) == 2 else "the likeliest class"
        return Reliability(of, count.astype(np.int64), said / each, found / each, error)
