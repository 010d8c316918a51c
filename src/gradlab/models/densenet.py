"""DenseNet: each layer reads the maps of all layers before it.

Huang, Liu, van der Maaten and Weinberger (2016), "Densely connected convolutional networks",
https://arxiv.org/abs/1608.06993. All are of the paper's form BC: bottlenecks of four times the
growth, and transitions that halve the maps. `densenet161` has the growth 48 of the published
weights; `densenet_bc_L_k` are the CIFAR forms of depth L and growth k.

Departures:
- Small images (under 64 pixels), in the ImageNet forms: the first convolution is 3x3 with stride 1
  and the first pooling is left out, as in the CIFAR forms.
- No dropout unless asked for; the paper drops 0.2 where it trains without augmentation.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from gradlab.models import Shape, initial, models
from gradlab.models.sizes import is_small


class Variant(NamedTuple):
    """The numbers that make one DenseNet."""

    growth: int
    layers: tuple[int, ...]
    first: int
    cifar: bool = False


VARIANTS = {
    "densenet121": Variant(32, (6, 12, 24, 16), 64),
    "densenet161": Variant(48, (6, 12, 36, 24), 96),
    "densenet169": Variant(32, (6, 12, 32, 32), 64),
    "densenet201": Variant(32, (6, 12, 48, 32), 64),
    "densenet_bc_40_12": Variant(12, (6, 6, 6), 24, cifar=True),
    "densenet_bc_100_12": Variant(12, (16, 16, 16), 24, cifar=True),
}
"""Growth rate, layers of each block, channels of the first convolution.

A CIFAR form has a first convolution of 3x3 with stride 1, and nothing between it and the blocks.
"""


class DenseLayer(nn.Module):
    """1x1 and 3x3 convolutions, pre-activated; their maps are added to those that came in."""

    def __init__(self, in_channels: int, growth: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C+growth H W."""
        new = self.conv1(self.relu1(self.norm1(x)))  # N 4*growth H W
        new = self.conv2(self.relu2(self.norm2(new)))  # N growth H W
        return torch.cat((x, self.dropout(new)), dim=1)  # N C+growth H W


class Transition(nn.Sequential):
    """Half the channels, half the size. N C H W -> N C/2 H/2 W/2."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(in_channels, in_channels // 2, 1, bias=False)  # N C/2 H W
        self.pool = nn.AvgPool2d(2)  # N C/2 H/2 W/2


class DenseNet(nn.Sequential):
    """A stem, dense blocks with transitions between them, a linear layer. N C H W -> N K."""

    def __init__(
        self, variant: Variant, in_channels: int, outputs: int, small: bool, dropout: float
    ) -> None:
        super().__init__()
        growth, blocks, width, cifar = variant
        size, stride = (3, 1) if small or cifar else (7, 2)
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(in_channels, width, size, stride, size // 2, bias=False)  # N C H/2 W/2
        )
        if not cifar:
            parts["norm0"] = nn.BatchNorm2d(width)
            parts["relu0"] = nn.ReLU()
        if not (small or cifar):
            parts["pool0"] = nn.MaxPool2d(3, stride=2, padding=1)  # N C H/4 W/4
        for number, count in enumerate(blocks, start=1):
            block: OrderedDict[str, nn.Module] = OrderedDict()
            for layer in range(1, count + 1):
                block[f"denselayer{layer}"] = DenseLayer(width, growth, dropout)
                width += growth
            parts[f"denseblock{number}"] = nn.Sequential(block)  # N C H W
            if number < len(blocks):
                parts[f"transition{number}"] = Transition(width)  # N C/2 H/2 W/2
                width //= 2
        parts[f"norm{len(blocks) + 1}"] = nn.BatchNorm2d(width)
        self.features = nn.Sequential(parts)  # N C H/32 W/32
        self.relu = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)  # N C 1 1
        self.flatten = nn.Flatten()  # N C
        self.classifier = nn.Linear(width, outputs)  # N K
        initial.apply(self, "he")


def _builder(variant: Variant) -> Callable[..., DenseNet]:
    def build(
        inputs: Shape,
        outputs: int,
        *,
        dropout: Annotated[
            float, Field(ge=0, lt=1, description="share of values dropped after each layer")
        ] = 0.0,
    ) -> DenseNet:
        return DenseNet(variant, inputs[0], outputs, is_small(inputs), dropout)

    return build


for _name, _variant in VARIANTS.items():
    models.add(_name, _builder(_variant))
