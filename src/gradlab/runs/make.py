"""From a recipe to its task."""

from __future__ import annotations

from typing import Any

from gradlab.config import Recipe, Runtime
from gradlab.data import Schema
from gradlab.errors import UserError
from gradlab.tasks import tasks
from gradlab.tasks.base import Own, Task


def learnt_from(recipe: Recipe) -> Any:
    """What a recipe's task learns from: its dataset, as a rule."""
    name = recipe.task.name
    return (Task if name == "auto" else tasks[name]).source(recipe)


def make(recipe: Recipe, schema: Schema, runtime: Runtime, own: Own | None = None) -> Task:
    """The task of a recipe for examples of this schema; `auto` is chosen by what is asked for.

    Nothing global is changed: initial values are drawn from torch's own generator.
    """
    name = recipe.task.name
    if name == "auto":
        name = _chosen(schema)
        recipe = recipe.model_copy(update={"task": recipe.task.model_copy(update={"name": name})})
    options = tasks.check(name, recipe.task.options)
    task: Task = tasks[name](recipe, schema, runtime, own, **options)
    return task


def _chosen(schema: Schema) -> str:
    """The task whose kind of answer is asked for."""
    asked = [field.type for field in schema.targets.values()]
    for name in tasks:
        if asked == [tasks[name].answers]:
            return name
    raise UserError(
        f"--task: nothing is known that answers {' and '.join(asked) or 'data without a target'}: "
        f"name a task ({', '.join(tasks)}), or the target with --data.target"
    )
