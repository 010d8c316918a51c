"""Random changes of training images, each on a whole batch at once.

Every change is a pair: `draw_...` takes the random numbers of a batch from a generator, one row or
value for each example, and a function applies them without any randomness of its own. `draw` and
`apply` join them in a fixed order. Images are N H W C of values 0..255, before normalisation.
Moving, cropping, mirroring and cutting keep uint8; what interpolates or recolours gives float32.

Moving and cropping fill with black, as does turning. The draws are made where the generator lives
and then moved to the images, so a generator on the CPU serves images on any device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from gradlab.config import Augment


@dataclass(frozen=True)
class Changes:
    """The random numbers of a batch of images; None where nothing of the kind is asked for.

    offsets: 2 N pixels, at most `limit`; flips: N; boxes: N 4; the others: N, or 2 N (centres).
    """

    limit: int = 0
    offsets: Tensor | None = None
    flips: Tensor | None = None
    boxes: Tensor | None = None
    degrees: Tensor | None = None
    scale: Tensor | None = None
    brightness: Tensor | None = None
    contrast: Tensor | None = None
    saturation: Tensor | None = None
    hue: Tensor | None = None
    centres: Tensor | None = None
    side: int = 0


class Draws:
    """The random numbers of one batch: drawn once, and the same for all of its fields."""

    def __init__(self, config: Augment, count: int, generator: Generator) -> None:
        self.config, self.count, self.generator = config, count, generator
        self._changes: dict[tuple[int, int], Changes] = {}

    def changes(self, height: int, width: int) -> Changes:
        """For images of so many pixels, and for what lies on them."""
        if (height, width) not in self._changes:
            found = draw(self.config, self.count, height, width, self.generator)
            self._changes[height, width] = found
        return self._changes[height, width]

    def mix(self) -> tuple[float, Tensor]:
        """The weight of the batch's mixture with itself, and a partner for each example."""
        return draw_mix(self.count, self.config.mixup, self.generator)


def draw(config: Augment, count: int, height: int, width: int, generator: Generator) -> Changes:
    """What `config` asks for, drawn for `count` images."""
    found: dict[str, Any] = {}

    def factor(spread: float) -> Tensor:
        return draw_uniform(count, max(1 - spread, 0), 1 + spread, generator)

    def either_way(limit: float) -> Tensor:
        return draw_uniform(count, -limit, limit, generator)

    if config.shift or config.crop or config.flip:
        offsets = draw_offsets(count, config.shift, generator)
        found["offsets"] = offsets + draw_offsets(count, config.crop, generator)
        found["flips"] = draw_flips(count, generator) if config.flip else None
    if config.resized_crop:
        found["boxes"] = draw_boxes(count, height, width, config.resized_crop, generator)
    if config.rotate or config.scale:
        found |= {"degrees": either_way(config.rotate), "scale": factor(config.scale)}
    if config.brightness or config.contrast:
        found |= {"brightness": factor(config.brightness), "contrast": factor(config.contrast)}
    if config.saturation or config.hue:
        found |= {"saturation": factor(config.saturation), "hue": either_way(config.hue)}
    if config.cutout:
        found["centres"] = draw_centres(count, height, width, generator)
    return Changes(limit=config.shift + config.crop, side=config.cutout, **found)


def apply(x: Tensor, changes: Changes) -> Tensor:
    """The images of a batch, changed. x: uint8 N H W C, contiguous; the same shape comes back,
    uint8 or float32, values 0..255; x itself when nothing is to be changed."""

    def placed(drawn: Tensor | None) -> Tensor:
        assert drawn is not None
        return drawn.to(x.device)

    if changes.offsets is not None:
        flips = None if changes.flips is None else placed(changes.flips)
        x = move(x, placed(changes.offsets), changes.limit, flips)
    if changes.boxes is not None:
        x = resized_crop(x, placed(changes.boxes))
    if changes.degrees is not None:
        x = turn(x, placed(changes.degrees), placed(changes.scale))
    if changes.brightness is not None:
        x = adjust(x, placed(changes.brightness), placed(changes.contrast))
    if changes.saturation is not None:
        x = recolour(x, placed(changes.saturation), placed(changes.hue))
    if changes.centres is not None:
        x = cutout(x, placed(changes.centres), changes.side)
    return x


def augment(x: Tensor, config: Augment, generator: Generator) -> Tensor:
    """The images of a batch, changed at random: a function of x, `config` and the generator.

    x: uint8 N H W C, contiguous. Returns the same shape, uint8 or float32, values 0..255; x itself
    when `config` asks for nothing. `config.mixup` needs the targets too and is left to the loader.

    >>> x = torch.tensor([10, 20, 30], dtype=torch.uint8).view(1, 1, 3, 1)
    >>> augment(x, Augment(flip=True), Generator().manual_seed(0)).flatten().tolist()
    [30, 20, 10]
    """
    return apply(x, draw(config, len(x), x.shape[1], x.shape[2], generator))


# draws


