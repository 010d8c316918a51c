"""Every field of a recipe with its meaning, and those options of its model and task that it leaves
at their defaults."""

from __future__ import annotations

from typing import Any

from gradlab.config import Choice, Recipe, field_table

Row = tuple[str, str, str]
"""Dotted name, value, meaning."""

_HEAD = ("name", "summary", "paper", "kind", "departures", "targets")


def field_rows(recipe: Recipe) -> list[Row]:
    """The fields that can be changed, options of the model and the task among them."""
    rows = [row for row in field_table(recipe) if row[0].split(".")[0].split("[")[0] not in _HEAD]
    found: list[Row] = []
    for name, value, meaning in rows:
        if meaning == "option":
            continue  # told below, with its meaning
        found.append((name, value, meaning))
        if name in ("model.name", "task.name"):
            key = name.split(".")[0]
            found += _options(key, getattr(recipe, key))
    return found


def _options(key: str, choice: Choice) -> list[Row]:
    """The options of a registered model or task, given or not."""
    from gradlab.models import models
    from gradlab.tasks import tasks

    registry: Any = {"model": models, "task": tasks}[key]
    if choice.name not in registry:
        return [(f"{key}.{name}", str(value), "") for name, value in choice.options.items()]
    rows = []
    for name, info in registry.options(choice.name).model_fields.items():
        value = choice.options.get(name, info.default)
        rows.append((f"{key}.{name}", str(value), info.description or ""))
    return rows
