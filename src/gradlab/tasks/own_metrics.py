"""Metrics of networks of one's own: of outputs and targets as the loss is given them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gradlab.data.loader import Batch
from gradlab.errors import UserError
from gradlab.tasks.findings import ConfusionCollector
from gradlab.tasks.metrics import (
    F1,
    AveragePrecision,
    BalancedAccuracy,
    Mean,
    Metric,
    RocAuc,
)

MOST_KEPT = 50_000_000
"""Numbers of outputs and targets that a metric of one's own is given at once."""

_RESERVED = ("loss", "step", "epoch", "split", "seconds", "steps", "examples", "lr", "event")


class Confused(ConfusionCollector):
    """Counts truth against answer, of the targets that the loss does not leave out."""

    def update(self, output: Any, batch: Batch) -> None:
        """Count a batch."""
        output, y = self.task.aligned(output, batch)
        truth, count = y.reshape(len(y)).long(), len(self.counts)
        known = (truth >= 0) & (truth < count)
        pairs = truth[known] * count + self.task.meaning.chosen(output)[known]
        found = torch.bincount(pairs, minlength=count**2).view(count, count)
        self.counts += found.cpu().numpy()


class _Pairs:
    """Truth and answer at each place, of the targets that the loss does not leave out."""

    task: Any

    def pairs(self, output: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """Class numbers, M each."""
        output, y = self.task.aligned(output, batch)
        answer = self.task.meaning.chosen(output).reshape(-1)
        truth = y.reshape(-1).long()
        known = truth != self.task.ignored
        return truth[known], answer[known]


class Right(_Pairs, Metric):
    """The share of the answers that are right."""

    name = "accuracy"

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.right: Tensor | int = 0
        self.count = 0

    def update(self, output: Any, batch: Batch) -> None:
        """Count a batch."""
        truth, answer = self.pairs(output, batch)
        self.right = self.right + (truth == answer).sum()
        self.count += len(truth)

    def compute(self) -> float | None:
        """None where the loss leaves out every target."""
        return float(self.right) / self.count if self.count else None


class Overlap(Metric):
    """F1 over all labels together (micro): what was said of what holds, and the other way round."""

    name = "f1"

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.both = self.one = 0

    def update(self, output: Any, batch: Batch) -> None:
        """Count a batch."""
        output, y = self.task.aligned(output, batch)
        said, holds = self.task.meaning.chosen(output) > 0, y > 0.5
        self.both += int((said & holds).sum())
        self.one += int(said.sum() + holds.sum())

    def compute(self) -> float | None:
        """None where no label holds and none was said."""
        return 2 * self.both / self.one if self.one else None


class _Error(Mean):
    """A mean over all numbers of all examples."""

    def error(self, output: Any, batch: Batch) -> Tensor:
        """Output minus target, of one shape."""
        output, y = self.task.aligned(output, batch)
        found: Tensor = output.double().reshape(y.shape) - y.double()
        return found


class SquaredError(_Error):
    """The mean squared error, in the target's own units."""

    name = "mse"

    def value(self, output: Any, batch: Batch) -> Tensor:
        """Of the batch."""
        return self.error(output, batch).square().mean()


class AbsoluteError(_Error):
    """The mean absolute error, in the target's own units."""

    name = "mae"

    def value(self, output: Any, batch: Batch) -> Tensor:
        """Of the batch."""
        return self.error(output, batch).abs().mean()


class Explained(Metric):
    """R2: the share of the variance that the answers explain, each place around its own mean."""

    name = "r2"

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.sums: Tensor | None = None
        self.count = 0

    def update(self, output: Any, batch: Batch) -> None:
        """Add the batch's sums, around a first value: around 0 large numbers lose their digits."""
        output, y = self.task.aligned(output, batch)
        error = (output.double().reshape(y.shape) - y.double()).reshape(len(y), -1)
        values = y.double().reshape(len(y), -1)
        if self.sums is None:
            self.around = values[0]
            self.sums = values.new_zeros(3, values.shape[1])
        values = values - self.around
        self.sums += torch.stack([values.sum(0), values.square().sum(0), error.square().sum(0)])
        self.count += len(y)

    def compute(self) -> float | None:
        """None where the target does not vary."""
        if self.sums is None:
            return None
        total, squares, errors = self.sums
        spread = float((squares - total.square() / self.count).sum())
        return 1 - float(errors.sum()) / spread if spread > 1e-12 * float(squares.sum()) else None


class _Scores:
    """How sure the network is of yes, and whether it is so."""

    task: Any

    def scored(self, output: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """Any score that rises with the probability, and truths, N each."""
        output, y = self.task.aligned(output, batch)
        return output.reshape(-1).float(), y.reshape(-1) > 0.5


class Balanced(_Pairs, BalancedAccuracy):
    """The mean recall of the classes."""


class HarmonicMean(_Pairs, F1):
    """F1 of yes."""


class Area(_Scores, RocAuc):
    """The area under the ROC curve."""


class Precision(_Scores, AveragePrecision):
    """The average precision."""


CLASSES: tuple[type[Metric], ...] = (Right, Balanced)
YES_NO: tuple[type[Metric], ...] = (Right, Balanced, HarmonicMean, Area, Precision)
LABELS: tuple[type[Metric], ...] = (Right, Overlap)
NUMBERS: tuple[type[Metric], ...] = (SquaredError, AbsoluteError, Explained)


class OwnMetric(Metric):
    """A person's function of the outputs and targets of a whole split.

    Of more than `MOST_KEPT` numbers it is the mean over batches, weighted by their examples.
    """

    function: Callable[[Any, Any], Any]

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.kept: list[tuple[Any, Any]] = []
        self.held = self.count = 0
        self.total = 0.0

    def update(self, output: Any, batch: Batch) -> None:
        """Keep a batch, or add it to the mean."""
        pair = (_on_processor(output), _on_processor(self.task.y(batch)))
        self.count += len(batch)
        self.held += sum(_size(part) for part in pair)
        self.kept.append(pair)
        if self.held > MOST_KEPT:
            self.total += sum(self._of(*one) * _length(one[0]) for one in self.kept)
            self.kept = []

    def compute(self) -> float | None:
        """The number, of all examples."""
        if not self.count:
            return None
        if self.held <= MOST_KEPT:
            return self._of(*(_joined(parts) for parts in zip(*self.kept, strict=True)))
        self.total += sum(self._of(*one) * _length(one[0]) for one in self.kept)
        self.kept = []
        return self.total / self.count

    def _of(self, output: Any, y: Any) -> float:
        try:
            return float(type(self).function(output, y))
        except Exception as error:
            raise UserError(
                f"metrics: {self.name!r} failed on outputs and targets of a split: "
                f"{type(error).__name__}: {error}. It is called as f(output, y) and gives a number"
            ) from error


def given_metrics(
    given: Mapping[str, Callable[[Any, Any], Any]], recorded: Sequence[str]
) -> tuple[type[Metric], ...]:
    """A person's functions as metrics; those of a run that were not given again are left out."""
    for name, function in given.items():
        if not isinstance(name, str) or not name.isidentifier() or name in _RESERVED:
            raise UserError(
                f"metrics: expected a name like 'mape' for each, found {name!r} (these are taken: "
                f"{', '.join(_RESERVED)})"
            )
        if not callable(function):
            raise UserError(
                f"metrics: {name!r} is {type(function).__name__}: expected f(output, y)"
            )
    return tuple(
        type("OwnMetric", (OwnMetric,), {"name": name, "function": staticmethod(function)})
        for name, function in given.items()
    )


def _on_processor(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {key: _on_processor(part) for key, part in value.items()}
    return tuple(map(_on_processor, value)) if isinstance(value, tuple | list) else value


def _size(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel()
    parts = value.values() if isinstance(value, dict) else value
    return sum(map(_size, parts)) if isinstance(value, dict | tuple) else 0


def _length(value: Any) -> int:
    while not isinstance(value, Tensor):
        value = next(iter(value.values() if isinstance(value, dict) else value))
    return len(value)


def _joined(parts: Sequence[Any]) -> Any:
    """Batches one after the other, in whatever they stand."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(list(parts)) if first.ndim else torch.stack(list(parts))
    if isinstance(first, dict):
        return {key: _joined([part[key] for part in parts]) for key in first}
    if isinstance(first, tuple):
        return tuple(_joined(part) for part in zip(*parts, strict=True))
    return list(parts)
