"""Metrics of classes against scikit-learn, and the calibration error against its definition."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn import metrics as oracle

from gradlab.data.loader import Batch
from gradlab.tasks.metrics import (
    BINS,
    F1,
    AveragePrecision,
    BalancedAccuracy,
    CalibrationError,
    MacroF1,
    RocAuc,
)


def task(classes, positive=1):
    """What a metric asks of a task whose outputs are probabilities."""

    def sureness(output, batch):
        if classes == 2:
            return output[:, positive], batch["y"] == positive
        sure, answer = output.max(1)
        return sure, answer == batch["y"]

    return SimpleNamespace(
        target="y",
        field=SimpleNamespace(classes=tuple(map(str, range(classes)))),
        positive=positive,
        chosen=lambda output: output.argmax(1),
        log_odds=lambda output: output[:, positive].logit(),
        sureness=sureness,
    )


def measured(kind, output, y, sizes=(7, 50, 1000), **about):
    """A metric that sees the examples in batches of several sizes."""
    meter = kind(task(output.shape[1], **about))
    start = 0
    for size in sizes:
        part = slice(start, start + size)
        start += size
        if len(y[part]):
            meter.update(output[part], Batch({"y": y[part]}, len(y[part])))
    return meter.compute()


@pytest.fixture(params=[2, 4])
def examples(request):
    """Probabilities (with equal ones among them) and classes, one of which never occurs."""
    rng = np.random.default_rng(request.param)
    p = rng.dirichlet(np.ones(request.param) * 2, 300).round(2).clip(0.01, 0.99)
    y = np.minimum(rng.integers(0, max(request.param - 1, 2), 300), request.param - 1)
    return torch.from_numpy(p), torch.from_numpy(y)


def test_counts_are_those_of_scikit_learn(examples):
    p, y = examples
    answer = p.argmax(1)
    truth = y.numpy()
    recalls = oracle.recall_score(
        truth, answer, labels=np.unique(truth), average=None, zero_division=0
    )
    assert measured(BalancedAccuracy, p, y) == pytest.approx(recalls.mean())
    assert measured(MacroF1, p, y) == pytest.approx(
        oracle.f1_score(truth, answer, average="macro", zero_division=0)
    )


@pytest.mark.parametrize("positive", [0, 1])
def test_figures_of_two_classes_are_those_of_scikit_learn(positive):
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.95, 400).round(2)  # many are equal
    y = rng.uniform(size=400) < p * 0.3
    output = torch.from_numpy(np.stack([1 - p, p], 1))
    truth, chance = (y == positive), output[:, positive].numpy()
    given = torch.from_numpy(y.astype(np.int64))
    found = {k: measured(k, output, given, positive=positive) for k in (F1, RocAuc)}
    assert found[RocAuc] == pytest.approx(oracle.roc_auc_score(truth, chance))
    assert found[F1] == pytest.approx(
        oracle.f1_score(y, output.argmax(1).numpy(), pos_label=positive)
    )
    assert measured(AveragePrecision, output, given, positive=positive) == pytest.approx(
        oracle.average_precision_score(truth, chance)
    )


def test_an_order_is_not_defined_of_one_class_or_of_nan():
    output, y = torch.tensor([[0.4, 0.6], [0.9, 0.1]]), torch.tensor([1, 1])
    assert measured(RocAuc, output, y) is None and measured(AveragePrecision, output, y) is None
    output[0, 1] = torch.nan
    assert measured(RocAuc, output, torch.tensor([0, 1])) is None


@pytest.mark.parametrize("classes", [2, 3])
def test_the_calibration_error_is_the_mean_distance_in_fifteen_bins(classes):
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(classes), 500)
    y = rng.integers(0, classes, 500)
    sure = p[:, 1] if classes == 2 else p.max(1)
    right = y == 1 if classes == 2 else p.argmax(1) == y
    expected = 0.0
    for k in range(BINS):
        inside = (sure > k / BINS) & (sure <= (k + 1) / BINS)
        if inside.any():
            expected += inside.mean() * abs(sure[inside].mean() - right[inside].mean())
    found = measured(CalibrationError, torch.from_numpy(p), torch.from_numpy(y))
    assert found == pytest.approx(expected) and found > 0.05
