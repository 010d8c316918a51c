"""GoogLeNet: Inception blocks with 1x1 reductions, and two auxiliary heads.

Szegedy et al. (2014), "Going deeper with convolutions", https://arxiv.org/abs/1409.4842

Departures, most of them those of the published weights:
- Batch normalisation after each convolution, no local response normalisation.
- The "5x5" branch of a block is a 3x3 convolution (in the weights published for torchvision).
- The auxiliary heads pool to 4x4 whatever the size, and the dropout is 0.2 before the last layer
  (paper: 0.4) and 0.7 in the heads.
- Initial values are He's; those published come from a normal distribution with a standard
  deviation of 0.01.
- Small images (under 64 pixels): the first convolution is 3x3 with stride 1 and the first pooling
  is left out, so that 32 pixels reach the blocks as 16.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from gradlab.models import Shape, initial, models
from gradlab.models.sizes import is_small

BLOCKS = {
    # name: 1x1, 3x3 reduction, 3x3, 5x5 reduction, 5x5, projection of the pooling
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Channels of each Inception block: table 1 of the paper."""


class GoogLeNetOutput(NamedTuple):
    """What a GoogLeNet in training returns: three times N K."""

    logits: Tensor
    aux1: Tensor
    aux2: Tensor


class ConvBlock(nn.Sequential):
    """Convolution, batch normalisation, ReLU. N C H W -> N C' H' W'."""

    def __init__(self, in_channels: int, channels: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, size, stride, padding=size // 2, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=0.001)
        self.relu = nn.ReLU()


class Inception(nn.Module):
    """Four branches side by side, their maps joined."""

    def __init__(self, in_channels: int, channels: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, pool = channels
        self.branch1 = ConvBlock(in_channels, one, 1)
        self.branch2 = nn.Sequential(
            ConvBlock(in_channels, reduce3, 1), ConvBlock(reduce3, three, 3)
        )
        self.branch3 = nn.Sequential(
            ConvBlock(in_channels, reduce5, 1), ConvBlock(reduce5, five, 3)
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), ConvBlock(in_channels, pool, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C' H W."""
        branches = self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)
        return torch.cat(branches, dim=1)  # N C' H W


class AuxiliaryHead(nn.Sequential):
    """A small classifier in the middle of the network. N C H W -> N K."""

    def __init__(self, in_channels: int, outputs: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(4)  # N C 4 4
        self.conv = ConvBlock(in_channels, 128, 1)  # N 128 4 4
        self.flatten = nn.Flatten()  # N 2048
        self.fc1 = nn.Linear(2048, 1024)  # N 1024
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(1024, outputs)  # N K


class GoogLeNet(nn.Module):
    """A stem, nine Inception blocks, a linear layer, and two heads on the way.

    `aux_weight` is the factor of the heads' losses in the whole loss (section 5 of the paper).
    """

    aux_weight = 0.3

    def __init__(
        self, in_channels: int, outputs: int, small: bool, aux: bool, dropout: float
    ) -> None:
        super().__init__()
        self.conv1 = ConvBlock(in_channels, 64, 3) if small else ConvBlock(in_channels, 64, 7, 2)
        self.maxpool1 = nn.Identity() if small else nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = ConvBlock(64, 64, 1)
        self.conv3 = ConvBlock(64, 192, 3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.maxpool4 = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        width = 192
        for name, channels in BLOCKS.items():
            setattr(self, f"inception{name}", Inception(width, channels))
            width = sum(channels) - channels[1] - channels[3]  # the reductions stay inside
        self.aux1 = AuxiliaryHead(512, outputs) if aux else None
        self.aux2 = AuxiliaryHead(528, outputs) if aux else None
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(width, outputs)
        initial.apply(self, "he")

    def forward(self, x: Tensor) -> Tensor | GoogLeNetOutput:
        """N C H W -> N K; in training, with heads, a `GoogLeNetOutput`."""
        x = self.maxpool1(self.conv1(x))  # N 64 H/4 W/4
        x = self.maxpool2(self.conv3(self.conv2(x)))  # N 192 H/8 W/8
        x = self._blocks(x, "3a", "3b")  # N 480 H/8 W/8
        x = middle1 = self._blocks(self.maxpool3(x), "4a")  # N 512 H/16 W/16
        x = middle2 = self._blocks(x, "4b", "4c", "4d")  # N 528 H/16 W/16
        x = self.maxpool4(self._blocks(x, "4e"))  # N 832 H/32 W/32
        x = self._blocks(x, "5a", "5b")  # N 1024 H/32 W/32
        x = self.dropout(self.flatten(self.avgpool(x)))  # N 1024
        logits: Tensor = self.fc(x)  # N K
        if self.training and self.aux1 is not None and self.aux2 is not None:
            return GoogLeNetOutput(logits, self.aux1(middle1), self.aux2(middle2))
        return logits

    def _blocks(self, x: Tensor, *names: str) -> Tensor:
        for name in names:
            x = getattr(self, f"inception{name}")(x)
        return x


@models.register("googlenet")
def googlenet(
    inputs: Shape,
    outputs: int,
    *,
    aux: Annotated[bool, Field(description="with the two auxiliary heads")] = True,
    dropout: Annotated[
        float, Field(ge=0, lt=1, description="share of units dropped before the last layer")
    ] = 0.2,
) -> GoogLeNet:
    """GoogLeNet, with the parameter names of the published weights."""
    return GoogLeNet(inputs[0], outputs, is_small(inputs), aux, dropout)
