from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gradlab.errors import UnknownName
from gradlab.models import create, initial


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(16, 64, 3), nn.BatchNorm2d(64), nn.Flatten(), nn.Linear(400, 300), nn.LSTM(8, 50)
    )


def filled(network: nn.Sequential, name: str) -> nn.Sequential:
    initial.apply(network, name, torch.Generator().manual_seed(1))
    return network


def test_default_changes_nothing(network):
    before = [p.clone() for p in network.parameters()]
    filled(network, "default")
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


@pytest.mark.parametrize(("name", "value"), [("zeros", 0.0), ("constant", 0.01)])
def test_zeros_and_constant(network, name, value):
    conv, _, _, linear, lstm = filled(network, name)
    for weight in (conv.weight, linear.weight, lstm.weight_ih_l0, lstm.weight_hh_l0):
        assert (weight == value).all()


@pytest.mark.parametrize(
    ("name", "conv_std", "linear_std"),
    [
        ("normal", 0.01, 0.01),
        ("xavier", math.sqrt(2 / (16 * 9 + 64 * 9)), math.sqrt(2 / 700)),
        ("he", math.sqrt(2 / (16 * 9)), math.sqrt(2 / 400)),
    ],
)
def test_the_spread_is_the_papers(network, name, conv_std, linear_std):
    conv, _, _, linear, _ = filled(network, name)
    assert conv.weight.std().item() == pytest.approx(conv_std, rel=0.03)
    assert linear.weight.std().item() == pytest.approx(linear_std, rel=0.03)
    assert abs(linear.weight.mean().item()) < 0.01 * linear_std


def test_orthogonal_rows(network):
    conv, _, _, linear, _ = filled(network, "orthogonal")
    for weight in (conv.weight.flatten(1), linear.weight):
        torch.testing.assert_close(weight @ weight.T, torch.eye(len(weight)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", initial.FILLS)
def test_biases_are_zero_and_normalisation_stays(network, name):
    norm = network[1]
    nn.init.constant_(norm.weight, 0.7)
    nn.init.constant_(norm.bias, 0.3)
    conv, norm, _, linear, lstm = filled(network, name)
    assert (norm.weight == 0.7).all()
    assert (norm.bias == 0.3).all()
    for bias in (conv.bias, linear.bias, lstm.bias_ih_l0, lstm.bias_hh_l0):
        assert not bias.any()


def test_scales_of_several_dimensions_are_no_weights():
    norm = nn.LayerNorm((3, 4))
    initial.apply(norm, "zeros")
    assert (norm.weight == 1).all()


@pytest.mark.parametrize("name", ["normal", "xavier", "he", "orthogonal"])
def test_the_generator_alone_decides(network, name):
    first = [p.clone() for p in filled(network, name).parameters()]
    torch.manual_seed(99)
    again = list(filled(network, name).parameters())
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    initial.apply(network, name, torch.Generator().manual_seed(2))
    assert not torch.equal(first[0], network[0].weight)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'xavier'"):
        initial.apply(nn.Linear(1, 1), "xavier_uniform")


@pytest.mark.parametrize(
    "name", ["alexnet", "alexnet_2012", "vgg11", "googlenet", "resnet18", "resnet20", "densenet121"]
)
def test_a_deep_family_starts_with_he(name):
    torch.manual_seed(0)
    model = create(name, inputs=(3, 32, 32), outputs=10)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 3000:
            inputs = module.weight[0].numel()
            assert module.weight.std().item() == pytest.approx(math.sqrt(2 / inputs), rel=0.1)
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            assert not module.bias.any()
