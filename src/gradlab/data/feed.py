"""From a split to batches: a pure function of seed, epoch and rank, so that a resume is exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gradlab.config import Augment
from gradlab.data.augment import augment, mixup
from gradlab.data.dataset import Rows, Schema, Split


class Mix(NamedTuple):
    """What mixup has mixed into a batch: `share` (0-dimensional) of each example is its own."""

    share: Tensor
    y: Tensor
    """N class numbers of the others."""


class Batch(NamedTuple):
    """x: N C H W float (channels last in memory) or N D. y: N class numbers or values."""

    x: Tensor
    y: Tensor
    mix: Mix | None = None

    def __len__(self) -> int:
        return len(self.y)

    def parts(self, count: int) -> list[Batch]:
        """The batch in `count` parts of nearly equal size."""
        xs, ys = self.x.tensor_split(count), self.y.tensor_split(count)
        mixes: list[Mix | None] = [None] * count
        if self.mix is not None:
            mixes = [Mix(self.mix.share, other) for other in self.mix.y.tensor_split(count)]
        return [Batch(*part) for part in zip(xs, ys, mixes, strict=True) if len(part[1])]

    def loss(self, criterion: Callable[[Any, Tensor], Tensor], output: Any) -> Tensor:
        """`criterion(output, y)`; of mixed examples, that of both labels by their shares."""
        value = criterion(output, self.y)
        if self.mix is None:
            return value
        share, other = self.mix
        return share * value + (1 - share) * criterion(output, other)


class Feed:
    """The batches of one split, on the device, normalised and (in training) augmented.

    The split stays as compact as it was decoded; what a batch needs is converted as a whole.
    """

    def __init__(
        self,
        split: Split,
        schema: Schema,
        *,
        batch_size: int,
        device: torch.device,
        seed: int = 0,
        changes: Augment | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        base, index = Rows.parts(split.x)
        self.x, self.y = _tensor(base, device), _tensor(split.y, device)
        self.rows = None if index is None else _tensor(index, device)
        self.batch_size = batch_size
        self.seed, self.rank, self.world = seed, rank, world
        self.changes = changes or Augment()
        self.normalise = Normalise(schema, device)
        self.epoch, self.index = -1, 0

    def __len__(self) -> int:
        return len(self.y)

    @property
    def steps(self) -> int:
        """Batches in an epoch. A last batch of a single example is left out: batch norm cannot
        train on one."""
        share = len(self) // self.world if self.world > 1 else len(self)
        whole, rest = divmod(share, self.batch_size)
        return max(whole + (rest > 1), 1)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The shuffled batches of an epoch that are still to come."""
        if self.epoch != epoch:
            self.epoch, self.index = epoch, 0
        order = torch.randperm(len(self), generator=_generator(self.seed, epoch))
        order = order[self.rank :: self.world].to(self.x.device)
        for index in range(self.index, self.steps):
            # Counted before the step: a checkpoint after the step then starts at the next batch.
            self.index = index + 1
            yield self.make(order[index * self.batch_size : (index + 1) * self.batch_size], epoch)

    def make(self, chosen: Tensor, epoch: int) -> Batch:
        """The training batch of the examples at `chosen`."""
        rows = chosen if self.rows is None else self.rows[chosen]
        x, y = self.x.index_select(0, rows), self.y.index_select(0, chosen)
        if self.changes == _NO_CHANGES:
            return Batch(self.normalise(x), y)
        draws = _generator(self.seed, epoch, self.index, self.rank)
        x = self.normalise(augment(x, self.changes, draws))
        if not self.changes.mixup:
            return Batch(x, y)
        x, y, other, share = mixup(x, y, self.changes.mixup, draws)
        if y.is_floating_point():  # a number is mixed itself, class numbers in the loss
            return Batch(x, torch.lerp(other, y, share))
        return Batch(x, y, Mix(share, other))

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """All examples once, in their order, not augmented."""
        for start in range(0, len(self), batch_size):
            part = slice(start, start + batch_size)
            x = self.x[part] if self.rows is None else self.x.index_select(0, self.rows[part])
            yield Batch(self.normalise(x), self.y[part])

    def state(self) -> dict[str, Any]:
        """The place in the epoch."""
        return {"epoch": self.epoch, "index": self.index}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go to a place that `state` returned."""
        self.epoch, self.index = state["epoch"], state["index"]


class Normalise:
    """Inputs as a split keeps them to what a model reads.

    uint8 N H W C to float N C H W of mean 0 and deviation 1 per channel, in channels-last memory;
    float N D to the same (a table's columns are standardised where they are encoded).
    """

    def __init__(self, schema: Schema, device: torch.device) -> None:
        self.image = schema.kind == "image"
        self.plain = not schema.mean
        top = 255.0 if self.image else 1.0
        mean, std = torch.tensor(schema.mean), torch.tensor(schema.std)
        if len(mean) > 1 and self.image:
            # One row for a whole image: broadcasting over a last axis of 3 is five times slower.
            pixels = schema.shape[1] * schema.shape[2]
            mean, std = mean.repeat(pixels), std.repeat(pixels)
        self.scale, self.shift = (1 / (std * top)).to(device), (-mean / std).to(device)

    def __call__(self, x: Tensor) -> Tensor:
        """A batch as the model reads it."""
        if not self.plain:
            flat = x.reshape(len(x), -1) if len(self.scale) > 1 else x
            x = torch.addcmul(self.shift, flat.float(), self.scale).view(x.shape)
        return x.permute(0, 3, 1, 2) if self.image else x


def _tensor(values: np.ndarray, device: torch.device) -> Tensor:
    """Copied only where it must be: torch takes no array that is strided or read-only."""
    return torch.from_numpy(np.require(values, requirements=("C", "W"))).to(device)


_NO_CHANGES = Augment()


def _generator(*owner: int) -> torch.Generator:
    """A generator that is a function of its owner's numbers."""
    seed = int(np.random.SeedSequence(owner).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(seed)
