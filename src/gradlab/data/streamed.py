"""Examples that are read anew for every batch: too many for the memory, or changed at random."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlab.data.columns import Placement, Rows, hashes

LOOKED_AT = 32
"""Examples whose content stands for all of them in a fingerprint."""


class Items:
    """A dataset of a person's own, its items collated into batches of tensors by field name.

    `collate` makes tensors by field name of a list of items. The last batch is kept, so that its
    fields come from one reading.
    """

    def __init__(
        self, dataset: Any, collate: Callable[[list[Any]], dict[str, Tensor]], steady: bool
    ) -> None:
        self.dataset, self.collate = dataset, collate
        self.steady = steady
        """Whether an example is the same whenever it is read."""
        self._last: tuple[bytes, set[str], dict[str, Tensor]] | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """The examples of these numbers."""
        return self.collate([self.dataset[int(row)] for row in rows])

    def gather(self, rows: np.ndarray, name: str) -> Tensor:
        """A field of these examples, read once for all fields that ask one after the other."""
        key = rows.tobytes()
        if self._last is None or self._last[0] != key or name in self._last[1]:
            self._last = key, set(), self.read(rows.tolist())
        self._last[1].add(name)
        return self._last[2][name]


@dataclass(frozen=True)
class Streamed:
    """A field of examples that are read anew for every batch; chosen rows of them are noted."""

    items: Items
    name: str
    size: tuple[int, ...]
    """Of one example; 0: any length."""
    dtype: np.dtype[Any]
    rows: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array: N ..."""
        return (len(self), *self.size)

    @property
    def numbers(self) -> np.ndarray:
        """Where its examples stand in the dataset."""
        return np.arange(len(self.items)) if self.rows is None else self.rows

    def __len__(self) -> int:
        return len(self.items) if self.rows is None else len(self.rows)

    def __getitem__(self, number: int) -> np.ndarray:
        row = self.numbers[[number]]
        found: np.ndarray = self.items.read(row.tolist())[self.name][0].numpy()
        return found

    def take(self, index: np.ndarray) -> Streamed:
        """The examples at `index`."""
        return Streamed(self.items, self.name, self.size, self.dtype, self.numbers[index])

    def marks(self) -> np.ndarray:
        """A number for each example: they are not read, so none is known to equal another."""
        return hashes(int(number).to_bytes(8, "little") for number in self.numbers)

    def blocks(self) -> Iterator[np.ndarray]:
        """What stands for the content: the numbers, and some examples where they are steady."""
        yield self.numbers
        if self.items.steady:
            for place in np.unique(np.linspace(0, len(self) - 1, LOOKED_AT).astype(int)):
                yield np.ascontiguousarray(self[int(place)])[None]

    def place(self, placement: Placement) -> StreamedTensor:
        """The same, its batches on a device."""
        return StreamedTensor(self.items, self.name, self.numbers, placement.device)


@dataclass(frozen=True)
class StreamedTensor:
    """A streamed column whose batches come onto a device."""

    items: Items
    name: str
    numbers: np.ndarray
    device: torch.device

    def gather(self, chosen: Rows) -> Tensor:
        """The examples at `chosen`."""
        index = chosen if isinstance(chosen, slice) else chosen.cpu().numpy()
        return self.items.gather(self.numbers[index], self.name).to(self.device)
