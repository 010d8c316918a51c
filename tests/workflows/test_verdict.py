"""The verdict: silent on healthy trainings, and right about faulty ones.

Its limits were chosen on other trainings than these: other seeds, wine, blobs, moons, Friedman's
function, titanic and pima, in place of the datasets here.
"""

import math

import numpy as np
import pytest
import torch
from sklearn import datasets
from torch import nn
from torch.nn import functional as F

import gradlab
from gradlab.engine import Observer
from gradlab.errors import UserError
from gradlab.recipes import find
from gradlab.workflows.evidence import Evidence
from gradlab.workflows.verdict import verdict

QUIET = {"progress": False, "threads": 1, "test": False}


@pytest.fixture(scope="module", autouse=True)
def no_page():
    """What is tested is in the JSON; the page has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gradlab.workflows.train.write", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


# data


def standard(x):
    return ((x - x.mean(0)) / (x.std(0) + 1e-9)).astype(np.float32)


def iris():
    x, y = datasets.load_iris(return_X_y=True)
    return standard(x), y.astype(np.int64)


def cancer():
    x, y = datasets.load_breast_cancer(return_X_y=True)
    return standard(x), y.astype(np.int64)


def diabetes():
    x, y = datasets.load_diabetes(return_X_y=True)
    return standard(x), standard(y)


def digits():
    x, y = datasets.load_digits(return_X_y=True)
    return standard(x), y.astype(np.int64)


def rings(noise=0.1):
    """Two rings, one in the other."""
    x, y = datasets.make_circles(400, noise=noise, factor=0.5, random_state=31)
    return standard(x), y.astype(np.int64)


def clusters():
    x, y = datasets.make_classification(
        500, 12, n_informative=6, n_classes=3, class_sep=1.5, random_state=31
    )
    return standard(x), y.astype(np.int64)


def wave():
    """A sine of one input among four."""
    x = np.random.default_rng(31).uniform(-1, 1, (400, 4)).astype(np.float32)
    return x, np.sin(4 * x[:, 0]) + x[:, 1]


def noise(count=200, classes=2):
    """Labels that have nothing to do with the inputs."""
    random = np.random.default_rng(31)
    return random.normal(size=(count, 10)).astype(np.float32), random.integers(0, classes, count)


# networks


def dense(inputs, outputs, *widths, act=nn.ReLU):
    layers = []
    for width in widths:
        layers += [nn.Linear(inputs, width), act()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


class Functional(nn.Module):
    """Activations that are calls, not layers."""

    def __init__(self, act=torch.relu):
        super().__init__()
        self.act = act
        self.first, self.second, self.last = nn.Linear(4, 32), nn.Linear(32, 32), nn.Linear(32, 3)

    def forward(self, x):
        return self.last(self.act(self.second(self.act(self.first(x)))))


class Listed(nn.Module):
    """Layers in a Python list, of which the network does not know."""

    def __init__(self):
        super().__init__()
        self.hidden = [nn.Linear(4, 32), nn.Linear(32, 32)]
        self.last = nn.Linear(32, 3)

    def forward(self, x):
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return self.last(x)


class Asleep(nn.Module):
    """A branch that is multiplied by 0."""

    def __init__(self):
        super().__init__()
        self.first, self.branch, self.last = nn.Linear(4, 32), nn.Linear(32, 32), nn.Linear(32, 3)

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.last(x + 0 * self.branch(x))


def scaled(network, factor, layer=-1):
    with torch.no_grad():
        network[layer].weight.mul_(factor)
    return network


def shifted(network, bias):
    with torch.no_grad():
        for layer in list(network)[:-1]:
            if isinstance(layer, nn.Linear):
                layer.bias.fill_(bias)
    return network


def stuck(network):
    network[0].requires_grad_(False)
    return network


def images(outputs=10):
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, outputs),
    )  # fmt: skip


HEALTHY = {
    "iris": (lambda: dense(4, 3, 32), iris, {"epochs": 40, "batch_size": 16, "lr": 5e-3}),
    "iris tanh": (
        lambda: dense(4, 3, 32, act=nn.Tanh), iris, {"epochs": 40, "batch_size": 16, "lr": 5e-3},
    ),
    "iris calls": (Functional, iris, {"epochs": 30, "batch_size": 16, "lr": 5e-3}),
    "iris whole batches": (lambda: dense(4, 3, 32), iris, {"epochs": 120, "lr": 0.02,
        "batch_size": 150}),
    "iris momentum": (lambda: dense(4, 3, 32), iris, {"epochs": 30, "batch_size": 16, "lr": 0.05,
        "optimizer": "momentum"}),
    "iris line": (lambda: dense(4, 3), iris, {"epochs": 50, "batch_size": 16, "lr": 0.05}),
    "cancer": (lambda: dense(30, 2, 32), cancer, {"epochs": 10, "batch_size": 32}),
    "cancer sgd": (lambda: dense(30, 2, 32), cancer, {"epochs": 20, "batch_size": 32, "lr": 0.1,
        "optimizer": "sgd"}),
    "cancer sigmoid": (lambda: dense(30, 2, 32, act=nn.Sigmoid), cancer, {"epochs": 25,
        "batch_size": 32, "lr": 5e-3}),
    "cancer deep": (lambda: dense(30, 2, *[32] * 4), cancer, {"epochs": 10, "batch_size": 32}),
    "diabetes line": (lambda: dense(10, 1), diabetes, {"epochs": 30, "batch_size": 32,
        "lr": 0.01}),
    "diabetes": (lambda: dense(10, 1, 16), diabetes, {"epochs": 30, "batch_size": 32,
        "lr": 2e-3}),
    "digits": (lambda: dense(64, 10, 64), digits, {"epochs": 10, "batch_size": 64, "lr": 3e-3}),
    "digits leaky": (lambda: dense(64, 10, 64, 64, act=nn.LeakyReLU), digits, {"epochs": 8,
        "batch_size": 64, "lr": 3e-3}),
    "digits gelu": (lambda: dense(64, 10, 64, act=nn.GELU), digits, {"epochs": 8,
        "batch_size": 64, "lr": 3e-3, "schedule": "cosine"}),
    "digits images": (images, digits, {"epochs": 5, "batch_size": 64, "lr": 5e-3}),
    "rings": (lambda: dense(2, 2, 32, 32), rings, {"epochs": 30, "batch_size": 32, "lr": 5e-3}),
    "noisy rings": (lambda: dense(2, 2, 32), lambda: rings(0.25), {"epochs": 25, "batch_size": 32,
        "lr": 5e-3}),
    "clusters": (lambda: dense(12, 3, 64), clusters, {"epochs": 15, "batch_size": 32,
        "lr": 2e-3}),
    "clusters regularised": (lambda: nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(64, 3)), clusters, {"epochs": 20, "batch_size": 32, "lr": 3e-3,
        "weight_decay": 0.05}),
    "wave": (lambda: dense(4, 1, 64, 64), wave, {"epochs": 40, "batch_size": 32, "lr": 3e-3}),
    "wave one cycle": (lambda: dense(4, 1, 64), wave, {"epochs": 40, "batch_size": 32, "lr": 0.02,
        "schedule": "one_cycle"}),
}  # fmt: skip
"""Networks that learn as well as can be expected; the data and options are ordinary."""

FAULTY = {
    "rate far too low": ("rate-too-low", lambda: dense(4, 3, 32), iris, {"epochs": 20,
        "batch_size": 16, "lr": 1e-7}),
    "rate too low, sgd": ("rate-too-low", lambda: dense(64, 10, 32), digits, {"epochs": 3,
        "lr": 1e-5, "optimizer": "sgd"}),
    "rate too low, regression": ("rate-too-low", lambda: dense(10, 1, 16), diabetes, {"epochs": 15,
        "batch_size": 32, "lr": 3e-6}),
    "rate too high": ("rate-too-high", lambda: dense(64, 10, 64, 64), digits, {"epochs": 4,
        "batch_size": 64, "lr": 0.5}),
    "rate too high, cancer": ("rate-too-high", lambda: dense(30, 2, 32, 32), cancer, {"epochs": 6,
        "batch_size": 32, "lr": 2.0}),
    "rate too high, regression": ("rate-too-high", lambda: dense(4, 1, 64, 64), wave,
        {"epochs": 10, "batch_size": 32, "lr": 1.0}),
    "first loss too large": ("initial-loss", lambda: scaled(dense(4, 3, 32), 100), iris,
        {"epochs": 20, "batch_size": 16, "lr": 5e-3}),
    "first loss too large, digits": ("initial-loss", lambda: scaled(dense(64, 10, 64), 40), digits,
        {"epochs": 5, "batch_size": 64, "lr": 3e-3}),
    "dead units": ("dead-units", lambda: shifted(dense(4, 3, 32, 32), -8.0), iris, {"epochs": 10,
        "batch_size": 16}),
    "saturated tanh": ("saturated-units", lambda: scaled(dense(4, 3, 32, act=nn.Tanh), 200, 0),
        iris, {"epochs": 20, "batch_size": 16, "lr": 5e-3}),
    "saturated sigmoid": ("saturated-units", lambda: scaled(dense(64, 10, 32, act=nn.Sigmoid), 100,
        0), digits, {"epochs": 4, "batch_size": 64, "lr": 5e-3}),
    "vanishing gradient": ("vanishing-gradient", lambda: dense(4, 3, *[32] * 9, act=nn.Sigmoid),
        iris, {"epochs": 15, "batch_size": 16}),
    "vanishing gradient, digits": ("vanishing-gradient",
        lambda: dense(64, 10, *[24] * 12, act=nn.Sigmoid), digits, {"epochs": 3}),
    "overfitting": ("overfitting", lambda: dense(10, 2, 128, 128), noise, {"epochs": 40,
        "batch_size": 16, "lr": 3e-3, "data.val": 0.3}),
    "overfitting, regression": ("overfitting", lambda: dense(10, 1, 128, 128),
        lambda: (noise(80)[0], np.random.default_rng(5).normal(size=80)), {"epochs": 80,
        "batch_size": 16, "lr": 3e-3, "data.val": 0.6}),
    "wrong sign, regression": ("wrong-sign", lambda: dense(4, 1, 32), wave, {"epochs": 8,
        "batch_size": 16, "lr": 3e-3, "loss": lambda output, y: -F.mse_loss(output[:, 0], y)}),
    "stopped too early": ("underfitting", lambda: dense(64, 10, 32), digits, {"epochs": 2,
        "batch_size": 64}),
    "one unit": ("underfitting", lambda: dense(64, 10, 1), digits, {"epochs": 10,
        "batch_size": 64, "lr": 3e-3}),
    "held back by decay": ("underfitting", lambda: dense(64, 10, 32), digits, {"epochs": 5,
        "batch_size": 64, "weight_decay": 200.0}),
    "wrong sign": ("wrong-sign", lambda: dense(4, 3, 32), iris, {"epochs": 15, "batch_size": 16,
        "loss": lambda output, y: -F.cross_entropy(output, y)}),
    "maximised error": ("wrong-sign", lambda: dense(64, 10, 32), digits, {"epochs": 4,
        "loss": lambda output, y: output.softmax(1).gather(1, y[:, None]).mean()}),
    "one step an epoch": ("one-step-an-epoch", lambda: dense(4, 3, 32), iris, {"epochs": 10,
        "batch_size": 512}),
    "layers in a list": ("unregistered-layers", Listed, iris, {"epochs": 10, "batch_size": 16}),
    "frozen by mistake": ("frozen-layers", lambda: stuck(dense(4, 3, 32)), iris, {"epochs": 15,
        "batch_size": 16}),
    "never changed": ("unchanged-layers", Asleep, iris, {"epochs": 10, "batch_size": 16,
        "lr": 5e-3}),
    "nothing to learn": ("no-better-than-baseline", lambda: dense(10, 2, 8), lambda: noise(400),
        {"epochs": 3, "batch_size": 32}),
}  # fmt: skip
"""The code that must be among those found, and a training that is wrong in this way."""


def trained(network, data, options, out):
    torch.manual_seed(options.get("seed", 0))
    return gradlab.fit(network(), data=data(), out=out, **{**QUIET, **options})


def codes(run):
    return [found["code"] for found in run.summary["verdict"]]


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_said_of_a_healthy_training(name, out):
    assert trained(*HEALTHY[name], out).summary["verdict"] == []


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_training_is_named(name, out):
    code, *training = FAULTY[name]
    found = trained(*training, out).summary["verdict"]
    assert code in [one["code"] for one in found], found
    for one in found:
        assert set(one) == {"code", "evidence", "fix"} and one["fix"]
        assert any(letter.isdigit() for letter in one["evidence"]) or "-layers" in one["code"]


@pytest.mark.parametrize("name", ["rate far too low", "rate too high", "one step an epoch"])
def test_the_advice_works(name, out):
    code, network, data, options = FAULTY[name]
    fix = next(
        found["fix"]
        for found in trained(network, data, options, out).summary["verdict"]
        if found["code"] == code
    )
    option, _, value = fix.partition("=")
    assert code not in codes(trained(network, data, {**options, option: float(value)}, out))


@pytest.mark.parametrize(
    ("recipe", "fields"),
    [
        ("linear_regression", {}),
        ("logistic_regression", {}),
        ("softmax_regression", {"epochs": 30}),
        ("mlp", {"widths": "64", "epochs": 40}),
        ("lenet5", {"epochs": 10}),
        ("autoencoder", {"data": "digits", "widths": "64", "code": 8, "epochs": 40}),
    ],
)
def test_recipes_at_their_defaults_are_healthy(recipe, fields, out):
    assert gradlab.train(recipe, out=out, **QUIET, **fields).summary["verdict"] == []


def test_a_task_without_examples_gets_no_word(out):
    small = {"data": "digits", "image_size": 28, "epochs": 1, "model.width": 4, "latent": 8}
    run = gradlab.train("dcgan", out=out, **QUIET, **small, **{"data.limit": 120, "batch_size": 60})
    assert run.summary["verdict"] == []


def test_the_evidence_survives_a_resume(out):
    class Stop(Observer):
        def evaluated(self, progress, line):
            if line["epoch"] == 3:
                raise UserError("stopped")

    torch.manual_seed(0)
    network = dense(4, 3, 32)
    begun = {name: value.clone() for name, value in network.state_dict().items()}
    options = {"epochs": 6, "batch_size": 16, "lr": 1e-6, "out": out, **QUIET}
    options["checkpoint_seconds"] = 0
    whole = gradlab.fit(network, data=iris(), **options)
    network.load_state_dict(begun)
    with pytest.raises(UserError, match="stopped"):
        gradlab.fit(network, data=iris(), name="stopped", observers=[Stop()], **options)
    opened = gradlab.load(out / "stopped", model=network)
    assert not opened.finished and opened.history[0]["event"] == "start"
    assert math.isclose(opened.history[0]["loss"], whole.history[0]["loss"])
    assert set(opened.history[0]["weights"]) == set(begun)


@pytest.mark.parametrize(
    ("values", "noisy"),
    [
        ((0.56, 0.56, 0.44, 0.56, 0.56, 0.67, 0.56, 0.44, 0.78, 0.56, 0.56, 0.44), True),
        ((0.56, 0.67, 0.67, 0.78, 0.78, 0.78, 0.78, 0.78, 0.67, 0.78, 0.78, 0.78), False),
        ((0.50, 0.62, 0.70, 0.74, 0.77, 0.79, 0.80, 0.81, 0.81, 0.82, 0.82, 0.82), False),
    ],
)
def test_a_best_epoch_by_one_noisy_value(values, noisy):
    recipe = find("mlp")
    known = Evidence(
        recipe,
        "accuracy",
        {"val": {"accuracy": max(values)}},
        counts={"val": 9},
        val={"accuracy": tuple(enumerate(values, 1))},
    )
    found = verdict(known)
    assert [one["code"] for one in found] == (["noisy-best-epoch"] if noisy else [])
    if noisy:
        assert "78.00 % on 9 val examples" in found[0]["evidence"]
        assert found[0]["fix"] == "--val 0.3" and find(recipe, {"val": 0.3}).data.val == 0.3


def test_a_flat_loss_is_said_while_there_is_time(capsys, out):
    options = {"epochs": 60, "batch_size": 16, "threads": 1, "test": False, "out": out}
    torch.manual_seed(0)
    gradlab.fit(dense(4, 3, 32), data=iris(), lr=1e-7, **options)
    said = capsys.readouterr().err
    assert said.count("the training loss is flat: 1.") == 1 and "gradlab lr" in said
    gradlab.fit(dense(4, 3, 32), data=iris(), lr=5e-3, **options)
    assert "flat" not in capsys.readouterr().err
