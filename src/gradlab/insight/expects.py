"""What the layers of torch expect of their input, in words."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from gradlab.insight.finding import shape_words

Words = tuple[str, str]


def expectation(layer: nn.Module, x: Tensor) -> Words | None:
    """What `layer` expects where `x` is not that, and how to fix it; None if nothing is known.

    >>> import torch
    >>> expectation(nn.Linear(400, 10), torch.zeros(8, 256))
    ('a last size of 400 (in_features)', 'give it in_features=256, or fix what comes before it')
    """
    if isinstance(layer, nn.Embedding):
        return _embedding(layer, x)
    weight = next(layer.parameters(recurse=False), None)
    if weight is not None and weight.is_floating_point() and x.dtype != weight.dtype:
        kind = str(weight.dtype).removeprefix("torch.")
        return f"{kind}, as its weights are", f"convert the inputs: x.to(torch.{kind})"
    if isinstance(layer, _ConvNd):
        return _convolution(layer, x)
    for family, dim, name in _SIZES:
        if isinstance(layer, family) and _size(x, dim) not in (None, getattr(layer, name)):
            place = "last size" if dim < 0 else "second size (channels)"
            return (
                f"a {place} of {getattr(layer, name)} ({name})",
                f"give it {name}={_size(x, dim)}, or fix what comes before it",
            )
    if isinstance(layer, _BatchNorm) and layer.training and x.numel() == _size(x, 1):
        return (
            "more than one value a channel to normalise in training",
            "give at least 2 examples a batch, and leave out a last batch of 1",
        )
    return None


def _convolution(layer: _ConvNd, x: Tensor) -> Words | None:
    sizes = len(layer.kernel_size)
    channels = layer.in_channels
    expects = f"N x {channels} x {' x '.join('DHW'[-sizes:])} (in_channels={channels})"
    if x.ndim == sizes + 1 and x.shape[0] != channels:
        return expects, "add the size of the channels: x.unsqueeze(1)"
    if x.ndim != sizes + 2:
        return expects, "give images as they are, not flattened"
    if x.shape[1] != channels:
        if x.shape[-1] == channels:
            return expects, "move the channels to second place: x.movedim(-1, 1)"
        return expects, f"give it in_channels={x.shape[1]}, or fix what comes before it"
    if not isinstance(layer, _ConvTransposeNd):
        return (
            f"at least its kernel of {shape_words(layer.kernel_size)}, padding included",
            "give larger images, or use fewer poolings and strides before it",
        )
    return None


def _embedding(layer: nn.Embedding, x: Tensor) -> Words | None:
    many = layer.num_embeddings
    expects = f"whole numbers 0 to {many - 1} (num_embeddings={many})"
    if x.is_floating_point():
        return expects, "convert the inputs: x.long()"
    low, high = int(x.min()), int(x.max())
    if low < 0 or high >= many:
        return f"{expects}, found {low} to {high}", f"give it num_embeddings={high + 1}"
    return None


def _size(x: Tensor, dim: int) -> int | None:
    """The size of a dimension, None if there is no such one."""
    return x.shape[dim] if -x.ndim <= dim < x.ndim else None


_SIZES: tuple[tuple[type[nn.Module], int, str], ...] = (
    (nn.Linear, -1, "in_features"),
    (nn.RNNBase, -1, "input_size"),
    (_BatchNorm, 1, "num_features"),
    (nn.GroupNorm, 1, "num_channels"),
)
