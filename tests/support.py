"""What several tests need."""

from __future__ import annotations

from typing import Any

import torch

from gradlab.config import Runtime
from gradlab.recipes import find
from gradlab.runs.make import learnt_from, make
from gradlab.tasks.base import Own, Task


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
