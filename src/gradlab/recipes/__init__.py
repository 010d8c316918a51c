"""What to run: named recipes, and how a recipe becomes a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gradlab.config import Choice, Plan, Recipe, override
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
    """Put a recipe among the named ones, under its own name."""
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
    recipe = name if isinstance(name, Recipe) else _named(name)
    given = {SHORT.get(key.replace("-", "_"), key): value for key, value in (changes or {}).items()}
    if "plan.epochs" in given:
        given.setdefault("plan.updates", 0)  # a person who names the epochs means them
    return override(recipe, given, where=f"recipe {recipe.name!r}")


def _named(name: str) -> Recipe:
    """A registered recipe, one in a file, or one for a network in a file."""
    path = Path(name).expanduser()
    if path.suffix.lower() in (".toml", ".json") and name not in recipes:
        from gradlab.recipes.files import read_recipe

        return read_recipe(path)
    return own(name) if ".py:" in name else recipes[name]


def own(name: str) -> Recipe:
    """A recipe for a network that a function in a file makes: AdamW, ten epochs, until told
    otherwise. It holds the file's hash, so that a resume is sure to continue the same network."""
    from gradlab.models.files import hash_of, parts

    path, function = parts(name)
    return Recipe(
        name=path.stem,
        summary=f"{function} of {path}",
        model=Choice(name=f"{path.resolve()}:{function}", sha256=hash_of(path)),
        plan=Plan(epochs=10, batch_size=64),
    )
