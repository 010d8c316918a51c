"""How a network is: by how much its weights have moved, which units are dead or saturated, where
the gradient is lost, and which layers cannot learn at all.

Nothing here leaves a trace in the network, and nothing draws from torch's generators.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from gradlab.insight.finding import layer_words, tensors_in
from gradlab.insight.preflight import no_trace

VALUES = 8
"""So many values of each parameter are kept to tell later by how much it has moved."""

Sketch = dict[str, list[float]]
"""By parameter: the sum of all its values, and `VALUES` of them from all over."""


def sketch(model: nn.Module) -> Sketch:
    """What is kept of a network's parameters, to be compared with later ones by `moved`.

    >>> sketch(nn.Linear(1, 2, bias=False))["weight"].__len__()
    3
    """
    return {name: _sketched(value.detach()) for name, value in model.named_parameters()}


def _sketched(value: Tensor) -> list[float]:
    flat = value.flatten()
    places = torch.linspace(0, len(flat) - 1, min(VALUES, len(flat))).long()
    some = flat[places.to(flat.device)].double()
    found: list[float] = torch.cat([flat.double().sum()[None], some]).tolist()
    return found


@dataclass(frozen=True)
class Movement:
    """From one sketch to another.

    `relative` is the norm of the change over the norm of the weights before (biases and scales
    aside); `unchanged` are parameters of which not one value has changed.
    """

    relative: float
    unchanged: tuple[str, ...]


def moved(before: Mapping[str, Sequence[float]], model: nn.Module) -> Movement:
    """By how much a network has moved since `before`, which `sketch` gave.

    >>> layer = nn.Linear(2, 2)
    >>> before = sketch(layer)
    >>> _ = layer.weight.data.mul_(1.5)
    >>> found = moved(before, layer)
    >>> round(found.relative, 3), found.unchanged
    (0.5, ('bias',))
    """
    change = norm = 0.0
    unchanged = []
    own = dict(model.named_parameters())
    weights = {name for name, value in own.items() if value.ndim > 1} or set(own)
    for name, now in sketch(model).items():
        (total, *old), (sum_now, *new) = before.get(name, now), now
        if old == new and math.isclose(total, sum_now, rel_tol=1e-12, abs_tol=1e-300):
            unchanged.append(name)
        if name in weights and new:
            size = own[name].numel() / len(new)
            change += size * sum((b - a) ** 2 for a, b in zip(old, new, strict=True))
            norm += size * sum(a**2 for a in old)
    return Movement(math.sqrt(change / norm) if norm else math.inf, tuple(unchanged))


@dataclass(frozen=True)
class Activation:
    """What an activation gives for a batch; `dead` is the share of units that are 0 for all
    examples, `saturated` that of values at the ends of a tanh or sigmoid."""

    name: str
    units: int
    dead: float = 0.0
    saturated: float = 0.0


@dataclass(frozen=True)
class Health:
    """Of one batch: its activations in the order in which they ran, and by weight, in that order,
    the norm of its gradient over its own."""

    activations: tuple[Activation, ...] = ()
    gradients: tuple[tuple[str, float], ...] = ()


def look(model: nn.Module, loss: Callable[[], Tensor]) -> Health:
    """One batch through a network in evaluation mode, forward and backward.

    `loss` passes the batch through the model and returns its loss. What cannot be computed (the
    backward pass of some layers in evaluation mode) is left out.
    """
    with no_trace(model), torch.enable_grad(), _Activations(model) as seen:
        model.eval()
        value = loss()
        used = seen.used
        try:
            found = torch.autograd.grad(value, [p for _, p in used], allow_unused=True)
        except RuntimeError:
            return Health(seen.found())
    gradients = tuple(
        (name, _norm(gradient) / max(_norm(weight), 1e-30))
        for (name, weight), gradient in zip(used, found, strict=True)
        if gradient is not None
    )
    return Health(seen.found(), gradients)


def _norm(value: Tensor) -> float:
    return float(value.detach().double().norm())


class _Activations(TorchFunctionMode):
    """While it is entered, what every activation gives is looked at, be it a module or a call."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.after = "the input"
        self.seen: list[tuple[Activation, int]] = []
        self.outputs: set[int] = set()
        self._used: dict[int, tuple[str, Tensor]] = {}

    def __enter__(self) -> _Activations:
        self._hooks = ExitStack()
        for name, module in self.model.named_modules():
            weights = [
                (f"{name}.{key}" if name else key, value)
                for key, value in module.named_parameters(recurse=False)
                if value.ndim > 1 and value.requires_grad
            ]
            if weights:
                run = partial(self._ran, layer_words(name, module), weights)
                self._hooks.callback(module.register_forward_hook(run).remove)
        self._hooks.callback(self.model.register_forward_hook(self._ended).remove)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._hooks.close()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        kind = _KINDS.get(func)
        if kind is not None and isinstance(output, Tensor) and output.ndim > 1:
            value = output.detach()
            name = f"{kind} after {self.after}"
            if kind == "relu":
                dead = _dead(value == 0)
                found = Activation(name, len(dead), dead=float(dead.double().mean()))
            else:
                low = 0.0 if kind == "sigmoid" else -1.0
                share = (value - low) / (1 - low)
                ends = (share < _END) | (share > 1 - _END)
                found = Activation(name, value.shape[1], saturated=float(ends.double().mean()))
            self.seen.append((found, value.untyped_storage().data_ptr()))
        return output

    @property
    def used(self) -> list[tuple[str, Tensor]]:
        """The weights, in the order in which they were first used."""
        return list(self._used.values())

    def found(self) -> tuple[Activation, ...]:
        """Without one that is the network's answer: a sure answer is no fault."""
        return tuple(found for found, place in self.seen if place not in self.outputs)

    def _ran(self, words: str, weights: list[tuple[str, Tensor]], *_: Any) -> None:
        self.after = words
        for name, value in weights:
            self._used.setdefault(id(value), (name, value))

    def _ended(self, module: nn.Module, args: Any, output: Any) -> None:
        self.outputs |= {tensor.untyped_storage().data_ptr() for tensor in tensors_in(output)}


