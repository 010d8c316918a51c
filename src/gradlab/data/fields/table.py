"""Table columns: numbers and categories with names, float32 N D as they are kept.

A table is held as it was read (`Frame`), mostly as text. What a column holds, its mean and its
categories are learnt from the training split; the other splits and new rows follow.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field as Described
from torch import Tensor

from gradlab.data import tabular
from gradlab.data.columns import Column, Dense, Frame, joined
from gradlab.data.fields import fields
from gradlab.data.fields.base import Checked, Field, Inputs, Issue
from gradlab.data.frames import clean, given_frame, read_frame
from gradlab.data.tabular import TableColumn
from gradlab.errors import UserError
from gradlab.words import SHOWN, shown, some

if TYPE_CHECKING:
    import polars as pl

MOSTLY = 0.5
"""A column that lacks more than this share of its values is an issue."""
NOTED = 20
"""So many columns have a note of their own."""


@fields.register("table")
class Table(Field):
    """The columns of a table that can be inputs, in their order.

    A number becomes (value - mean) / std, a missing one 0; a category one input for each of its
    categories, 1 or 0; then, where the training split lacked values, 1 for a missing one.
    """

    baseline = "linear"

    type: Literal["table"] = "table"
    columns: tuple[TableColumn, ...] = Described((), description="those that are read, in order")
    left_out: tuple[tuple[str, str], ...] = Described((), description="the others, and why")

    @property
    def shape(self) -> tuple[int, ...]:
        """D."""
        return (sum(column.width for column in self.columns),)

    @property
    def notes(self) -> tuple[str, ...]:
        """The columns that were left out, and how many inputs the others become."""
        left_out = _noted(self._reasons(), "columns left out")
        return (*left_out, f"{len(self.columns)} columns become {self.shape[0]} inputs")

    def _reasons(self) -> list[str]:
        return [f"{name}: left out ({reason})" for name, reason in self.left_out]

    def fit(self, raw: Frame) -> Table:
        """With the columns of the training split that can be inputs; UserError if there are none.

        >>> import polars as pl
        >>> rows = Frame(pl.DataFrame({"size": ["1", None, "3"], "hue": ["red", "red", "blue"]}))
        >>> Table().fit(rows).encode(rows)[:].tolist()
        [[-1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0]]
        """
        learnt = list(zip(raw.base.columns, tabular.learn(raw), strict=True))
        found = Table(
            columns=tuple(column for _, column in learnt if isinstance(column, TableColumn)),
            left_out=tuple((name, reason) for name, reason in learnt if isinstance(reason, str)),
        )
        if not found.columns:
            reasons = "; ".join(shown(found._reasons()))
            raise UserError(f"there is no column that can be an input: {reasons}")
        return found

    def encode(self, raw: Frame) -> Dense:
        """float32 N D; UserError names columns that are missing."""
        self._has_columns(raw.base.columns, "the table")
        x, bad = tabular.encode(self.columns, raw)
        notes = [
            f"{column.name}: {count} values are no numbers, read as missing"
            for column, count in zip(self.columns, bad.tolist(), strict=True)
            if count
        ]
        return Dense(x, notes=_noted(notes, "columns with values that are no numbers"))

    def read(self, items: Sequence[Any]) -> Inputs:
        """CSV, TSV or Parquet files, data frames, or a dictionary for each row.

        Other columns, such as the target, may be there or not. The rows of a file are named by
        their numbers, from 1. UserError names columns that are missing, and text where a number
        should be.
        """
        given = list(self._given(items))
        if not given:
            raise UserError("there is nothing to predict: expected at least one row")
        names = tuple(str(number) for rows in given for number in rows.numbers)
        return Inputs(joined([self._read(rows) for rows in given]), names)

    def _given(self, items: Sequence[Any]) -> Iterator[_Rows]:
        for is_row, group in groupby(enumerate(items, 1), lambda item: isinstance(item[1], dict)):
            if is_row:
                yield self._dictionaries(dict(group))
                continue
            for number, item in group:
                where = f"input {number}"
                notes: tuple[str, ...] = ()
                if isinstance(item, str | os.PathLike):
                    where = str(item)
                    frame, notes = read_frame(Path(item).expanduser())
                else:
                    frame = given_frame(item, where)
                self._has_columns(frame.columns, where)
                yield _Rows(frame, where, range(1, frame.height + 1), notes)

    def _dictionaries(self, rows: dict[int, dict[str, Any]]) -> _Rows:
        """As text, as a CSV would have them, so that both are read alike."""
        import polars as pl

        for number, row in rows.items():
            self._has_columns(row, f"row {number}")
        texts = [
            pl.Series(
                column.name,
                [None if (v := row[column.name]) is None else str(v) for row in rows.values()],
                pl.String,
            )
            for column in self.columns
        ]
        return _Rows(clean(texts), "the rows given", list(rows))

    def _has_columns(self, found: Any, where: str) -> None:
        known = set(found)
        absent = [column.name for column in self.columns if column.name not in known]
        if absent:
            raise UserError(
                f"{where} lacks the columns {some(absent, SHOWN)}; "
                f"it has {some(map(str, found), SHOWN)}"
            )

    def _read(self, rows: _Rows) -> Dense:
        schema = rows.frame.schema
        for column in self.columns:
            if not tabular.is_plain(schema[column.name]):
                raise UserError(
                    f"{rows.where}: {column.name} holds {schema[column.name]} values: expected "
                    f"{'numbers' if column.kind == 'number' else 'text'}"
                )
        raw = Frame(rows.frame)
        x, bad = tabular.encode(self.columns, raw)
        if bad.any():
            name = self.columns[np.flatnonzero(bad)[0]].name
            place = raw.base.columns.index(name)
            row = tabular.first_text(raw.part([place]))
            raise UserError(
                f"{rows.where}: {name} is {raw.base[row, place]!r} in row {rows.numbers[row]}: "
                "expected a number"
            )
        return Dense(x, notes=tuple(f"{rows.where}: {note}" for note in rows.notes))

    def issues(self, raw: Mapping[str, Column]) -> Checked:
        """Columns that are constant or mostly lack values, and the share that each lacks."""
        import polars as pl

        frames: list[Any] = list(raw.values())
        names, count = frames[0].base.columns, sum(map(len, frames))
        absent = np.zeros(len(names), int)
        constant: list[str] = []
        for places in tabular.batches(range(len(names)), count):
            part = pl.concat([frame.part(places) for frame in frames])
            absent[places] = part.null_count().row(0)
            same = part.select(pl.selectors.exclude(pl.Object))
            same = same.select((pl.all() == pl.all().first()).all(ignore_nulls=False))
            for found in same.to_dicts():  # one, or none where every column is of objects
                constant += [names[places[int(key)]] for key, value in found.items() if value]
        share = {names[p]: absent[p] / count for p in np.flatnonzero(absent).tolist()}
        mostly = [f"{name}: {part:.1%}" for name, part in share.items() if part > MOSTLY]
        issues = []
        if constant:
            what = f"constant columns, which teach nothing: {len(constant)}"
            issues.append(Issue("warning", what, shown(constant)))
        if mostly:
            what = f"columns that lack more than {MOSTLY:.0%} of their values: {len(mostly)}"
            issues.append(Issue("warning", what, shown(mostly)))
        return Checked({"constant": tuple(constant), "missing": share}, tuple(issues))

    def show(self, value: Any) -> str:
        """The columns and what they hold, the first ten of them."""
        cuts = np.cumsum([column.width for column in self.columns])[:-1]
        values = np.split(np.asarray(value), cuts)
        return some([c.show(v) for c, v in zip(self.columns, values, strict=True)], SHOWN)

    def inputs_names(self) -> tuple[tuple[str, str], ...]:
        """For each of the D inputs the column that it was made of, and a name of its own."""
        found: list[tuple[str, str]] = []
        for column in self.columns:
            values: list[Any] = list(column.categories)
            plain = column.width - column.missing
            if len(values) != plain:
                values = [""] if plain == 1 else list(range(1, plain + 1))
            values += ["missing"] if column.missing else []
            found += [(column.name, f"{column.name} {value}".rstrip()) for value in values]
        return tuple(found)

    def example(self) -> Tensor:
        """1 D."""
        return torch.zeros(1, *self.shape)


class _Rows(NamedTuple):
    """New rows as they were read, where they came from, and their numbers there."""

    frame: pl.DataFrame
    where: str
    numbers: Sequence[int]
    notes: tuple[str, ...] = ()


def _noted(notes: list[str], what: str) -> tuple[str, ...]:
    more = len(notes) - NOTED
    return (*notes[:NOTED], *([f"{more} more {what}"] if more > 0 else []))
