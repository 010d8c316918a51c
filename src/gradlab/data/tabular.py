"""How the columns of a table become numbers: learnt from some rows, then done to any.

Many columns are looked at together and rows in stretches: time goes with the size of the table, and
little memory is taken beside what is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field as Described

from gradlab.config import Config
from gradlab.data.columns import CELLS, Frame

if TYPE_CHECKING:
    import polars as pl

MOST_CATEGORIES = 20
"""Inputs that a category column becomes at most, one for each of its most frequent values."""
LARGEST = float(np.finfo(np.float32).max)
BATCH = 256
"""Columns that are looked at together: a polars call costs more than a short column."""

_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
_WORDS = (*_TRUE, *_FALSE, "None", "none")
"""Texts that may stand among numbers; the last two are missing ones, but a category."""
_DATE = r"^(\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})([ T].*)?$"
_DATE_REASON = "a date; make columns such as year, month or weekday of it"


class TableColumn(Config):
    """How one column of a table becomes inputs; learnt from the training split."""

    name: str = Described(description="the column's name")
    kind: Literal["number", "category"] = Described(description="what it holds")
    mean: float = Described(0.0, description="of the training split's numbers; fills missing ones")
    std: float = Described(1.0, description="standard deviation, of the same")
    categories: tuple[str, ...] = Described((), description="one input each; others are all zeros")
    missing: bool = Described(False, description="whether an input says that the value is missing")

    @property
    def width(self) -> int:
        """How many inputs it becomes."""
        return (1 if self.kind == "number" else len(self.categories)) + self.missing

    def show(self, values: np.ndarray) -> str:
        """What its inputs say, in the column's own units."""
        if self.missing and values[-1]:
            return f"{self.name} missing"
        if self.kind == "number":
            return f"{self.name} {float(values[0]) * self.std + self.mean:.4g}"
        chosen = np.flatnonzero(values[: len(self.categories)])
        return f"{self.name} {self.categories[chosen[0]] if len(chosen) else 'other'}"


