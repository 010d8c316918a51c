"""AlexNet: in the form of the published weights, and as it was in 2012.

`alexnet_2012`: Krizhevsky, Sutskever and Hinton (2012), "ImageNet classification with deep
convolutional neural networks", https://papers.nips.cc/paper/4824
`alexnet`: Krizhevsky (2014), "One weird trick for parallelizing convolutional neural networks",
https://arxiv.org/abs/1404.5997 (one tower, 64 first maps, no response normalisation)

Departures:
- Initial values are He's, with biases at 0, in place of normal(0.01) with some biases at 1, which
  needs a careful learning rate (`--init normal` brings the 0.01 back).
- `alexnet` pools to 6x6 before the classifier, so that any size fits.
- `alexnet_2012` runs on one device; its two halves are groups of the convolutions.
- Small images (under 64 pixels): the first convolution is 5x5 with stride 1, pooling rounds up, and
  the classifier reads 3x3 maps with 1024 units a layer in place of 6x6 with 4096.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from gradlab.models import Shape, initial, models
from gradlab.models.sizes import is_small

Dropout = Annotated[
    float, Field(ge=0, lt=1, description="share of units dropped in the classifier")
]


class AlexNet(nn.Sequential):
    """Five convolutions and three linear layers. N C H W -> N K."""

    def __init__(self, features: nn.Sequential, pooled: int, units: int, outputs: int, p: float):
        super().__init__()
        self.features = features  # N 256 H/32 W/32
        self.avgpool = nn.AdaptiveAvgPool2d(pooled)  # N 256 6 6
        self.flatten = nn.Flatten()  # N 9216
        self.classifier = nn.Sequential(
            nn.Dropout(p),
            nn.Linear(256 * pooled * pooled, units),  # N 4096
            nn.ReLU(),
            nn.Dropout(p),
            nn.Linear(units, units),  # N 4096
            nn.ReLU(),
            nn.Linear(units, outputs),  # N K
        )
        initial.apply(self, "he")


def _first(in_channels: int, channels: int, small: bool) -> nn.Conv2d:
    """The first convolution: it makes a photo four times smaller, and keeps a small image."""
    if small:
        return nn.Conv2d(in_channels, channels, 5, padding=2)
    return nn.Conv2d(in_channels, channels, 11, stride=4, padding=2)


@models.register("alexnet")
def alexnet(inputs: Shape, outputs: int, *, dropout: Dropout = 0.5) -> AlexNet:
    """AlexNet in today's form, with the parameter names of the published weights."""
    small = is_small(inputs)
    features = nn.Sequential(
        _first(inputs[0], 64, small),  # N 64 55 55
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, ceil_mode=small),  # N 64 27 27
        nn.Conv2d(64, 192, 5, padding=2),  # N 192 27 27
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, ceil_mode=small),  # N 192 13 13
        nn.Conv2d(192, 384, 3, padding=1),  # N 384 13 13
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),  # N 256 13 13
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),  # N 256 13 13
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, ceil_mode=small),  # N 256 6 6
    )
    return AlexNet(features, 3 if small else 6, 1024 if small else 4096, outputs, dropout)


class ResponseNorm(nn.LocalResponseNorm):
    """Section 3.3: divides by (2 + 0.0001 * sum of 5 neighbouring maps' squares) ** 0.75.

    torch takes the mean of the neighbours where the paper takes the sum, hence 5 times alpha.
    """

    def __init__(self) -> None:
        super().__init__(5, alpha=5e-4, beta=0.75, k=2.0)


@models.register("alexnet_2012")
def alexnet_2012(inputs: Shape, outputs: int, *, dropout: Dropout = 0.5) -> AlexNet:
    """AlexNet with local response normalisation and convolutions in two groups."""
    small = is_small(inputs)
    features = nn.Sequential(
        _first(inputs[0], 96, small),  # N 96 55 55
        nn.ReLU(),
        ResponseNorm(),
        nn.MaxPool2d(3, stride=2, ceil_mode=small),  # N 96 27 27
        nn.Conv2d(96, 256, 5, padding=2, groups=2),  # N 256 27 27
        nn.ReLU(),
        ResponseNorm(),
        nn.MaxPool2d(3, stride=2, ceil_mode=small),  # N 256 13 13
        nn.Conv2d(256, 384, 3, padding=1),  # N 384 13 13
        nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1, groups=2),  # N 384 13 13
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2),  # N 256 13 13
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, ceil_mode=small),  # N 256 6 6
    )
    return AlexNet(features, 3 if small else 6, 1024 if small else 4096, outputs, dropout)
