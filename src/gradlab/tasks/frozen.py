"""What frozen layers make of examples: computed once, and kept for as long as they are frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradlab.data.columns import Dense
from gradlab.data.fields.base import Field
from gradlab.data.fields.values import Values
from gradlab.data.loader import Loader
from gradlab.engine.updater import evaluating
from gradlab.tasks import transfer
from gradlab.tasks.base import Task

FEATURES = "frozen features"
"""The name under which they stand in a batch, in place of the inputs."""
MOST = 2_000_000_000
"""Bytes of features that are kept; where there are more, they are computed anew in each epoch."""


@dataclass(frozen=True)
class Frozen:
    """The inputs of a network's last layer, for training and val examples.

    `views` are the placed columns of the training examples, one for each view; the columns of val
    are those of its loader. Both hold the features in place of the inputs, beside the targets.
    """

    head: nn.Module
    fields: Mapping[str, Field]
    views: tuple[Mapping[str, Any], ...]
    val: Loader | None

    @classmethod
    def of(cls, task: Task, train: Loader) -> Frozen | None:
        """What the frozen layers of `task` make of its examples; `train` is its training loader.

        None where the network does more after its last layer than give what that gives, or where
        the features are more than `MOST` bytes.
        """
        head = task.model.get_submodule(transfer.head_of(task.model))
        others = {n: f for n, f in task.schema.fields.items() if n not in task.schema.inputs}
        count = task.recipe.transfer.views if train.augments else 1
        size = task.in_order("train").batch_size
        found: list[np.ndarray] = []
        for view in range(count):
            made = _features(task, head, train, size, view)
            if made is None or made.nbytes * count > MOST:
                return None
            found.append(made)
        fields: dict[str, Field] = {**others, FEATURES: Values(size=found[0].shape[1:])}

        def columns(values: np.ndarray, loader: Loader) -> dict[str, Any]:
            placed = Dense(values).place(task.placement)
            return {**{name: loader.columns[name] for name in others}, FEATURES: placed}

        val = None
        if task.has("val"):
            plain = task.in_order("val")
            made = _features(task, head, plain, size)
            assert made is not None
            val = task.loader_of(task.dataset.split("val"), others)
            val.read(columns(made, plain), fields)
        return cls(head, fields, tuple(columns(values, train) for values in found), val)


def _features(
    task: Task, head: nn.Module, loader: Loader, size: int, view: int = 0
) -> np.ndarray | None:
    """What goes into the last layer, float32 N D, for all examples in their order."""
    heard: list[Tensor] = []
    handle = head.register_forward_pre_hook(lambda _, given: heard.append(given[0]))
    found: list[np.ndarray] = []
    try:
        with evaluating(task.model), task.setup.autocast():
            for batch in loader.in_order(size, view):
                heard.clear()
                output = task.forward(batch)
                if len(heard) != 1 or not isinstance(output, Tensor):
                    return None
                x = heard[0]
                if not found and not torch.equal(head(x), output):
                    return None
                found.append(x.float().cpu().numpy())
    finally:
        handle.remove()
    return np.concatenate(found)
