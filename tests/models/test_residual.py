"""Each variant of the residual unit, against its formula in He et al. (2016)."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradlab.models.residual import VARIANTS, Block, Unit

relu, sigmoid = torch.relu, torch.sigmoid


def unit(block: str, first: bool = False) -> Unit:
    """A unit from 4 to 6 channels with stride 2, its normalisation as if trained."""
    torch.manual_seed(0)
    made = Unit(VARIANTS[block], 4, 6, stride=2, first=first).double().eval()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(tensor.data, 0.5, 1.5)
    return made


class Reference:
    """The parts of a unit, written with functions."""

    def __init__(self, made: Unit) -> None:
        self.state = made.state_dict()

    def conv(self, x: Tensor, name: str, stride: int = 1, padding: int = 1) -> Tensor:
        bias = self.state.get(f"{name}.bias")
        return F.conv2d(x, self.state[f"{name}.weight"], bias, stride, padding)

    def bn(self, x: Tensor, name: str) -> Tensor:
        mean, var = self.state[f"{name}.running_mean"], self.state[f"{name}.running_var"]
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        shape = (1, -1, 1, 1)
        x = (x - mean.view(shape)) / (var.view(shape) + 1e-5).sqrt()
        return x * weight.view(shape) + bias.view(shape)

    def shortcut(self, x: Tensor) -> Tensor:
        x = x[:, :, ::2, ::2]
        return torch.cat((x, torch.zeros_like(x[:, :2])), dim=1)

    def gate(self, x: Tensor) -> Tensor:
        return sigmoid(self.conv(x, "join.gate", stride=2, padding=0) - 6)

    def residual(self, x: Tensor) -> Tensor:
        x = relu(self.bn(self.conv(x, "path.conv1", stride=2), "path.bn1"))
        return self.bn(self.conv(x, "path.conv2"), "path.bn2")

    def original(self, x: Tensor) -> Tensor:
        return relu(self.shortcut(x) + self.residual(x))

    dropout_shortcut = original

    def plain(self, x: Tensor) -> Tensor:
        return relu(self.residual(x))

    def constant_scaling(self, x: Tensor) -> Tensor:
        return relu(0.5 * self.shortcut(x) + 0.5 * self.residual(x))

    def exclusive_gating(self, x: Tensor) -> Tensor:
        g = self.gate(x)
        return relu((1 - g) * self.shortcut(x) + g * self.residual(x))

    def shortcut_gating(self, x: Tensor) -> Tensor:
        return relu((1 - self.gate(x)) * self.shortcut(x) + self.residual(x))

    def conv_shortcut(self, x: Tensor) -> Tensor:
        shortcut = self.bn(self.conv(x, "join.conv", stride=2, padding=0), "join.bn")
        return relu(shortcut + self.residual(x))

    def bn_after_addition(self, x: Tensor) -> Tensor:
        f = relu(self.bn(self.conv(x, "path.conv1", stride=2), "path.bn1"))
        f = self.conv(f, "path.conv2")
        return relu(self.bn(self.shortcut(x) + f, "after.bn1"))

    def relu_before_addition(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + relu(self.residual(x))

    def relu_preactivation(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.residual(relu(x))

    def full_preactivation(self, x: Tensor) -> Tensor:
        f = self.conv(relu(self.bn(x, "path.bn1")), "path.conv1", stride=2)
        f = self.conv(relu(self.bn(f, "path.bn2")), "path.conv2")
        return self.shortcut(x) + f


@pytest.mark.parametrize("block", VARIANTS)
def test_a_unit_is_its_formula(block):
    made = unit(block)
    x = 3 * torch.randn(2, 4, 8, 8, dtype=torch.float64)
    found = made(x)
    assert found.shape == (2, 6, 4, 4)
    torch.testing.assert_close(found, getattr(Reference(made), block)(x))


def test_the_first_full_preactivation_unit_has_no_activation_in_front():
    made = unit("full_preactivation", first=True)
    reference = Reference(made)
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    f = relu(reference.bn(reference.conv(x, "path.conv1", stride=2), "path.bn1"))
    expected = reference.shortcut(x) + reference.conv(f, "path.conv2")
    torch.testing.assert_close(made(x), expected)


def test_dropout_takes_half_of_the_shortcut_in_training_only():
    made = unit("dropout_shortcut")
    x = torch.rand(2, 4, 40, 40, dtype=torch.float64) + 1
    f = torch.zeros(2, 6, 20, 20, dtype=torch.float64)
    kept = made.train().join(x, f)[:, :4] / x[:, :, ::2, ::2]
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert kept.mean().item() == pytest.approx(1, abs=0.1)


def test_a_gate_starts_nearly_closed():
    made = unit("shortcut_gating")
    torch.nn.init.zeros_(made.join.gate.weight)
    torch.nn.init.zeros_(made.join.gate.bias)
    x = torch.ones(1, 4, 2, 2, dtype=torch.float64)
    out = made.join(x, torch.zeros(1, 6, 1, 1, dtype=torch.float64))
    assert 1 - out[0, 0, 0, 0].item() == pytest.approx(0.002473, abs=1e-6)


def test_the_ten_variants_are_in_the_table():
    assert len(get_args(Block)) == 10
    assert set(get_args(Block)) == set(VARIANTS) - {"plain"}
