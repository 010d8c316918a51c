"""New examples, put together from what each field has read: what one field lacks, all are without.

For an evaluation they come with what is asked of them: a table with the target's column, a folder
or archive of class folders, or arrays x and y. Nothing is learnt from them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gradlab import paths
from gradlab.data.dataset import Schema, Split
from gradlab.data.fields.base import Inputs, Skipped
from gradlab.data.kinds import archive_format, kind_of
from gradlab.data.npz import read_npz
from gradlab.errors import UserError
from gradlab.wording import shown, some


@dataclass(frozen=True)
class NewExamples:
    """New examples as columns by field name, notes on what was converted, and what was skipped.

    `tables` as of `Inputs`.
    """

    split: Split
    notes: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    tables: tuple[Any, ...] = ()


class NothingRead(UserError):
    """None of the new inputs can be read; `skipped` says why."""

    def __init__(self, skipped: Sequence[Skipped]) -> None:
        self.skipped = tuple(skipped)
        super().__init__("\n".join(["none of the inputs can be read:", *said_of(skipped)]))


def said_of(skipped: Sequence[Skipped]) -> tuple[str, ...]:
    """A line for each of the first that were skipped, and how many there are beside."""
    return shown([f"input {one.name} skipped: {one.reason}" for one in skipped])


def counted_of(left_out: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """A line for each of the first reasons, with those that were left out for it."""
    names: dict[str, list[str]] = {}
    for name, reason in left_out:
        names.setdefault(reason, []).append(name)
    return shown(
        [
            f"{'input' if len(found) == 1 else 'inputs'} {some(found)} left out: {reason}"
            for reason, found in sorted(names.items(), key=lambda item: -len(item[1]))
        ]
    )


def together(found: Mapping[str, Inputs]) -> NewExamples:
    """The examples that every field could read; those without a name are numbered, from 1.

    `NothingRead` where there are none.
    """
    first = next(iter(found.values()))
    names = {one.place: one.name for one in first.skipped}
    every = np.arange(len(first.names) + len(first.skipped))
    there = np.delete(every, list(names))
    names |= dict(zip(there.tolist(), first.names, strict=True))
    names = {place: name or str(place + 1) for place, name in names.items()}
    # Of several reasons the first counts: what is the matter with the inputs.
    bad = {one.place: one for part in [*found.values()][::-1] for one in part.skipped}
    skipped = tuple(bad[place]._replace(name=names[place]) for place in sorted(bad))
    if len(skipped) == len(every):
        raise NothingRead(skipped)
    columns: dict[str, Any] = {}
    for name, part in found.items():
        own = np.delete(every, [one.place for one in part.skipped])
        kept = np.flatnonzero(~np.isin(own, list(bad)))
        columns[name] = part.column if len(kept) == len(own) else part.column.take(kept)
    ids = tuple(names[place] for place in every.tolist() if place not in bad)
    notes = dict.fromkeys(note for part in found.values() for note in part.column.notes)
    return NewExamples(Split(columns, ids), tuple(notes), skipped, first.tables)


def labelled(data: Any, schema: Schema) -> NewExamples:
    """New examples with what is asked of them, as the fields of a schema keep them.

    `data`: a path, a data frame, or a pair of arrays (x, y). What has no target, or one of a class
    that is not known, is skipped. UserError when there is no target at all.
    """
    if len(schema.inputs) != 1 or len(schema.targets) > 1:
        raise UserError(f"new data for {schema.words()}: only one input and one target can be read")
    ((name, field),) = schema.inputs.items()
    if not schema.targets:
        return together({name: field.read([data])})
    ((asked, target),) = schema.targets.items()
    if field.measured_by:
        raise UserError(field.measured_by)
    items, values, notes = _opened(data)
    inputs = field.read(items)
    if values is None:
        column = getattr(target, "column", "")
        lacking = [table for table in inputs.tables if column not in table.columns]
        if lacking or not inputs.tables:
            there = f"; it has {some(lacking[0].columns, 10)}" if lacking else ""
            what = f"the column {column!r}" if column else "class folders, or arrays x and y"
            raise UserError(f"{_called(data)} lacks {what}: what is asked for{there}")
        values = [value for table in inputs.tables for value in table[column].to_list()]
    count = len(inputs.names) + len(inputs.skipped)
    if len(values) != count:
        raise UserError(f"{_called(data)}: {count} inputs, but {len(values)} targets")
    found = together({name: inputs, asked: target.read(values)})
    return replace(found, notes=(*notes, *found.notes))


def _opened(data: Any) -> tuple[list[Any], list[Any] | None, tuple[str, ...]]:
    """Inputs, what is asked of each (None: it stands in their tables), and notes."""
    if isinstance(data, tuple) and len(data) == 2:
        x, y = data
        return [np.asarray(x)], _flat(np.asarray(y), "y"), ()
    if not isinstance(data, str | os.PathLike):
        return [data], None, ()
    path = paths.given(data, "data")
    if not path.exists():
        raise UserError(f"data: there is no file or folder {path}")
    if kind_of(path) == "arrays":
        return (*_arrays(path), ())
    if path.is_dir() or kind_of(path) == "archive" or (not kind_of(path) and archive_format(path)):
        from gradlab.data.sources.folders import class_folders

        labels, files, notes = class_folders(path)
        return list(files), list(labels), notes
    return [path], None, ()


def _arrays(path: Path) -> tuple[list[Any], list[Any]]:
    """x and y, or those of the test split, of an .npz file; class numbers by their names."""
    arrays = read_npz(path)
    names = ("x_test", "y_test") if "x" not in arrays and "x_test" in arrays else ("x", "y")
    absent = [name for name in names if name not in arrays]
    if absent:
        held = ", ".join(arrays) or "nothing"
        raise UserError(f"{path} has no array {absent[0]!r}: expected x and y (it holds {held})")
    values = _flat(arrays[names[1]], f"{path}: {names[1]}")
    if "classes" in arrays and arrays[names[1]].dtype.kind in "iu":
        known = [str(name) for name in arrays["classes"].reshape(-1)]
        values = [known[value] if 0 <= value < len(known) else value for value in values]
    return [arrays[names[0]]], values


def _flat(y: np.ndarray, where: str) -> list[Any]:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise UserError(f"{where} has the shape {y.shape}: expected one value for each example")
    found: list[Any] = y.tolist()
    return found


def _called(data: Any) -> str:
    return str(data) if isinstance(data, str | os.PathLike) else "the data"