def draw_uniform(count: int, low: float, high: float, generator: Generator) -> Tensor:
    """`count` values, uniform from `low` to `high`."""
    values = torch.rand(count, generator=generator, device=generator.device)
    return values.mul_(high - low).add_(low)


def draw_offsets(count: int, limit: int, generator: Generator) -> Tensor:
    """2 N whole numbers from -limit to limit: pixels down, and pixels to the right."""
    return torch.randint(
        -limit, limit + 1, (2, count), generator=generator, device=generator.device
    )


def draw_flips(count: int, generator: Generator) -> Tensor:
    """N truth values, each true with probability one half."""
    return draw_uniform(count, 0, 1, generator) < 0.5


def draw_boxes(
    count: int, height: int, width: int, smallest: float, generator: Generator
) -> Tensor:
    """N 4 boxes within images of `height` x `width`: top, left, height, width, as shares of them.

    The area is uniform from `smallest` to 1 (shares of the image), the logarithm of the aspect
    ratio in pixels (width to height) uniform from 3/4 to 4/3 as far as a box of that area fits
    into the image, so nothing is drawn twice.
    Szegedy et al. (2015), "Going deeper with convolutions", section 6.
    """
    area = draw_uniform(count, smallest, 1, generator)
    image = math.log(width / height)
    narrowest, widest = image + area.log(), image - area.log()
    low = widest.min(narrowest.clamp(min=math.log(3 / 4)))
    high = narrowest.max(widest.clamp(max=math.log(4 / 3)))
    ratio = torch.lerp(low, high, draw_uniform(count, 0, 1, generator)).sub_(image).exp_()
    size = torch.stack([area / ratio, area * ratio], 1).sqrt_().clamp_(max=1)  # N 2
    place = torch.rand(count, 2, generator=generator, device=generator.device) * (1 - size)
    return torch.cat([place, size], 1)


def draw_centres(count: int, height: int, width: int, generator: Generator) -> Tensor:
    """2 N pixels: their rows and their columns."""
    sizes = torch.tensor([[height], [width]], device=generator.device)
    places = torch.rand(2, count, generator=generator, device=generator.device) * sizes
    return places.long().minimum(sizes - 1)  # a share just below 1 may round up to the size


# geometry


def move(x: Tensor, offsets: Tensor, limit: int, flips: Tensor | None = None) -> Tensor:
    """Mirror images left to right where `flips` says so, then move them; the rest becomes black.

    x: N H W C of any type; offsets: 2 N pixels down and to the right, from -limit to limit;
    flips: N truth values. Moving at random is the same as padding by `limit` and cutting out the
    old size at random.
    """
    count, height, width, channels = x.shape
    tall, wide = height + 2 * limit, width + 2 * limit
    # A row of the result lies in one piece in the padded batch or in its mirror image. So every
    # run of W C values there, at whatever place it begins, is a row of an overlapping matrix, and
    # one selection of rows, each a plain copy of memory, does it all.
    padded = x.new_zeros(1 if flips is None else 2, count, tall, wide, channels)
    inner = padded[:, :, limit : limit + height, limit : limit + width]
    inner[0] = x
    source = torch.arange(count, device=x.device)
    if flips is not None:
        inner[1] = x.flip(2)
        source = source + flips * count
    down, right = offsets.unbind()
    first = ((source * tall + (limit - down)) * wide + (limit - right)) * channels  # N
    starts = first[:, None] + torch.arange(height, device=x.device) * (wide * channels)  # N H
    row = width * channels
    rows = padded.as_strided((padded.numel() - row + 1, row), (1, 1))
    return rows.index_select(0, starts.view(-1)).view(x.shape)


def resized_crop(x: Tensor, boxes: Tensor) -> Tensor:
    """Cut out a box of each image and enlarge it to the full size, bilinearly.

    x: N H W C; boxes: N 4 as `draw_boxes` gives them. Returns float32.
    """
    top, left, height, width = boxes.unbind(1)
    zero = torch.zeros_like(top)
    across = torch.stack([width, zero, 2 * left + width - 1], 1)
    along = torch.stack([zero, height, 2 * top + height - 1], 1)
    return warp(x, torch.stack([across, along], 1), "border")


def turn(x: Tensor, degrees: Tensor, factor: Tensor) -> Tensor:
    """Turn images about their centres, counter-clockwise, and enlarge them by a factor.

    x: N H W C; degrees, factor: N. Bilinear; black comes in from outside. Returns float32.
    """
    shape = x.shape[1] / x.shape[2]  # a pixel is not as wide as it is high in units of the image
    sin, cos = degrees.deg2rad().sin() / factor, degrees.deg2rad().cos() / factor
    zero = torch.zeros_like(sin)
    across = torch.stack([cos, -sin * shape, zero], 1)
    along = torch.stack([sin / shape, cos, zero], 1)
    return warp(x, torch.stack([across, along], 1), "zeros")


