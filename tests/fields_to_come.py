"""A kind of data that gradlab does not have yet, as the people who add it would write it.

It shows that a new kind of data is one file: nothing here is known to any other file.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gradlab.data.augment import Draws
from gradlab.data.columns import Listed, Ragged, RaggedTensor, Rows
from gradlab.data.fields import fields
from gradlab.data.fields.base import Field


@fields.register("boxes")
class Boxes(Field):
    """Rectangles on an image: ragged float32 M 4 (left, top, right, bottom, in shares of it).

    A batch is a list of tensors, B 4 each, mirrored and moved as the image is.
    """

    augmented = True

    type: Literal["boxes"] = "boxes"
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        return 0, 4

    def encode(self, raw: Listed) -> Ragged:
        return Ragged.of(raw.items, np.float32, (4,))

    def batch(self, column: RaggedTensor, rows: Rows, draws: Draws | None) -> list[Tensor]:
        values, lengths = column.gather(rows)
        if draws is not None:
            changes = draws.changes(self.height, self.width)
            owner = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
            if changes.flips is not None:
                mirrored = torch.stack(
                    [1 - values[:, 2], values[:, 1], 1 - values[:, 0], values[:, 3]], 1
                )
                values = torch.where(changes.flips[owner][:, None], mirrored, values)
            if changes.offsets is not None:
                down, right = changes.offsets.float()
                shift = torch.stack([right / self.width, down / self.height] * 2, 1)
                values = (values + shift[owner]).clamp(0, 1)
        return list(values.split(lengths.tolist()))

    def show(self, value: Any) -> str:
        return f"{len(value)} boxes"

    def example(self) -> Tensor:
        return torch.zeros(1, 0, 4)
