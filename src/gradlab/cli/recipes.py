"""Commands about recipes: list, show."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from gradlab.cli import printing
from gradlab.cli.options import Fields, Json, dotted
from gradlab.text import printable

_WIDTH = 80


def list_recipes(*, json: Json = False) -> None:
    """List the recipes by kind of problem."""
    from gradlab.data.here import is_here
    from gradlab.recipes import recipes

    rows: list[dict[str, Any]] = [
        {
            "recipe": name,
            "kind": recipes[name].kind,
            "summary": recipes[name].summary,
            "data": recipes[name].data.name,
            "runs_at_once": is_here(recipes[name].data.name),
            "targets": [target.model_dump() for target in recipes[name].targets],
        }
        for name in recipes
    ]
    printing.emit({"recipes": rows}, json, lambda: _show_list(rows))


list_recipes.command_name = "list"  # type: ignore[attr-defined]


def _show_list(rows: list[dict[str, Any]]) -> None:
    """A block for each kind; recipes that differ in size alone share a line."""
    for kind in dict.fromkeys(row["kind"] for row in rows):
        print(f"{kind}")
        families: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            if row["kind"] == kind:
                families.setdefault(row["summary"], []).append(row)
        for summary, members in families.items():
            print(_wrapped(", ".join(row["recipe"] for row in members), 2))
            data = members[0]["data"]
            here = "" if members[0]["runs_at_once"] else ", downloaded at first"
            print(_wrapped(f"{summary} ({data}{here})", 6))
            for row in members:
                for goal in row["targets"]:
                    print(_wrapped(f"target of {row['recipe']}: {printing.target(goal)}", 6))
        print()
    print("gradlab show RECIPE: its fields, its paper, what is done otherwise than there")


def show(
    recipe: str,
    /,
    *,
    toml: Annotated[
        bool, Parameter(negative="", help="as a file to begin a recipe of your own from")
    ] = False,
    json: Json = False,
    **fields: Fields,
) -> None:
    """Show a recipe: its paper, every field and option and what it means."""
    from gradlab.recipes import find
    from gradlab.recipes.files import as_toml
    from gradlab.tasks.sections import typed

    chosen = typed(find(recipe, dotted(fields)))
    if toml:
        print(as_toml(chosen), end="")
        return
    printing.emit(chosen.model_dump(mode="json"), json, lambda: _show(chosen))


def _show(chosen: Any) -> None:
    print(_wrapped(f"{chosen.name}: {chosen.summary}", 0))
    if chosen.paper:
        print(_wrapped(f"paper: {chosen.paper}", 0))
    for line in chosen.departures:
        print(_wrapped(f"departure: {line}", 0))
    for goal in chosen.targets:
        print(_wrapped(f"target: {printing.target(goal.model_dump())} ({goal.source})", 0))
    if chosen.plan.updates:
        print(
            _wrapped(
                f"epochs: {chosen.plan.epochs}, or as many as make {chosen.plan.updates:,} "
                "updates where the data are few",
                0,
            )
        )
    print()
    _show_fields(chosen)


def _show_fields(chosen: Any) -> None:
    from gradlab.recipes.options import field_rows, shortest

    for name, value, meaning in field_rows(chosen):
        print(_wrapped(f"{name} = {value}", 0, hang=4))
        short = shortest(name)
        words = meaning if short == name else f"--{short.replace('_', '-')}: {meaning}"
        if words:
            print(_wrapped(words, 6))


def fields_of(tokens: Sequence[str]) -> None:
    """What `train RECIPE --help` adds: the fields of the recipe that is among the tokens."""
    from gradlab.recipes import find, names_one

    named = next((token for token in tokens if names_one(token)), None)
    if named is None:
        print("gradlab train RECIPE --help lists the fields of a recipe too")
        return
    print(printable(f"\nFields of {named}, each an option --NAME VALUE:\n"))
    _show_fields(find(named))


def _wrapped(text: str, indent: int, hang: int = 0) -> str:
    """A paragraph within the width of the screen; one line in a pipe that names no width."""
    if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        return " " * indent + printable(text)
    width = min(shutil.get_terminal_size((_WIDTH, 24)).columns, 100)
    return textwrap.fill(
        printable(text),
        max(width, 40),
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hang),
        break_long_words=False,
        break_on_hyphens=False,
    )


COMMANDS = (list_recipes, show)
