"""Whether a training fits into memory, before it begins: a process that is killed says nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import nn

from gradlab import machine
from gradlab.config import Recipe
from gradlab.engine.updater import slots_of
from gradlab.errors import UserError

_FLOAT = 4  # bytes


def check_training(
    parameters: Iterable[nn.Parameter], shape: tuple[int, ...], recipe: Recipe
) -> None:
    """UserError where a step on the processor cannot fit: gradients, what the optimizer keeps, and
    a batch of inputs of this shape. What the layers make of the batch comes on top."""
    count = sum(weight.numel() for weight in parameters if weight.requires_grad)
    kept = 1 + sum(slots_of(recipe.optimizer).values())  # the weights themselves are there already
    size = math.ceil(recipe.plan.batch_size / recipe.plan.accumulate)
    needed = (count * kept + size * math.prod(shape)) * _FLOAT
    free = machine.memory()
    if free is None or needed <= free:
        return
    smaller = "a smaller --data.image_size, " if len(shape) == 3 else ""
    raise UserError(
        f"a step with {count:,} weights and a batch of {size} inputs of "
        f"{' x '.join(map(str, shape))} takes at least {needed / 1e9:,.1f} GB of memory, "
        f"{free / 1e9:,.1f} GB are free: choose {smaller}a smaller network, or a smaller "
        "--plan.batch_size"
    )
