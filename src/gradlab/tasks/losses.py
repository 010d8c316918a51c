"""Losses by name: what each example of a batch costs, and the mean of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]
"""Of output and target: the cost of each example (N), or the mean over them."""


def one_hot(output: Tensor, y: Tensor) -> Tensor:
    """Targets of N K for class numbers of N, in the type of the outputs."""
    return functional.one_hot(y, output.shape[1]).to(output.dtype)


def cross_entropy(output: Tensor, y: Tensor) -> Tensor:
    """The negative logarithm of the right class's probability, in nats."""
    return functional.cross_entropy(output, y, reduction="none")


def hinge(output: Tensor, y: Tensor) -> Tensor:
    """Multi-class hinge with margin 1 (Weston and Watkins 1999): summed over the other classes.

    >>> hinge(torch.tensor([[3.0, 2.5, 0.0]]), torch.tensor([0])).tolist()
    [0.5]
    """
    right = output.gather(1, y[:, None])
    margins = (output - right + 1).clamp(min=0).scatter(1, y[:, None], 0)
    return margins.sum(1)


def nll(output: Tensor, y: Tensor) -> Tensor:
    """Negative log-likelihood of outputs that are log-probabilities already."""
    return functional.nll_loss(output, y, reduction="none")


def bce(output: Tensor, y: Tensor) -> Tensor:
    """Binary cross-entropy of each class against the rest, summed over the classes."""
    target = one_hot(output, y)
    each = functional.binary_cross_entropy_with_logits(output, target, reduction="none")
    return each.sum(1)


def squared(output: Tensor, y: Tensor) -> Tensor:
    """Squared error of the outputs against 0 and 1, summed over the classes."""
    return (output - one_hot(output, y)).square().sum(1)


EACH: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "hinge": hinge,
    "nll": nll,
    "bce": bce,
    "mse": squared,
}
"""For K classes: output N K, y N; returns N."""

CLASSES: dict[str, Loss] = {
    "cross_entropy": functional.cross_entropy,
    "hinge": lambda output, y: hinge(output, y).mean(),
    "nll": functional.nll_loss,
    "bce": lambda output, y: bce(output, y).mean(),
    "mse": lambda output, y: squared(output, y).mean(),
}
"""For K classes: output N K, y N; the mean over the batch."""

NUMBERS: dict[str, Loss] = {
    "mse": functional.mse_loss,
    "mae": functional.l1_loss,
    "huber": functional.huber_loss,
}
"""For numbers: output N, y N; the mean over the batch."""


def squared_norm(parameters: Sequence[Tensor]) -> Tensor:
    """The sum of the squares of all weights (matrices and filters, no biases)."""
    return torch.stack([p.square().sum() for p in parameters if p.ndim > 1]).sum()
