"""Several pictures as one."""

from __future__ import annotations

import numpy as np


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
