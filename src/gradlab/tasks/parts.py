"""Small things that a training depends on, as named parts of a task: each knows its own state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from gradlab.errors import UserError


class RandomGenerator(np.random.Generator):
    """numpy's generator of random numbers, owned by the numbers `seed`.

    >>> generator = RandomGenerator([7, 0])
    >>> state = generator.state()
    >>> first = generator.random()
    >>> generator.load_state(state)
    >>> generator.random() == first
    True
    """

    def __init__(self, seed: int | Sequence[int]) -> None:
        super().__init__(np.random.PCG64(seed))

    def state(self) -> dict[str, Any]:
        """Where it is in its sequence."""
        return dict(self.bit_generator.state)

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.bit_generator.state = state


class Weights:
    """The weights of a network beside the task's model."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def state(self) -> dict[str, Tensor]:
        """By name."""
        return self.network.state_dict()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take them; UserError names what does not fit."""
        check_weights(self.network, state)
        self.network.load_state_dict(state)


class Counter:
    """A number that counts up."""

    def __init__(self) -> None:
        self.value = 0

    def state(self) -> int:
        """The number."""
        return self.value

    def load_state(self, state: int) -> None:
        """Continue from there."""
        self.value = state


def check_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """UserError with the first names that are missing, unexpected or of another shape."""
    own = model.state_dict()
    problems = [
        f"{name}: expected {tuple(value.shape)}, found {tuple(weights[name].shape)}"
        if name in weights
        else f"{name}: expected {tuple(value.shape)}, found nothing"
        for name, value in own.items()
        if name not in weights or weights[name].shape != value.shape
    ]
    problems += [f"{name}: not in this network" for name in weights if name not in own]
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise UserError(
            f"these weights are of another network: {'; '.join(problems[:3])}{more}. "
            "Use the recipe that they were trained with"
        )
