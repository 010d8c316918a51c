"""Recipes of one's own, in files: TOML or JSON, read as the typed value that a recipe is."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from gradlab.config import Recipe
from gradlab.dotted import validate
from gradlab.errors import UserError

SUFFIXES = (".toml", ".json")


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file; UserError names what is wrong in it.

    `gradlab show RECIPE --toml > mine.toml` writes one to begin from. The file may leave out
    whatever has a default; without a name it is called as the file is.
    """
    where = f"recipe {path}"
    try:
        text = path.read_bytes().decode("utf-8")
        tree = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except OSError as error:
        raise UserError(f"{where} cannot be read: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise UserError(
            f"{where} is no {path.suffix[1:].upper()}: {error}. Begin with "
            "'gradlab show RECIPE --toml'"
        ) from None
    if not isinstance(tree, dict):
        raise UserError(f"{where}: expected the fields of a recipe, found {type(tree).__name__}")
    return validate(Recipe, {"name": path.stem, **tree}, where)


def as_toml(recipe: Recipe) -> str:
    """The recipe as TOML, without what has no value."""
    import tomli_w

    return tomli_w.dumps(_filled(recipe.model_dump(mode="json")))


def _filled(tree: Any) -> Any:
    """A tree without its empty places: TOML has no null."""
    if isinstance(tree, dict):
        return {key: _filled(value) for key, value in tree.items() if value is not None}
    if isinstance(tree, list):
        return [_filled(value) for value in tree]
    return tree
