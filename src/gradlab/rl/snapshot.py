"""The inner state of an environment as a tree of JSON values and tensors, and back.

What an environment of Gymnasium is made of are attributes of Python, its wrappers' included; the
console of an Atari game saves itself. A physics engine's world cannot be kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from gradlab.errors import UserError

Layers = list[dict[str, Any]]
"""The attributes of an environment's wrappers from the outside in, its own at last."""


def snapshot(env: Any) -> Layers | None:
    """The state of an environment; None if something of it cannot be kept."""
    try:
        return [_attributes(layer) for layer in _layers(env)]
    except _NotKept:
        return None


def restore(env: Any, layers: Layers) -> None:
    """Put an environment into a state that `snapshot` returned; UserError if it is of another."""
    own = list(_layers(env))
    if len(own) != len(layers):
        raise UserError(
            f"the checkpoint holds an environment of {len(layers)} layers, found {len(own)}: "
            "it was edited, or is of another environment"
        )
    for layer, saved in zip(own, layers, strict=True):
        attributes = dict(saved)
        if "ale" in attributes:
            blank = layer.ale.cloneState()
            kind: Any = type(blank)
            state = kind.__new__(kind)
            state.__setstate__(attributes.pop("ale").numpy().tobytes())
            layer.ale.restoreState(state)
        for key, value in attributes.items():
            setattr(layer, key, _unpacked(value))


def _layers(env: Any) -> Iterator[Any]:
    """An environment's wrappers from the outside in, itself at last."""
    while True:
        yield env
        if env is env.unwrapped:
            return
        env = env.env


class _NotKept(Exception):
    """A value that cannot be kept: a physics engine's world, an open file."""


_FIXED = {"env", "spec", "_cached_spec", "observation_space", "action_space", "_saved_kwargs"}
_FIXED |= {"_observation_space", "_action_space", "_metadata", "metadata", "render_mode"}


def _attributes(layer: Any) -> dict[str, Any]:
    ale = getattr(layer, "ale", None) if layer is layer.unwrapped else None
    if ale is not None:  # the console's own state, its generator included
        saved = np.frombuffer(ale.cloneState(include_rng=True).serialize(), np.uint8)
        return {
            "ale": torch.from_numpy(saved.copy()),
            "_np_random": _packed(layer.__dict__.get("_np_random")),
        }
    return {
        key: _packed(value)
        for key, value in vars(layer).items()
        if key not in _FIXED and not callable(value)
    }


def _packed(value: Any) -> Any:
    """A value as a tree of JSON values and tensors, tagged by its kind; or raises `_NotKept`."""
    if isinstance(value, np.random.Generator):
        return {"generator": value.bit_generator.state}
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
        tensor = torch.from_numpy(np.array(value))
        return {"array": tensor, "scalar": isinstance(value, np.generic)}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_packed(item) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[_packed(key), _packed(item)] for key, item in value.items()]}
    raise _NotKept(type(value).__name__)


def _unpacked(tree: Any) -> Any:
    """The value that `_packed` took apart."""
    if not isinstance(tree, dict):
        return tree
    if "generator" in tree:
        state = tree["generator"]
        generator = np.random.Generator(_BIT_GENERATORS[state["bit_generator"]]())
        generator.bit_generator.state = state
        return generator
    if "array" in tree:
        array = tree["array"].numpy().copy()
        return array[()] if tree["scalar"] else array
    if "float" in tree:
        return float(tree["float"])
    if "dict" in tree:
        return {_unpacked(key): _unpacked(item) for key, item in tree["dict"]}
    if "tuple" in tree:
        return tuple(_unpacked(item) for item in tree["tuple"])
    return [_unpacked(item) for item in tree["list"]]


_BIT_GENERATORS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64
    )
}  # fmt: skip
