"""What to run: named recipes, and how a recipe becomes a run."""

from __future__ import annotations

from typing import Any

from gradlab.config import Recipe, override
from gradlab.registry import Registry

recipes: Registry[Recipe] = Registry(
    "recipe",
    (
        "gradlab.recipes.tables",
        "gradlab.recipes.images",
        "gradlab.recipes.convnets",
        "gradlab.recipes.games",
        "gradlab.recipes.autoencoders",
        "gradlab.recipes.generative",
    ),
)
"""The named recipes."""


def register(recipe: Recipe) -> Recipe:
    """Register a recipe under its own name."""
    recipes.add(recipe.name, recipe)
    return recipe


SHORT = {
    "env": "data.name",
    "epochs": "plan.epochs",
    "batch_size": "plan.batch_size",
    "init": "transfer.init",
    "weights": "transfer.weights",
    "freeze": "transfer.freeze",
    "unfreeze_after": "transfer.unfreeze_after",
    "backbone_lr": "transfer.backbone_lr",
    "lr": "optimizer.lr",
}
"""Fields that have a short name."""


def find(name: str | Recipe, changes: dict[str, Any] | None = None) -> Recipe:
    """A recipe by name, with fields replaced by their dotted (or short) names.

    >>> find("lenet5", {"epochs": 2, "optimizer.lr": 0.5}).plan.epochs
    2
    """
    recipe = recipes[name] if isinstance(name, str) else name
    given = {SHORT.get(key.replace("-", "_"), key): value for key, value in (changes or {}).items()}
    if "plan.epochs" in given:
        given.setdefault("plan.updates", 0)  # a person who names the epochs means them
    return override(recipe, given, where=f"recipe {recipe.name!r}")
