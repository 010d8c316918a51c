"""EfficientNet-Lite: EfficientNet without what small devices are slow at.

Tan and Le (2019), "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
https://arxiv.org/abs/1905.11946; the lite form is of its authors (2020),
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite: ReLU6 in place of
swish, no squeeze-and-excitation, and a stem and a last stage that are not scaled.

Departures:
- No stochastic depth in training.
- Small images (under 64 pixels): the first convolution has stride 1.
- Initial values are He's by the number of inputs.

Padding and batch normalisation are TensorFlow's, so that the published weights give what they gave
there: convolutions of stride 2 pad more at the bottom and at the right, eps is 0.001, and running
figures move by a hundredth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from gradlab.models import Shape, initial, models
from gradlab.models.sizes import is_small


@dataclass(frozen=True)
class Stage:
    """Blocks that share a kernel and a number of channels; the first has the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


@dataclass(frozen=True)
class Scale:
    """How much wider and deeper than the first a variant is, for images of how many pixels."""

    width: float
    depth: float
    size: int
    dropout: float


STEM, TOP = 32, 1280
"""Channels of the first and of the last convolution."""
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
"""Table 1 of the paper, rows 2 to 8."""
VARIANTS = {
    "efficientnet_lite0": Scale(1.0, 1.0, 224, 0.2),
    "efficientnet_lite1": Scale(1.0, 1.1, 240, 0.2),
    "efficientnet_lite2": Scale(1.1, 1.2, 260, 0.3),
    "efficientnet_lite3": Scale(1.2, 1.4, 280, 0.3),
    "efficientnet_lite4": Scale(1.4, 1.8, 300, 0.3),
}


class SameConv2d(nn.Conv2d):
    """A convolution that gives ceil(size / stride) pixels, padded as TensorFlow pads ("SAME")."""

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C' ceil(H/stride) ceil(W/stride)."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:  # the same on all sides
            return functional.conv2d(
                x, self.weight, self.bias, 1, kernel // 2, self.dilation, self.groups
            )
        pads: list[int] = []
        for size in (x.shape[3], x.shape[2]):  # the last axis first, as F.pad has it
            total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(functional.pad(x, pads))


def _unit(
    in_channels: int,
    channels: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    activation: bool = True,
) -> nn.Sequential:
    """Convolution, batch norm, ReLU6. N C H W -> N C' H/stride W/stride."""
    layers: list[nn.Module] = [
        SameConv2d(in_channels, channels, kernel, stride, groups=groups, bias=False),
        nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01),
    ]
    return nn.Sequential(*layers, *([nn.ReLU6()] if activation else []))


class InvertedResidual(nn.Module):
    """Widened by a 1x1 convolution, filtered channel by channel, and narrowed again."""

    def __init__(
        self, in_channels: int, channels: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        wide = expansion * in_channels
        self.expand = _unit(in_channels, wide) if expansion > 1 else nn.Identity()
        self.depthwise = _unit(wide, wide, kernel, stride, groups=wide)
        self.project = _unit(wide, channels, activation=False)
        self.shortcut = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C' H/stride W/stride."""
        f = self.expand(x)  # N 6C H W
        f = self.depthwise(f)  # N 6C H/stride W/stride
        out: Tensor = self.project(f)  # N C' H/stride W/stride
        return x + out if self.shortcut else out


class EfficientNetLite(nn.Module):
    """A stem, seven stages of inverted residuals, a last convolution, a linear layer.

    N C H W -> N K.
    """

    def __init__(
        self, scale: Scale, in_channels: int, outputs: int, small: bool, dropout: float
    ) -> None:
        super().__init__()
        self.stem = _unit(in_channels, STEM, 3, 1 if small else 2)  # N 32 H/2 W/2
        blocks: list[nn.Module] = []
        width = STEM
        for number, stage in enumerate(STAGES):
            ends = number in (0, len(STAGES) - 1)  # these are not made deeper
            count = stage.blocks if ends else math.ceil(stage.blocks * scale.depth)
            channels = rounded(stage.channels * scale.width)
            for block in range(count):
                stride = stage.stride if block == 0 else 1
                blocks.append(
                    InvertedResidual(width, channels, stage.kernel, stride, stage.expansion)
                )
                width = channels
        self.blocks = nn.Sequential(*blocks)  # N 320 H/32 W/32
        self.top = _unit(width, TOP)  # N 1280 H/32 W/32
        self.pool = nn.AdaptiveAvgPool2d(1)  # N 1280 1 1
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(TOP, outputs)  # N K
        initial.apply(self, "he")

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N K."""
        x = self.top(self.blocks(self.stem(x)))  # N 1280 H/32 W/32
        x = self.pool(x).flatten(1)  # N 1280
        out: Tensor = self.fc(self.dropout(x))  # N K
        return out


def rounded(channels: float, by: int = 8) -> int:
    """The nearest multiple of `by`, but never a tenth less.

    >>> rounded(1.1 * 24), rounded(1.1 * 40), rounded(1.1 * 16)
    (24, 48, 16)
    """
    found = max(by, int(channels + by / 2) // by * by)
    return found + by if found < 0.9 * channels else found


def _builder(scale: Scale) -> Callable[..., EfficientNetLite]:
    def build(
        inputs: Shape,
        outputs: int,
        *,
        dropout: Annotated[
            float, Field(ge=0, lt=1, description="share of features dropped before the last layer")
        ] = scale.dropout,
    ) -> EfficientNetLite:
        return EfficientNetLite(scale, inputs[0], outputs, is_small(inputs), dropout)

    return build


for _name, _scale in VARIANTS.items():
    models.add(_name, _builder(_scale))