def warp(x: Tensor, theta: Tensor, outside: Literal["zeros", "border"]) -> Tensor:
    """Images seen through affine maps, bilinearly.

    x: N H W C; theta: N 2 3 maps a place of the result to a place of x, both as (across, along, 1)
    with the image from -1 to 1. Returns float32 N H W C.
    """
    height, width = x.shape[1:3]
    across = torch.arange(1 - width, width, 2, device=x.device) / width  # W centres of pixels
    along = torch.arange(1 - height, height, 2, device=x.device) / height  # H
    columns = theta[:, :, 0, None] * across  # N 2 W
    rows = theta[:, :, 1, None] * along + theta[:, :, 2, None]  # N 2 H
    # One sum of rows and columns with the coordinates as planes is ten times as fast as
    # affine_grid, which took longer than the interpolation itself.
    grid = (rows[:, :, :, None] + columns[:, :, None, :]).permute(0, 2, 3, 1)  # N H W 2
    planes = x.permute(0, 3, 1, 2).float()  # N C H W
    seen = F.grid_sample(planes, grid, padding_mode=outside, align_corners=False)
    return seen.clamp_(0, 255).permute(0, 2, 3, 1).contiguous()


# colour

LUMA = (0.299, 0.587, 0.114)
"""The shares of red, green and blue in grey (ITU-R BT.601)."""


def adjust(x: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Multiply images by a brightness, then spread them around their mean grey by a contrast.

    x: N H W C; brightness, contrast: N factors, at least 0. Returns float32, clipped to 0..255.
    """
    values = x.to(torch.float32, copy=True)
    mean = values.flatten(1, 2).mean(1)  # N C
    grey = mean @ mean.new_tensor(LUMA) if x.shape[3] == 3 else mean.mean(1)  # N
    slope, level = brightness * contrast, brightness * (1 - contrast) * grey
    return values.mul_(_images(slope)).add_(_images(level)).clamp_(0, 255)


def recolour(x: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Spread the colours of images around grey by a saturation, then turn their hue.

    x: N H W C; saturation: N factors, at least 0; hue: N shares of a full turn from red over green
    and blue. The hue turns about the axis of greys in the cube of colours, so both are one 3 x 3
    matrix (Karras et al. 2020, "Training generative adversarial networks with limited data",
    appendix B). Images of other than 3 channels have no colour and stay as they are. Returns
    float32, clipped to 0..255.
    """
    count, height, width, channels = x.shape
    if channels != 3:
        return x.float()
    planes = x.permute(0, 3, 1, 2).contiguous().float().view(count, 3, -1)  # N 3 H*W
    matrix = hue_matrix(hue) @ saturation_matrix(saturation)
    mixed = torch.bmm(matrix, planes).clamp_(0, 255)
    return mixed.view(count, 3, height, width).permute(0, 2, 3, 1).contiguous()


def saturation_matrix(factor: Tensor) -> Tensor:
    """N 3 3 for N factors: 0 makes grey of the same luma, 1 changes nothing."""
    grey = factor.new_tensor(LUMA).expand(3, 3)
    return torch.lerp(grey, torch.eye(3, device=factor.device), factor[:, None, None])


def hue_matrix(turns: Tensor) -> Tensor:
    """N 3 3 for N shares of a turn: 1/3 makes green of red, blue of green and red of blue."""
    channel = torch.arange(3, device=turns.device)
    apart = (channel[:, None] - channel) / 3  # 3 3: from the channel given to the channel made
    angle = 2 * math.pi * (turns[:, None, None] - apart)
    return (1 + 2 * angle.cos()) / 3


# parts and pairs


def cutout(x: Tensor, centres: Tensor, side: int) -> Tensor:
    """Blacken a square in each image; it may reach over the edge.

    x: N H W C of any type, which stays; centres: 2 N rows and columns; side in pixels.
    DeVries and Taylor (2017), "Improved regularization of convolutional neural networks with
    cutout", who fill with the mean of the training images instead.
    """
    count, height, width, channels = x.shape
    top, left = (centres - side // 2).unsqueeze(2).unbind()  # N 1
    row = torch.arange(height, device=x.device)
    column = torch.arange(width, device=x.device).repeat_interleave(channels)
    # As uint8 the masks multiply images of uint8 without conversion, several times as fast.
    rows_kept = ((row < top) | (row >= top + side)).to(torch.uint8)  # N H
    columns_kept = ((column < left) | (column >= left + side)).to(torch.uint8)  # N W*C
    kept = rows_kept[:, :, None] | columns_kept[:, None, :]  # N H W*C
    return (x.reshape(count, height, -1) * kept).view(x.shape)


def draw_mix(count: int, alpha: float, generator: Generator) -> tuple[float, Tensor]:
    """The weight of a batch's mixture, from Beta(alpha, alpha), and a partner for each example."""
    partners = torch.randperm(count, generator=generator, device=generator.device)
    # torch's own Beta takes no generator.
    seed = torch.randint(2**63 - 1, (), generator=generator, device=generator.device)
    return float(np.random.default_rng(int(seed)).beta(alpha, alpha)), partners


def _images(values: Tensor) -> Tensor:
    """N values as N 1 1 1, to meet N H W C."""
    return values[:, None, None, None]
