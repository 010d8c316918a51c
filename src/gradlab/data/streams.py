"""One long text as batches: streams side by side, read on window by window.

So a network can carry its state from each window to the next, and the gradient goes back through
one window (truncated back-propagation through time; Williams and Peng 1990).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from gradlab.data.columns import Placement
from gradlab.data.dataset import Split
from gradlab.data.fields.base import Field
from gradlab.data.loader import Batch, Loader


class StreamLoader(Loader):
    """Consecutive windows of a split whose examples are the tokens of one text.

    The text is cut into `batch_size` streams of equal length. A batch holds of each stream the
    next `window` tokens and the one after them, N T+1: inputs and targets. At the end of the text
    fewer tokens than there are streams are left over.
    """

    def __init__(
        self,
        split: Split,
        fields: Mapping[str, Field],
        *,
        batch_size: int,
        window: int,
        placement: Placement,
    ) -> None:
        count = len(split)
        streams = max(min(batch_size, (count - 1) // 2), 1)
        super().__init__(split, fields, batch_size=streams, placement=placement)
        self.window = window
        self.length = max((count - 1) // streams, 1)
        """Tokens of a stream that are targets."""

    @property
    def steps(self) -> int:
        """Windows in an epoch."""
        return -(-self.length // self.window)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The windows of an epoch that are still to come."""
        if self.epoch != epoch:
            self.epoch, self.index = epoch, 0
        for index in range(self.index, self.steps):
            # Counted before the step: a checkpoint after the step then starts at the next window.
            self.index = index + 1
            yield self.at(index)

    def in_order(self, batch_size: int = 0, view: int = 0) -> Iterator[Batch]:
        """All windows once."""
        return map(self.at, range(self.steps))

    def spread(self, count: int) -> Batch:
        """The first window."""
        return self.at(0)

    def at(self, index: int) -> Batch:
        """A window of all streams; its size is the number of its targets."""
        first = index * self.window
        last = min(first + self.window, self.length)
        rows = self.rows(first, last)
        values = {
            name: field.batch(self.columns[name], rows.reshape(-1), None).view(rows.shape)
            for name, field in self.fields.items()
        }
        return Batch(values, self.batch_size * (last - first))

    def rows(self, first: int, last: int) -> Tensor:
        """Places in the text, N T+1."""
        starts = torch.arange(self.batch_size) * self.length
        return starts[:, None] + torch.arange(first, last + 1)[None]
