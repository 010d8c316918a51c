"""Every field of a recipe with its meaning, and those options of its model and task that it leaves
at their defaults."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from gradlab.config import Choice, Recipe
from gradlab.dotted import field_names, field_table
from gradlab.errors import UnknownName, UserError, unknown
from gradlab.recipes import SHORT
from gradlab.text import brief
from gradlab.wording import some

Row = tuple[str, str, str]
"""Dotted name, value, meaning."""

_RUN = frozenset(("out", "name", "test", "log", "progress", "device", "precision", "threads"))
"""Taken by options of a training that are no fields."""
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
    if key == "task" and choice.name == "auto":
        return [
            (name, value, f"{meaning} ({task})")
            for task in tasks
            if tasks[task].answers
            for name, value, meaning in _options(key, Choice(name=task))
        ]
    if choice.name not in registry:
        return [(f"{key}.{name}", str(value), "") for name, value in choice.options.items()]
    rows = []
    for name, info in registry.options(choice.name).model_fields.items():
        value = choice.options.get(name, info.default)
        rows.append((f"{key}.{name}", str(value), info.description or ""))
    return rows


def shortest(dotted: str) -> str:
    """The short name of a field or option; the dotted one where no short one is its alone.

    >>> shortest("optimizer.weight_decay"), shortest("model.dropout"), shortest("schedule.patience")
    ('weight_decay', 'dropout', 'schedule.patience')
    """
    for short, field in SHORT.items():
        if field == dotted:
            return short
    last = dotted.rpartition(".")[2]
    others = {name for name in field_names(Recipe) if name.rpartition(".")[2] == last}
    taken = last in SHORT or last in _RUN or bool(others - {dotted})
    return dotted if taken else last


def option_names(recipe: Recipe, given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the recipe's network and task by their dotted names; UnknownName for others."""
    found = {}
    known = {name for name, _, _ in field_rows(recipe) if name.split(".")[0] in ("model", "task")}
    for key, value in given.items():
        name = key.replace("-", "_")
        meant = [dotted for dotted in (f"model.{name}", f"task.{name}") if dotted in known]
        if len(meant) > 1:
            raise UserError(f"{name} may be {' or '.join(meant)}: name the one that is meant")
        if not meant:
            raise (
                _elsewhere(recipe, name) or nearest(recipe, [name]) or unknown("field", name, known)
            )
        found[meant[0]] = value
    return found


def _elsewhere(recipe: Recipe, name: str) -> UnknownName | None:
    """The error for an option that only other networks have."""
    from gradlab.models import models

    having = [other for other in models if name in models.options(other).model_fields]
    if not having:
        return None
    return UnknownName(
        f"the network {recipe.model.name!r} has no option {name!r}; networks that have it: "
        f"{some(having, 5)}"
    )


def nearest(recipe: Recipe, names: Iterable[str]) -> UnknownName | None:
    """The error for the first of `names` that is no field, short name or option of the recipe.

    It names those that are likely to be meant, by their whole name or by its last part.
    """
    known = {*field_names(Recipe), *(name for name, _, _ in field_rows(recipe))}
    short = {shortest(name) for name in known} | {*SHORT}
    for name in (given.replace("-", "_") for given in names):
        if name in known | short or name.split(".")[0] in ("model", "task"):
            continue
        close = _close(name, [*known, *SHORT])
        hint = f": did you mean {' or '.join(map(repr, close))}?" if close else "."
        return UnknownName(
            f"unknown field {brief(name)}{hint} 'gradlab show {recipe.name}' lists all of them"
        )
    return None


def _close(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The nearest names, by the whole or by the last part, the nearest first."""
    last = name.split(".")[-1][:200]
    scores = {}
    for other in known:
        whole = difflib.SequenceMatcher(None, name[:200], other).ratio()
        part = difflib.SequenceMatcher(None, last, other.split(".")[-1]).ratio()
        if len(last) > 3 and last in other:
            part = max(part, 0.7)
        scores[other] = max(whole, part)
    best = sorted(scores, key=lambda other: (-scores[other], other))
    return [other for other in best[:most] if scores[other] >= max(0.6, scores[best[0]] - 0.2)]
