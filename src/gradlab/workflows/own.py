"""A person's own network and arrays, put in the form of a recipe and a dataset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, nn

from gradlab.config import Choice, DataConfig, OptimizerConfig, Plan, Recipe
from gradlab.data import Dataset
from gradlab.data import load as load_data
from gradlab.data.sources.arrays import from_arrays
from gradlab.data.splits import finish
from gradlab.recipes import find
from gradlab.runs.run import Run
from gradlab.tasks.base import Own
from gradlab.workflows.train import begin, divide


def fit_own(
    module: nn.Module,
    *,
    data: Any,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    **options: Any,
) -> Run:
    """Train a network of one's own: any `nn.Module` that maps a batch of x to outputs.

    `data` is a named set, a path, a `Dataset`, or a pair of arrays (x, y). `loss` maps (output, y)
    to the mean over the batch; without one the task's own is used. Options are those of `train`.
    The run is reopened with `gradlab.load(path, model=module)`.
    """
    run_options, fields = divide(options)
    recipe = find(recipe_of(module), fields)
    dataset, config = dataset_of(data, recipe.data)
    recipe = recipe.model_copy(update={"data": config})
    return begin(recipe, dataset, Own(module, loss), run_options)


def recipe_of(module: nn.Module, name: str = "own") -> Recipe:
    """A recipe for a network of one's own: AdamW, ten epochs, until told otherwise."""
    kind = type(module)
    return Recipe(
        name=name,
        summary=f"{kind.__module__}.{kind.__qualname__}",
        model=Choice(name="own"),
        optimizer=OptimizerConfig(name="adamw", lr=1e-3),
        plan=Plan(epochs=10, batch_size=64),
    )


def dataset_of(data: Any, config: DataConfig) -> tuple[Dataset, DataConfig]:
    """The dataset that a person means, and the configuration that records it."""
    if isinstance(data, Dataset):
        return data, config.model_copy(update={"name": data.name})
    if isinstance(data, tuple):
        x, y = (part.numpy() if isinstance(part, Tensor) else np.asarray(part) for part in data)
        source = from_arrays({"x": x, "y": y}, "arrays", config)
        return finish(source, config), config.model_copy(update={"name": "arrays"})
    config = config.model_copy(update={"name": str(data)})
    return load_data(config), config