def _dead(zero: Tensor) -> Tensor:
    """Which units are 0 everywhere; units are channels (N C H W), or features (N D, N T D)."""
    if zero.ndim == 3:  # N T D, or N C T: whichever has more life in it
        choices = (zero.all(0).all(0), zero.all(0).all(1))
        return min(choices, key=lambda dead: float(dead.double().mean()))
    return zero.flatten(2).all(2).all(0) if zero.ndim > 3 else zero.all(0)


_END = 0.02
"""Of the way from one end of a tanh or sigmoid to the other."""
_KINDS: dict[Any, str] = {
    **dict.fromkeys((F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu6), "relu"),
    **dict.fromkeys((torch.tanh, Tensor.tanh, F.tanh), "tanh"),
    **dict.fromkeys((torch.sigmoid, Tensor.sigmoid, F.sigmoid), "sigmoid"),
}


def unregistered(model: nn.Module) -> tuple[str, ...]:
    """Attributes that hold trainable parameters which the network does not know of.

    Layers in a Python list or dictionary, and bare tensors: they are neither trained nor saved.

    >>> model = nn.Linear(2, 2)
    >>> model.more = [nn.Linear(2, 2)]
    >>> unregistered(model)
    ('more',)
    """
    known = {id(value) for value in model.parameters()}
    found = []
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if key in _OWN:
                continue
            if any(p.requires_grad and id(p) not in known for p in _parameters_in(value)):
                found.append(f"{name}.{key}" if name else key)
    return tuple(found)


def _parameters_in(value: Any, depth: int = 4) -> Iterator[Tensor]:
    if isinstance(value, nn.Module):
        yield from value.parameters()
    elif isinstance(value, Tensor):
        if value.is_leaf:
            yield value
    elif isinstance(value, list | tuple | dict) and depth:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _parameters_in(item, depth - 1)


_OWN = frozenset(vars(nn.Module()))
"""What every module has."""


def frozen(model: nn.Module) -> tuple[str, ...]:
    """Weights that are not trained and look as torch draws them: those of nobody's training.

    torch draws the weights of its layers evenly from -1 / sqrt(fan_in) to 1 / sqrt(fan_in).
    """
    found = []
    for name, value in model.named_parameters():
        if value.requires_grad or value.ndim < 2 or value.numel() < 64:
            continue
        scaled = value.detach().double().abs() * math.sqrt(value[0].numel())
        largest, spread = float(scaled.max()), float(scaled.square().mean().sqrt())
        if 0.9 < largest < 1.0001 and abs(spread * math.sqrt(3) - 1) < 0.15:
            found.append(name)
    return tuple(found)
