"""Columns: the values of one field for all examples.

    Dense    an array or a memory map, one entry an example, and rows of it
    Ragged   values one after the other, and where each example begins
    Frame    rows of a table as they were read: raw, until a field has encoded them
    Listed   any values one by one: raw, until a field has encoded them

A column is chosen from with `take`, and hashes each example's content, so that equal ones are found
(`marks`). What is trained on is put on a device (`Placement`), where batches are gathered from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    import polars as pl

Rows = Tensor | slice
"""Which examples of a placed column: their numbers, or a stretch of them."""

BLOCK = 1024
"""Examples that are looked at together."""
BLOCK_BYTES = 1 << 30
"""What they may take at most."""
CELLS = 1 << 20
"""Values of a table that are looked at together."""


class Column(Protocol):
    """What every column can do, encoded or not."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was converted, so that a person can be told."""

    def __len__(self) -> int: ...

    def take(self, index: np.ndarray) -> Any:
        """The examples at `index`, in its order."""

    def marks(self) -> np.ndarray:
        """A hash of each example's content, uint64 N: equal ones have equal hashes."""


class Encoded(Column, Protocol):
    """A column in the form that is kept, hashed and put on a device."""

    def blocks(self) -> Iterator[np.ndarray]:
        """All of its content, in order, as arrays whose bytes are hashed."""

    def place(self, placement: Placement) -> Any:
        """The same as tensors on a device."""


@dataclass(frozen=True)
class Dense:
    """An array with an entry for each example, N ..., or chosen rows of one.

    Rows of an array on the disk (a memory map) are only noted, and read when they are asked for;
    rows of one in memory are copied. It is read like an array.

    >>> column = Dense(np.arange(10) ** 2).take(np.array([1, 3, 5]))
    >>> len(column), int(column[1]), column[1:].tolist()
    (3, 9, [9, 25])
    """

    base: np.ndarray
    rows: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array: N ..."""
        return (len(self), *self.base.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """As of an array."""
        return self.base.dtype

    def __len__(self) -> int:
        return len(self.base) if self.rows is None else len(self.rows)

    def __getitem__(self, chosen: Any) -> np.ndarray:
        found: np.ndarray
        if self.rows is None:
            found = self.base[chosen]
        elif not isinstance(chosen, tuple):
            found = self.base[self.rows[chosen]]
        elif chosen[0] is Ellipsis:
            found = self.base[self.rows][chosen]
        else:
            examples = self[chosen[0]]
            kept = (slice(None),) if examples.ndim == self.base.ndim else ()
            found = examples[(*kept, *chosen[1:])]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def take(self, index: np.ndarray) -> Dense:
        """The examples at `index`."""
        if self.rows is not None:
            return Dense(self.base, self.rows[index])
        if isinstance(self.base, np.memmap):
            return Dense(self.base, index)
        return Dense(self.base[index])

    def marks(self) -> np.ndarray:
        """A hash of each example's content."""
        return hashes(np.ascontiguousarray(row).tobytes() for row in self)

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self.blocks():
            yield from block

    def blocks(self) -> Iterator[np.ndarray]:
        """The content, some examples at a time; of large ones fewer."""
        one = max(self.base[:1].nbytes, 1)
        step = max(min(BLOCK, BLOCK_BYTES // one), 1)
        for start in range(0, len(self), step):
            yield np.ascontiguousarray(self[start : start + step])

    def place(self, placement: Placement) -> DenseTensor:
        """The same as tensors on a device."""
        rows = None if self.rows is None else placement.put(self.rows)
        return DenseTensor(placement.put(self.base), rows, placement.device)


@dataclass(frozen=True)
class Ragged:
    """Values of different numbers for each example, one after the other.

    values: all of them, M ...; offsets: int64 N+1, example i has `values[offsets[i]:offsets[i+1]]`.

    >>> column = Ragged.of([[1, 2, 3], [], [4]])
    >>> column[0].tolist(), column.take(np.array([2, 0])).lengths.tolist()
    ([1, 2, 3], [1, 3])
    """

    values: np.ndarray
    offsets: np.ndarray
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, items: Sequence[Any], dtype: Any = np.int64, width: tuple[int, ...] = ()) -> Ragged:
        """A column of sequences; each value has the shape `width`."""
        arrays = [np.asarray(item, dtype).reshape(-1, *width) for item in items]
        offsets = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
        empty = np.empty((0, *width), dtype)
        return cls(np.concatenate([empty, *arrays]), offsets)

    @property
    def lengths(self) -> np.ndarray:
        """How many values each example has, int64 N."""
        found: np.ndarray = np.diff(self.offsets)
        return found

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, number: int) -> np.ndarray:
        found: np.ndarray = self.values[self.offsets[number] : self.offsets[number + 1]]
        return found

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[number] for number in range(len(self)))

    def take(self, index: np.ndarray) -> Ragged:
        """The examples at `index`, copied."""
        lengths = self.lengths[index]
        places = _places(self.offsets[:-1][index], lengths)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return Ragged(self.values[places], offsets)

    def marks(self) -> np.ndarray:
        """A hash of each example's content."""
        return hashes(np.ascontiguousarray(row).tobytes() for row in self)

    def blocks(self) -> Iterator[np.ndarray]:
        """Offsets, then the values."""
        yield np.ascontiguousarray(self.offsets)
        for start in range(0, len(self.values), BLOCK * BLOCK):
            yield np.ascontiguousarray(self.values[start : start + BLOCK * BLOCK])

    def place(self, placement: Placement) -> RaggedTensor:
        """The same as tensors on a device."""
        return RaggedTensor(
            placement.put(self.values), placement.put(self.offsets), placement.device
        )


