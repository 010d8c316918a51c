"""Where a training went wrong, found by repeating it up to the step that failed."""

from __future__ import annotations

from itertools import islice

import torch

from gradlab.engine import RunFolder
from gradlab.insight import watch
from gradlab.tasks.base import Task


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
