"""Torch's `Dataset` and `DataLoader`: read into memory where they fit, else anew for each batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, default_collate

from gradlab import machine
from gradlab.data import held as holding
from gradlab.data.fields.values import array_of
from gradlab.data.held import Held, Target, parts_of
from gradlab.data.streamed import Items, Streamed
from gradlab.errors import UserError
from gradlab.text import one_line, shortened
from gradlab.wording import some

_TOGETHER = 256
"""Items that are collated together while all are read."""
_LOOKED_AT = 16
"""Items whose sizes are compared."""

Collate = Callable[[list[Any]], Any]


def of_loader(loader: DataLoader[Any], target: Target, where: str) -> Held:
    """What a DataLoader reads: its dataset and its collate_fn; order and batches are gradlab's."""
    size = loader.batch_size
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return replace(_of_batches(loader, target, where), batch_size=size)
    collate = loader.collate_fn
    own = None if collate is default_collate else collate
    found = of_dataset(loader.dataset, target, where, own)
    sampler = type(loader.sampler).__name__
    said = f"{where}: of the DataLoader its dataset, collate_fn and batch_size are used"
    if sampler not in ("SequentialSampler", "RandomSampler"):
        said += f"; its {sampler} is not: examples come shuffled, each once an epoch"
    return replace(found, batch_size=size, notes=(said, *found.notes))


def of_dataset(dataset: Any, target: Target, where: str, collate: Collate | None = None) -> Held:
    """What a dataset holds: in memory up to `held.LARGEST` bytes, else read for each batch.

    One whose items differ each time they are read (random changes) is always read anew.
    """
    if isinstance(dataset, IterableDataset):
        whole = DataLoader(dataset, batch_size=_TOGETHER)
        return _of_batches(whole, target, where)
    count = len(dataset)
    if not count:
        raise UserError(f"{where}: there are no examples in the {type(dataset).__name__}")
    items = _Collated(dataset, collate or default_collate, target, where)
    first, again = items([0, count // 2]), items([0, count // 2])
    steady = all(torch.equal(first[name], again[name]) for name in first)
    sizes = {name: tuple(value.shape[1:]) for name, value in first.items()}
    reader = Items(dataset, items.collated, steady)
    total = sum(value.numel() * value.element_size() for value in first.values()) * count // 2
    free = machine.memory()
    most = holding.LARGEST if free is None else min(holding.LARGEST, free // 3)
    if collate is not None:  # which may fill up to the longest: sides that differ are any
        for number in range(min(count, _LOOKED_AT)):
            for name, value in items([number]).items():
                pairs = zip(sizes[name], value.shape[1:], strict=True)
                sizes[name] = tuple(a if a == b else 0 for a, b in pairs)
    why = "" if steady else "its items differ each time they are read (random changes)"
    if any(0 in size for size in sizes.values()):
        why = "its items differ in size, and its collate_fn fills them up"
    if not why and total > most:
        why = f"about {total / 1e9:.1f} GB, more than {most / 1e9:.1f} GB are kept in memory"
    if not why:
        blocks = (
            items(range(start, min(start + _TOGETHER, count)))
            for start in range(0, count, _TOGETHER)
        )
        arrays = _joined(blocks)
        if arrays is not None:
            said = f"{where}: the {count:,} items of {type(dataset).__name__} were read into memory"
            return items.held(arrays, (said,))
        why = "its batches differ in shape"
    columns = {
        name: Streamed(reader, name, sizes[name], array_of(value[:1]).dtype)
        for name, value in first.items()
    }
    said = f"{where}: the items of {type(dataset).__name__} are read anew for each batch: {why}"
    return items.held(columns, (said,))


def _of_batches(batches: Iterable[Any], target: Target, where: str) -> Held:
    """All batches that are given, joined in memory."""
    parts = _Collated(None, default_collate, target, where)

    def blocks() -> Iterator[dict[str, Tensor]]:
        total = 0
        for batch in batches:
            found = parts.parts(batch)
            total += sum(value.numel() * value.element_size() for value in found.values())
            if total > holding.LARGEST:
                raise UserError(
                    f"{where}: more than {holding.LARGEST / 1e9:.1f} GB, and what can only be "
                    "iterated over has to fit into memory: give a Dataset with __getitem__ and "
                    "__len__, which is read batch by batch"
                )
            yield found

    found = blocks()
    first = list(islice(found, 1))
    if not first:
        raise UserError(f"{where}: there are no examples")
    arrays = _joined([*first, *found])
    if arrays is None:
        raise UserError(
            f"{where}: the batches differ in shape, and what can only be iterated over is joined "
            "in memory: fill them up to one length, or give a Dataset with __getitem__ and __len__"
        )
    count = len(next(iter(arrays.values())))
    return parts.held(arrays, (f"{where}: {count:,} examples were read into memory",))


class _Collated:
    """Items as tensors by field name."""

    def __init__(self, dataset: Any, collate: Collate, target: Target, where: str) -> None:
        self.dataset, self.collate, self.target, self.where = dataset, collate, target, where
        self.groups: Any = ("one", "one")
        self.asked: tuple[str, ...] = ()

    def __call__(self, numbers: Iterable[int]) -> dict[str, Tensor]:
        try:
            items = [self.dataset[number] for number in numbers]
        except UserError:
            raise
        except Exception as error:
            said = shortened(one_line(str(error))) or type(error).__name__
            raise UserError(f"{self.where}: an item cannot be read: {said}") from error
        return self.collated(items)

    def collated(self, items: list[Any]) -> dict[str, Tensor]:
        """A batch of these items."""
        try:
            batch = self.collate(items)
        except Exception as error:
            said = shortened(one_line(str(error)))
            raise UserError(
                f"{self.where}: {len(items)} items cannot be put together ({said}): give tensors "
                "or numbers of one shape, or a DataLoader with a collate_fn of your own"
            ) from error
        return self.parts(batch)

    def parts(self, batch: Any) -> dict[str, Tensor]:
        """A collated batch by field name."""
        inputs, inputs_as, targets, targets_as = parts_of(
            batch, self.target, self.where, collated=True
        )
        self.groups, self.asked = (inputs_as, targets_as), tuple(targets)
        found = {**inputs, **targets}
        odd = [name for name, value in found.items() if not isinstance(value, Tensor)]
        if odd:
            raise UserError(
                f"{self.where}: {some(odd)} of an item is {type(found[odd[0]]).__name__} when "
                "collated: expected tensors or numbers"
            )
        return found

    def held(self, columns: dict[str, Any], notes: tuple[str, ...]) -> Held:
        """The columns as they were grouped."""
        inputs = {name: value for name, value in columns.items() if name not in self.asked}
        targets = {name: columns[name] for name in self.asked}
        inputs_as, targets_as = self.groups
        return Held(inputs, targets, inputs_as, targets_as, name="dataset", notes=notes)


def _joined(blocks: Iterable[dict[str, Tensor]]) -> dict[str, np.ndarray] | None:
    """Blocks one after the other; None where their shapes differ."""
    found: dict[str, list[np.ndarray]] = {}
    for block in blocks:
        for name, value in block.items():
            found.setdefault(name, []).append(array_of(value))
            if found[name][0].shape[1:] != value.shape[1:]:
                return None
    return {name: np.concatenate(arrays) for name, arrays in found.items()}
