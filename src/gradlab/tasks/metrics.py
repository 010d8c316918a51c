"""Metrics that stream: each sees a split batch by batch, and no task holds a split's outputs.

What a metric's figure means, which way it improves and how it is written stands in
`gradlab.measures`, under its name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from gradlab.data.loader import Batch


class Metric(ABC):
    """One figure of a split; made anew for each evaluation, with the task that asks for it."""

    name: ClassVar[str]

    def __init__(self, task: Any) -> None:
        self.task = task

    @abstractmethod
    def update(self, output: Any, batch: Batch) -> None:
        """Take in the outputs (float32) for a batch."""

    @abstractmethod
    def compute(self) -> float | None:
        """The figure; None where the split does not define it."""


class Mean(Metric):
    """A mean over examples, of what `value` says of a batch."""

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.total: Tensor | float = 0.0
        self.count = 0

    @abstractmethod
    def value(self, output: Any, batch: Batch) -> Tensor:
        """The mean over the batch."""

    def update(self, output: Any, batch: Batch) -> None:
        """Weighted by the batch's examples."""
        self.total = self.total + self.value(output, batch).double() * len(batch)
        self.count += len(batch)

    def compute(self) -> float | None:
        """Over all examples."""
        return float(self.total) / self.count if self.count else None


class Loss(Mean):
    """What the task's criterion says, without label smoothing and penalties."""

    name = "loss"

    def value(self, output: Any, batch: Batch) -> Tensor:
        """The criterion of the batch."""
        found: Tensor = self.task.measured_loss(output, batch)
        return found


class Accuracy(Mean):
    """The share of the examples whose likeliest class is the right one."""

    name = "accuracy"

    def value(self, output: Tensor, batch: Batch) -> Tensor:
        """Of the batch."""
        right: Tensor = self.task.chosen(output) == batch[self.task.target]
        return right.double().mean()


class Squared(Mean):
    """The mean squared error, in the target's own units."""

    name = "mse"

    def value(self, output: Tensor, batch: Batch) -> Tensor:
        """Of the batch."""
        error = self.task.interpreted(output).double() - batch[self.task.target].double()
        mean: Tensor = error.square().mean()
        return mean


class Absolute(Mean):
    """The mean absolute error, in the target's own units."""

    name = "mae"

    def value(self, output: Tensor, batch: Batch) -> Tensor:
        """Of the batch."""
        error = self.task.interpreted(output).double() - batch[self.task.target].double()
        mean: Tensor = error.abs().mean()
        return mean


class Determination(Metric):
    """R2: the share of the target's variance that the answers explain."""

    name = "r2"

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        # Sums around the training mean: around 0 large numbers would lose their digits.
        self.sums = np.zeros(3)
        self.count = 0

    def update(self, output: Tensor, batch: Batch) -> None:
        """Add the batch's sums."""
        y = batch[self.task.target].double() - self.task.field.mean
        error = self.task.interpreted(output).double() - self.task.field.mean - y
        sums = torch.stack([y.sum(), y.square().sum(), error.square().sum()])
        self.sums += sums.cpu().numpy()
        self.count += len(batch)

    def compute(self) -> float | None:
        """None where the target does not vary."""
        total, squares, errors = self.sums.tolist()
        spread = squares - total**2 / max(self.count, 1)
        return 1 - errors / spread if spread > 1e-12 * max(squares, 1e-300) else None


class RocAuc(Metric):
    """The area under the ROC curve of one logit; it needs the order of all of them."""

    name = "roc_auc"

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.scores: list[np.ndarray] = []
        self.truths: list[np.ndarray] = []

    def update(self, output: Tensor, batch: Batch) -> None:
        """Keep the batch's scores."""
        self.scores.append(output[:, 0].cpu().numpy())
        self.truths.append(batch[self.task.target].cpu().numpy())

    def compute(self) -> float | None:
        """None where there is one class only, or a score is not finite."""
        from sklearn.metrics import roc_auc_score

        scores, truths = np.concatenate(self.scores), np.concatenate(self.truths)
        if len(np.unique(truths)) < 2 or not np.isfinite(scores).all():
            return None
        return float(roc_auc_score(truths, scores))
