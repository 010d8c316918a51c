"""ResNet: the ImageNet forms, the CIFAR forms, and their plain counterparts.

He, Zhang, Ren and Sun (2015), "Deep residual learning for image recognition",
https://arxiv.org/abs/1512.03385: section 4.1 (resnet18 to resnet152) and 4.2 (resnet20 to
resnet110, plain20 to plain110).

Departures:
- A bottleneck has its stride in the 3x3 convolution, as the published weights do; the paper has it
  in the first 1x1.
- Small images (under 64 pixels), in the ImageNet forms: the first convolution is 3x3 with stride 1
  and the first pooling is left out.
- Initial values are He's by the number of inputs, in the last linear layer too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from gradlab.models import Shape, initial, models
from gradlab.models.residual import VARIANTS, Block, Unit, Variant, layers
from gradlab.models.sizes import check_images, is_small


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _projection(in_channels, channels, stride)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C' H/stride W/stride."""
        f = self.relu1(self.bn1(self.conv1(x)))  # N C' H/stride W/stride
        f = self.bn2(self.conv2(f))  # N C' H/stride W/stride
        out: Tensor = self.relu2(self.downsample(x) + f)  # N C' H/stride W/stride
        return out


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * channels)
        self.downsample = _projection(in_channels, 4 * channels, stride)
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N 4C' H/stride W/stride."""
        f = self.relu1(self.bn1(self.conv1(x)))  # N C' H W
        f = self.relu2(self.bn2(self.conv2(f)))  # N C' H/stride W/stride
        f = self.bn3(self.conv3(f))  # N 4C' H/stride W/stride
        out: Tensor = self.relu3(self.downsample(x) + f)  # N 4C' H/stride W/stride
        return out


def _projection(in_channels: int, channels: int, stride: int) -> nn.Module:
    """The shortcut: a 1x1 convolution where the shape changes (option B), else nothing."""
    if stride == 1 and in_channels == channels:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
    )


class ResNet(nn.Sequential):
    """A stem and four stages of blocks, each of half the size. N C H W -> N K."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: tuple[int, ...],
        in_channels: int,
        outputs: int,
        small: bool,
    ) -> None:
        super().__init__()
        size, stride = (3, 1) if small else (7, 2)
        self.conv1 = nn.Conv2d(in_channels, 64, size, stride, size // 2, bias=False)  # N 64 H/2 W/2
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, padding=1)  # N 64 H/4 W/4
        width = 64
        for stage, count in enumerate(blocks):
            channels = 64 << stage
            stack: list[nn.Module] = []
            for index in range(count):
                stack.append(block(width, channels, stride=2 if stage and not index else 1))
                width = channels * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*stack))  # N C H/4..32 W/4..32
        self.avgpool = nn.AdaptiveAvgPool2d(1)  # N C 1 1
        self.flatten = nn.Flatten()  # N C
        self.fc = nn.Linear(width, outputs)  # N K
        initial.apply(self, "he")


class CifarResNet(nn.Sequential):
    """Three stages of `units` units each with 16, 32 and 64 maps. N C H W -> N K."""

    def __init__(self, units: int, variant: Variant, in_channels: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)  # N 16 H W
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        width = 16
        for stage in range(3):
            channels = 16 << stage
            stack: list[nn.Module] = []
            for index in range(units):
                first = not stage and not index
                stride = 2 if stage and not index else 1
                stack.append(Unit(variant, width, channels, stride, first))
                width = channels
            self.add_module(f"layer{stage + 1}", nn.Sequential(*stack))  # N C H/1..4 W/1..4
        self.last = layers(variant.before, width, width)  # N 64 H/4 W/4
        self.avgpool = nn.AdaptiveAvgPool2d(1)  # N 64 1 1
        self.flatten = nn.Flatten()  # N 64
        self.fc = nn.Linear(width, outputs)  # N K
        initial.apply(self, "he")


IMAGENET: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
}
"""The block and how many of it each stage has: table 1 of the paper."""
CIFAR_UNITS = {20: 3, 32: 5, 44: 7, 56: 9, 110: 18}
"""Units in a stage, by depth: depth = 6 units + 2."""


def _imagenet(
    block: type[BasicBlock] | type[Bottleneck], blocks: tuple[int, ...]
) -> Callable[..., ResNet]:
    def build(inputs: Shape, outputs: int) -> ResNet:
        return ResNet(block, blocks, inputs[0], outputs, is_small(inputs))

    return build


def _cifar(units: int) -> Callable[..., CifarResNet]:
    def build(
        inputs: Shape,
        outputs: int,
        *,
        block: Annotated[
            Block, Field(description="the variant of its residual units")
        ] = "original",
    ) -> CifarResNet:
        check_images(inputs)
        return CifarResNet(units, VARIANTS[block], inputs[0], outputs)

    return build


def _plain(units: int) -> Callable[..., CifarResNet]:
    def build(inputs: Shape, outputs: int) -> CifarResNet:
        check_images(inputs)
        return CifarResNet(units, VARIANTS["plain"], inputs[0], outputs)

    return build


for _name, (_block, _blocks) in IMAGENET.items():
    models.add(_name, _imagenet(_block, _blocks))
for _depth, _units in CIFAR_UNITS.items():
    models.add(f"resnet{_depth}", _cifar(_units))
    models.add(f"plain{_depth}", _plain(_units))
