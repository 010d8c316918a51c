"""What to run: named recipes, and how a recipe becomes a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gradlab.config import Choice, Plan, Recipe
from gradlab.dotted import field_names, override
from gradlab.errors import UnknownName, UserError
from gradlab.registry import Registry
from gradlab.text import brief, quoted

recipes: Registry[Recipe] = Registry(
    "recipe",
    (
        "gradlab.recipes.tables",
        "gradlab.recipes.images",
        "gradlab.recipes.convnets",
        "gradlab.recipes.photos",
        "gradlab.recipes.games",
        "gradlab.recipes.autoencoders",
        "gradlab.recipes.generative",
        "gradlab.recipes.language",
        "gradlab.recipes.texts",
        "gradlab.recipes.words",
        "gradlab.recipes.series",
    ),
)
"""The named recipes."""

_FILES = (".toml", ".json")


def register(recipe: Recipe) -> Recipe:
    """Put a recipe among the named ones, under its own name."""
    recipes.add(recipe.name, recipe)
    return recipe


SHORT = {
    "embedding": "transfer.embedding",
    "env": "data.name",
    "lr": "optimizer.lr",
    "patience": "plan.patience",
}
"""Short names that are not the last part of one field alone."""


def find(name: str | Recipe, changes: dict[str, Any] | None = None) -> Recipe:
    """A recipe by name, with fields replaced by their dotted (or short) names.

    A short name is the last part of a dotted one, where no other field ends in it: `dropout` for
    `model.dropout`, if the network has it. `name` may also be the path of a recipe of one's own
    (.toml, .json), or of a Python file and a function in it that makes the network:
    `net.py:make_net`.

    >>> find("lenet5", {"epochs": 2, "optimizer.lr": 0.5}).plan.epochs
    2
    """
    recipe = name if isinstance(name, Recipe) else _named(name)
    given: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for key, value in (changes or {}).items():
        dotted = _field(key.replace("-", "_"))
        value = os.fspath(value) if isinstance(value, os.PathLike) else value
        (options if dotted is None else given)[dotted or key] = value
    if "plan.epochs" in given:
        given.setdefault("plan.updates", 0)  # a person who names the epochs means them
    where = f"recipe {brief(recipe.name)}"
    try:
        changed = override(recipe, given, where=where)
    except UnknownName as error:
        from gradlab.recipes.options import nearest

        raise nearest(recipe, given) or error from None
    if options:
        from gradlab.recipes.options import option_names

        # Those of the network and the task that are meant now, with all that was changed.
        changed = override(changed, option_names(changed, options), where=where)
    return _pinned(changed)


def _field(name: str) -> str | None:
    """The dotted name of a field; None where a short name is that of none (an option, perhaps)."""
    if "." in name or name in Recipe.model_fields:
        return name
    if name in SHORT:
        return SHORT[name]
    ending = [field for field in field_names(Recipe) if field.rpartition(".")[2] == name]
    if len(ending) > 1:
        raise UserError(f"{name} may be {' or '.join(ending)}: name the one that is meant")
    return ending[0] if ending else None


def names_one(text: str) -> bool:
    """Whether a text has the form of what `find` takes for a recipe."""
    return text in recipes or Path(text).suffix.lower() in _FILES or ".py:" in text


def _named(name: str) -> Recipe:
    """A registered recipe, one in a file, or one for a network in a file."""
    if ".py:" in name:
        return _own(name)
    path = Path(name)
    if name not in recipes and path.suffix.lower() in _FILES:
        from gradlab.recipes.files import read_recipe

        return read_recipe(path)
    if path.suffix == ".py":
        raise UnknownName(
            f"recipe {quoted(name)}: name the function that makes the network too: {path.name}:NAME"
        )
    return recipes[name]


def _own(name: str) -> Recipe:
    """A recipe for a network that a function in a file makes: AdamW, ten epochs, unless told
    otherwise."""
    file, _, function = name.rpartition(":")
    return Recipe(
        name=Path(file).stem,
        summary=f"{function} of {Path(file).name}",
        model=Choice(name=name),
        plan=Plan(epochs=10, batch_size=64),
    )


def _pinned(recipe: Recipe) -> Recipe:
    """With the whole path and the hash of a file that makes the network, so that whoever continues
    or opens the run is sure to have the same one."""
    choice = recipe.model
    if ".py:" not in choice.name or choice.options.get("sha256"):
        return recipe
    from gradlab.models.files import hash_of, parts

    path, function = parts(choice.name)
    options = {**choice.options, "sha256": hash_of(path)}
    model = Choice(name=f"{path.resolve()}:{function}", **options)
    return recipe.model_copy(update={"model": model})