@dataclass(frozen=True)
class Frame:
    """Rows of a table as it was read, before a field has learnt how to encode them.

    Chosen rows are only noted, and copied some at a time (`part`): text takes several times the
    memory of what is kept of it.
    """

    base: pl.DataFrame
    rows: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    @property
    def frame(self) -> pl.DataFrame:
        """The rows as a polars frame; chosen ones are copied."""
        return self.base if self.rows is None else self.base[self.rows]

    def __len__(self) -> int:
        return self.base.height if self.rows is None else len(self.rows)

    def take(self, index: np.ndarray) -> Frame:
        """The rows at `index`."""
        return Frame(self.base, index if self.rows is None else self.rows[index])

    def part(self, places: Sequence[int], rows: slice = slice(None)) -> pl.DataFrame:
        """Columns by their places in a stretch of the rows, named "0", "1", ...

        Polars takes some names for patterns; places are safe.
        """
        import polars as pl

        part = pl.DataFrame([self.base.to_series(int(place)) for place in places])
        part.columns = [str(number) for number in range(len(places))]
        return part[rows if self.rows is None else self.rows[rows]]

    def stretches(self, places: Sequence[int]) -> Iterator[tuple[slice, pl.DataFrame]]:
        """All rows of these columns, about `CELLS` values at a time, and where they stand."""
        step = max(CELLS // max(len(places), 1), 1)
        for start in range(0, len(self), step):
            rows = slice(start, min(start + step, len(self)))
            yield rows, self.part(places, rows)

    def marks(self) -> np.ndarray:
        """A hash of each row's content."""
        found = [
            part.hash_rows(seed=0).to_numpy() for _, part in self.stretches(range(self.base.width))
        ]
        return np.concatenate([np.empty(0, np.uint64), *found])


@dataclass(frozen=True)
class Listed:
    """Values as a list, one for each example: texts, boxes, whatever a field will encode."""

    items: Sequence[Any]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    def take(self, index: np.ndarray) -> Listed:
        """The values at `index`."""
        return Listed([self.items[i] for i in index.tolist()])

    def marks(self) -> np.ndarray:
        """A hash of each value."""
        return hashes(
            item.encode("utf-8", "surrogatepass")
            if isinstance(item, str)
            else json.dumps(item, default=str).encode()
            for item in self.items
        )


def hashes(contents: Iterable[bytes]) -> np.ndarray:
    """A hash of each content, uint64 N."""
    digests = b"".join(hashlib.blake2b(c, digest_size=8).digest() for c in contents)
    return np.frombuffer(digests, np.uint64)


def numbered(marks: np.ndarray) -> np.ndarray:
    """A number for each mark, the same for equal ones, counted from 0 in order of appearance.

    >>> numbered(np.array([7, 3, 7])).tolist()
    [0, 1, 0]
    """
    _, first, group = np.unique(marks, return_index=True, return_inverse=True)
    place = np.empty(len(first), np.int64)
    place[first.argsort()] = np.arange(len(first))
    found: np.ndarray = place[group.reshape(-1)]
    return found


def joined(columns: Sequence[Any]) -> Any:
    """Columns of one kind, one after the other."""
    first = columns[0]
    notes = tuple(dict.fromkeys(note for column in columns for note in column.notes))
    if len(columns) == 1:
        return first
    if isinstance(first, Dense):
        return Dense(np.concatenate([column[:] for column in columns]), notes=notes)
    if isinstance(first, Ragged):
        lengths = np.concatenate([column.lengths for column in columns])
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return Ragged(np.concatenate([column.values for column in columns]), offsets, notes)
    return Listed([item for column in columns for item in column], notes)


# on a device


@dataclass
class Placement:
    """Where columns are put; an array that several splits share is put there once."""

    device: torch.device
    _put: dict[int, tuple[np.ndarray, Tensor]] = field(default_factory=dict)

    def put(self, values: np.ndarray) -> Tensor:
        """An array as a tensor on the device, or beside it where it would fill the device.

        In the processor's memory it is the array itself: torch copies only what is strided or
        cannot be written to.
        """
        if id(values) not in self._put:
            tensor = torch.from_numpy(np.require(values, requirements=("C", "W")))
            if self.device.type == "cuda" and values.nbytes < _room(self.device):
                tensor = tensor.to(self.device)
            # The array is kept too: another one must not get its id.
            self._put[id(values)] = values, tensor
        return self._put[id(values)][1]


def _room(device: torch.device) -> float:
    """Bytes of a GPU's memory that one array may take."""
    return torch.cuda.mem_get_info(device)[0] * 0.5


@dataclass(frozen=True)
class DenseTensor:
    """A dense column on a device."""

    base: Tensor
    rows: Tensor | None
    device: torch.device

    def gather(self, chosen: Rows) -> Tensor:
        """The examples at `chosen`, N ..., on the device."""
        if isinstance(chosen, slice):
            if self.rows is None:
                return self.base[chosen].to(self.device)
            rows = self.rows[chosen]
        else:
            rows = chosen if self.rows is None else self.rows[chosen.to(self.rows.device)]
        return self.base.index_select(0, rows.to(self.base.device)).to(self.device)


@dataclass(frozen=True)
class RaggedTensor:
    """A ragged column on a device."""

    values: Tensor
    offsets: Tensor
    device: torch.device

    def gather(self, chosen: Rows) -> tuple[Tensor, Tensor]:
        """The values of the examples at `chosen`, one after the other, and their lengths (N)."""
        place = self.offsets.device
        starts, ends = self.offsets[:-1], self.offsets[1:]
        index = chosen if isinstance(chosen, slice) else chosen.to(place)
        lengths = ends[index] - starts[index]
        before = torch.cumsum(lengths, 0) - lengths
        shift = torch.repeat_interleave(starts[index] - before, lengths)
        places = shift + torch.arange(len(shift), device=place)
        values = self.values.index_select(0, places.to(self.values.device))
        return values.to(self.device), lengths.to(self.device)


def padded(values: Tensor, lengths: Tensor, fill: float = 0) -> Tensor:
    """Values one after the other as a row for each example, the short ones filled up: N T ...

    >>> padded(torch.tensor([1, 2, 3, 4]), torch.tensor([3, 1])).tolist()
    [[1, 2, 3], [4, 0, 0]]
    """
    longest = int(lengths.max()) if len(lengths) else 0
    rows = values.new_full((len(lengths), longest, *values.shape[1:]), fill)
    inside = torch.arange(longest, device=lengths.device)[None] < lengths[:, None]  # N T
    rows[inside] = values
    return rows


def _places(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The numbers of the values of stretches that begin at `starts`."""
    before = np.cumsum(lengths) - lengths
    places: np.ndarray = np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))
    return places
