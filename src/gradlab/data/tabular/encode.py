"""Rows of a table as the values that are kept of them, and these as inputs of a network."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradlab.data.columns import Frame
from gradlab.data.tabular.column import LARGEST, TableColumn, batches, long
from gradlab.data.tabular.dates import moments, part_of
from gradlab.data.tabular.words import bag
from gradlab.data.tabular.written import numbers
from gradlab.wording import some

if TYPE_CHECKING:
    import polars as pl

Put = Callable[[np.ndarray, np.ndarray, Sequence[TableColumn], "pl.DataFrame"], np.ndarray]
"""Fills in what is kept of some columns: from what is kept of these rows, where each of the columns
begins in it, the columns, the rows. It returns which texts are no numbers or dates, bool N C."""
SHOWN = 3


def encode(columns: Sequence[TableColumn], raw: Frame) -> tuple[np.ndarray, np.ndarray]:
    """What is kept of all rows, float32 N M, column by column; for each column, how many of its
    texts should be numbers or dates but are none."""
    places = {name: place for place, name in enumerate(raw.base.columns)}
    starts = np.cumsum([0, *(column.kept for column in columns)])
    x = np.zeros((len(raw), starts[-1]), np.float32)
    bad = np.zeros(len(columns), np.int64)
    for kind, put in _PUT.items():
        for index in batches([n for n, column in enumerate(columns) if column.kind == kind]):
            chosen = [columns[n] for n in index]
            for rows, part in raw.stretches([places[column.name] for column in chosen]):
                bad[index] += put(x[rows], starts[index], chosen, part).sum(axis=0)
    return x, bad


def unreadable(columns: Sequence[TableColumn], raw: Frame) -> np.ndarray:
    """Which values should be numbers or dates but are none: bool N C, for a few rows."""
    places = {name: place for place, name in enumerate(raw.base.columns)}
    found = np.zeros((len(raw), len(columns)), bool)
    for kind, read in (("number", numbers), ("date", moments)):
        for index in batches([n for n, column in enumerate(columns) if column.kind == kind]):
            chosen = [columns[n] for n in index]
            for rows, part in raw.stretches([places[column.name] for column in chosen]):
                found[rows, index] = read(part, chosen)[1]
    return found


def _put_numbers(
    x: np.ndarray, starts: np.ndarray, columns: Sequence[TableColumn], part: pl.DataFrame
) -> np.ndarray:
    """(value - mean) / std, 0 where it is missing; then 1 where it is missing."""
    values, bad = numbers(part, columns)
    missing = np.isnan(values)
    mean, std = (np.array([getattr(column, key) for column in columns]) for key in ("mean", "std"))
    scaled = (np.where(missing, mean, values) - mean) / std
    x[:, starts] = np.clip(scaled, -LARGEST, LARGEST)
    flagged = np.array([column.missing for column in columns])
    x[:, starts[flagged] + 1] = missing[:, flagged]
    return bad


def _put_categories(
    x: np.ndarray, starts: np.ndarray, columns: Sequence[TableColumn], part: pl.DataFrame
) -> np.ndarray:
    """The number of the category's input; -1 for one that has none."""
    import polars as pl

    known = [
        (str(place), text, code)
        for place, column in enumerate(columns)
        for code, text in enumerate(column.categories)
    ]
    codes = pl.DataFrame(
        known, schema={"column": pl.String, "value": pl.String, "code": pl.Int32}, orient="row"
    )
    found = long(part).join(codes, on=["column", "value"])
    row, place = found["row"].to_numpy(), found["column"].cast(pl.Int32).to_numpy()
    code = np.full((part.height, len(columns)), -1, np.int32)
    code[row, place] = found["code"].to_numpy()
    for n, column in enumerate(columns):
        if not (column.others or column.missing):
            continue
        absent = part.to_series(n).is_null().to_numpy()
        if column.others:
            rest = np.flatnonzero((code[:, n] < 0) & ~absent)
            shared = _shared(part.to_series(n)[rest], column.others)
            code[rest, n] = len(column.categories) + shared
        if column.missing:
            code[absent, n] = len(column.categories) + column.others
    x[:, starts] = code
    return np.zeros((1, len(columns)), bool)


def _shared(texts: pl.Series, count: int) -> np.ndarray:
    """Which of the shared inputs each text has: a hash that is the same on every machine."""
    import polars as pl

    if count == 1:
        return np.zeros(len(texts), np.int32)
    different = texts.cast(pl.String).unique()
    place = [zlib.crc32(text.encode("utf-8", "surrogatepass")) % count for text in different]
    return texts.cast(pl.String).replace_strict(different, place, return_dtype=pl.Int32).to_numpy()


