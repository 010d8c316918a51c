"""A small, wide convolutional network that learns in a few epochs.

`cifar_fast`: after Jordan (2024), "94% on CIFAR-10 in 3.29 seconds on a single GPU",
https://arxiv.org/abs/2404.00498, which goes back to Page (2018), "How to train your ResNet".

Departures:
- The bias of the whitening layer is trained to the end, and batch norm keeps its statistics with a
  momentum of 0.4.
- In evaluation an image and its mirror image are averaged; the paper shifts them as well.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from gradlab.models import Shape, models
from gradlab.models.sizes import Widths, check_images

Maps = Annotated[Widths, Field(min_length=1, description="maps of each stage")]
PATCH = 2
"""Height and width of the patches that the first layer whitens."""


class Whitening(nn.Module):
    """A convolution that is the whitening of the training images' patches. N C H W -> N D H-1 W-1.

    Its outputs are the principal components of a patch, scaled to variance 1, and their negatives:
    the layers behind it learn from inputs of equal size and without correlation. Only its bias is
    trained.
    """

    weight: Tensor

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.depth = in_channels * PATCH**2
        self.out_channels = 2 * self.depth
        start = nn.init.orthogonal_(torch.empty(self.depth, self.depth))
        start = start.view(self.depth, in_channels, PATCH, PATCH)
        self.register_buffer("weight", torch.cat((start, -start)))
        self.bias = nn.Parameter(torch.zeros(self.out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """x: N C H W."""
        return functional.conv2d(x, self.weight, self.bias)

    @torch.no_grad()
    def initialise_from(self, x: Tensor) -> None:
        """Take the principal components of the patches of images (N C H W)."""
        patches = functional.unfold(x.float(), PATCH).transpose(1, 2).reshape(-1, self.depth)
        patches = patches - patches.mean(0)
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        scaled = (vectors / (values + 5e-4).sqrt()).T.view(-1, *self.weight.shape[1:])
        self.weight.copy_(torch.cat((scaled, -scaled)))


class Norm(nn.BatchNorm2d):
    """Batch norm without scales, whose shifts are trained 64 times as fast (section 3.4).

    A shift of 8 times the parameter has 8 times its gradient and moves by 8 times its step.
    """

    boost = 8.0

    def __init__(self, channels: int) -> None:
        super().__init__(channels, momentum=0.4, affine=False)
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x: N C H W."""
        return super().forward(x) + (self.boost * self.shift).to(x.dtype)[:, None, None]


class Stage(nn.Module):
    """Two convolutions, the first with pooling. N C H W -> N D H/2 W/2."""

    def __init__(self, in_channels: int, channels: int, ceil: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2, ceil_mode=ceil)
        self.norm1 = Norm(channels)
        self.act1 = nn.GELU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = Norm(channels)
        self.act2 = nn.GELU()
        for conv in (self.conv1, self.conv2):
            # The first maps begin as copies of the layer before: gradients reach it at once.
            nn.init.dirac_(conv.weight[: min(conv.in_channels, conv.out_channels)])

    def forward(self, x: Tensor) -> Tensor:
        """x: N C H W."""
        x = self.act1(self.norm1(self.pool(self.conv1(x))))  # N D H/2 W/2
        x = self.act2(self.norm2(self.conv2(x)))  # N D H/2 W/2
        return x


class FastNet(nn.Module):
    """Whitening, three stages, the maximum of each map. N C H W -> N K."""

    scale = 1 / 9
    """Of the outputs: without it the network is overconfident from the first steps on."""

    def __init__(self, in_channels: int, widths: tuple[int, ...], outputs: int, ceil: bool) -> None:
        super().__init__()
        self.whiten = Whitening(in_channels)  # N 24 31 31
        self.act = nn.GELU()
        all_widths = (self.whiten.out_channels, *widths)
        self.stages = nn.Sequential(  # N 64 15 15, N 256 7 7, N 256 3 3
            *(Stage(a, b, ceil) for a, b in zip(all_widths, widths, strict=False))
        )
        self.head = nn.Linear(widths[-1], outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: N C H W."""
        if self.training:
            return self.forward_once(x)  # N K
        return (self.forward_once(x) + self.forward_once(x.flip(3))) / 2  # N K

    def forward_once(self, x: Tensor) -> Tensor:
        """The outputs for the images as they are, without their mirror images. x: N C H W."""
        x = self.stages(self.act(self.whiten(x)))  # N 256 3 3
        x = x.amax((2, 3))  # N 256
        logits: Tensor = self.head(x) * self.scale  # N K
        return logits

    def initialise_from(self, x: Tensor) -> None:
        """Take initial values from training images (N C H W, as the network will see them)."""
        self.whiten.initialise_from(x)


@models.register("cifar_fast")
def cifar_fast(inputs: Shape, outputs: int, *, widths: Maps = (64, 256, 256)) -> FastNet:
    """A network for small images that learns in a few epochs."""
    channels, *sides = check_images(inputs)
    # Three times half of a very small image must still leave a pixel.
    return FastNet(channels, widths, outputs, ceil=min(sides) < 4 * PATCH ** len(widths) // 2)
