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


class ClassCounts(Metric):
    """A figure of how many examples of each class there are, were answered, and were both."""

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.counts: Tensor | None = None

    def pairs(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Truth and answer of each example, class numbers."""
        return batch[self.task.target], self.task.chosen(output)

    def update(self, output: Tensor, batch: Batch) -> None:
        """Count a batch, on its device."""
        truth, answer = self.pairs(output, batch)
        if self.counts is None:
            classes = len(self.task.field.classes)
            self.counts = torch.zeros(3, classes, dtype=torch.float64, device=truth.device)
        right = (truth == answer).double()
        one = torch.ones_like(right)
        for row, (place, weight) in enumerate(((truth, one), (answer, one), (truth, right))):
            self.counts[row].index_add_(0, place, weight)

    def compute(self) -> float | None:
        """None for a split without examples."""
        if self.counts is None:
            return None
        return self.figure(*self.counts.cpu().numpy())

    @abstractmethod
    def figure(self, truth: np.ndarray, answered: np.ndarray, right: np.ndarray) -> float:
        """Of the counts of each class, K each."""


class BalancedAccuracy(ClassCounts):
    """The mean of the recalls of all classes that the split has (Brodersen et al. 2010)."""

    name = "balanced_accuracy"

    def figure(self, truth: np.ndarray, answered: np.ndarray, right: np.ndarray) -> float:
        """Of the counts of each class."""
        there = truth > 0
        return float((right[there] / truth[there]).mean())


class F1(ClassCounts):
    """The harmonic mean of precision and recall of the positive class, of two classes."""

    name = "f1"

    def figure(self, truth: np.ndarray, answered: np.ndarray, right: np.ndarray) -> float:
        """Of the counts of both; 0 where the positive class neither is there nor is answered."""
        k = self.task.positive
        return float(2 * right[k] / max(truth[k] + answered[k], 1))


class MacroF1(ClassCounts):
    """The mean of the F1 of all classes that the split has or that are answered."""

    name = "macro_f1"

    def figure(self, truth: np.ndarray, answered: np.ndarray, right: np.ndarray) -> float:
        """Of the counts of each class."""
        both = truth + answered
        return float((2 * right[both > 0] / both[both > 0]).mean())


def by_score(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, ...]:
    """The distinct scores, highest first, and how many positive and other examples have each.

    >>> by_score(np.array([0.2, 0.9, 0.2]), np.array([True, True, False]))
    (array([0.9, 0.2]), array([1., 1.]), array([0., 1.]))
    """
    distinct, place = np.unique(-scores, return_inverse=True)
    count = len(distinct)
    yes = np.bincount(place, positive, count)
    return -distinct, yes, np.bincount(place, ~positive, count)


class Ranking(Metric):
    """A figure of the order in which two classes stand by their scores; it needs all of them."""

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.scores: list[np.ndarray] = []
        self.truths: list[np.ndarray] = []

    def scored(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The score of each example, and whether it is positive."""
        return self.task.log_odds(output), batch[self.task.target] == self.task.positive

    def update(self, output: Tensor, batch: Batch) -> None:
        """Keep the batch's scores."""
        scores, truths = self.scored(output, batch)
        self.scores.append(scores.cpu().numpy())
        self.truths.append(truths.cpu().numpy())

    def compute(self) -> float | None:
        """None where there is one class only, or a score is not finite."""
        if not self.scores:
            return None
        scores, truths = np.concatenate(self.scores), np.concatenate(self.truths)
        if truths.all() or not truths.any() or not np.isfinite(scores).all():
            return None
        return self.figure(*by_score(scores, truths)[1:])

    @abstractmethod
    def figure(self, yes: np.ndarray, no: np.ndarray) -> float:
        """Of the positive and other examples at each distinct score, highest first."""


class RocAuc(Ranking):
    """The area under the ROC curve: the share of pairs that stand in the right order."""

    name = "roc_auc"

    def figure(self, yes: np.ndarray, no: np.ndarray) -> float:
        """Pairs of equal score count half."""
        return float((no * (yes.cumsum() - yes / 2)).sum() / (yes.sum() * no.sum()))


class AveragePrecision(Ranking):
    """The mean, over the positive examples, of the precision at the score of each.

    As scikit-learn's average_precision_score: precision by recall in steps, nothing interpolated.
    """

    name = "average_precision"

    def figure(self, yes: np.ndarray, no: np.ndarray) -> float:
        """The precision at each score, weighted by the positive examples that have it."""
        precision = yes.cumsum() / (yes + no).cumsum()
        return float((yes * precision).sum() / yes.sum())


BINS = 15
"""Of equal width, as in Guo et al. (2017)."""


class Bins:
    """Examples by how sure a model is of them: how many, how sure on average, how many so."""

    def __init__(self) -> None:
        self.sums = np.zeros((3, BINS))

    def update(self, sure: Tensor, right: Tensor) -> None:
        """Add examples: probabilities (N), and whether what they are of was so."""
        sure = sure.double()
        place = (sure * BINS).ceil().sub(1).nan_to_num(0).clamp(0, BINS - 1).long()
        rows = torch.stack([torch.ones_like(sure), sure, right.double()])
        sums = torch.zeros(3, BINS, dtype=torch.float64, device=sure.device)
        self.sums += sums.index_add_(1, place, rows).cpu().numpy()

    @property
    def error(self) -> float | None:
        """The expected calibration error: the mean, over all examples, of how far the share that
        was so is from the mean probability in the example's bin. None without examples."""
        count, sure, right = self.sums
        return float(np.abs(sure - right).sum() / count.sum()) if count.any() else None


class CalibrationError(Metric):
    """The expected calibration error (Naeini et al. 2015; Guo et al. 2017), 15 bins of equal width.

    Of two classes it is about the probability of the positive class, of more about that of the
    likeliest class. 0: of all that is said with 80 %, 80 % is so.
    """

    name = "ece"

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.bins = Bins()

    def update(self, output: Tensor, batch: Batch) -> None:
        """Sort a batch into the bins."""
        self.bins.update(*self.task.sureness(output, batch))

    def compute(self) -> float | None:
        """Over all examples."""
        return self.bins.error