def _put_dates(
    x: np.ndarray, starts: np.ndarray, columns: Sequence[TableColumn], part: pl.DataFrame
) -> np.ndarray:
    """Each part as (value - mean) / std, 0 where it is missing; then 1 where it is missing."""
    days, bad = moments(part, columns)
    for n, (start, column) in enumerate(zip(starts.tolist(), columns, strict=True)):
        for place, one in enumerate(column.parts, start):
            values = part_of(days[:, n], one.name, column.last)
            x[:, place] = np.nan_to_num((values - one.mean) / one.std)
        if column.missing:
            x[:, start + len(column.parts)] = np.isnan(days[:, n])
    return bad


def _put_texts(
    x: np.ndarray, starts: np.ndarray, columns: Sequence[TableColumn], part: pl.DataFrame
) -> np.ndarray:
    """The bag of words; then 1 where there is no text."""
    for n, (start, column) in enumerate(zip(starts.tolist(), columns, strict=True)):
        end = start + len(column.categories)
        x[:, start:end] = bag(part.to_series(n), column.categories)
        if column.missing:
            x[:, end] = part.to_series(n).is_null().to_numpy()
    return np.zeros((1, len(columns)), bool)


_PUT: dict[str, Put] = {
    "number": _put_numbers,
    "category": _put_categories,
    "date": _put_dates,
    "text": _put_texts,
}


def surprises(columns: Sequence[TableColumn], raw: Frame) -> tuple[str, ...]:
    """What is unlike the training split in new rows, by column and with counts.

    Categories that have no input of their own, and numbers beyond the training range by more than
    half of its width.
    """
    places = {name: place for place, name in enumerate(raw.base.columns)}
    found: dict[str, str] = {}
    for kind, say in (("number", _far), ("category", _unknown)):
        for index in batches([n for n, column in enumerate(columns) if column.kind == kind]):
            chosen = [columns[n] for n in index]
            found |= say(chosen, raw, [places[column.name] for column in chosen])
    return tuple(found[column.name] for column in columns if column.name in found)


def _far(columns: Sequence[TableColumn], raw: Frame, places: Sequence[int]) -> dict[str, str]:
    """Numbers far outside the training range."""
    low, high = (np.array([getattr(c, key) for c in columns]) for key in ("low", "high"))
    room = (high - low) / 2
    count = np.zeros(len(columns), int)
    most: dict[int, float] = {}
    for _, part in raw.stretches(places):
        values, _ = numbers(part, columns)
        beyond = np.nan_to_num(np.maximum(low - room - values, values - high - room), nan=-1.0)
        count += (beyond > 0).sum(axis=0)
        for n in np.flatnonzero((beyond > 0).any(axis=0)).tolist():
            value = float(values[beyond[:, n].argmax(), n])
            middle = (low[n] + high[n]) / 2
            most[n] = max(most.get(n, middle), value, key=lambda v: abs(v - middle))
    return {
        columns[n].name: f"{columns[n].name}: {_values(int(count[n]))} far outside the training "
        f"range ({low[n]:.4g} to {high[n]:.4g}), such as {value:.4g}"
        for n, value in most.items()
    }


def _unknown(columns: Sequence[TableColumn], raw: Frame, places: Sequence[int]) -> dict[str, str]:
    """Categories that have no input of their own."""
    import polars as pl

    known = [(str(n), text) for n, column in enumerate(columns) for text in column.categories]
    seen = pl.DataFrame(known, schema={"column": pl.String, "value": pl.String}, orient="row")
    counts = pl.concat(
        [
            long(part)
            .drop_nulls("value")
            .join(seen, on=["column", "value"], how="anti")
            .group_by("column", "value")
            .len("count")
            for _, part in raw.stretches(places)
        ]
    )
    facts = counts.group_by("column").agg(
        pl.col("count").sum(), pl.col("value").unique().sort().head(SHOWN + 1)
    )
    found = {}
    for key, count, texts in facts.iter_rows():
        column = columns[int(key)]
        shared = "the input that rare ones share" if column.others else "none of its categories"
        found[column.name] = (
            f"{column.name}: {_values(count)} not among its {len(column.categories)} categories of "
            f"training ({some(map(repr, texts), SHOWN)}), read as {shared}"
        )
    return found


def _values(count: int) -> str:
    return f"{count} value" + ("" if count == 1 else "s")
