"""What guessing reaches, and what a simple model does: a network that is no better has not learnt.

`majority class` and `mean` look at no input. A table gets a linear model (ridge or logistic
regression, scikit-learn's), images the nearest class mean, whichever the field names. All are
learnt from the training split, and measured by the task's own metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlab.data.loader import Batch, Loader

Baselines = dict[str, dict[str, dict[str, float]]]
"""By split, then baseline, then metric."""
Guess = Callable[[Batch], Tensor]
"""Answers (probabilities N K, or values N) for a batch."""

MOST_VALUES = 100_000_000
"""Input values that a simple model is fitted to, at most: so many examples, from all over."""
MOST_INPUTS = 5_000
"""Inputs of an example up to which a linear model is fitted."""


def baselines(task: Any, splits: Iterable[str]) -> Baselines:
    """The baselines of a supervised task on these splits."""
    train = task.in_order("train")
    guesses: dict[str, Guess] = {}
    classes = len(getattr(task.field, "classes", ()))
    y = task.targets("train")
    if classes:
        shares = torch.bincount(y, minlength=classes).double() / len(y)
        guesses["majority class"] = lambda batch: shares.expand(len(batch), -1)
    else:
        mean = y.double().mean()
        guesses["mean"] = lambda batch: mean.expand(len(batch))
    fields = list(task.schema.inputs.items())
    if len(fields) == 1:
        name, field = fields[0]
        last = _persistent(task, train, name) if classes else None
        if last is not None:
            guesses["last class"] = last
        simple = _SIMPLE.get(field.baseline)
        found = simple(task, train, name, y, classes) if simple is not None else None
        if found is not None:
            guesses[found[0]] = found[1]
    judges = {label: task.deciding_by(_on_val(task, guess)) for label, guess in guesses.items()}
    return {
        split: {label: measured(judges[label], split, guess) for label, guess in guesses.items()}
        for split in splits
    }


def _on_val(task: Any, guess: Guess) -> Iterator[tuple[Tensor, Tensor]]:
    """Outputs of a guess and truths, for those who look."""
    for batch in task.in_order("val").in_order():
        yield task.as_output(guess(batch)).float(), batch[task.target]


def measured(task: Any, split: str, guess: Guess) -> dict[str, float]:
    """The task's metrics of a guess."""
    meters = [metric(task) for metric in task.metrics]
    for batch in task.in_order(split).in_order():
        output = task.as_output(guess(batch)).float()
        for meter in meters:
            meter.update(output, batch)
    found = {meter.name: meter.compute() for meter in meters}
    return {name: value for name, value in found.items() if value is not None}


def _some(task: Any, train: Loader, name: str) -> list[Batch]:
    """Training batches, as many as may be looked at."""
    values = int(np.prod(task.schema.inputs[name].shape))
    most = max(MOST_VALUES // max(values, 1), 1)
    found, count = [], 0
    for batch in train.in_order():
        found.append(batch)
        count += len(batch)
        if count >= most:
            break
    return found


def _persistent(task: Any, train: Loader, name: str) -> Guess | None:
    """The class that was last, as sure as that is right in train."""
    field, classes = task.schema.inputs[name], len(task.field.classes)
    right = count = 0
    for batch in train.in_order():
        found = field.persistent(batch[name], task.field)
        if found is None:
            return None
        right += int((found == batch[task.target]).sum())
        count += len(batch)
    share = min(max(right / max(count, 1), 1 / classes), 0.99)

    def guess(batch: Batch) -> Tensor:
        found = field.persistent(batch[name], task.field)
        rest = torch.full((len(batch), classes), (1 - share) / max(classes - 1, 1))
        return rest.to(found.device).scatter(1, found[:, None], share)

    return guess


def _nearest_mean(
    task: Any, train: Loader, name: str, y: Tensor, classes: int
) -> tuple[str, Guess] | None:
    """The class whose mean image is nearest; sure in proportion to a distance's exponential."""
    if not classes:
        return None
    sums: Tensor | None = None
    counts = torch.zeros(classes)
    for batch in _some(task, train, name):
        x, labels = batch[name].float().flatten(1), batch[task.target]
        sums = x.new_zeros(classes, x.shape[1]) if sums is None else sums
        sums.index_add_(0, labels, x)
        counts += torch.bincount(labels, minlength=classes).cpu()
    if sums is None or not counts.all():
        return None
    means = sums / counts.to(sums.device)[:, None]

    def guess(batch: Batch) -> Tensor:
        squared = torch.cdist(batch[name].float().flatten(1), means).square()  # N K
        return (-squared / means.shape[1]).softmax(1)

    return "nearest class mean", guess


def _linear(
    task: Any, train: Loader, name: str, y: Tensor, classes: int
) -> tuple[str, Guess] | None:
    """Logistic regression for classes, ridge regression for numbers."""
    if int(np.prod(task.schema.inputs[name].shape)) > MOST_INPUTS:
        return None
    from sklearn.linear_model import LogisticRegression, Ridge

    batches = _some(task, train, name)
    x = torch.cat([batch[name].float().flatten(1) for batch in batches]).cpu().numpy()
    targets = y[: len(x)].cpu().numpy()
    if classes and len(np.unique(targets)) < classes:
        return None
    model = LogisticRegression(max_iter=1000) if classes else Ridge()
    model.fit(x.astype(np.float64), targets)

    def guess(batch: Batch) -> Tensor:
        seen = batch[name].float().flatten(1).cpu().numpy().astype(np.float64)
        found = model.predict_proba(seen) if classes else model.predict(seen)
        return torch.from_numpy(np.asarray(found)).to(batch[name].device)

    return "linear model", guess


_SIMPLE = {"nearest_mean": _nearest_mean, "linear": _linear}
