"""Table columns: numbers, categories, dates and texts with names.

A table is held as it was read (`Frame`), mostly as text. What a column holds, its mean and its
categories are learnt from the training split; the other splits and new rows follow. Of a category
one value is kept, the number of its input: batches have an input for each.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field as Described
from torch import Tensor

from gradlab.data import tabular
from gradlab.data.augment import Draws
from gradlab.data.columns import Column, Dense, DenseTensor, Frame, Rows, joined
from gradlab.data.fields import fields
from gradlab.data.fields.base import Checked, Field, Inputs, Issue, Skipped
from gradlab.data.frames import clean, given_frame, read_rows
from gradlab.data.tabular import TableColumn
from gradlab.errors import UserError
from gradlab.wording import SHOWN, shown, some

if TYPE_CHECKING:
    import polars as pl

MOSTLY = 0.5
"""A column that lacks more than this share of its values is an issue."""
NOTED = 20
"""So many columns have a note of their own."""


@fields.register("table")
class Table(Field):
    """The columns of a table that can be inputs, in their order.

    A number becomes (value - mean) / std, a missing one 0; a date several such numbers; a category
    one input for each of its categories, 1 or 0; free text one for each frequent word; then, where
    the training split lacked values, 1 for a missing one.
    """

    baseline = "linear"

    type: Literal["table"] = "table"
    header: Literal["first", "none"] = Described(
        "first", description="a CSV's line of column names"
    )
    columns: tuple[TableColumn, ...] = Described((), description="those that are read, in order")
    left_out: tuple[tuple[str, str], ...] = Described((), description="the others, and why")

    @property
    def shape(self) -> tuple[int, ...]:
        """D."""
        return (sum(column.width for column in self.columns),)

    @property
    def notes(self) -> tuple[str, ...]:
        """How columns are read, those that were left out, how many inputs the others become."""
        read = [f"{column.name}: {column.note}" for column in self.columns if column.note]
        left_out = _noted(self._reasons(), "columns left out")
        become = f"{len(self.columns)} columns become {self.shape[0]} inputs"
        return (*_noted(read, "columns that are not read plainly"), *left_out, become)

    def _reasons(self) -> list[str]:
        return [f"{name}: left out ({reason})" for name, reason in self.left_out]

    def fit(self, raw: Frame) -> Table:
        """With the columns of the training split that can be inputs; UserError if there are none.

        >>> import polars as pl
        >>> rows = Frame(pl.DataFrame({"size": ["1", None, "3"], "hue": ["red", "red", "blue"]}))
        >>> Table().fit(rows).encode(rows)[:].tolist()  # hue: 0 is blue, 1 is red
        [[-1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]
        """
        learnt = list(zip(raw.base.columns, tabular.learn(raw), strict=True))
        found = Table(
            header=self.header,
            columns=tuple(column for _, column in learnt if isinstance(column, TableColumn)),
            left_out=tuple((name, reason) for name, reason in learnt if isinstance(reason, str)),
        )
        if not found.columns:
            reasons = "; ".join(shown(found._reasons()))
            raise UserError(f"there is no column that can be an input: {reasons}")
        return found

    def encode(self, raw: Frame) -> Dense:
        """What is kept of the rows, float32 N M; UserError names columns that are missing."""
        self._has_columns(raw.base.columns, "the table")
        x, bad = tabular.encode(self.columns, raw)
        notes = [
            f"{column.name}: {count} values are no {column.kind}s, read as missing"
            for column, count in zip(self.columns, bad.tolist(), strict=True)
            if count
        ]
        return Dense(x, notes=_noted(notes, "columns with values that are read as missing"))

    def batch(self, column: DenseTensor, rows: Rows, draws: Draws | None) -> Tensor:
        """N D: what is kept, each category as one input of 1 among zeros."""
        kept = column.gather(rows)  # N M
        layout = self._layout
        if not len(layout.codes):
            return kept
        places = layout.on(kept.device)
        x = kept.new_zeros(len(kept), *self.shape)  # N D
        x[:, places.inputs] = kept[:, places.plain]
        code = kept[:, places.codes].long()  # N C
        return x.scatter_(1, code.clamp(min=0) + places.starts, (code >= 0).to(x.dtype))

    @cached_property
    def _layout(self) -> _Layout:
        kept = np.cumsum([0, *(column.kept for column in self.columns)])
        inputs = np.cumsum([0, *(column.width for column in self.columns)])
        is_code = np.array([column.kind == "category" for column in self.columns], bool)
        plain = np.repeat(~is_code, [column.kept for column in self.columns])
        wide = np.repeat(~is_code, [column.width for column in self.columns])
        found = (np.flatnonzero(plain), np.flatnonzero(wide), kept[:-1][is_code])
        return _Layout(*(torch.from_numpy(part) for part in (*found, inputs[:-1][is_code])))

    def read(self, items: Sequence[Any]) -> Inputs:
        """CSV, TSV or Parquet files, data frames, or a dictionary for each row.

        Other columns, such as the target, may be there or not. The rows of a file are named by
        their numbers, from 1. Rows with too few or too many values, and with text where a number
        should be, are skipped. UserError names columns that are missing.
        """
        columns: list[Dense] = []
        names: list[str] = []
        skipped: list[Skipped] = []
        tables: list[pl.DataFrame] = []
        for rows in self._given(items):
            column, bad = self._read(rows)
            place = len(names) + len(skipped)
            for row, number in enumerate(map(str, rows.numbers)):
                if row in bad:
                    skipped.append(Skipped(number, f"{rows.where}: {bad[row]}", place + row))
                else:
                    names.append(number)
            columns.append(column)
            tables.append(rows.frame)
        if not columns:
            raise UserError("there is nothing to predict: expected at least one row")
        return Inputs(joined(columns), tuple(names), tuple(skipped), tuple(tables))

    def _given(self, items: Sequence[Any]) -> Iterator[_Rows]:
        for is_row, group in groupby(enumerate(items, 1), lambda item: isinstance(item[1], dict)):
            if is_row:
                yield self._dictionaries(dict(group))
                continue
            for number, item in group:
                where = f"input {number}"
                notes: tuple[str, ...] = ()
                uneven: dict[int, str] = {}
                if isinstance(item, str | os.PathLike):
                    where = str(item)
                    path = Path(item).expanduser()
                    frame, notes, uneven = read_rows(path, self.header)
                else:
                    frame = given_frame(item, where)
                self._has_columns(frame.columns, where)
                yield _Rows(frame, where, range(1, frame.height + 1), notes, uneven)

    def _dictionaries(self, rows: dict[int, dict[str, Any]]) -> _Rows:
        """As text, as a CSV would have them, so that both are read alike."""
        import polars as pl

        written: dict[str, Callable[[Any], str | None]] = {
            **{key: _plainly for row in rows.values() for key in row},
            **{column.name: column.written for column in self.columns},
        }
        texts = [
            pl.Series(
                key,
                [written[key](row.get(key)) for row in rows.values()],
                pl.String,
            )
            for key in written
        ]
        lacking = {place: self._absent(row) for place, row in enumerate(rows.values())}
        uneven = {place: absent for place, absent in lacking.items() if absent}
        return _Rows(clean(texts), "the rows given", list(rows), uneven=uneven)

    def _has_columns(self, found: Iterable[str], where: str) -> None:
        absent = self._absent(found)
        if absent:
            raise UserError(f"{where} {absent}")

    def _absent(self, found: Iterable[str]) -> str:
        """Which columns are not among those found, in words; "" when all are there."""
        known = dict.fromkeys(map(str, found))
        absent = [column.name for column in self.columns if column.name not in known]
        if not absent:
            return ""
        return f"lacks the columns {some(absent, SHOWN)}; it has {some(known, SHOWN)}"

    def _read(self, rows: _Rows) -> tuple[Dense, dict[int, str]]:
        """The rows that can be read; of the others, by their places, why not."""
        schema = rows.frame.schema
        for column in self.columns:
            if not tabular.is_plain(schema[column.name]):
                raise UserError(
                    f"{rows.where}: {column.name} holds {schema[column.name]} values: expected "
                    f"{'numbers' if column.kind == 'number' else 'text'}"
                )
        raw = Frame(rows.frame)
        x, unread = tabular.encode(self.columns, raw)
        bad = dict(rows.uneven)
        if unread.any():
            failed = [self.columns[n] for n in np.flatnonzero(unread)]
            for row, index in np.argwhere(tabular.unreadable(failed, raw)).tolist():
                text = raw.base[failed[index].name][row]
                why = f"{failed[index].name} is {text!r}, expected a {failed[index].kind}"
                bad.setdefault(row, why)
        if bad:
            kept = np.delete(np.arange(len(raw)), list(bad))
            x, raw = x[kept], raw.take(kept)
        strange = tabular.surprises(self.columns, raw) if len(raw) else ()
        notes = tuple(f"{rows.where}: {note}" for note in (*rows.notes, *strange))
        return Dense(x, notes=notes), bad

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
        cuts = np.cumsum([column.kept for column in self.columns])[:-1]
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


class _Layout(NamedTuple):
    """Where what is kept stands, and where the inputs are that it becomes."""

    plain: Tensor
    """Kept values that are inputs as they are, and `inputs`: which ones."""
    inputs: Tensor
    codes: Tensor
    """Kept values that are numbers of categories, and `starts`: their first inputs."""
    starts: Tensor

    def on(self, device: torch.device) -> _Layout:
        return self if device.type == "cpu" else _Layout(*(part.to(device) for part in self))


class _Rows(NamedTuple):
    """New rows as they were read, where they came from, and their numbers there.

    `uneven` says of rows (by their places) that they have too few values or too many.
    """

    frame: pl.DataFrame
    where: str
    numbers: Sequence[int]
    notes: tuple[str, ...] = ()
    uneven: Mapping[int, str] = MappingProxyType({})


def _plainly(value: Any) -> str | None:
    return None if value is None else str(value)


def _noted(notes: list[str], what: str) -> tuple[str, ...]:
    more = len(notes) - NOTED
    return (*notes[:NOTED], *([f"{more} more {what}"] if more > 0 else []))
