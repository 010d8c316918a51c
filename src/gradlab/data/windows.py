"""Stretches of equal length of long series, as columns: nothing is copied until it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from gradlab.data.columns import BLOCK, Placement, Rows, hashes


@dataclass(frozen=True)
class Timeline:
    """All steps of some series, one series after the other.

    stamps: datetime64[us] or int64 M; codes: int64 M, which series a step is of; names: of each.
    """

    stamps: np.ndarray
    codes: np.ndarray
    names: tuple[str, ...] = ("",)

    def name(self, step: int) -> str:
        """The series of a step."""
        return self.names[int(self.codes[step])]

    def stamp(self, step: int) -> str:
        """The time of a step, as people write it: a date where every step is one."""
        value = self.stamps[step]
        if self.stamps.dtype.kind != "M":
            return str(int(value))
        unit = "D" if self.is_daily else "s"
        return str(value.astype(f"datetime64[{unit}]")).replace("T", " ")

    @cached_property
    def is_daily(self) -> bool:
        """Whether all stamps are of midnight."""
        return bool((self.stamps == self.stamps.astype("datetime64[D]")).all())


@dataclass(frozen=True)
class Windowed:
    """An example is `length` steps of a series that begin at its start.

    base: M F, all steps of all series; starts: int64 N.

    >>> line = Timeline(np.arange(5), np.zeros(5, np.int64))
    >>> column = Windowed(np.arange(5.0)[:, None], np.array([0, 2]), 3, line)
    >>> column[1].tolist(), len(column.take(np.array([1])))
    ([[2.0], [3.0], [4.0]], 1)
    """

    base: np.ndarray
    starts: np.ndarray
    length: int
    timeline: Timeline = field(repr=False)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, chosen: int | slice) -> np.ndarray:
        starts = np.asarray(self.starts[chosen])
        found: np.ndarray = self.base[starts[..., None] + np.arange(self.length)]
        return found

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[number] for number in range(len(self)))

    def take(self, index: np.ndarray) -> Windowed:
        """The examples at `index`."""
        return replace(self, starts=self.starts[index])

    def marks(self) -> np.ndarray:
        """A hash of each example's content."""
        return hashes(np.ascontiguousarray(row).tobytes() for row in self)

    def covered(self) -> np.ndarray:
        """The steps that stand in any of the examples, F of each."""
        inside = np.zeros(len(self.base) + 1, np.int64)
        np.add.at(inside, self.starts, 1)
        np.add.at(inside, self.starts + self.length, -1)
        found: np.ndarray = self.base[np.cumsum(inside[:-1]) > 0]
        return found

    def blocks(self) -> Iterator[np.ndarray]:
        """The starts, then all steps."""
        yield np.ascontiguousarray(self.starts)
        for start in range(0, len(self.base), BLOCK):
            yield np.ascontiguousarray(self.base[start : start + BLOCK])

    def place(self, placement: Placement) -> WindowedTensor:
        """The same as tensors on a device."""
        base, starts = placement.put(self.base), placement.put(self.starts)
        return WindowedTensor(base, starts, self.length, placement.device)


@dataclass(frozen=True)
class WindowedTensor:
    """A windowed column on a device."""

    base: Tensor
    starts: Tensor
    length: int
    device: torch.device

    def gather(self, chosen: Rows) -> Tensor:
        """The examples at `chosen`, N T F."""
        rows = chosen if isinstance(chosen, slice) else chosen.to(self.starts.device)
        places = self.starts[rows][:, None] + torch.arange(self.length, device=self.starts.device)
        return self.base[places.to(self.base.device)].to(self.device)
