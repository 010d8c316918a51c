"""What the networks ask of the sizes that they are given: of images, and of their own layers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gradlab.errors import UserError
from gradlab.models import Shape

Units = Annotated[int, Field(ge=1, le=65536)]
"""How many units or maps a layer has."""
Widths = Annotated[tuple[Units, ...], Field(max_length=100)]
"""How many units or maps each of several layers has."""

LEAST = 8
"""Images of fewer pixels a side are refused."""
SMALL = 64
"""Images of fewer pixels a side go through a network's small-image stem.

A stem made for 224 pixels makes an image 4 times smaller before the first block, and the blocks 8
times more: of 32 pixels a single one would be left.
"""


def describe(inputs: Shape) -> str:
    """A shape in words; an image by its width and height.

    >>> describe((3, 480, 640)), describe((13,))
    ('640x480 pixels', '13 values')
    """
    if len(inputs) == 3:
        return f"{inputs[2]}x{inputs[1]} pixels"
    return f"{'x'.join(map(str, inputs))} values"


def check_images(
    inputs: Shape, other: str = "choose the network 'mlp' or 'linear' for a table"
) -> tuple[int, int, int]:
    """Channels, height and width of images.

    UserError when the inputs are no images, with `other` as the way out, or when their smaller side
    is too small for any network.
    """
    if len(inputs) != 3:
        raise UserError(
            f"this network takes images, but the inputs are not images ({describe(inputs)}): "
            f"{other}"
        )
    channels, height, width = inputs
    if min(height, width) < LEAST:
        raise UserError(
            f"this network takes images of at least {LEAST}x{LEAST} pixels, "
            f"found {describe(inputs)}: enlarge them with --data.image_size 32"
        )
    return channels, height, width


def is_small(inputs: Shape) -> bool:
    """Whether images need the small-image stem; their smaller side decides.

    UserError as from `check_images`.

    >>> is_small((1, 28, 28)), is_small((3, 60, 300)), is_small((3, 224, 224))
    (True, True, False)
    """
    return min(check_images(inputs)[1:]) < SMALL
