"""Small things that a training depends on, as named parts of a task: each knows its own state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from gradlab.tasks.base import check_weights


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
