"""What the image networks ask of the size of their images."""

from __future__ import annotations

from gradlab.errors import UserError

LEAST = 8
"""Images of fewer pixels a side are refused."""
SMALL = 64
"""Images of fewer pixels a side go through a network's small-image stem.

A stem made for 224 pixels makes an image 4 times smaller before the first block, and the blocks 8
times more: of 32 pixels a single one would be left.
"""


def check_images(image_size: int) -> None:
    """UserError when the inputs are no images, or too small for any network."""
    if image_size == 0:
        raise UserError(
            "this network takes images, but the inputs are not images: "
            "choose the network 'mlp' or 'linear' for a table"
        )
    if image_size < LEAST:
        raise UserError(
            f"this network takes images of at least {LEAST} x {LEAST} pixels, "
            f"found {image_size} x {image_size}: enlarge them with --data.image_size 32"
        )


def is_small(image_size: int) -> bool:
    """Whether images of `image_size` pixels a side need the small-image stem.

    UserError as from `check_images`.

    >>> is_small(28), is_small(224)
    (True, False)
    """
    check_images(image_size)
    return image_size < SMALL
