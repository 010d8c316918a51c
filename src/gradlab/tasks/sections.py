"""What of a recipe a task has a use for; anything else that was set is refused."""

from __future__ import annotations

from typing import Any

from gradlab import models
from gradlab.config import Choice, Recipe
from gradlab.errors import UserError
from gradlab.tasks import tasks

SECTIONS: dict[str, tuple[str, ...]] = {
    "init": ("transfer.init",),
    "weights": ("transfer.weights",),
    "embedding": ("transfer.embedding",),
    "freeze": (
        "transfer.freeze",
        "transfer.unfreeze_after",
        "transfer.backbone_lr",
        "transfer.unfrozen_lr",
        "transfer.keep_batch_norm",
        "transfer.views",
    ),
    "augment": ("data.augment",),
    "updates": ("plan.updates",),
    "accumulate": ("plan.accumulate",),
    "dataset": (
        "data.target",
        "data.target_kind",
        "data.limit",
        "data.image_size",
        "data.channels",
        "data.group",
        "data.time",
        "data.unreadable",
    ),
}
"""Parts of a recipe that not every task has a use for, and their fields."""


def typed(recipe: Recipe) -> Recipe:
    """The recipe with the options of its model and task in their types, not as they were typed."""
    changes = {}
    for key, registry in (("model", models.models), ("task", tasks)):
        choice: Choice = getattr(recipe, key)
        if choice.name in registry:
            options = registry.check(choice.name, choice.options)
            changes[key] = Choice(name=choice.name, **options)
    return recipe.model_copy(update=changes)


def refuse_unserved(recipe: Recipe, served: frozenset[str]) -> None:
    """UserError for a part of the recipe that was set and that the task would ignore."""
    for section, fields in SECTIONS.items():
        for dotted in () if section in served else fields:
            node: Any = recipe
            default: Any = type(recipe)
            for name in dotted.split("."):
                info = type(node).model_fields[name]
                node, default = getattr(node, name), info.get_default()
            if node != default:
                raise UserError(
                    f"{dotted}: the task {recipe.task.name!r} has no use for it "
                    f"(found {_short(node)}): leave it out"
                )


def _short(value: Any) -> str:
    if hasattr(value, "model_dump"):
        value = value.model_dump(exclude_defaults=True)
    return repr(value)
