"""Residual units in ten variants, and the plain unit without a shortcut.

He, Zhang, Ren and Sun (2016), "Identity mappings in deep residual networks",
https://arxiv.org/abs/1603.05027: tables 1 (what is done to the shortcut) and 2 (where the
activations are). A unit is a row of `VARIANTS`: the order of its layers is spelled out.

Departures:
- Constant scaling and dropout are the paper's 0.5; of the two rows for constant scaling it is the
  one that learnt (both paths scaled).
- The gates' bias starts at -6, the best of the paper; it is a constant beside a bias that starts at
  0, so that any initial values keep it.
- The 1x1-convolution shortcut is batch-normalised: else the signal doubles in each unit.
- Where the size changes, the shortcut skips pixels and pads with empty maps (option A of He et al.
  2015), in all variants but the 1x1 convolution.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Block = Literal[
    "original",
    "constant_scaling",
    "exclusive_gating",
    "shortcut_gating",
    "conv_shortcut",
    "dropout_shortcut",
    "bn_after_addition",
    "relu_before_addition",
    "relu_preactivation",
    "full_preactivation",
]


class Variant(NamedTuple):
    """One residual unit: how the two paths join, and the layers before, on and after the path.

    `before` is the pre-activation. The first unit leaves it out, since the stem ends with one, and
    the network repeats it after the last unit.
    """

    join: str
    before: str
    path: str
    after: str


VARIANTS = {
    "original": Variant("sum", "", "conv bn relu conv bn", "relu"),
    "constant_scaling": Variant("scaled", "", "conv bn relu conv bn", "relu"),
    "exclusive_gating": Variant("exclusive_gate", "", "conv bn relu conv bn", "relu"),
    "shortcut_gating": Variant("shortcut_gate", "", "conv bn relu conv bn", "relu"),
    "conv_shortcut": Variant("convolution", "", "conv bn relu conv bn", "relu"),
    "dropout_shortcut": Variant("dropout", "", "conv bn relu conv bn", "relu"),
    "bn_after_addition": Variant("sum", "", "conv bn relu conv", "bn relu"),
    "relu_before_addition": Variant("sum", "", "conv bn relu conv bn relu", ""),
    "relu_preactivation": Variant("sum", "relu", "conv bn relu conv bn", ""),
    "full_preactivation": Variant("sum", "bn relu", "conv bn relu conv", ""),
    "plain": Variant("none", "", "conv bn relu conv bn", "relu"),
}


def layers(order: str, in_channels: int, channels: int, stride: int = 1) -> nn.Sequential:
    """Layers in an order such as "bn relu conv". N C H W -> N C' H/stride W/stride.

    The first convolution changes the channels and the size.

    >>> [name for name, _ in layers("conv bn relu conv", 16, 32).named_children()]
    ['conv1', 'bn1', 'relu1', 'conv2']
    """
    named: OrderedDict[str, nn.Module] = OrderedDict()
    count: Counter[str] = Counter()
    width = in_channels
    for kind in order.split():
        count[kind] += 1
        layer: nn.Module
        if kind == "conv":
            layer = nn.Conv2d(width, channels, 3, stride, padding=1, bias=False)
            width, stride = channels, 1
        elif kind == "bn":
            layer = nn.BatchNorm2d(width)
        else:
            layer = nn.ReLU()
        named[f"{kind}{count[kind]}"] = layer
    return nn.Sequential(named)


class Join(nn.Module):
    """x + f: joins the input x of a unit with the residual f."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.extra = channels - in_channels
        self.stride = stride

    def forward(self, x: Tensor, f: Tensor) -> Tensor:
        """N C H W and N C' H/stride W/stride -> N C' H/stride W/stride."""
        return self._mix(x, self._shortcut(x), f)

    def _shortcut(self, x: Tensor) -> Tensor:
        """x, with pixels skipped and empty maps added where the shape changes."""
        if self.stride == 1 and not self.extra:
            return x
        x = x[:, :, :: self.stride, :: self.stride]  # N C H/stride W/stride
        return F.pad(x, (0, 0, 0, 0, 0, self.extra))  # N C' H/stride W/stride

    def _mix(self, x: Tensor, shortcut: Tensor, f: Tensor) -> Tensor:
        return shortcut + f


class Plain(Join):
    """f: no shortcut at all."""

    def _mix(self, x: Tensor, shortcut: Tensor, f: Tensor) -> Tensor:
        return f


class Scaled(Join):
    """0.5 x + 0.5 f."""

    def _mix(self, x: Tensor, shortcut: Tensor, f: Tensor) -> Tensor:
        return 0.5 * shortcut + 0.5 * f


class ShortcutGate(Join):
    """(1 - g) x + f, with the gate g = sigmoid(1x1 convolution of x)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__(in_channels, channels, stride)
        self.gate = nn.Conv2d(in_channels, channels, 1, stride)

    def _mix(self, x: Tensor, shortcut: Tensor, f: Tensor) -> Tensor:
        g = torch.sigmoid(self.gate(x) - 6)  # N C' H/stride W/stride
        return (1 - g) * shortcut + f


class ExclusiveGate(ShortcutGate):
    """(1 - g) x + g f: what one path gains, the other loses."""

    def _mix(self, x: Tensor, shortcut: Tensor, f: Tensor) -> Tensor:
        g = torch.sigmoid(self.gate(x) - 6)  # N C' H/stride W/stride
        return (1 - g) * shortcut + g * f


class Convolution(Join):
    """A 1x1 convolution of x, plus f."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__(in_channels, channels, stride)
        self.conv = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def _shortcut(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn(self.conv(x))  # N C' H/stride W/stride
        return out


class Dropped(Join):
    """x with half of it dropped in training, plus f."""

    def _shortcut(self, x: Tensor) -> Tensor:
        return F.dropout(super()._shortcut(x), 0.5, self.training)


JOINS: dict[str, type[Join]] = {
    "sum": Join,
    "none": Plain,
    "scaled": Scaled,
    "shortcut_gate": ShortcutGate,
    "exclusive_gate": ExclusiveGate,
    "convolution": Convolution,
    "dropout": Dropped,
}


class Unit(nn.Module):
    """A residual unit of two 3x3 convolutions."""

    def __init__(
        self, variant: Variant, in_channels: int, channels: int, stride: int, first: bool
    ) -> None:
        super().__init__()
        order = variant.path if first else f"{variant.before} {variant.path}"
        self.path = layers(order, in_channels, channels, stride)
        self.join = JOINS[variant.join](in_channels, channels, stride)
        self.after = layers(variant.after, channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C' H/stride W/stride."""
        out: Tensor = self.after(self.join(x, self.path(x)))  # N C' H/stride W/stride
        return out
