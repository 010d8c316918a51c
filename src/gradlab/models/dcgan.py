"""DCGAN: two convolutional networks, one that makes images and one that tells them from real ones.

Radford, Metz and Chintala (2015), "Unsupervised representation learning with deep convolutional
generative adversarial networks", https://arxiv.org/abs/1511.06434
Miyato et al. (2018), "Spectral normalization for generative adversarial networks",
https://arxiv.org/abs/1802.05957

Departures:
- Filters of 4x4 (the paper's code has 5x5): with stride 2 each pixel gets as many terms.
- `width` maps in the layer next to the image; the paper has 128 at 64 pixels. Grey images of 28
  pixels need two doublings, 32 pixels three, 64 pixels the paper's four.
- With `spectral_norm` the discriminator has no batch norm, as in Miyato et al.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from gradlab.errors import UserError
from gradlab.models import Shape, models
from gradlab.models.sizes import Units, check_images, describe

# Image size: (side of the smallest maps, how many times `width` maps each size has).
SIZES = {
    28: (7, (2, 1)),
    32: (4, (4, 2, 1)),
    64: (4, (8, 4, 2, 1)),
}


class Generator(nn.Module):
    """Latent vectors to images in -1..1: N L -> N C H W."""

    def __init__(self, latent: int, start: int, widths: tuple[int, ...], channels: int) -> None:
        super().__init__()
        first = nn.ConvTranspose2d(latent, widths[0], start, bias=False)
        self.project = nn.Sequential(first, nn.BatchNorm2d(widths[0]), nn.ReLU())
        self.upsample = nn.Sequential(*(_upsample(a, b) for a, b in pairwise(widths)))
        last = nn.ConvTranspose2d(widths[-1], channels, 4, stride=2, padding=1)
        self.image = nn.Sequential(last, nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        """Images of latent vectors. N L -> N C H W."""
        x = self.project(z[:, :, None, None])  # N 4*width 4 4, for 32 pixels
        x = self.upsample(x)  # N width 16 16
        images: Tensor = self.image(x)  # N C 32 32
        return images


class Discriminator(nn.Module):
    """Images to how real they look (a logit): N C H W -> N."""

    def __init__(self, channels: int, widths: tuple[int, ...], end: int, norm: bool) -> None:
        super().__init__()
        first = nn.Conv2d(channels, widths[0], 4, stride=2, padding=1)
        self.stem = nn.Sequential(first, nn.LeakyReLU(0.2))
        self.downsample = nn.Sequential(*(_downsample(a, b, norm) for a, b in pairwise(widths)))
        self.head = nn.Conv2d(widths[-1], 1, end)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images. N C H W -> N."""
        x = self.stem(x)  # N width 16 16, for 32 pixels
        x = self.downsample(x)  # N 4*width 4 4
        logits: Tensor = self.head(x)  # N 1 1 1
        return logits.flatten()  # N


class Pair(nn.Module):
    """A generator and its discriminator; called, what the one makes of the other. N L -> N."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module, latent: int) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        self.latent = latent

    def forward(self, z: Tensor) -> Tensor:
        """The discriminator's logits of the generator's images. N L -> N."""
        logits: Tensor = self.discriminator(self.generator(z))
        return logits


def _upsample(in_channels: int, channels: int) -> nn.Sequential:
    """Maps of twice the side. N C H W -> N C' 2H 2W."""
    convolution = nn.ConvTranspose2d(in_channels, channels, 4, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU())


def _downsample(in_channels: int, channels: int, norm: bool) -> nn.Sequential:
    """Maps of half the side. N C H W -> N C' H/2 W/2."""
    convolution = nn.Conv2d(in_channels, channels, 4, stride=2, padding=1, bias=not norm)
    between = (nn.BatchNorm2d(channels),) if norm else ()
    return nn.Sequential(convolution, *between, nn.LeakyReLU(0.2))


def _initialise(module: nn.Module) -> None:
    """The paper's initial values, and scales of batch norm around 1 as in its code."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


@models.register("dcgan")
def dcgan(
    inputs: Shape,
    outputs: int,
    *,
    latent: Annotated[Units, Field(description="size of the latent vector")] = 100,
    width: Annotated[Units, Field(description="maps in the layer next to the image")] = 64,
    spectral_norm: Annotated[
        bool, Field(description="of the discriminator's filters, in place of batch norm")
    ] = False,
) -> Pair:
    """A generator of images of the shape `inputs` and its discriminator; `outputs` is not used."""
    channels, *sides = check_images(inputs, "choose a dataset of images")
    if sides[0] != sides[1] or sides[0] not in SIZES:
        raise UserError(
            f"dcgan makes square images of {', '.join(map(str, SIZES))} pixels a side, found "
            f"{describe(inputs)}: bring them to one of these with --data.image_size 32"
        )
    start, multiples = SIZES[sides[0]]
    widths = tuple(multiple * width for multiple in multiples)
    generator = Generator(latent, start, widths, channels)
    discriminator = Discriminator(channels, widths[::-1], start, norm=not spectral_norm)
    pair = Pair(generator, discriminator, latent)
    pair.apply(_initialise)
    if spectral_norm:  # after the initial values: it keeps an estimate of each filter's norm
        for module in list(discriminator.modules()):
            if isinstance(module, nn.Conv2d):
                parametrizations.spectral_norm(module)
    return pair
