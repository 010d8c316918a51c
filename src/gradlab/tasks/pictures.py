"""What networks make, as pictures."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from gradlab.data import Schema


def to_pixels(x: Tensor, schema: Schema) -> np.ndarray:
    """Images as a model reads or makes them (N C H W, normalised) as uint8 N H W C."""
    mean, std = (x.new_tensor(value).view(-1, 1, 1) for value in (schema.mean, schema.std))
    scaled = ((x.detach().float() * std + mean) * 255).round().clamp(0, 255)
    pixels: np.ndarray = scaled.permute(0, 2, 3, 1).byte().cpu().numpy()
    return pixels


def grid(images: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
    """Images (uint8 N H W C) as one, row by row, a white line between them: uint8 H W C.

    >>> grid(np.zeros((6, 8, 8, 1), np.uint8), columns=3).shape
    (18, 28, 1)
    """
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    sheet = np.full((rows * columns, height + gap, width + gap, channels), 255, np.uint8)
    sheet[:count, :height, :width] = images
    sheet = sheet.reshape(rows, columns, height + gap, width + gap, channels).swapaxes(1, 2)
    return sheet.reshape(rows * (height + gap), -1, channels)[:-gap, :-gap]
