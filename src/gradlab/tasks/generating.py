"""Making images from latent vectors, whichever task has learnt to."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor


@runtime_checkable
class Generative(Protocol):
    """A task that has learnt to make images from normally distributed latent vectors."""

    @property
    def latent_size(self) -> int:
        """How many numbers a latent vector has."""

    def generate(self, z: Tensor) -> np.ndarray:
        """Images of latent vectors: N L -> uint8 N H W C."""


def latent_vectors(task: Generative, count: int, seed: int) -> Tensor:
    """Latent vectors, a function of the seed alone: N L. No other generator is touched."""
    return torch.randn(count, task.latent_size, generator=torch.Generator().manual_seed(seed))


def slerp(first: Tensor, second: Tensor, steps: int) -> Tensor:
    """Spherical interpolation from each row of `first` to that of `second`, ends included.

    first, second: N L. Returns N*steps L, one way after the other. Between two normally distributed
    points the straight line passes nearer to 0 than any such point lies; the great circle keeps the
    lengths (Shoemake 1985; White 2016, https://arxiv.org/abs/1609.04468).

    >>> slerp(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]]), 3)
    tensor([[2.0000, 0.0000],
            [1.4142, 1.4142],
            [0.0000, 2.0000]])
    """
    t = torch.linspace(0, 1, steps)[None, :, None]  # 1 steps 1
    a, b = first[:, None], second[:, None]  # N 1 L
    lengths = a.norm(dim=-1, keepdim=True) * b.norm(dim=-1, keepdim=True)
    cosine = (a * b).sum(-1, keepdim=True) / lengths.clamp_min(1e-12)
    angle = cosine.clamp(-1 + 1e-6, 1 - 1e-6).acos()  # N 1 1
    between = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()
    ways: Tensor = between.flatten(0, 1)  # N*steps L
    return ways
