"""Where a training went wrong, found by repeating it up to the step that failed."""

from __future__ import annotations

import sys
from itertools import islice
from typing import Any

import torch

from gradlab.engine import Observer, Progress, RunFolder
from gradlab.insight import watch
from gradlab.tasks.base import Task
from gradlab.text import printable
from gradlab.wording import counted


def first_fault(task: Task, folder: RunFolder, step: int) -> str:
    """Which layer was the first to hold a number that is not finite, in words.

    A resume is exact, so the steps since the last checkpoint can be repeated; the last ones are
    watched layer by layer.
    """
    progress, state = folder.load("last")
    task.load_state(state)
    steps = step + 1 - progress.step
    batches = task.batches(progress.epoch)
    for batch in islice(batches, max(steps - 2, 0)):
        task.step(batch)
    with torch.enable_grad(), watch(task.model) as found:
        for batch in islice(batches, min(steps, 2)):
            task.step(batch)
            if found.first is not None:
                return f"First of all: {found.first}."
    return "All layers were still finite."


FLAT_SHARE, FLAT_STEPS = 0.25, 100
"""A loss is flat for long after this share of a training, and at least so many steps."""
FELL = 0.02
"""Share of the first loss: one that fell by less is flat."""


class FlatLoss(Observer):
    """Says, once and while there is time to stop, that the training loss does not fall.

    `initial` is the loss before the first step, `total` the steps of the training.
    """

    def __init__(self, initial: float, total: int, name: str) -> None:
        self.initial, self.total, self.name = initial, total, name
        self.lowest = initial
        self.done = False

    def stepped(self, progress: Progress, line: dict[str, Any]) -> None:
        """Watch the loss."""
        loss = line.get("loss")
        if self.done or loss is None:
            return
        self.lowest = min(self.lowest, loss)
        self.done = self.initial - self.lowest > FELL * abs(self.initial)
        if not self.done and progress.step >= max(FLAT_SHARE * self.total, FLAT_STEPS):
            self.done = True
            said = (
                f"warning: the training loss is flat: {self.initial:.4g} at the start, {loss:.4g} "
                f"after {counted(progress.step, 'step')} of {self.total:,}. To stop: Ctrl-C; "
                f"'gradlab lr {self.name}' finds a learning rate"
            )
            print(printable(said), file=sys.stderr)
