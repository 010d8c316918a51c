"""Where the first NaN or infinity of a step comes from.

Once a loss is NaN everything after it is NaN too, so only the first place tells anything. Replay
the failing step under `watch` (same parameters, same batch) and read `first`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.utils.hooks import RemovableHandle

from gradlab.insight.finding import layer_words, tensors_in


@dataclass
class NonFinite:
    """The first non-finite value that was seen, in words; None as long as all are finite."""

    first: str | None = None

    def look(self, where: str, value: Any, when: str) -> None:
        """Remember `where` and `when` if it is the first place with a non-finite value."""
        if self.first is None:
            kind = next(filter(None, map(non_finite, tensors_in(value))), None)
            if kind is not None:
                self.first = f"{where} is {kind} {when}".rstrip()


@dataclass
class _Edge:
    """A tensor that one layer gives to others: whose backward pass makes its gradient."""

    producer: str
    consumers: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        if self.consumers:
            return f"{' or '.join(self.consumers)}: gradient of the input"
        return f"{self.producer}: gradient that comes back to the output, from what follows it,"


@contextmanager
def watch(model: nn.Module) -> Iterator[NonFinite]:
    """Record which layer of `model` is the first to produce NaN or infinity.

    Looked at in this order: parameters on entry, the model's input, the output of
    each layer in the forward pass, gradients in the backward pass. Every look waits for the
    device, so this is for a replay and not for a training. Give the plain module, not one that
    is compiled or wrapped for several processes. All hooks are gone on exit.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> with watch(model) as found:
    ...     model(torch.full((1, 2), torch.inf)).sum().backward()
    >>> found.first
    'the input of the model is inf'
    """
    found = NonFinite()
    handles: list[RemovableHandle] = []
    edges: dict[tuple[Node, int], _Edge] = {}

    def before(name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        if not name:
            found.look("the input of the model", args, "")
        if next(module.children(), None) is None:
            for edge in map(edges.get, filter(None, map(_place, tensors_in(args)))):
                if edge is not None:
                    edge.consumers.append(layer_words(name, module))

    def after(name: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        found.look(f"{layer_words(name, module)}: output", output, "in the forward pass")
        for tensor in tensors_in(output):
            place = _place(tensor)
            if place is not None and place not in edges:
                edges[place] = edge = _Edge(layer_words(name, module))
                handles.append(_hook(tensor, partial(back, edge)))

    def back(where: _Edge | str, gradient: Tensor) -> None:
        found.look(str(where), gradient, "in the backward pass")

    for name, module in model.named_modules():
        for key, parameter in module.named_parameters(recurse=False):
            found.look(
                f"{layer_words(name, module)}: parameter {key!r}",
                parameter,
                "before the forward pass",
            )
            if parameter.requires_grad:
                words = f"{layer_words(name, module)}: gradient of {key!r}"
                handles.append(_hook(parameter, partial(back, words)))
        handles.append(module.register_forward_pre_hook(partial(before, name)))
        handles.append(module.register_forward_hook(partial(after, name)))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def non_finite(tensor: Tensor) -> str | None:
    """`"nan"` or `"inf"` if the tensor holds one, else None."""
    if tensor.is_sparse:
        tensor = tensor.coalesce().values()
    if not (tensor.is_floating_point() or tensor.is_complex()) or torch.isfinite(tensor).all():
        return None
    return "nan" if torch.isnan(tensor).any() else "inf"


def _hook(tensor: Tensor, call: Callable[[Tensor], None]) -> RemovableHandle:
    handle: RemovableHandle = tensor.register_hook(call)  # type: ignore[no-untyped-call]
    return handle


def _place(tensor: Tensor) -> tuple[Node, int] | None:
    """What identifies a tensor in the graph, also when another object holds it."""
    return (tensor.grad_fn, tensor.output_nr) if tensor.grad_fn is not None else None
