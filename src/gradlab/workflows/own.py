"""A person's own network and arrays, put in the form of a recipe and a dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from gradlab.config import Choice, DataConfig, OptimizerConfig, Plan, Recipe
from gradlab.data import Dataset
from gradlab.data import load as load_data
from gradlab.data.dataset import finish
from gradlab.data.sources.arrays import from_arrays


def recipe_of(module: nn.Module) -> Recipe:
    """A recipe for a network of one's own: AdamW, ten epochs, until told otherwise."""
    kind = type(module)
    return Recipe(
        name="own",
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
