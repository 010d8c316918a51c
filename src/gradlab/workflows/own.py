"""A person's own network and arrays, put in the form of a recipe and a dataset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from gradlab.config import Choice, OptimizerConfig, Plan, Recipe
from gradlab.data.given import dataset_of
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

    `data` is a named set, a path, a `Dataset`, a pair of arrays (x, y), or a data frame (`target`
    names the column to predict). `loss` maps (output, y)
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
