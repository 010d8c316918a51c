"""What is taken for what: counts of truth against answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gradlab.data.dataset import Split
from gradlab.data.loader import Batch
from gradlab.tasks.evaluation import Collector, Part, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Confusion(Part):
    """Counts of truth against answer, K K, rows are the truth."""

    classes: tuple[str, ...]
    counts: np.ndarray
    title = "Confusion matrix"
    caption = (
        "Rows: truth. Columns: prediction. The stronger the colour, the larger the share of the "
        "row."
    )

    @property
    def per_class(self) -> dict[str, dict[str, float]]:
        """Precision, recall, F1 and the number of examples of each class.

        By the counts: scikit-learn, loaded for this alone, would take a second and 60 MB.
        """
        right, truth, given = self.counts.diagonal(), self.counts.sum(1), self.counts.sum(0)
        figures = {
            "precision": right / given.clip(1),
            "recall": right / truth.clip(1),
            "f1": 2 * right / (truth + given).clip(1),
            "count": truth,
        }
        return {
            name: {key: float(np.float32(values[k])) for key, values in figures.items()}
            for k, name in enumerate(self.classes)
        }

    def to_dict(self) -> dict[str, Any]:
        """Classes, figures of each, and the counts."""
        return {
            "classes": list(self.classes),
            "per_class": self.per_class,
            "confusion": self.counts.tolist(),
        }

    def tables(self) -> Sequence[Table]:
        """The figures of each class, and the most common confusions."""
        from gradlab.drawing import confusions

        rows = tuple(
            (
                name,
                *(f"{row[key]:.4f}" for key in ("precision", "recall", "f1")),
                f"{row['count']:.0f}",
            )
            for name, row in self.per_class.items()
        )
        common = tuple(
            (truth, answer, str(count), f"{share:.1%}")
            for truth, answer, count, share in confusions(self.counts, self.classes)
        )
        header = ("class", "precision", "recall", "F1", "examples")
        return (
            Table(header, rows, folded=True, title="Each class"),
            Table(
                ("truth", "taken for", "count", "of the class"), common, title="Common confusions"
            ),
        )

    def figure(self) -> Figure | None:
        """The matrix, coloured."""
        from gradlab.drawing import confusion_matrix

        return confusion_matrix(self.counts, self.classes)

    def words(self) -> str:
        """How many are right."""
        right, total = int(np.trace(self.counts)), int(self.counts.sum())
        return f"Confusion matrix of {len(self.counts)} classes: {right} of {total} right"


class ConfusionCollector(Collector):
    """Counts truth against answer."""

    def __init__(self, task: Any, split: Split) -> None:
        super().__init__(task, split)
        count = len(task.field.classes)
        self.counts = np.zeros((count, count), np.int64)

    def update(self, output: Tensor, batch: Batch) -> None:
        """Count a batch."""
        count = len(self.counts)
        pairs = batch[self.task.target] * count + self.task.chosen(output)
        found = torch.bincount(pairs, minlength=count**2).view(count, count)
        self.counts += found.cpu().numpy()

    def compute(self) -> Part:
        """The matrix."""
        return Confusion(self.task.field.classes, self.counts)
