"""The recipe that is tried first on data of a kind, where none is named."""

from __future__ import annotations

import os
from collections.abc import Iterable

from gradlab import paths
from gradlab.data.kinds import Kind, kind_of, table_files
from gradlab.data.sources import datasets
from gradlab.data.sources.labelled_texts import holds_texts
from gradlab.errors import UserError
from gradlab.recipes import recipes
from gradlab.text import quoted

USUAL: dict[Kind, str] = {
    "table": "tabular",
    "image": "photos",
    "archive": "photos",
    "arrays": "mlp",
    "text": "char_lm",
}
"""By kind of data; a folder is one of photos, unless it holds tables."""


ASKED = {"horizon": "forecaster", "text": "nbsvm"}
"""By what else is said of a table (`data.horizon`, `data.text`)."""
TEXTS = "nbsvm"
"""For a folder of texts of classes."""


def usual(data: str | os.PathLike[str] | None, given: Iterable[str] = ()) -> str:
    """The name of a recipe for one's own data; `given` are the fields of it that are set.

    UserError where none suits, or data has no path.
    """
    if data is None:
        raise UserError(
            "nothing says what to train: give a recipe (gradlab list shows all), or data of your "
            "own: gradlab train --data PATH"
        )
    name = os.fspath(data)
    if name in datasets:
        meant = next((key for key in recipes if recipes[key].data.name == name), "RECIPE")
        raise UserError(
            f"{quoted(name)} is a named set: name a recipe too (gradlab list shows all): "
            f"gradlab train {meant} --data {name}"
        )
    path = paths.given(name, "data")
    if table_files(path) or kind_of(path) == "table":
        said = [ASKED[key] for key in ASKED if {key, f"data.{key}"} & set(given)]
        return said[0] if said else USUAL["table"]
    if not path.exists():
        raise UserError(
            f"{quoted(name)} is neither a named dataset nor a path that exists. Named: "
            f"{', '.join(datasets)}"
        )
    if holds_texts(path):
        return TEXTS
    kind = "image" if path.is_dir() else kind_of(path)
    if kind is None:
        raise UserError(
            f"{quoted(name)}: nothing says what to train on it: name a recipe (gradlab list shows "
            "all)"
        )
    return USUAL[kind]
