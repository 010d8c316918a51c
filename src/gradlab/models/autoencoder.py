"""Autoencoders: a network that makes a short code of its input, and one that makes it back.

Hinton and Salakhutdinov (2006), "Reducing the dimensionality of data with neural networks",
https://doi.org/10.1126/science.1127647 (dense); Masci et al. (2011), "Stacked convolutional
auto-encoders for hierarchical feature extraction", https://doi.org/10.1007/978-3-642-21735-7_7.

Departures:
- The layers are trained together from the start; both papers train them one after the other first.
- ReLU instead of logistic units (dense) and of tanh (convolutional).
- A linear output, for inputs of mean 0 and deviation 1, instead of logistic units for 0..1.
- Convolutional: strides instead of max pooling, batch norm, and a linear layer to a code of any
  size, where the paper's code is the last maps.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from gradlab.errors import UserError
from gradlab.models import autoencoders
from gradlab.models.dense import ACTIVATIONS, Activation
from gradlab.models.sizes import check_images

SMALLEST = 7
"""Maps of at most so many pixels a side are not halved any more."""
WIDEST = 8
"""The most maps a layer has, times those of the first."""

Code = Annotated[int, Field(ge=1, description="numbers in the bottleneck")]


class Autoencoder(nn.Module):
    """An encoder and its decoder: N C H W (or N D) -> N E -> N C H W (or N D)."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, x: Tensor) -> Tensor:
        """What is left of x after the bottleneck, in the shape of x."""
        code = self.encoder(x)  # N E
        made: Tensor = self.decoder(code)  # N C H W
        return made


@autoencoders.register("dense")
def dense(
    shape: tuple[int, ...],
    *,
    code: Code = 30,
    widths: Annotated[
        tuple[int, ...], Field(description="units of the encoder's hidden layers; none: linear")
    ] = (1000, 500, 250),
    activation: Annotated[Activation, Field(description="after each hidden layer")] = "relu",
) -> Autoencoder:
    """Fully connected layers, the decoder the mirror of the encoder; any inputs."""
    sizes = (math.prod(shape), *widths, code)
    return Autoencoder(
        nn.Sequential(nn.Flatten(), *_layers(sizes, activation)),  # N D, N 1000, ..., N E
        nn.Sequential(*_layers(sizes[::-1], activation), nn.Unflatten(1, shape)),  # N C H W
    )


@autoencoders.register("convolutional")
def convolutional(
    shape: tuple[int, ...],
    *,
    code: Code = 30,
    width: Annotated[int, Field(ge=1, description="maps of the layer next to the image")] = 32,
) -> Autoencoder:
    """Convolutions of stride 2 until the maps are small, and transposed ones back; images only."""
    channels, *size = shape
    check_images(min(size, default=0))
    sizes = [tuple(size)]
    while max(sizes[-1]) > SMALLEST and min(sizes[-1]) > 1:
        sizes.append(tuple(side // 2 for side in sizes[-1]))
    maps = [channels, *(width * min(2**i, WIDEST) for i in range(len(sizes) - 1))]
    last = (maps[-1], *sizes[-1])  # 64 7 7, for 28 pixels
    return Autoencoder(
        nn.Sequential(
            *(_halve(a, b) for a, b in pairwise(maps)),  # N 32 14 14, N 64 7 7
            nn.Flatten(),  # N D
            nn.Linear(math.prod(last), code),  # N E
        ),
        nn.Sequential(
            nn.Linear(code, math.prod(last)),  # N D
            nn.Unflatten(1, last),  # N 64 7 7
            nn.BatchNorm2d(maps[-1]),
            nn.ReLU(),
            *(
                _double(maps[i], maps[i - 1], sizes[i - 1], last=i == 1)
                for i in range(len(maps) - 1, 0, -1)
            ),  # N 32 14 14, N C 28 28
        ),
    )


def _layers(sizes: tuple[int, ...], activation: Activation) -> list[nn.Module]:
    """Linear layers with an activation between them, none after the last."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
    return layers[:-1]


def _halve(inputs: int, outputs: int) -> nn.Sequential:
    """Maps of half the side, rounded down. N C H W -> N C' H/2 W/2."""
    convolution = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _double(inputs: int, outputs: int, size: tuple[int, ...], last: bool) -> nn.Sequential:
    """Maps of `size`, twice as large as they came; the image itself is linear.

    With filters of 4x4 and stride 2 every pixel gets the same number of terms.
    """
    odd = (size[0] % 2, size[1] % 2)
    convolution = nn.ConvTranspose2d(
        inputs, outputs, 4, stride=2, padding=1, output_padding=odd, bias=last
    )
    rest = () if last else (nn.BatchNorm2d(outputs), nn.ReLU())
    return nn.Sequential(convolution, *rest)
