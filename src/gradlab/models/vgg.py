"""VGG: nothing but 3x3 convolutions, with and without batch normalisation.

Simonyan and Zisserman (2014), "Very deep convolutional networks for large-scale image
recognition", https://arxiv.org/abs/1409.1556

Departures:
- Batch normalisation (`_bn`) is newer than the paper (Ioffe and Szegedy 2015).
- Initial values are He's; the paper trains a shallow network first and grows it.
- 7x7 average pooling before the classifier, so that any size fits.
- Small images (under 64 pixels): pooling rounds up, so that 28 pixels go 14, 7, 4, 2, 1 and no map
  disappears; the classifier reads one pixel with 512 units a layer in place of 7x7 with 4096.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field
from torch import nn

from gradlab.models import Shape, initial, models
from gradlab.models.sizes import is_small

CHANNELS = (64, 128, 256, 512, 512)
"""Of the convolutions in each of the five stages; a stage ends with max pooling."""
CONVOLUTIONS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
"""How many convolutions each stage has: columns A, B, D and E of the paper's table 1."""


class VGG(nn.Sequential):
    """Five stages of 3x3 convolutions and three linear layers. N C H W -> N K."""

    def __init__(
        self,
        convolutions: tuple[int, ...],
        batch_norm: bool,
        in_channels: int,
        outputs: int,
        small: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = in_channels
        for count, channels in zip(convolutions, CHANNELS, strict=True):
            for _ in range(count):
                layers.append(nn.Conv2d(width, channels, 3, padding=1))  # N C H W
                if batch_norm:
                    layers.append(nn.BatchNorm2d(channels))
                layers.append(nn.ReLU())
                width = channels
            layers.append(nn.MaxPool2d(2, ceil_mode=small))  # N C H/2 W/2
        pooled, units = (1, 512) if small else (7, 4096)
        self.features = nn.Sequential(*layers)  # N 512 H/32 W/32
        self.avgpool = nn.AdaptiveAvgPool2d(pooled)  # N 512 7 7
        self.flatten = nn.Flatten()  # N 25088
        self.classifier = nn.Sequential(
            nn.Linear(512 * pooled * pooled, units),  # N 4096
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(units, units),  # N 4096
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(units, outputs),  # N K
        )
        initial.apply(self, "he")


def _builder(convolutions: tuple[int, ...], batch_norm: bool) -> Callable[..., VGG]:
    def build(
        inputs: Shape,
        outputs: int,
        *,
        dropout: Annotated[
            float, Field(ge=0, lt=1, description="share of units dropped in the classifier")
        ] = 0.5,
    ) -> VGG:
        return VGG(convolutions, batch_norm, inputs[0], outputs, is_small(inputs), dropout)

    return build


for _name, _convolutions in CONVOLUTIONS.items():
    models.add(_name, _builder(_convolutions, batch_norm=False))
    models.add(f"{_name}_bn", _builder(_convolutions, batch_norm=True))
