"""Two kinds of data that gradlab does not have yet, as the people who add them would write them.

They show that a new kind of data is one file: nothing here is known to any other file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gradlab.data.augment import Draws
from gradlab.data.columns import Column, Listed, Ragged, RaggedTensor, Rows, padded
from gradlab.data.fields import fields
from gradlab.data.fields.base import Checked, Field, Inputs, Issue
from gradlab.errors import UserError

PAD, UNKNOWN = 0, 1


@fields.register("text")
class Text(Field):
    """Words as numbers, ragged int64; a batch is filled up with 0: N T."""

    type: Literal["text"] = "text"
    words: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """T V, T of any length."""
        return 0, len(self.words) + 2

    @property
    def notes(self) -> tuple[str, ...]:
        return (f"text: {len(self.words)} different words",)

    def fit(self, raw: Listed) -> Text:
        counts = Counter(word for text in raw for word in text.split())
        return self.model_copy(update={"words": tuple(sorted(counts))})

    def encode(self, raw: Listed) -> Ragged:
        number = {word: k for k, word in enumerate(self.words, 2)}
        return Ragged.of([[number.get(w, UNKNOWN) for w in text.split()] for text in raw])

    def batch(self, column: RaggedTensor, rows: Rows, draws: Draws | None) -> Tensor:
        return padded(*column.gather(rows), fill=PAD)

    def read(self, items: Sequence[Any]) -> Inputs:
        texts = []
        for number, item in enumerate(items, 1):
            if not isinstance(item, str) or not item.strip():
                raise UserError(f"input {number}: expected a text, found {item!r}")
            texts.append(Path(item).read_text("utf-8") if item.endswith(".txt") else item)
        return Inputs(self.encode(Listed(texts)), ("",) * len(texts))

    def issues(self, raw: Mapping[str, Column]) -> Checked:
        empty = [str(i) for i, text in enumerate(raw["train"]) if not text.split()]
        return Checked(
            {"empty_texts": len(empty)},
            (Issue("warning", "empty texts", tuple(empty)),) if empty else (),
        )

    def show(self, value: Any) -> str:
        names = ("", "?", *self.words)
        return " ".join(names[int(k)] for k in value)

    def example(self) -> Tensor:
        return torch.zeros(1, 4, dtype=torch.int64)


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
