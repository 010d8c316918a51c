"""Which mistakes between an output, a target and a loss are found, and that none is made up."""

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gradlab.insight import preflight
from gradlab.insight.losses import last_operation

N, D, K = 16, 6, 3


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(N, D, generator=generator), torch.arange(N) % K


def network(*ending, outputs=K):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(D, 8), nn.Tanh(), nn.Linear(8, outputs), *ending)


def codes(model, loss, y, x=None, **options):
    x = batch()[0] if x is None else x
    return [finding.code for finding in preflight(model, loss, x, y, **options)]


labels = batch()[1]
yes_no = (labels > 0).float()
numbers = torch.linspace(-1, 1, N)


@pytest.mark.parametrize(
    ("model", "loss", "y"),
    [
        (network(), nn.CrossEntropyLoss(), labels),
        (network(), nn.CrossEntropyLoss(label_smoothing=0.1), labels),
        (network(), F.cross_entropy, labels.to(torch.uint8)),
        (network(), F.cross_entropy, F.one_hot(labels, K).float()),
        (network(), nn.CrossEntropyLoss(ignore_index=255), labels.where(labels > 0, 255)),
        (
            network(),
            functools.partial(F.cross_entropy, ignore_index=9),
            labels.where(yes_no > 0, 9),
        ),
        (network(), lambda o, y: F.cross_entropy(o, y) + 0.1 * o.pow(2).mean(), labels),
        (network(nn.Unflatten(1, (K, 1, 1))), F.cross_entropy, labels[:, None, None]),
        (network(), nn.MultiMarginLoss(), labels),
        (network(nn.LogSoftmax(dim=1)), nn.NLLLoss(), labels),
        (network(outputs=1), lambda o, y: F.mse_loss(o[:, 0], y), numbers),
        (network(outputs=1), lambda o, y: (o.squeeze(1) - y).abs().mean(), numbers),
        (network(outputs=1), nn.HuberLoss(), numbers[:, None]),
        (network(outputs=1), nn.MSELoss(), torch.ones(1)),
        (network(), nn.MSELoss(), F.one_hot(labels, K).float()),
        (network(nn.Softmax(dim=1)), nn.MSELoss(), F.one_hot(labels, K).float()),
        (network(outputs=1), nn.BCEWithLogitsLoss(), yes_no[:, None]),
        (network(nn.Sigmoid(), outputs=1), nn.BCELoss(), yes_no[:, None]),
        (network(), nn.BCEWithLogitsLoss(), F.one_hot(labels, K).float()),
        (network(), lambda o, y: torch.cdist(o, o).mean(), labels),
        (network(), lambda o, y: (o[:, None] - o[None]).pow(2).mean(), labels),
    ],
)
def test_what_is_right_is_let_pass(model, loss, y):
    assert codes(model, loss, y) == []


@pytest.mark.parametrize(
    ("code", "model", "loss", "y"),
    [
        # Only broadcasting makes the shapes fit.
        ("shapes-broadcast", network(outputs=1), nn.MSELoss(), numbers),
        ("shapes-broadcast", network(outputs=1), nn.L1Loss(), numbers),
        ("shapes-broadcast", network(outputs=1), nn.SmoothL1Loss(), numbers),
        ("shapes-broadcast", network(outputs=1), lambda o, y: F.huber_loss(o, y), numbers),
        ("shapes-broadcast", network(outputs=1), lambda o, y: (o - y).pow(2).mean(), numbers),
        ("shapes-broadcast", network(outputs=1), lambda o, y: (y - o).pow(2).mean(), numbers),
        ("shapes-broadcast", network(nn.Flatten(0), outputs=1), nn.MSELoss(), numbers[:, None]),
        ("target-shape", network(), nn.MSELoss(), numbers),
        # Labels.
        ("labels-out-of-range", network(), nn.CrossEntropyLoss(), labels + 1),
        ("labels-out-of-range", network(), nn.CrossEntropyLoss(), labels - 1),
        ("labels-out-of-range", network(), lambda o, y: F.cross_entropy(o, y), labels + 7),
        ("labels-out-of-range", network(), nn.MultiMarginLoss(), labels + 1),
        ("labels-out-of-range", network(nn.LogSoftmax(1)), nn.NLLLoss(), labels + 1),
        ("target-dtype", network(), nn.CrossEntropyLoss(), labels.float()),
        ("target-dtype", network(), nn.CrossEntropyLoss(), labels.int()),
        ("target-dtype", network(), nn.CrossEntropyLoss(), F.one_hot(labels, K)),
        ("target-shape", network(), nn.CrossEntropyLoss(), labels[:, None]),
        ("batch-size", network(nn.Flatten(0), nn.Unflatten(0, (-1, 2))), F.cross_entropy, labels),
        ("one-output", network(outputs=1), nn.CrossEntropyLoss(), labels * 0),
        ("output-shape", network(nn.Flatten(0), outputs=1), F.cross_entropy, yes_no),
        # An activation in front of a loss that applies its own.
        ("softmax-before-loss", network(nn.Softmax(dim=1)), nn.CrossEntropyLoss(), labels),
        ("sigmoid-before-loss", network(nn.Sigmoid()), nn.CrossEntropyLoss(), labels),
        ("sigmoid-before-loss", network(nn.Sigmoid()), F.cross_entropy, labels),
        ("log-softmax-before-loss", network(nn.LogSoftmax(1)), nn.CrossEntropyLoss(), labels),
        ("relu-before-loss", network(nn.ReLU()), nn.CrossEntropyLoss(), labels),
        (
            "sigmoid-before-loss",
            network(nn.Sigmoid(), nn.Flatten(0), outputs=1),
            lambda o, y: F.binary_cross_entropy_with_logits(o, y),
            yes_no,
        ),
        # One that is missing.
        ("log-softmax-missing", network(), nn.NLLLoss(), labels),
        ("log-softmax-missing", network(nn.Softmax(dim=1)), nn.NLLLoss(), labels),
        ("not-normalised", network(nn.LogSigmoid()), nn.NLLLoss(), labels),
        ("sigmoid-missing", network(outputs=1), nn.BCELoss(), yes_no[:, None]),
        # Binary targets.
        ("target-shape", network(outputs=1), nn.BCEWithLogitsLoss(), yes_no),
        ("target-shape", network(), nn.BCEWithLogitsLoss(), labels),
        ("target-dtype", network(outputs=1), nn.BCEWithLogitsLoss(), labels[:, None]),
        ("target-dtype", network(outputs=1), nn.BCEWithLogitsLoss(), labels[:, None] > 0),
        ("target-range", network(outputs=1), nn.BCEWithLogitsLoss(), yes_no[:, None] * 2 - 1),
        ("target-range", network(outputs=1), nn.BCEWithLogitsLoss(), yes_no[:, None] + 1),
    ],
)
def test_each_mistake_has_its_finding(code, model, loss, y):
    assert code in codes(model, loss, y)


