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
from gradlab.wording import some

Pool = Literal["mean", "max", "none"]
NAMED = 8
"""So many layers are named where one has to be chosen."""


def activations(
    task: Task, examples: Split, layer: str | None, pool: Pool = "mean", batch_size: int = 0
) -> tuple[np.ndarray, str]:
    """A layer's values for examples (float32 N D), and what the layer is called.

    `examples` hold the columns of the schema's inputs. UserError for a task whose network is not
    asked about inputs, or a layer that gives no row for each example.
    """
    if type(task).answer is Task.answer:
        raise UserError(
            f"the task {task.recipe.task.name!r} has no features: its network is not given inputs "
            "that have an answer. Use the run of a classifier, a regression or an autoencoder"
        )
    loader = task.loader_of(examples, task.schema.inputs)
    found = []
    with (
        task.setup.applied(),
        evaluating(task.model),
        task.setup.autocast(),
        _listening(task.model, layer or None, task.feature_layer) as heard,
    ):
        for batch in loader.in_order(batch_size):
            heard.value = None
            task.forward(batch)
            found.append(_flat(heard, pool, len(batch)).float().cpu())
    return torch.cat(found).numpy(), heard.name


@dataclass
class _Heard:
    """The last value that was heard, and where."""

    name: str
    value: Any = None


@contextmanager
def _listening(model: nn.Module, layer: str | None, usual: str | None) -> Iterator[_Heard]:
    """While it is entered, what `layer` gives is kept; None: what the `usual` layer gives, or,
    where the task has none, what the last linear layer takes."""
    heard = _Heard(layer or usual or "the last linear layer")
    modules = {name: module for name, module in model.named_modules() if name}
    if layer is not None and layer not in modules:
        raise unknown("layer", layer, modules)
    if layer is None and usual is not None and usual not in modules:
        raise UserError(f"this network has no .{usual}: {_name_one(modules)}")

    def after(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        heard.value = output[0] if isinstance(output, tuple) else output

    def before(name: str) -> Any:
        def keep(module: nn.Module, given: tuple[Any, ...]) -> None:
            # The last that is called, not the last by name: auxiliary heads rest in evaluation.
            heard.name, heard.value = f"input of {name}", given[0] if given else None

        return keep

    chosen = layer or usual
    if chosen is not None:
        handles = [modules[chosen].register_forward_hook(after)]
    else:
        linear = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
        if not linear:
            raise UserError(f"this network has no linear layer: {_name_one(modules)}")
        handles = [
            module.register_forward_pre_hook(before(name or "the network"))
            for name, module in linear.items()
        ]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()


def _flat(heard: _Heard, pool: Pool, count: int) -> Tensor:
    """A layer's values for `count` examples as N D."""
    value = heard.value
    if not isinstance(value, Tensor) or value.ndim < 2 or len(value) != count:
        if value is None:
            found = "was not used"
        elif isinstance(value, Tensor):
            found = f"gave a tensor of the shape {tuple(value.shape)} for {count} examples"
        else:
            found = f"gave {type(value).__name__}"
        raise UserError(
            f"layer {heard.name!r} {found} when examples passed through in evaluation mode: "
            "name a layer that gives a tensor with a row for each example"
        )
    if value.ndim == 4 and pool != "none":  # N C H W
        return value.mean((2, 3)) if pool == "mean" else value.amax((2, 3))  # N C
    return value.flatten(1)  # N D


def _name_one(modules: dict[str, nn.Module]) -> str:
    """What to do about a layer that is not there."""
    if not modules:
        return "it has no layers at all that could be named; give it submodules"
    return f"name the layer whose values are meant ({some(modules, NAMED)})"
