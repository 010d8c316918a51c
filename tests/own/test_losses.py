"""A network and a loss of one's own, taken as they are: shapes, types, metrics, answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import gradlab

RNG = np.random.default_rng(0)
X = RNG.normal(size=(160, 3)).astype(np.float32)
NUMBER = (X @ np.array([1.0, -2.0, 0.5]) * 30 + 400).astype(np.float32)
YES = (X[:, 0] + 0.3 * X[:, 1] > 0).astype(np.int64)
THREE = np.digitize(X[:, 0], [-0.4, 0.4]).astype(np.int64)
LABELS = (X > 0).astype(np.float32)
QUIET: dict[str, Any] = {"progress": False, "threads": 1}


def fit(tmp_path, module, y, loss=None, *, x=X, epochs=12, lr=0.2, **options):
    torch.manual_seed(0)
    given = {"out": tmp_path, "epochs": epochs, "batch_size": 32, **QUIET, **options}
    if "optimizer" not in given:
        given["lr"] = lr
    return gradlab.fit(module, data=(x, y), loss=loss, **given)


def alone(run, x=X):
    """What the network says by itself, of inputs as they were given."""
    run.model.eval()
    with torch.no_grad():
        return run.model(torch.as_tensor(x))


@pytest.mark.parametrize("outputs", ["N", "N 1"])
@pytest.mark.parametrize("targets", ["N", "N 1"])
def test_squared_error_of_a_number_in_its_own_units(tmp_path, outputs, targets):
    """Metrics and answers were once rescaled as if y had been standardised (R2 -525)."""
    module = nn.Sequential(nn.Linear(3, 1), *([nn.Flatten(0)] if outputs == "N" else []))
    nn.init.constant_(module[0].bias, 400.0)
    y = NUMBER if targets == "N" else NUMBER[:, None]
    run = fit(tmp_path, module, y, nn.MSELoss(), lr=3.0)
    scores = run.metrics["test"]
    assert scores["r2"] > 0.95
    assert scores["loss"] == pytest.approx(scores["mse"], rel=1e-5)
    found = [one.answer.number for one in run.predict(X)]
    assert np.abs(np.array(found) - NUMBER).max() < 40
    assert np.allclose(found, alone(run).reshape(-1), atol=1e-6)
    said = [note for note in run.record["notes"] if note.startswith("target:")]
    assert bool(said) == (outputs != targets)
    assert run.baselines["test"]["mean"]["mse"] == pytest.approx(
        run.baselines["test"]["mean"]["loss"], rel=1e-5
    )
    assert run.baselines["test"]["linear model"]["r2"] > 0.99


@pytest.mark.parametrize(
    "loss", [functional.mse_loss, nn.L1Loss(), nn.HuberLoss(), nn.SmoothL1Loss()]
)
def test_losses_of_numbers_are_aligned_alike(tmp_path, loss):
    module = nn.Linear(3, 1)
    nn.init.constant_(module.bias, 400.0)
    run = fit(tmp_path, module, NUMBER, loss, lr=3.0)
    assert run.metrics["test"]["r2"] > 0.9


def test_a_loss_written_by_hand_is_given_what_it_can_take(tmp_path):
    module = nn.Linear(3, 1)
    nn.init.constant_(module.bias, 400.0)
    spread = fit(tmp_path, module, NUMBER, lambda o, y: ((o - y) ** 2).mean(), lr=3.0)
    assert spread.metrics["test"]["r2"] > 0.9  # N 1 minus N would have spread to N N
    picks = fit(tmp_path, module, NUMBER, lambda o, y: ((o[:, 0] - y) ** 2).mean(), lr=3.0)
    assert not any(note.startswith("target:") for note in picks.record["notes"])
    assert picks.metrics["test"]["mse"] < 300


@pytest.mark.parametrize("shape", ["N", "N 1"])
@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.float64, bool])
def test_binary_cross_entropy_with_logits(tmp_path, shape, dtype):
    y = YES.astype(dtype) if shape == "N" else YES.astype(dtype)[:, None]
    run = fit(tmp_path, nn.Linear(3, 1), y, nn.BCEWithLogitsLoss())
    assert run.metrics["test"]["accuracy"] > 0.9 and run.metrics["test"]["roc_auc"] > 0.95
    answers = [one.answer for one in run.predict(X)]
    second = [dict(answer.top)[answers_names(y)[1]] for answer in answers]
    assert np.allclose(second, torch.sigmoid(alone(run)).reshape(-1), atol=1e-6)


def answers_names(y):
    return ("False", "True") if y.dtype == bool and y.ndim == 1 else ("0", "1")


def test_one_logit_of_the_shape_n_and_probabilities(tmp_path):
    flat = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))
    assert fit(tmp_path, flat, YES, nn.BCEWithLogitsLoss()).metrics["test"]["accuracy"] > 0.9
    sure = nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())
    run = fit(tmp_path, sure, YES, nn.BCELoss())
    assert run.metrics["test"]["accuracy"] > 0.9
    found = [dict(one.answer.top)["1"] for one in run.predict(X)]
    assert np.allclose(found, alone(run).reshape(-1), atol=1e-6)


def test_several_labels(tmp_path):
    for y in (LABELS, LABELS.astype(np.int64), LABELS.astype(bool)):
        run = fit(tmp_path, nn.Linear(3, 3), y, nn.BCEWithLogitsLoss())
        assert run.metrics["test"]["accuracy"] > 0.9 and run.metrics["test"]["f1"] > 0.9
    answer = run.predict(np.array([[5.0, -5.0, 5.0]], np.float32))[0].answer
    assert answer.labels == ("0", "2") and len(answer.probabilities) == 3
    assert run.baselines["test"]["majority class"]["accuracy"] < 0.75


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.float64, "words"])
def test_cross_entropy_of_class_numbers(tmp_path, dtype):
    y = np.array(["low", "mid", "top"])[THREE] if dtype == "words" else THREE.astype(dtype)
    run = fit(tmp_path, nn.Linear(3, 3), y, nn.CrossEntropyLoss())
    assert run.metrics["test"]["accuracy"] > 0.85
    names = ("low", "mid", "top") if dtype == "words" else ("0", "1", "2")
    answer = run.predict(X[:1])[0].answer
    assert {name for name, _ in answer.top} == set(names)
    expected = alone(run, X[:1]).softmax(1)[0]
    assert dict(answer.top)[names[0]] == pytest.approx(float(expected[0]), abs=1e-6)
    column = (
        fit(tmp_path, nn.Linear(3, 3), y[:, None], nn.CrossEntropyLoss())
        if dtype != "words"
        else None
    )
    assert column is None or column.metrics["test"]["accuracy"] > 0.85


def test_cross_entropy_of_probabilities(tmp_path):
    soft = np.eye(3)[THREE] * 0.9 + 0.1 / 3  # float64, as numpy makes it
    run = fit(tmp_path, nn.Linear(3, 3), soft, nn.CrossEntropyLoss())
    assert run.metrics["test"]["loss"] < run.metrics["train"]["loss"] + 0.3
    assert run.metrics["test"]["loss"] < np.log(3)


def test_labels_that_the_loss_leaves_out_are_left_out_of_the_accuracy(tmp_path):
    y = THREE.copy()
    y[::4] = -100
    run = fit(tmp_path, nn.Linear(3, 3), y, nn.CrossEntropyLoss())
    assert run.metrics["test"]["accuracy"] > 0.8


def test_log_probabilities(tmp_path):
    module = nn.Sequential(nn.Linear(3, 3), nn.LogSoftmax(1))
    run = fit(tmp_path, module, THREE, nn.NLLLoss())
    assert run.metrics["test"]["accuracy"] > 0.85
    found = dict(run.predict(X[:1])[0].answer.top)
    assert sum(found.values()) == pytest.approx(1, abs=1e-5)
    assert found["0"] == pytest.approx(float(alone(run, X[:1]).exp()[0, 0]), abs=1e-6)


@pytest.mark.parametrize(
    ("outputs", "y", "name", "metric"),
    [
        (1, NUMBER, "MSELoss", "r2"),
        (1, YES, "BCEWithLogitsLoss", "roc_auc"),
        (2, YES, "CrossEntropyLoss", "accuracy"),
        (3, THREE, "CrossEntropyLoss", "accuracy"),
        (3, LABELS.astype(np.int64), "BCEWithLogitsLoss", "f1"),
        (3, X * 2, "MSELoss", "r2"),
    ],
)
def test_without_a_loss_one_is_chosen_by_the_target_and_said(tmp_path, outputs, y, name, metric):
    run = fit(tmp_path, nn.Linear(3, outputs), y, epochs=2)
    assert metric in run.metrics["test"]
    assert any(note.startswith(f"loss: {name} (") for note in run.record["notes"])
    assert run.recipe.task.options["loss"] == name


def test_several_numbers_and_numbers_of_any_shape(tmp_path):
    run = fit(tmp_path, nn.Linear(3, 2), X[:, :2] * 10, nn.MSELoss(), lr=1.0)
    assert run.metrics["test"]["r2"] > 0.95
    answer = run.predict(X[:2])[1].answer
    assert answer.values.shape == (2,) and np.allclose(answer.values, X[1, :2] * 10, atol=4)
    assert list(answer.cells()) == ["answer_1", "answer_2"]
    grid = nn.Sequential(nn.Linear(3, 4), nn.Unflatten(1, (2, 2)))
    y = np.stack([X[:, 0], X[:, 1], X[:, 2], X[:, 0] + X[:, 1]], 1).reshape(-1, 2, 2)
    run = fit(tmp_path, grid, y, nn.MSELoss())
    assert run.metrics["test"]["r2"] > 0.95
    assert run.predict(X[:1])[0].answer.to_dict()["answer"][0][0] == pytest.approx(X[0, 0], abs=0.5)


class Heads(nn.Module):
    """A number and a class, as a tuple or a dictionary."""

    def __init__(self, named: bool) -> None:
        super().__init__()
        self.number, self.kind, self.named = nn.Linear(3, 1), nn.Linear(3, 3), named

    def forward(self, x: Tensor) -> Any:
        if self.named:
            return {"number": self.number(x)[:, 0], "kind": self.kind(x)}
        return self.number(x)[:, 0], self.kind(x)


@pytest.mark.parametrize("named", [False, True])
def test_several_outputs_and_several_targets(tmp_path, named):
    y: Any = {"number": X[:, 0], "kind": THREE} if named else (X[:, 0], THREE)

    def loss(output: Any, y: Any) -> Tensor:
        a, b = ("number", "kind") if named else (0, 1)
        return functional.mse_loss(output[a], y[a]) + functional.cross_entropy(output[b], y[b])

    run = fit(tmp_path, Heads(named), y, loss)
    assert run.metrics["test"]["loss"] < 0.5 < run.history[0]["loss"]
    answer = run.predict(X[:3])[2].answer
    number, kind = answer.parts.values()
    assert number.number == pytest.approx(X[2, 0], abs=0.1)
    assert kind.values.argmax() == THREE[2]
    with pytest.raises(gradlab.UserError, match="which loss"):
        fit(tmp_path, Heads(named), y)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_networks_of_other_types(tmp_path, dtype):
    torch.manual_seed(0)
    module = nn.Linear(3, 1).to(dtype)
    run = fit(tmp_path, module, X[:, 0].astype(np.float64), nn.MSELoss(), lr=0.05)
    assert run.metrics["test"]["r2"] > 0.95
    assert run.model.weight.dtype == dtype
    found = [one.answer.number for one in run.predict(X[:9])]
    with torch.no_grad():
        expected = run.model(torch.as_tensor(X[:9]).to(dtype)).double().reshape(-1)
    assert np.allclose(found, expected, atol=1e-12 if dtype == torch.float64 else 1e-6)


def test_sequences_of_classes(tmp_path):
    tokens = RNG.integers(0, 5, (120, 7))
    module = nn.Sequential(nn.Embedding(5, 8), nn.Linear(8, 5))
    y = (tokens + 1) % 5
    torch.manual_seed(0)
    run = fit(tmp_path, module, y, nn.CrossEntropyLoss(), x=tokens)
    assert run.metrics["test"]["accuracy"] > 0.95
    assert any("N T K" in note for note in run.record["notes"])
    assert run.predict(tokens[:2])[1].answer.values.tolist() == y[1].tolist()


def test_a_loss_that_sums_is_reported_for_each_example(tmp_path):
    run = fit(tmp_path, nn.Linear(3, 1), X[:, 0], nn.MSELoss(reduction="sum"), lr=0.01)
    scores = run.metrics["test"]
    assert scores["loss"] == pytest.approx(scores["mse"], rel=1e-4)
    assert any("sums over a batch" in note for note in run.record["notes"])


def test_a_loss_with_parameters_of_its_own_is_trained_and_resumed(tmp_path):
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.log = nn.Parameter(torch.zeros(()))

        def forward(self, output: Tensor, y: Tensor) -> Tensor:
            return (output - y).square().mean() * (-self.log).exp() + self.log

    loss = Scaled()
    run = fit(tmp_path, nn.Linear(3, 1), X[:, :1], loss)
    assert float(loss.log.detach()) < -1
    assert any("parameters of its own" in note for note in run.record["notes"])


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (nn.MSELoss, "make an instance"),
        (5, "loss: expected f"),
        (nn.MSELoss(reduction="none"), "not a scalar"),
        (lambda o, y: 3.0, "not a tensor"),
    ],
)
def test_what_is_no_loss_is_refused(tmp_path, loss, said):
    with pytest.raises(gradlab.UserError, match=said):
        fit(tmp_path, nn.Linear(3, 1), NUMBER, loss)
    assert not list(tmp_path.iterdir())


def test_shapes_that_do_not_go_together_are_refused_with_a_way_out(tmp_path):
    with pytest.raises(gradlab.UserError, match="3 classes"):
        fit(tmp_path, nn.Linear(3, 2), THREE, nn.CrossEntropyLoss())
    with pytest.raises(gradlab.UserError, match="one target for each output"):
        fit(tmp_path, nn.Linear(3, 2), YES, nn.BCEWithLogitsLoss())
    with pytest.raises(gradlab.UserError, match=r"spread to|cannot be compared"):
        fit(tmp_path, nn.Linear(3, 2), NUMBER, nn.MSELoss())
