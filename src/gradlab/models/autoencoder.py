"""Autoencoders: networks that press their input through a narrow code and restore it.

`dense_autoencoder`: Hinton and Salakhutdinov (2006), "Reducing the dimensionality of data with
neural networks", https://doi.org/10.1126/science.1127647 (784-1000-500-250-code, and back)
`conv_autoencoder`: Masci et al. (2011), "Stacked convolutional auto-encoders",
https://doi.org/10.1007/978-3-642-21735-7_7

Departures:
- trained at once from random values, not layer by layer; decoder weights of their own
- ReLU in place of logistic units, a linear output
- `conv_autoencoder` halves the maps by strides and doubles them by repeating pixels, with batch
  norm, in place of pooling
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from gradlab.errors import UserError
from gradlab.models import autoencoders
from gradlab.models.dense import inputs
from gradlab.models.sizes import check_images

Code = Annotated[int, Field(ge=1, description="numbers that an example is pressed into")]
Widths = Annotated[tuple[int, ...], Field(description="units of the encoder's layers")]
Maps = Annotated[tuple[int, ...], Field(min_length=1, description="maps of the encoder's layers")]


class Autoencoder(nn.Module):
    """An encoder (input to N Z, the code) and a decoder (back to the input's shape)."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, code: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.code = code

    def forward(self, x: Tensor) -> Tensor:
        """What is left of x when it has gone through the code; the shape of x."""
        restored: Tensor = self.decoder(self.encoder(x))
        return restored


@autoencoders.register("dense_autoencoder")
def dense_autoencoder(
    in_channels: int, image_size: int, *, code: Code = 32, widths: Widths = (1000, 500, 250)
) -> Autoencoder:
    """Fully connected layers, in the decoder in the opposite order; without any it is linear."""
    values = inputs(in_channels, image_size)
    shape = (in_channels, image_size, image_size) if image_size else (in_channels,)
    sizes = (values, *widths, code)
    encoder = nn.Sequential(nn.Flatten(), *_dense(sizes))  # N Z
    decoder = nn.Sequential(*_dense(sizes[::-1]), nn.Unflatten(1, shape))  # N C H W
    return Autoencoder(encoder, decoder, code)


def _dense(sizes: tuple[int, ...]) -> list[nn.Module]:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return layers[:-1]


@autoencoders.register("conv_autoencoder")
def conv_autoencoder(
    in_channels: int, image_size: int, *, code: Code = 32, widths: Maps = (32, 64, 128)
) -> Autoencoder:
    """Convolutions that halve the image, and convolutions that double it; a linear code between."""
    check_images(image_size)
    sides = [image_size]
    for _ in widths:
        sides.append(-(-sides[-1] // 2))
    if sides[-2] < 2:
        raise UserError(
            f"{len(widths)} halvings leave nothing of {image_size} x {image_size} pixels: give "
            "fewer --model.widths, or larger images with --data.image_size"
        )
    channels = (in_channels, *widths)
    encoder: list[nn.Module] = []
    for before, after in pairwise(channels):
        encoder += [
            nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),  # N C' H/2 W/2
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    smallest = (widths[-1], sides[-1], sides[-1])
    values = widths[-1] * sides[-1] ** 2
    encoder += [nn.Flatten(), nn.Linear(values, code)]  # N Z
    decoder: list[nn.Module] = [
        nn.Linear(code, values),
        nn.Unflatten(1, smallest),
        nn.BatchNorm2d(widths[-1]),
        nn.ReLU(),
    ]
    for (after, before), side in zip(list(pairwise(channels))[::-1], sides[:-1][::-1], strict=True):
        decoder += [
            nn.Upsample(size=(side, side)),  # N C 2H 2W
            nn.Conv2d(before, after, 3, padding=1),  # N C' 2H 2W
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    return Autoencoder(nn.Sequential(*encoder), nn.Sequential(*decoder[:-2]), code)
