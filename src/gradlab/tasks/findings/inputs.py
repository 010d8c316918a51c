"""The inputs of a table by name and by the column that they were made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Inputs(NamedTuple):
    """A task's only input field with names: a table's."""

    name: str
    field: Any
    names: Sequence[str]
    """Of each of the D inputs."""
    columns: dict[str, list[int]]
    """The places of a column's inputs, by column."""


def named_inputs(schema: Any) -> Inputs | None:
    """The named inputs of a schema; None where it has others, or their number is another."""
    found = [(name, field) for name, field in schema.inputs.items()]
    name, field = found[0]
    if len(found) != 1 or not hasattr(field, "inputs_names"):
        return None
    pairs = field.inputs_names()
    if (len(pairs),) != tuple(field.shape):
        return None
    columns: dict[str, list[int]] = {}
    for place, (column, _) in enumerate(pairs):
        columns.setdefault(column, []).append(place)
    return Inputs(name, field, [own for _, own in pairs], columns)
