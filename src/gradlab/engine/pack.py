"""Nested state as bytes: tensors to safetensors, everything else to JSON. Never a pickle."""

from __future__ import annotations

import json
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from gradlab.errors import UserError
from gradlab.text import brief

_TENSOR = "$tensor"


def pack(tree: Any) -> tuple[Any, dict[str, Tensor]]:
    """A tree of dicts, lists and values as (JSON value, tensors by path).

    >>> pack({"step": 3, "slots": {"0": torch.zeros(2)}})
    ({'step': 3, 'slots': {'0': {'$tensor': 'slots/0'}}}, {'slots/0': tensor([0., 0.])})
    """
    tensors: dict[str, Tensor] = {}

    def walk(node: Any, path: str) -> Any:
        if isinstance(node, Tensor):
            tensors[path] = node.detach()
            return {_TENSOR: path}
        if isinstance(node, dict):
            for key in node:
                if not isinstance(key, str):
                    raise TypeError(f"state keys are strings, found {key!r} at {path or 'the top'}")
            return {
                key: walk(value, f"{path}/{key}" if path else key) for key, value in node.items()
            }
        if isinstance(node, list | tuple):
            return [walk(value, f"{path}/{i}") for i, value in enumerate(node)]
        return node

    return walk(tree, ""), tensors


def unpack(node: Any, tensors: dict[str, Tensor], what: str = "this state") -> Any:
    """The tree that `pack` took apart; tuples come back as lists.

    UserError, which begins with `what`, when it names a tensor that is not there.
    """
    if isinstance(node, dict):
        if set(node) == {_TENSOR}:
            name = node[_TENSOR]
            if not isinstance(name, str) or name not in tensors:
                raise UserError(f"{what}: there is no tensor {brief(name)}; it was edited")
            return tensors[name]
        return {key: unpack(value, tensors, what) for key, value in node.items()}
    if isinstance(node, list):
        return [unpack(value, tensors, what) for value in node]
    return node


def to_bytes(tensors: dict[str, Tensor]) -> bytes:
    """Tensors as the bytes of a safetensors file; tied ones are written once for each name."""
    seen: set[int] = set()
    plain = {}
    for name, tensor in tensors.items():
        value = tensor.to("cpu").contiguous()
        storage = value.untyped_storage().data_ptr()
        plain[name] = value.clone() if storage in seen else value
        seen.add(storage)
    return save(plain)


def from_bytes(data: bytes, what: str = "these weights") -> dict[str, Tensor]:
    """The tensors of a safetensors file; UserError, which begins with `what`, if it is none."""
    try:
        return load(data)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise UserError(f"{what}: not a whole safetensors file ({brief(str(error))})") from None


def to_json(value: Any) -> bytes:
    """A JSON value as bytes; floats keep every bit."""
    return (json.dumps(value, allow_nan=False) + "\n").encode()


def all_finite(tensors: dict[str, Tensor]) -> bool:
    """Whether no tensor holds NaN or infinity."""
    return all(
        bool(torch.isfinite(tensor).all())
        for tensor in tensors.values()
        if tensor.is_floating_point()
    )
