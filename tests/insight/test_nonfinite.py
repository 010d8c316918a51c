"""That the first place of a NaN or an infinity is found, and nothing stays behind."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gradlab.insight import watch


class Add(nn.Module):
    def __init__(self, what):
        super().__init__()
        self.what = what

    def forward(self, x):
        return self.what(x)


def net(*middle):
    torch.manual_seed(0)
    model = nn.Sequential()
    for name, layer in (("fc1", nn.Linear(4, 5)), *middle, ("fc2", nn.Linear(5, 3))):
        model.add_module(name, layer)
    return model


def replay(model, loss=lambda output: output.sum(), x=None):
    x = torch.ones(2, 4) if x is None else x
    with watch(model) as found:
        loss(model(x)).backward()
    return found.first


def test_nothing_is_said_of_a_healthy_step():
    assert replay(net(("act", nn.ReLU()))) is None


def test_a_bad_parameter_is_named_before_all_that_it_spoils():
    model = net()
    with torch.no_grad():
        model.fc2.bias[1] = torch.inf
    assert replay(model) == "layer 'fc2' (Linear): parameter 'bias' is inf before the forward pass"


def test_a_bad_input():
    x = torch.ones(2, 4)
    x[0, 1] = torch.nan
    assert replay(net(), x=x) == "the input of the model is nan"


def test_the_first_layer_in_the_order_of_the_forward_pass():
    model = net(("scale", Add(lambda x: x * 1e38 * 1e38)), ("act", nn.ReLU()))
    assert replay(model) == "layer 'scale' (Add): output is inf in the forward pass"
    model = net(("log", Add(lambda x: (x * 0 - 1).log())))
    assert replay(model) == "layer 'log' (Add): output is nan in the forward pass"


def test_what_a_network_does_itself_between_its_layers():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x):
            return self.fc(x) / 0

    assert replay(Own()) == "the model (Own): output is inf in the forward pass"


def test_a_gradient_made_by_a_layer():
    model = net(("root", Add(lambda x: (x * 0).sqrt())))  # sqrt has an infinite slope at 0
    assert replay(model) == "layer 'root' (Add): gradient of the input is nan in the backward pass"


def test_a_gradient_made_by_the_loss():
    found = replay(net(), lambda output: (output * 0).abs().sqrt().sum())
    assert found is not None and found.startswith("layer 'fc2' (Linear): gradient that comes back")


def test_a_gradient_made_between_layers():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(4, 5), nn.Linear(5, 3)

        def forward(self, x):
            return self.fc2((self.fc1(x) * 0).abs().sqrt())

    found = replay(Own())
    assert found is not None and found.startswith("layer 'fc1' (Linear): gradient that comes back")


def test_a_gradient_that_overflows_in_a_parameter():
    model = nn.Linear(4, 1, bias=False)
    nn.init.constant_(model.weight, 1e-35)
    found = replay(model, lambda output: (output * 1e30).sum(), torch.full((2, 4), 1e30))
    assert found == "the model (Linear): gradient of 'weight' is inf in the backward pass"


@pytest.mark.parametrize("fails", [False, True])
def test_all_hooks_are_gone_afterwards(fails):
    model = net(("act", nn.ReLU(inplace=True)))
    try:
        with watch(model) as found:
            output = model(torch.ones(2, 4))
            if fails:
                raise RuntimeError
    except RuntimeError:
        pass
    (output * torch.inf).sum().backward()  # outside: not looked at
    assert found.first is None
    for module in model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks
    assert all(not parameter._backward_hooks for parameter in model.parameters())


def test_the_numbers_are_those_without_a_watch():
    x, y = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3

    def gradients(looked):
        model = net(("act", nn.ReLU(inplace=True)))
        if looked:
            with watch(model) as found:
                F.cross_entropy(model(x), y).backward()
            assert found.first is None
        else:
            F.cross_entropy(model(x), y).backward()
        return [parameter.grad for parameter in model.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(gradients(True), gradients(False), strict=True))


def test_outputs_in_tuples_and_integer_inputs():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.lstm = nn.Embedding(5, 3), nn.LSTM(3, 4, batch_first=True)

        def forward(self, x):
            return self.lstm(self.embedding(x))[0]

    model = Words()
    assert replay(model, x=torch.arange(5)[None]) is None
    with torch.no_grad():
        model.embedding.weight[2] = torch.inf
    assert "'embedding'" in replay(model, x=torch.arange(5)[None])
