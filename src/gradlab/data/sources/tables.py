"""Tables: CSV and Parquet files and data frames, whose columns become the inputs of a network.

A CSV is read as text. What is asked for is a column of its own, a class or a number; the others are
a `Table` field, which is fitted to the training split later. A group or a time that the split goes
by is no input.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlab.config import DataConfig
from gradlab.data.columns import Dense, Frame, numbered
from gradlab.data.dataset import RowNumbers, Schema, Source, Split
from gradlab.data.fields.base import Field
from gradlab.data.fields.label import Label
from gradlab.data.fields.number import Number
from gradlab.data.fields.table import Table
from gradlab.data.frames import given_frame, read_frame
from gradlab.data.sources import datasets
from gradlab.data.sources.download import fetch
from gradlab.data.tabular import LARGEST, batches, names_rows
from gradlab.errors import UnknownName, UserError, unknown
from gradlab.words import some

if TYPE_CHECKING:
    import polars as pl

MOST_CLASSES = 20
"""A target of whole numbers with more distinct values than this is a number, not a class."""


@datasets.register("titanic")
def titanic(config: DataConfig) -> Source:
    """891 passengers of the Titanic, who survived (Kaggle's training table), 2 classes."""
    path = fetch(
        "titanic",
        "titanic.csv",
        ("https://raw.githubusercontent.com/datasciencedojo/datasets/master/titanic.csv",),
        "4a437fde05fe5264e1701a7387ac6fb75393772ba38bb2c9c566405af5af4bd7",
    )
    return frame_source("titanic", *read_frame(path), asking(config, "Survived"))


def table_source(path: Path, config: DataConfig) -> Source:
    """The rows of a CSV or Parquet file; UserError when `config.target` is no column of it."""
    return frame_source(str(path), *read_frame(path), config)


def data_frame_source(data: Any, config: DataConfig) -> Source:
    """The rows of a polars or pandas data frame; UserError as of `table_source`."""
    return frame_source("data frame", given_frame(data, "the data"), (), config)


def asking(config: DataConfig, target: str) -> DataConfig:
    """The configuration with a named table's own target, unless another is given."""
    return config if config.target else config.model_copy(update={"target": target})


def frame_source(
    name: str, frame: pl.DataFrame, notes: tuple[str, ...], config: DataConfig
) -> Source:
    """The rows of a frame that is clean; the columns beside target, group and time are the inputs.

    UserError when there are no such columns, or nothing can be learnt from them.
    """
    import polars as pl

    target, aside = _special(name, frame, config)
    counters = _counters(frame, {target, *aside})
    said = [*notes, *(f"{column}: left out (it counts the rows)" for column in counters)]
    known = np.ones(frame.height, bool)
    for key in aside:
        lost = known & frame[key].is_null().to_numpy()
        if lost.any():
            said.append(f"{lost.sum()} rows without {key} left out")
        known &= ~lost
        if not known.any():
            raise UserError(f"{name}: {key!r} has no value in any row that could be used")
    targets: dict[str, Field] = {}
    columns: dict[str, Any] = {}
    if target is not None and config.target_kind == "none":
        said.append(f"{target}: left out (nothing is asked for)")
    elif target is not None:
        field, values, has, found = _read_target(name, frame[target].filter(known), config)
        known[known] = has
        said += found
        targets[field.type], columns[field.type] = field, Dense(values)
    rows = np.flatnonzero(known)
    keys = _keys(name, frame, rows, config, said)
    left = [c for c in frame if c.name not in {target, *aside, *counters}]
    if not left:
        beside = ", ".join(repr(key) for key in (target, *aside) if key is not None)
        why = f" ({', '.join(counters)}: counts the rows)" if counters else ""
        raise UserError(f"{name}: there is no column beside {beside} to learn from{why}")
    columns["table"] = Frame(pl.DataFrame(left), None if known.all() else rows)
    return Source(
        name,
        Schema(inputs={"table": Table()}, targets=targets),
        {"train": Split(columns, RowNumbers(rows + 1))},
        tuple(said),
        stratify="label" if "label" in targets else "",
        keys=keys,
    )


def _special(
    name: str, frame: pl.DataFrame, config: DataConfig
) -> tuple[str | None, tuple[str, ...]]:
    """The column that is asked for, and those that the split goes by."""
    target = config.target
    aside = tuple(key for key in (config.group, config.time) if key is not None)
    if len(aside) > 1:
        raise UserError(
            f"{name}: the split goes by one column, found two: --data.group {config.group} and "
            f"--data.time {config.time}. Leave one of them out"
        )
    if target is None and config.target_kind != "none":
        raise UserError(
            f"{name}: which column is to be predicted? Give it with --data.target. "
            f"Columns: {some(frame.columns, 30)}{_header_hint(frame)}"
        )
    for key in (target, *aside):
        if key is not None and key not in frame.columns:
            error = unknown(f"column of {name}:", key, frame.columns)
            raise UnknownName(f"{error}{_header_hint(frame)}")
    if target in aside:
        raise UserError(
            f"{name}: {target!r} is to be predicted, so the split cannot go by it: give another "
            "column to --data.group or --data.time, or leave them out"
        )
    return target, aside


def _header_hint(frame: pl.DataFrame) -> str:
    names = [re.sub(r"_duplicated_\d+$", "", name) for name in frame.columns]
    if not any(re.fullmatch(r"[-+]?[\d.]+([eE][-+]?\d+)?", name) for name in names):
        return ""
    return ". If the first line holds values, put a line of column names above it"


def _counters(frame: pl.DataFrame, others: set[str | None]) -> list[str]:
    """Columns that are 0, 1, 2, ... or 1, 2, 3, ...: they say where a row is, not what it is."""
    import polars as pl

    if frame.height <= 20:
        return []
    columns = zip(frame.schema.items(), frame.row(0), strict=True)
    places = [
        place
        for place, ((key, dtype), first) in enumerate(columns)
        if key not in others
        and (dtype.is_integer() or dtype == pl.String)
        and str(first) in ("0", "1")
    ]
    for rows in (20, frame.height):  # the first rows leave out nearly all of them
        kept: list[int] = []
        for batch in batches(places, rows):
            part = Frame(frame).part(batch, slice(0, rows))
            count = part.select(pl.all().cast(pl.Int64, strict=False) - pl.int_range(pl.len()))
            steady = count.select((pl.all() == pl.all().first()).all(ignore_nulls=False)).row(0)
            kept += [place for place, one in zip(batch, steady, strict=True) if one]
        places = kept
    names = frame.columns
    return [names[place] for place in places]


def _read_target(
    name: str, column: pl.Series, config: DataConfig
) -> tuple[Field, np.ndarray, np.ndarray, tuple[str, ...]]:
    """The field so far, the values of the rows that have one, which rows have one, and notes."""
    import polars as pl

    where, target, kind = (
        f"{name}: the target column {column.name!r}",
        column.name,
        config.target_kind,
    )
    values = column.alias("value")
    values = values.cast(pl.String) if column.dtype == pl.Boolean else values
    if values.dtype == pl.String:
        parsed = values.cast(pl.Float64, strict=False)
        values = parsed if parsed.null_count() == values.null_count() else values
    elif not values.dtype.is_numeric() and values.null_count() < len(values):
        raise UserError(f"{where} holds {column.dtype} values: expected numbers or text")
    if values.dtype != pl.String:
        values = values.cast(pl.Float64)
        values = values.set(~values.is_between(-LARGEST, LARGEST), None)
    known = values.is_not_null().to_numpy()
    values = values.drop_nulls()
    distinct = values.unique().sort()
    if not known.any():
        raise UserError(f"{where} has no value in any of the {len(column)} rows")
    if len(distinct) == 1:
        raise UserError(
            f"{where} is {distinct[0]!r} in every row: there is nothing to learn; "
            "give rows of at least two classes, or another column"
        )
    notes: tuple[str, ...] = ()
    if len(values) < len(column):
        notes = (f"{len(column) - len(values)} rows without {target} left out",)
    is_text = values.dtype == pl.String
    if is_text and names_rows(len(distinct), len(values)):
        raise UserError(
            f"{where} has {len(distinct)} different texts in {len(values)} rows, such as "
            f"{distinct[0]!r}: these are no classes"
        )
    if is_text and kind == "number":
        raise UserError(
            f"{where} holds texts such as {distinct[0]!r}, which are no numbers to predict: leave "
            "out --data.target_kind, or correct the column"
        )
    whole = not is_text and bool((distinct == distinct.round()).all())
    few = whole and len(distinct) <= MOST_CLASSES
    if kind == "class" or (kind == "auto" and (is_text or few)):
        classes = tuple(value if is_text else f"{value:.10g}" for value in distinct)
        codes = values.replace_strict(distinct, range(len(distinct)), return_dtype=pl.Int64)
        said = "texts" if is_text else "whole numbers" if whole else "numbers"
        note = f"{target}: {len(classes)} different {said}, so classes (classification)"
        if kind == "auto" and not is_text:
            note += "; choose --data.target_kind number to estimate it"
        return Label(classes=classes, column=target), codes.to_numpy(), known, (*notes, note)
    notes += (f"{target}: {len(distinct)} different numbers, so a number (regression)",)
    return Number(column=target), values.to_numpy().astype(np.float32), known, notes


# What a split may go by


def _keys(
    name: str, frame: pl.DataFrame, rows: np.ndarray, config: DataConfig, said: list[str]
) -> dict[str, np.ndarray]:
    """A value of each row by which it is split."""
    import polars as pl

    keys: dict[str, np.ndarray] = {}
    if config.group is not None:
        keys["group"] = numbered(Frame(pl.DataFrame([frame[config.group]]), rows).marks())
        count = len(np.unique(keys["group"]))
        said.append(f"{config.group}: no input; each of its {count} values stays in one split")
    if config.time is not None:
        keys["time"] = _times(f"{name}: {config.time}", frame[config.time].gather(rows), rows + 1)
        said.append(f"{config.time}: no input; the rows that are last by it are held out")
    return keys


def _times(where: str, column: pl.Series, numbers: np.ndarray) -> np.ndarray:
    """Numbers or dates as numbers that can be sorted; UserError names the first that is neither."""
    import polars as pl

    if column.dtype.is_temporal():
        return np.asarray(column.to_physical())
    if not (column.dtype.is_numeric() or column.dtype == pl.String):
        raise UserError(f"{where} holds {column.dtype} values: expected numbers or dates")
    whole = column.dtype.is_integer() or column.dtype == pl.String
    for kind in (pl.Int64, pl.Float64)[not whole :]:
        parsed = column.cast(kind, strict=False)
        parsed = parsed.fill_nan(None) if kind == pl.Float64 else parsed
        if not parsed.null_count():
            return np.asarray(parsed)
    moments = [_moment(text) for text in column]
    absent = [place for place, moment in enumerate(moments) if moment is None]
    if not absent:
        return np.array(moments, np.int64)
    first = next((place for place in absent if parsed[place] is None), absent[0])
    raise UserError(
        f"{where} is {column[first]!r} in row {numbers[first]}: expected a number in every row, or "
        "a date in every row, written as 2020-01-31 or 2020-01-31T14:30"
    )


def _moment(text: str) -> int | None:
    """Microseconds since 1970 of an ISO date, with a time or without; None if it is none.

    >>> _moment("1970-01-02"), _moment("1970-01"), _moment("1970-01-01T01:00+01:00"), _moment("2/1")
    (86400000000, 0, 0, None)
    """
    try:
        moment = datetime.fromisoformat(f"{text}-01" if re.fullmatch(r"\d{4}-\d\d", text) else text)
    except ValueError:
        return None
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - _EPOCH) // timedelta(microseconds=1)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
