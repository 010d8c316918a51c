"""Autoencoders: networks that compress their input into a latent vector and reconstruct it.

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

import math
from itertools import pairwise
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from gradlab.errors import UserError
from gradlab.models import Shape, models
from gradlab.models.sizes import Units, Widths, check_images, describe

Code = Annotated[Units, Field(description="size of the latent vector")]
Hidden = Annotated[Widths, Field(description="units of the encoder's layers")]
Maps = Annotated[Widths, Field(min_length=1, description="maps of the encoder's layers")]


class Autoencoder(nn.Module):
    """An encoder (input to N Z, the latent vectors) and a decoder (back to the input's shape)."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, code: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.code = code

    def forward(self, x: Tensor) -> Tensor:
        """x reconstructed from its latent vector; the shape of x."""
        reconstructed: Tensor = self.decoder(self.encoder(x))
        return reconstructed


@models.register("dense_autoencoder")
def dense_autoencoder(
    inputs: Shape, outputs: int, *, code: Code = 32, widths: Hidden = (1000, 500, 250)
) -> Autoencoder:
    """Fully connected layers, in the decoder in reverse order; without any it is linear."""
    sizes = (math.prod(inputs), *widths, code)
    encoder = nn.Sequential(nn.Flatten(), *_dense(sizes))  # N Z
    decoder = nn.Sequential(*_dense(sizes[::-1]), nn.Unflatten(1, inputs))  # N C H W
    return Autoencoder(encoder, decoder, code)


def _dense(sizes: tuple[int, ...]) -> list[nn.Module]:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return layers[:-1]


@models.register("conv_autoencoder")
def conv_autoencoder(
    inputs: Shape, outputs: int, *, code: Code = 32, widths: Maps = (32, 64, 128)
) -> Autoencoder:
    """Convolutions that halve the image, others that double it, and linear layers between."""
    in_channels, *sides = check_images(inputs, "choose the network 'dense_autoencoder'")
    sizes = [tuple(sides)]  # H W before each convolution and after the last one
    for _ in widths:
        sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
    if min(sizes[-2]) < 2:
        raise UserError(
            f"{len(widths)} halvings leave nothing of {describe(inputs)}: give fewer "
            "--model.widths, or larger images with --data.image_size"
        )
    channels = (in_channels, *widths)
    encoder: list[nn.Module] = []
    for before, after in pairwise(channels):
        encoder += [
            nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),  # N C' H/2 W/2
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    smallest = (widths[-1], *sizes[-1])
    values = math.prod(smallest)
    encoder += [nn.Flatten(), nn.Linear(values, code)]  # N Z
    decoder: list[nn.Module] = [
        nn.Linear(code, values),
        nn.Unflatten(1, smallest),
        nn.BatchNorm2d(widths[-1]),
        nn.ReLU(),
    ]
    for (after, before), size in zip(list(pairwise(channels))[::-1], sizes[-2::-1], strict=True):
        decoder += [
            nn.Upsample(size=size),  # N C 2H 2W
            nn.Conv2d(before, after, 3, padding=1),  # N C' 2H 2W
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    return Autoencoder(nn.Sequential(*encoder), nn.Sequential(*decoder[:-2]), code)