def batches(places: Sequence[int], rows: int = 1) -> Iterator[list[int]]:
    """Places of columns, so many together as can be looked at over so many rows at once."""
    step = max(min(BATCH, CELLS // max(rows, 1)), 1)
    for start in range(0, len(places), step):
        yield list(places[start : start + step])


def is_plain(dtype: Any) -> bool:
    """Whether a column of this type can be inputs: numbers, truth values, text, or nothing."""
    import polars as pl

    return bool(dtype.is_numeric() or dtype in (pl.Boolean, pl.String, pl.Null))


# learnt


def learn(raw: Frame) -> list[TableColumn | str]:
    """How each column becomes inputs, or the reason why it cannot."""
    found: dict[int, TableColumn | str] = {}
    texts: list[int] = []
    names, dtypes = raw.base.columns, raw.base.dtypes  # asked once: each time looks at all
    for places in batches(range(len(names)), len(raw)):
        nulls = raw.part(places).null_count().row(0)
        empty = dict(zip(places, (count == len(raw) for count in nulls), strict=True))
        plain = []
        for place in places:
            dtype = dtypes[place]
            if empty[place]:
                found[place] = "it has no value"
            elif dtype.is_temporal():
                found[place] = _DATE_REASON
            elif not is_plain(dtype):
                found[place] = f"{dtype} values cannot be inputs"
            else:
                plain.append(place)
        values, bad = numbers(raw.part(plain))
        for place, column, is_text in zip(plain, values.T, bad > 0, strict=True):
            if is_text:
                texts.append(place)
            else:
                found[place] = _number(names[place], column)
    for places in batches(texts):
        found |= _categories(raw, places, names)
    return [found[place] for place in range(len(names))]


def _number(name: str, values: np.ndarray) -> TableColumn | str:
    """A column of numbers, float64 N, NaN where one is missing."""
    known = values[~np.isnan(values)]
    missing = len(known) < len(values)
    if not len(known):
        return "it has no value"
    constant = known.min() == known.max()
    if constant and not missing:
        return "it is constant"
    std = 0.0 if constant else float(known.std())
    return TableColumn(
        name=name, kind="number", mean=float(known.mean()), std=std or 1.0, missing=missing
    )


def _categories(
    raw: Frame, places: list[int], names: Sequence[str]
) -> dict[int, TableColumn | str]:
    """Columns of text: their most frequent values."""
    import polars as pl

    counts = pl.concat(
        [
            _long(part).drop_nulls("value").group_by("column", "value").len("count")
            for _, part in raw.stretches(places)
        ]
    )
    value = pl.col("value")
    facts = (
        counts.group_by("column", "value")
        .agg(pl.col("count").sum())
        .group_by("column")
        .agg(
            pl.col("count").sum().alias("known"),
            pl.len().alias("distinct"),
            value.str.contains(_DATE).all().alias("dates"),
            value.sort_by("count", "value", descending=[True, False])
            .head(MOST_CATEGORIES)
            .sort()
            .alias("texts"),
        )
    )
    found: dict[int, TableColumn | str] = {}
    for column, known, distinct, dates, texts in facts.iter_rows():
        place = places[int(column)]
        missing = known < len(raw)
        if distinct == 1 and not missing:
            found[place] = "it is constant"
        elif dates:
            found[place] = _DATE_REASON
        elif names_rows(distinct, known):
            found[place] = f"{distinct} different texts in {known} rows: it names them"
        else:
            found[place] = TableColumn(
                name=names[place], kind="category", categories=tuple(texts), missing=missing
            )
    return found


def names_rows(distinct: int, count: int) -> bool:
    """Whether so many different texts rather are names than categories."""
    return distinct > MOST_CATEGORIES and distinct > count / 2


# done


def encode(columns: Sequence[TableColumn], raw: Frame) -> tuple[np.ndarray, np.ndarray]:
    """The inputs of all rows, float32 N D, column by column; for each column, how many of its
    texts should be numbers but are none."""
    places = {name: place for place, name in enumerate(raw.base.columns)}
    starts = np.cumsum([0, *(column.width for column in columns)])
    x = np.zeros((len(raw), starts[-1]), np.float32)
    bad = np.zeros(len(columns), np.int64)
    for kind, put in (("number", _put_numbers), ("category", _put_categories)):
        for index in batches([n for n, column in enumerate(columns) if column.kind == kind]):
            chosen = [columns[n] for n in index]
            for rows, part in raw.stretches([places[column.name] for column in chosen]):
                bad[index] += put(x[rows], starts[index], chosen, part)
    return x, bad


def _put_numbers(
    x: np.ndarray, starts: np.ndarray, columns: Sequence[TableColumn], part: pl.DataFrame
) -> np.ndarray:
    """Fill in the inputs of number columns; returns as `numbers` does."""
    values, bad = numbers(part)
    missing = np.isnan(values)
    mean, std = (np.array([getattr(column, key) for column in columns]) for key in ("mean", "std"))
    scaled = (np.where(missing, mean, values) - mean) / std
    x[:, starts] = np.clip(scaled, -LARGEST, LARGEST)
    flagged = np.array([column.missing for column in columns])
    x[:, starts[flagged] + 1] = missing[:, flagged]
    return bad


def _put_categories(
    x: np.ndarray, starts: np.ndarray, columns: Sequence[TableColumn], part: pl.DataFrame
) -> int:
    """Fill in the inputs of category columns."""
    import polars as pl

    known = [
        (str(place), text, start + number)
        for place, (start, column) in enumerate(zip(starts.tolist(), columns, strict=True))
        for number, text in enumerate(column.categories)
    ]
    inputs = pl.DataFrame(known, schema=["column", "value", "input"], orient="row")
    found = _long(part).join(inputs, on=["column", "value"])
    x[found["row"].to_numpy(), found["input"].to_numpy()] = 1
    flagged = [n for n, column in enumerate(columns) if column.missing]
    if flagged:
        ends = starts[flagged] + np.array([len(columns[n].categories) for n in flagged])
        x[:, ends] = part.select(pl.all().is_null()).to_numpy()[:, flagged]
    return 0


def numbers(part: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Columns as float64 N D, NaN where there is none that fits into a float32.

    Also for each column how many of its texts are no numbers.
    """
    import polars as pl

    if not part.width:
        return np.empty((part.height, 0)), np.empty(0, int)
    parsed = part.cast(pl.Float64, strict=False)
    values = parsed.to_numpy(order="fortran")
    values = np.where(np.abs(values) <= LARGEST, values, np.nan)
    lost = np.array(parsed.null_count().row(0), int) - np.array(part.null_count().row(0), int)
    failed = np.flatnonzero(lost)
    if len(failed):
        names = part.columns
        text = pl.col([names[n] for n in failed])
        truth = pl.when(text.is_in(_TRUE)).then(1.0).when(text.is_in(_FALSE)).then(0.0)
        read = part.select(truth.name.keep()).to_numpy()
        values[:, failed] = np.where(np.isnan(values[:, failed]), read, values[:, failed])
        lost[failed] -= part.select(text.is_in(_WORDS).sum()).row(0)
    return values, lost


def first_text(part: pl.DataFrame) -> int:
    """The row of the first text of a column that is no number."""
    import polars as pl

    text = pl.nth(0)
    number = text.cast(pl.Float64, strict=False)
    bad = text.is_not_null() & number.is_null() & ~text.is_in(_WORDS)
    return int(part.select(bad.arg_true().first()).item())


def _long(part: pl.DataFrame) -> pl.DataFrame:
    """A row for each value: its row, column and text."""
    import polars as pl

    texts = part.cast(pl.String).with_row_index("row")
    return texts.unpivot(index="row", variable_name="column", value_name="value")