def test_the_words_and_the_fix_fit_the_mistake():
    x, y = batch()
    (finding,) = preflight(network(), nn.CrossEntropyLoss(), x, y + 1)
    assert finding.level == "error"
    assert "from 1 to 3" in finding.what and "3 outputs (0 to 2)" in finding.what
    assert "y - 1" in finding.fix
    (finding,) = preflight(network(outputs=1), nn.MSELoss(), x, numbers)
    assert "16 x 1" in finding.what and "16 x 16" in finding.what
    assert "y.reshape(16, 1)" in finding.fix
    (finding,) = preflight(network(), nn.CrossEntropyLoss(), x, y[:, None])
    assert "y.reshape(16,)" in finding.fix


@pytest.mark.parametrize(
    ("by_hand", "code"),
    [
        (lambda z: z.exp() / z.exp().sum(1, keepdim=True), "softmax-before-loss"),
        (lambda z: z - z.exp().sum(1, keepdim=True).log(), "log-softmax-before-loss"),
    ],
)
def test_an_activation_written_by_hand_is_known_by_its_values(by_hand, code):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = network()

        def forward(self, x):
            return by_hand(self.body(x))

    assert codes(Net(), nn.CrossEntropyLoss(), labels) == [code]


def test_a_sigmoid_written_by_hand_is_suspected():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = network(outputs=1)

        def forward(self, x):
            return 1 / (1 + (-self.body(x)).exp())

    (finding,) = preflight(Net(), nn.BCEWithLogitsLoss(), batch()[0], yes_no[:, None])
    assert (finding.level, finding.code) == ("warning", "probabilities-before-loss")


def test_the_layer_that_ran_last_tells_when_the_graph_cannot():
    probabilities = torch.softmax(torch.randn(2, 3), 1)  # no graph: all is frozen
    assert last_operation(probabilities) == "other"
    assert last_operation(probabilities[:, None], (nn.Softmax(1), probabilities)) == "softmax"
    assert last_operation(probabilities + 0, (nn.Softmax(1), probabilities)) == "other"


def test_a_gate_that_runs_last_is_not_taken_for_the_ending():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.value, self.gate, self.sigmoid = nn.Linear(D, K), nn.Linear(D, K), nn.Sigmoid()

        def forward(self, x):
            return self.value(x) * self.sigmoid(self.gate(x))

    assert codes(Gated(), nn.CrossEntropyLoss(), labels) == []


def test_a_call_that_does_not_fit_is_not_made():
    # On a GPU a label out of range would not raise, but end the process.
    returned = []

    def loss(output, y):
        value = F.mse_loss(output, y)
        returned.append(value)
        return value

    assert codes(network(outputs=1), loss, numbers) == ["shapes-broadcast"]
    assert not returned


def test_classes_are_compared_with_outputs_and_with_labels_of_ones_own_loss():
    def own(output, y):
        return -output[torch.arange(N), y % K].mean()

    assert codes(network(), nn.CrossEntropyLoss(), labels, classes=3) == []
    assert codes(network(), nn.CrossEntropyLoss(), labels, classes=5) == ["too-few-outputs"]
    assert codes(network(outputs=5), nn.CrossEntropyLoss(), labels, classes=3) == []
    assert codes(network(), own, labels, classes=3) == []
    assert codes(network(), own, labels + 1, classes=3) == ["labels-out-of-range"]
    assert codes(network(), own, labels + 1) == []
    # With one output for two classes, the labels are no class numbers of outputs.
    binary = network(outputs=1)
    loss = lambda o, y: F.binary_cross_entropy_with_logits(o[:, 0], y.float())  # noqa: E731
    assert codes(binary, loss, labels % 2, classes=1) == []


@pytest.mark.parametrize(
    ("code", "loss"),
    [
        ("loss-failed", lambda o, y: F.mse_loss(o @ o, o)),
        ("loss-shape", nn.CrossEntropyLoss(reduction="none")),
        ("loss-type", lambda o, y: F.cross_entropy(o, y).item()),
        ("loss-without-gradient", lambda o, y: F.cross_entropy(o.detach(), y)),
        ("loss-without-gradient", lambda o, y: (o.argmax(1) != y).float().mean()),
    ],
)
def test_a_loss_that_cannot_be_trained_on(code, loss):
    assert codes(network(), loss, labels) == [code]
