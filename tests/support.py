"""What several tests need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from gradlab.config import Runtime
from gradlab.recipes import find
from gradlab.runs.make import learnt_from, make
from gradlab.tasks.base import Own, Task

SMALL = {"data.limit": 120, "plan.log_steps": 1, "plan.checkpoint_seconds": 0}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "classification": ("lenet5", {**SMALL, "epochs": 3, "batch_size": 32}),
    "binary": ("logistic_regression", {**SMALL, "epochs": 3, "schedule": "plateau"}),
    "regression": ("linear_regression", {**SMALL, "epochs": 3}),
    "autoencoder": (
        "autoencoder",
        {**SMALL, "epochs": 3, "data": "digits", "batch_size": 32, "model.widths": (32,)},
    ),
    "gan": (
        "dcgan",
        {
            **SMALL, "epochs": 3, "data": "digits", "data.image_size": 28, "batch_size": 32,
            "model.width": 4, "model.latent": 8,
        },
    ),
    "language_model": (
        "char_lm",
        {
            **SMALL, "epochs": 3, "data": str(Path(__file__).parent / "texts" / "sonnets.txt"),
            "data.limit": 0, "data.val": 0.2, "data.test": 0.2, "batch_size": 4, "task.window": 16,
            "model.width": 16,
        },
    ),
    "word2vec": (
        "skip_gram",
        {
            "epochs": 3, "plan.log_steps": 1, "plan.checkpoint_seconds": 0, "batch_size": 60,
            "data": str(Path(__file__).parent / "texts" / "sonnets.txt"), "data.val": 0.2,
            "data.tokens.minimum": 1, "model.size": 8,
        },
    ),
    "forecast": (
        "forecaster",
        {
            "epochs": 3, "plan.log_steps": 1, "plan.checkpoint_seconds": 0, "plan.updates": 0,
            "data": str(Path(__file__).parent / "series" / "tides.csv"), "data.time": "hour",
            "data.target": "level", "data.window": 12, "data.horizon": 3, "batch_size": 64,
            "model.width": 4,
        },
    ),
    "dqn": (
        "dqn",
        {
            "epochs": 2, "plan.log_steps": 1, "plan.checkpoint_seconds": 0, "task.envs": 2,
            "task.epoch_steps": 80, "task.train_every": 8, "task.gradient_steps": 2,
            "task.learning_starts": 20, "task.val_episodes": 2, "task.test_episodes": 2,
            "task.target_every": 8, "model.widths": (16,), "batch_size": 8,
        },
    ),
}  # fmt: skip
"""A recipe of each task, and what makes it small; checkpoints after every step."""


def task_of(name: Any, own: Own | None = None, **fields: Any) -> Task:
    """The task of a recipe, ready to train, from its seed."""
    recipe = find(name, fields)
    dataset = learnt_from(recipe)
    torch.manual_seed(recipe.seed)
    task = make(recipe, dataset.schema, Runtime(threads=1), own)
    task.prepare(dataset)
    torch.manual_seed(recipe.seed)
    return task


def same_weights(one: Any, other: Any) -> bool:
    """Whether two networks' weights are equal bit for bit."""
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
