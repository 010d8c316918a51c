"""Losses by name: each is the mean over a batch of what one example costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]


def one_hot(output: Tensor, y: Tensor) -> Tensor:
    """Targets of N K for class numbers of N, in the type of the outputs."""
    return functional.one_hot(y, output.shape[1]).to(output.dtype)


def hinge(output: Tensor, y: Tensor) -> Tensor:
    """Multi-class hinge with margin 1 (Weston and Watkins 1999): summed over the other classes.

    >>> float(hinge(torch.tensor([[3.0, 2.5, 0.0]]), torch.tensor([0])))
    0.5
    """
    right = output.gather(1, y[:, None])
    margins = (output - right + 1).clamp(min=0).scatter(1, y[:, None], 0)
    return margins.sum(1).mean()


def nll(output: Tensor, y: Tensor) -> Tensor:
    """Negative log-likelihood of outputs that are log-probabilities already."""
    return functional.nll_loss(output, y)


def bce(output: Tensor, y: Tensor) -> Tensor:
    """Binary cross-entropy of each class against the rest, summed over the classes."""
    target = one_hot(output, y)
    each = functional.binary_cross_entropy_with_logits(output, target, reduction="none")
    return each.sum(1).mean()


def squared(output: Tensor, y: Tensor) -> Tensor:
    """Squared error of the outputs against 0 and 1, summed over the classes."""
    return (output - one_hot(output, y)).square().sum(1).mean()


CLASSES: dict[str, Loss] = {
    "cross_entropy": functional.cross_entropy,
    "hinge": hinge,
    "nll": nll,
    "bce": bce,
    "mse": squared,
}
"""For K classes: output N K, y N."""

NUMBERS: dict[str, Loss] = {
    "mse": functional.mse_loss,
    "mae": functional.l1_loss,
    "huber": functional.huber_loss,
}
"""For numbers: output N, y N."""


def squared_norm(parameters: Sequence[Tensor]) -> Tensor:
    """The sum of the squares of all weights (matrices and filters, no biases)."""
    return torch.stack([p.square().sum() for p in parameters if p.ndim > 1]).sum()
