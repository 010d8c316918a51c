"""What a layer of a network makes of examples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from gradlab.data import Split
from gradlab.engine.updater import evaluating
from gradlab.errors import UserError, unknown
from gradlab.tasks.base import Task
from gradlab.tasks.supervised import Supervised

Pool = Literal["mean", "max", "none"]


def activations(
    task: Task, examples: Split, layer: str | None, pool: Pool = "mean", batch_size: int = 0
) -> tuple[np.ndarray, str]:
    """A layer's values for examples (float32 N D), and what the layer is called."""
    if not isinstance(task, Supervised):
        raise UserError("features need a task that passes examples through one network")
    layer = layer or task.feature_layer
    loader = task.loader_of(examples, task.schema.inputs)
    found = []
    with evaluating(task.model), task.setup.autocast(), _listening(task.model, layer) as heard:
        for batch in loader.in_order(batch_size):
            heard.value = None
            task.forward(batch)
            found.append(_flat(heard, pool).float().cpu())
    return torch.cat(found).numpy(), heard.name


@dataclass
class _Heard:
    """The last value that was heard, and where."""

    name: str
    value: Any = None


@contextmanager
def _listening(model: nn.Module, layer: str | None) -> Iterator[_Heard]:
    """While it is entered, what `layer` gives (None: what the last linear layer takes) is kept."""
    heard = _Heard(layer or "")
    modules = dict(model.named_modules())
    if layer is None:
        # The last that is called, not the last by name: auxiliary heads rest in evaluation.
        lasts = {name: module for name, module in modules.items() if isinstance(module, nn.Linear)}
        if not lasts:
            raise UserError(f"this network has no linear layer: name a layer ({_some(modules)})")

        def before(name: str) -> Any:
            def keep(module: nn.Module, given: tuple[Any, ...]) -> None:
                heard.name, heard.value = f"input of {name}", given[0]

            return keep

        handles = [module.register_forward_pre_hook(before(n)) for n, module in lasts.items()]
    else:
        if layer not in modules:
            raise unknown("layer", layer, [name for name in modules if name])

        def after(module: nn.Module, given: Any, output: Any) -> None:
            heard.value = output[0] if isinstance(output, tuple) else output

        handles = [modules[layer].register_forward_hook(after)]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()


def _flat(heard: _Heard, pool: Pool) -> Tensor:
    """A layer's values as N D."""
    value = heard.value
    if not isinstance(value, Tensor) or value.ndim < 2:
        found = "was not used" if value is None else f"gave {type(value).__name__}"
        raise UserError(
            f"layer {heard.name!r} {found} when an example passed through in evaluation mode: "
            "name a layer that gives a tensor with a row for each example"
        )
    if value.ndim == 4 and pool != "none":  # N C H W
        return value.mean((2, 3)) if pool == "mean" else value.amax((2, 3))  # N C
    return value.flatten(1)  # N D


def _some(modules: dict[str, nn.Module]) -> str:
    names = [name for name in modules if name]
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
