"""Replay memory: the last steps of several environments, sampled without a loop.

Lin (1992), "Self-improving reactive agents"; Mnih et al. (2015). Every observation is stored once:
the next observation of a step stands in the next slot, and a stack of frames is put together when
it is sampled. An episode of n steps takes n + 1 slots, so that its last observation is there to be
valued when a time limit cut it off.
"""

from __future__ import annotations

import math
import zlib
from typing import Any, NamedTuple

import numpy as np
import torch

from gradlab.errors import UserError


class Sample(NamedTuple):
    """Steps as arrays of N rows."""

    observation: np.ndarray
    """N S ... for stacks of S frames, N D for vectors."""
    action: np.ndarray
    """int64."""
    reward: np.ndarray
    """float32."""
    terminated: np.ndarray
    """bool: nothing comes after the step, whatever the next observation is."""
    next_observation: np.ndarray
    """As the observation."""


class ReplayMemory:
    """A ring of slots for each of `envs` environments, `capacity` steps in all.

    A frame (or vector) has `shape` and `dtype`; an observation stacks `stack` of them, the first of
    an episode repeated where there are not so many yet. Slot r of environment e is number
    r * envs + e. Memory is taken up by the operating system as it fills.
    """

    def __init__(
        self, capacity: int, envs: int, shape: tuple[int, ...], dtype: Any, stack: int = 1
    ) -> None:
        # Two at least: the end of an episode takes two slots, and must leave a step to sample.
        self.rows = max(-(-capacity // envs), 2) + stack
        self.envs, self.stack = envs, stack
        slots = self.rows * envs
        try:
            self.frames = np.zeros((slots, *shape), dtype)
            self.action = np.zeros(slots, np.uint8 if shape[1:] else np.int64)
            self.reward = np.zeros(slots, np.float32)
            self.terminated = np.zeros(slots, bool)
            self.depth = np.zeros(slots, np.uint8)
            """Frames of the same episode before this one, at most stack - 1."""
            self.whole = np.zeros(slots, bool)
            """Whether the slot holds a step whose frames are all still there."""
        except (MemoryError, ValueError):  # a ValueError where the size is beyond all addresses
            size = np.dtype(dtype).itemsize * math.prod(shape) * slots / 1e9
            raise UserError(
                f"a replay memory of {capacity:,} steps would take {size:,.0f} GB, which this "
                "machine does not have: choose a smaller --task.memory"
            ) from None
        self.row = np.full(envs, -1)
        """Each environment's newest slot."""
        self.filled = 0
        """Rows that have been written."""
        self._columns = np.arange(envs)

    def begin(self, frames: np.ndarray) -> None:
        """The first frames of episodes in all environments. N ..."""
        self._write(self._columns, frames, np.zeros(self.envs, np.uint8))

    def add(
        self,
        action: np.ndarray,
        reward: np.ndarray,
        terminated: np.ndarray,
        frames: np.ndarray,
        done: np.ndarray,
        first_frames: np.ndarray,
    ) -> None:
        """A step of each environment: what was done, what came of it, and what is seen next.

        `first_frames` are those of the episodes that follow the ones that are `done`.
        """
        here = self.row * self.envs + self._columns
        self.action[here], self.reward[here], self.terminated[here] = action, reward, terminated
        self.whole[here] = True
        depth = np.minimum(self.depth[here] + 1, self.stack - 1)
        self._write(self._columns, frames, depth)
        if done.any():
            columns = np.flatnonzero(done)
            self._write(columns, first_frames[columns], np.zeros(len(columns), np.uint8))

    def _write(self, columns: np.ndarray, frames: np.ndarray, depth: np.ndarray) -> None:
        row = self.row[columns] + 1
        row[row == self.rows] = 0
        self.row[columns] = row
        here = row * self.envs + columns
        self.frames[here], self.depth[here], self.whole[here] = frames, depth, False
        for later in range(1, self.stack):  # old steps whose stacks reached back to this slot
            self.whole[(row + later) % self.rows * self.envs + columns] = False
        if self.filled < self.rows:
            self.filled = max(self.filled, int(row.max()) + 1)

    def __len__(self) -> int:
        return int(self.whole.sum())

    def draw(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Numbers of `count` slots, each step equally likely. int64 N."""
        limit = self.filled * self.envs
        slots = generator.integers(limit, size=count)
        wrong = np.flatnonzero(~self.whole[slots])
        while len(wrong):
            slots[wrong] = generator.integers(limit, size=len(wrong))
            wrong = wrong[~self.whole[slots[wrong]]]
        return slots

    def take(self, slots: np.ndarray) -> Sample:
        """The steps in these slots."""
        after = slots + self.envs
        after[after >= self.rows * self.envs] -= self.rows * self.envs
        return Sample(
            self._observations(slots),
            self.action[slots].astype(np.int64),
            self.reward[slots],
            self.terminated[slots],
            self._observations(after),
        )

    def _observations(self, slots: np.ndarray) -> np.ndarray:
        if self.stack == 1:
            vectors: np.ndarray = self.frames[slots]
            return vectors
        back = np.minimum(np.arange(self.stack)[::-1], self.depth[slots, None])  # N S
        rows = slots[:, None] // self.envs - back  # below 0: counted from the ring's end
        found: np.ndarray = self.frames[rows % self.rows * self.envs + slots[:, None] % self.envs]
        return found

    @property
    def nbytes(self) -> int:
        """Bytes of a full memory."""
        kept = (self.frames, self.action, self.reward, self.terminated, self.depth, self.whole)
        return sum(array.nbytes for array in kept)

    # exact resume

    def state(self) -> dict[str, Any]:
        """The part that is filled; frames of images are compressed, block by block."""
        count = self.filled * self.envs
        state: dict[str, Any] = {
            name: torch.from_numpy(getattr(self, name)[:count]) for name in _KEPT
        }
        state["row"], state["filled"] = self.row.tolist(), self.filled
        frames = self.frames[:count]
        if self.stack == 1:
            state["frames"] = torch.from_numpy(frames)
        else:
            state["blocks"] = [
                torch.from_numpy(np.frombuffer(zlib.compress(block.data, 1), np.uint8).copy())
                for block in (frames[i : i + _BLOCK] for i in range(0, count, _BLOCK))
            ]
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        row, filled = np.array(state["row"]), state["filled"]
        if len(row) != self.envs or not 0 <= row.min() <= row.max() < filled <= self.rows:
            raise UserError(
                "the checkpoint's replay memory is of another size: it was edited, or is of "
                "another training"
            )
        self.row, self.filled = row, filled
        count = self.filled * self.envs
        for name in _KEPT:
            getattr(self, name)[:count] = state[name].numpy()
            getattr(self, name)[count:] = 0
        if self.stack == 1:
            self.frames[:count] = state["frames"].numpy()
            return
        for number, block in enumerate(state["blocks"]):
            pixels = np.frombuffer(zlib.decompress(block.numpy()), np.uint8)
            start = number * _BLOCK
            part = self.frames[start : min(start + _BLOCK, count)]
            part[:] = pixels.reshape(part.shape)


_KEPT = ("action", "reward", "terminated", "depth", "whole")
_BLOCK = 4096
