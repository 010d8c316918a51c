"""From a split to batches: a pure function of seed, epoch and rank, so that a resume is exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gradlab.config import Augment
from gradlab.data.augment import Draws
from gradlab.data.columns import Placement, Rows
from gradlab.data.dataset import Order, Split
from gradlab.data.fields.base import Field


class Mix(NamedTuple):
    """What mixup has mixed into a batch: `share` (0-dimensional) of each example is its own."""

    share: Tensor
    others: dict[str, Tensor]
    """What else is in each example, by field: class numbers, which cannot be mixed themselves."""


class Batch:
    """Examples as tensors by field name, transformed, on the device.

    `rows` says where in the split they stand, for batches in order.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        size: int,
        mix: Mix | None = None,
        rows: slice | None = None,
    ) -> None:
        self.values, self.size, self.mix, self.rows = dict(values), size, mix, rows

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def __len__(self) -> int:
        return self.size

    def parts(self, count: int) -> list[Batch]:
        """The batch in `count` parts of nearly equal size."""
        found, start = [], 0
        for rows in torch.arange(self.size).tensor_split(min(count, self.size)):
            stop = start + len(rows)
            part = slice(start, stop)
            mix = None
            if self.mix is not None:
                others = {name: value[part] for name, value in self.mix.others.items()}
                mix = Mix(self.mix.share, others)
            values = {name: _part(value, part) for name, value in self.values.items()}
            found.append(Batch(values, stop - start, mix))
            start = stop
        return found

    def loss(self, criterion: Callable[[Any, Any], Tensor], output: Any, target: str) -> Tensor:
        """`criterion(output, target)`; of mixed examples, that of both by their shares."""
        value = criterion(output, self.values[target])
        if self.mix is None or target not in self.mix.others:
            return value
        share = self.mix.share
        return share * value + (1 - share) * criterion(output, self.mix.others[target])


def _part(value: Any, part: slice) -> Any:
    """Some examples of a tensor, of a list with an entry for each, or of a tuple of these."""
    if isinstance(value, tuple):
        items = [_part(item, part) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return value[part]


class Loader:
    """The batches of one split, on the device, normalised and (in training) augmented.

    The columns stay as compact as they are; what a batch needs is converted as a whole.
    """

    def __init__(
        self,
        split: Split,
        fields: Mapping[str, Field],
        *,
        batch_size: int,
        placement: Placement,
        seed: int = 0,
        augment: Augment | None = None,
        order: Order = "shuffled",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.fields = dict(fields)
        self.columns = {name: split[name].place(placement) for name in self.fields}
        self.count = len(split)
        self.batch_size = batch_size
        self.seed, self.rank, self.world = seed, rank, world
        self.augment = augment or Augment()
        self.lengths = torch.from_numpy(_lengths(split, self.fields)) if order == "length" else None
        self.epoch, self.index = -1, 0

    def __len__(self) -> int:
        return self.count

    @property
    def steps(self) -> int:
        """Batches in an epoch. A last batch of a single example is left out: batch norm cannot
        train on one."""
        share = self.count // self.world if self.world > 1 else self.count
        whole, rest = divmod(share, self.batch_size)
        return max(whole + (rest > 1), 1)

    @property
    def augments(self) -> bool:
        """Whether its training batches are changed at random."""
        return self.augment != _NOTHING

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The training batches of an epoch that are still to come."""
        if self.epoch != epoch:
            self.epoch, self.index = epoch, 0
        order = self._order(epoch)[self.rank :: self.world]
        for index in range(self.index, self.steps):
            # Counted before the step: a checkpoint after the step then starts at the next batch.
            self.index = index + 1
            yield self.make(order[index * self.batch_size : (index + 1) * self.batch_size], epoch)

    def _order(self, epoch: int) -> Tensor:
        """The numbers of all examples in the order of an epoch."""
        generator = _generator(self.seed, epoch)
        order = torch.randperm(self.count, generator=generator)
        if self.lengths is None:
            return order
        # Sorted within stretches of many batches, so that little is filled up; the batches
        # themselves come in any order.
        stretch = _STRETCH * self.batch_size
        pieces = [
            part[self.lengths[part].argsort(stable=True)] for part in torch.split(order, stretch)
        ]
        batches = list(torch.split(torch.cat(pieces), self.batch_size))
        last = [batches.pop()] if len(batches[-1]) < self.batch_size else []
        shuffled = [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]
        return torch.cat(shuffled + last)

    def make(self, chosen: Tensor, epoch: int) -> Batch:
        """The training batch of the examples at `chosen`."""
        draws = None
        if self.augments:
            generator = _generator(self.seed, epoch, self.index, self.rank)
            draws = Draws(self.augment, len(chosen), generator)
        batch = self._gather(chosen, len(chosen), draws)
        return batch if draws is None or not self.augment.mixup else mixed(batch, draws)

    def in_order(self, batch_size: int = 0, view: int = 0) -> Iterator[Batch]:
        """All examples once, in their order: as they are in view 0, augmented in every other."""
        size = batch_size or self.batch_size
        for start in range(0, self.count, size):
            rows = slice(start, min(start + size, self.count))
            draws = None
            if view:
                generator = _generator(self.seed, view, start)
                draws = Draws(self.augment, rows.stop - start, generator)
            yield self._gather(rows, rows.stop - start, draws)

    def read(self, columns: Mapping[str, Any], fields: Mapping[str, Field]) -> None:
        """From now on give other columns of the same examples; the place in the epoch stays."""
        self.columns, self.fields = dict(columns), dict(fields)

    def _gather(self, rows: Rows, size: int, draws: Draws | None) -> Batch:
        values = {
            name: field.batch(self.columns[name], rows, draws)
            for name, field in self.fields.items()
        }
        return Batch(values, size, rows=rows if isinstance(rows, slice) else None)

    def spread(self, count: int) -> Batch:
        """Training examples from all over the split."""
        count = min(count, self.count)
        return self.make(torch.linspace(0, self.count - 1, count).long(), 0)

    def state(self) -> dict[str, Any]:
        """The place in the epoch."""
        return {"epoch": self.epoch, "index": self.index}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go to a place that `state` returned."""
        self.epoch, self.index = state["epoch"], state["index"]


def mixed(batch: Batch, draws: Draws) -> Batch:
    """A batch mixed with itself in another order: numbers themselves, class numbers in the loss.

    Zhang et al. (2018), "mixup: beyond empirical risk minimization". One share for the batch.
    """
    weight, partners = draws.mix()
    values, others = dict(batch.values), {}
    for name, value in batch.values.items():
        index = partners.to(value.device)
        if value.is_floating_point():
            values[name] = torch.lerp(value[index], value, weight)
        else:
            others[name] = value[index]
    if not others:
        return Batch(values, batch.size)
    place = next(iter(others.values())).device
    return Batch(values, batch.size, Mix(torch.tensor(weight).to(place), others))


def _lengths(split: Split, fields: Mapping[str, Field]) -> np.ndarray:
    """The length of each example's longest ragged field."""
    found = [split[name].lengths for name in fields if hasattr(split[name], "lengths")]
    return np.max(found, axis=0) if found else np.zeros(len(split), np.int64)


_NOTHING = Augment()
_STRETCH = 50


def _generator(*owner: int) -> torch.Generator:
    """A generator that is a function of its owner's numbers."""
    seed = int(np.random.SeedSequence(owner).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(seed)
