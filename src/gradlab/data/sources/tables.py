"""Tables: CSV and Parquet files, whose columns become the inputs of a network.

A CSV is read as text. What a column holds (numbers or categories), its mean and its categories
are learnt from the training split, in `encode`; the other splits and new rows follow.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlab.config import DataConfig
from gradlab.data.dataset import Column, Parts, Schema, Source, Split
from gradlab.data.sources import datasets
from gradlab.data.sources.download import fetch
from gradlab.data.sources.frames import clean, read_frame
from gradlab.errors import UnknownName, UserError, unknown

if TYPE_CHECKING:
    import polars as pl

MOST_CLASSES = 20
"""A target of whole numbers with more distinct values than this is a number, not a class."""
MOST_CATEGORIES = 20
"""Inputs that a category column becomes at most, one for each of its most frequent values."""
LARGEST = float(np.finfo(np.float32).max)

_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
_DATE = r"^(\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})([ T].*)?$"
_DATE_REASON = "a date; make columns such as year, month or weekday of it"


@datasets.register("titanic")
def titanic(config: DataConfig) -> Source:
    """891 passengers of the Titanic, who survived (Kaggle's training table), 2 classes."""
    path = fetch(
        "titanic",
        "titanic.csv",
        ("https://raw.githubusercontent.com/datasciencedojo/datasets/master/titanic.csv",),
        "4a437fde05fe5264e1701a7387ac6fb75393772ba38bb2c9c566405af5af4bd7",
    )
    return frame_source(
        "titanic", *read_frame(path), config.target or "Survived", config.target_kind
    )


def table_source(path: Path, config: DataConfig) -> Source:
    """The rows of a CSV or Parquet file; UserError when `config.target` is no column of it."""
    return frame_source(str(path), *read_frame(path), config.target, config.target_kind)


def frame_source(
    name: str,
    frame: pl.DataFrame,
    notes: tuple[str, ...],
    target: str | None,
    kind: str = "auto",
) -> Source:
    """The rows of a frame, `target` the column to predict; the inputs are encoded later.

    UserError when there is no such column, or nothing can be learnt from it.
    """
    if target is None:
        raise UserError(
            f"{name}: which column is to be predicted? Give it with --data.target. "
            f"Columns: {', '.join(frame.columns)}{_header_hint(frame)}"
        )
    if target not in frame.columns:
        error = unknown(f"column of {name}:", target, frame.columns)
        raise UnknownName(f"{error}{_header_hint(frame)}")
    counters = [c for c in frame.columns if c != target and _counts_rows(frame[c])]
    notes += tuple(f"{c}: left out (it counts the rows)" for c in counters)
    schema, y, known, said = _read_target(name, frame[target], kind)
    ids = tuple(map(str, np.flatnonzero(known) + 1))
    x: Any = frame.drop(target, *counters).filter(known)
    if not x.width:
        raise UserError(f"{name}: there is no column beside {target!r} to predict it from")
    return Source(name, schema, {"train": Split(x, y, ids)}, (*notes, *said), groups, encode)


def _header_hint(frame: pl.DataFrame) -> str:
    names = [re.sub(r"_duplicated_\d+$", "", name) for name in frame.columns]
    if not any(re.fullmatch(r"[-+]?[\d.]+([eE][-+]?\d+)?", name) for name in names):
        return ""
    return ". If the first line holds values, put a line of column names above it"


def _counts_rows(column: pl.Series) -> bool:
    """Whether a column is 0, 1, 2, ... or 1, 2, 3, ...: it says where a row is, not what."""
    import polars as pl

    if not (column.dtype.is_integer() or column.dtype == pl.String) or len(column) <= 20:
        return False
    if str(column[0]) not in ("0", "1"):  # saves most columns the rest
        return False
    count = column.cast(pl.Int64, strict=False)
    offset = count - pl.int_range(len(count), eager=True)
    return bool((offset == offset[0]).all(ignore_nulls=False))


def _read_target(
    name: str, column: pl.Series, kind: str
) -> tuple[Schema, np.ndarray, np.ndarray, tuple[str, ...]]:
    """The schema so far, y of the rows that have one, which rows have one, and notes."""
    import polars as pl

    where, target = f"{name}: the target column {column.name!r}", column.name
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
    if is_text and _names_rows(len(distinct), len(values)):
        raise UserError(
            f"{where} has {len(distinct)} different texts in {len(values)} rows, such as "
            f"{distinct[0]!r}: these are no classes"
        )
    if is_text and kind == "number":
        raise UserError(
            f"{where} holds texts such as {distinct[0]!r}, which are no numbers to predict: leave "
            "out --data.target_kind, or mend the column"
        )
    whole = not is_text and bool((distinct == distinct.round()).all())
    few = whole and len(distinct) <= MOST_CLASSES
    if kind == "class" or (kind == "auto" and (is_text or few)):
        classes = tuple(value if is_text else f"{value:.10g}" for value in distinct)
        codes = values.replace_strict(distinct, range(len(distinct)), return_dtype=pl.Int64)
        said = "texts" if is_text else "whole numbers" if whole else "numbers"
        notes += (f"{target}: {len(classes)} different {said}, so classes (classification)",)
        schema = Schema(
            kind="table", shape=(0,), target="class", classes=classes, target_name=target
        )
        return schema, codes.to_numpy(), known, notes
    notes += (f"{target}: {len(distinct)} different numbers, so a number (regression)",)
    schema = Schema(kind="table", shape=(0,), target="number", target_name=target)
    return schema, values.to_numpy().astype(np.float32), known, notes


def groups(frame: pl.DataFrame) -> np.ndarray:
    """A number for each row, the same for equal rows, counted from 0 in order of appearance."""
    import polars as pl

    places = {name: str(place) for place, name in enumerate(frame.columns)}
    numbered = frame.rename(places).with_row_index("row")
    first = numbered.select(pl.col("row").first().over(places.values()))
    return np.unique(first.to_series().to_numpy(), return_inverse=True)[1]


def encode(schema: Schema, parts: Parts) -> tuple[Schema, Parts, tuple[str, ...]]:
    """Frames as float32 N D arrays, by columns that are learnt from the training split alone."""
    frames: dict[str, Any] = {name: split.x for name, split in parts.items()}
    columns, notes = [], []
    for series in frames["train"]:
        column = learn_column(series)
        if isinstance(column, str):
            notes.append(f"{series.name}: left out ({column})")
        else:
            columns.append(column)
    if not columns:
        reasons = "; ".join(notes)
        raise UserError(f"there is no column to predict {schema.target_name!r} from: {reasons}")
    for split, frame in frames.items():
        for name, bad in _no_numbers(columns, frame).items():
            notes.append(f"{name}: {len(bad)} values of {split} are no numbers, read as missing")
    width = sum(column.width for column in columns)
    notes.append(f"{len(columns)} columns become {width} inputs")
    schema = schema.model_copy(update={"columns": tuple(columns), "shape": (width,)})
    encoded: Parts = {
        name: replace(split, x=apply(columns, frames[name])) for name, split in parts.items()
    }
    return schema, encoded, tuple(notes)


def learn_column(column: pl.Series) -> Column | str:
    """How a column of the training split becomes inputs, or the reason why it is left out."""
    import polars as pl

    name, column = column.name, column.alias("value")  # some names polars takes for patterns
    if column.null_count() == len(column):
        return "it has no value"
    if column.dtype.is_temporal():
        return _DATE_REASON
    if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.String)):
        return f"{column.dtype} values cannot be inputs"
    frame = column.to_frame()
    if not _no_numbers([Column(name="value", kind="number")], frame):
        values = frame.select(_number(frame, "value")).to_series()
        numbers = values.drop_nulls().to_numpy()
        missing = len(numbers) < len(column)
        if not len(numbers):
            return "it has no value"
        is_constant = numbers.min() == numbers.max()
        if is_constant and not missing:
            return "it is constant"
        mean, std = float(numbers.mean()), 0.0 if is_constant else float(numbers.std())
        return Column(name=name, kind="number", mean=mean, std=std or 1.0, missing=missing)
    known = column.drop_nulls()
    missing = len(known) < len(column)
    distinct = known.n_unique()
    if distinct == 1 and not missing:
        return "it is constant"
    if known.str.contains(_DATE).all():
        return _DATE_REASON
    if _names_rows(distinct, len(known)):
        return f"{distinct} different texts in {len(known)} rows: it names them"
    counts = known.value_counts(name="count").sort(["count", "value"], descending=[True, False])
    texts = tuple(counts["value"].head(MOST_CATEGORIES).sort())
    return Column(name=name, kind="category", categories=texts, missing=missing)


def _names_rows(distinct: int, count: int) -> bool:
    """Whether so many different texts rather are names than categories."""
    return distinct > MOST_CATEGORIES and distinct > count / 2


def _column(frame: pl.DataFrame, name: str) -> pl.Expr:
    """A column by its place, because polars takes some names for patterns, such as "*"."""
    import polars as pl

    return pl.nth(frame.get_column_index(name))


def _number(frame: pl.DataFrame, name: str) -> pl.Expr:
    """A column as float64; null where it holds none that fits into a float32."""
    import polars as pl

    text = _column(frame, name)
    value = text.cast(pl.Float64, strict=False)
    if frame.schema[name] == pl.String:
        boolean = pl.when(text.is_in(_TRUE)).then(1.0).when(text.is_in(_FALSE)).then(0.0)
        value = value.fill_null(boolean)
    return pl.when(value.is_between(-LARGEST, LARGEST)).then(value)


def _no_numbers(columns: Sequence[Column], frame: pl.DataFrame) -> dict[str, pl.Series]:
    """For each number column with text that is no number: the rows where it stands."""
    import polars as pl

    found = {}
    for column in columns:
        if column.kind == "category" or frame.schema[column.name] != pl.String:
            continue
        text = _column(frame, column.name)
        number = text.cast(pl.Float64, strict=False)
        other = text.is_in((*_TRUE, *_FALSE, "None", "none"))  # a missing number, but a category
        rows = frame.select((text.is_not_null() & number.is_null() & ~other).arg_true())
        if rows.height:
            found[column.name] = rows.to_series()
    return found


def apply(columns: Sequence[Column], frame: pl.DataFrame) -> np.ndarray:
    """The inputs of a frame's rows: float32 N D, column by column.

    A number becomes (value - mean) / std, a missing one 0; a category one input for each of its
    categories, 1 or 0; then, where the training split lacked values, 1 for a missing one.
    """
    import polars as pl

    inputs = []
    for column in columns:
        value = _column(frame, column.name).cast(pl.String)
        if column.kind == "number":
            value = _number(frame, column.name)
            scaled = (value.fill_null(column.mean) - column.mean) / column.std
            inputs.append(scaled.clip(-LARGEST, LARGEST))
        inputs += [(value == category).fill_null(False) for category in column.categories]
        if column.missing:
            inputs.append(value.is_null())
    cast = [value.cast(pl.Float32).alias(str(index)) for index, value in enumerate(inputs)]
    return np.ascontiguousarray(frame.select(cast).to_numpy(order="c"))


def read_rows(
    schema: Schema, rows: Path | str | list[dict[str, Any]]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """New rows as inputs (float32 N D) and their numbers, counted from 1.

    `rows` is a CSV or Parquet file, or a dictionary for each row. The target column and others
    that the schema does not know may be there or not. UserError names the columns that are
    missing, and a text where a number should be.
    """
    import polars as pl

    names = [column.name for column in schema.columns]
    if isinstance(rows, list):
        where = "the rows given"
        if not rows:
            raise UserError("there are no rows: expected one dictionary for each")
        for number, row in enumerate(rows, 1):
            _has_columns(names, row, f"row {number}")
        # As text, as a CSV would have them, so that both are read alike.
        texts = {n: [None if row[n] is None else str(row[n]) for row in rows] for n in names}
        frame = clean(pl.DataFrame(texts, schema=dict.fromkeys(names, pl.String)))
    else:
        where = str(rows)
        frame, _ = read_frame(Path(rows))
        _has_columns(names, frame.columns, where)
    for name, bad in _no_numbers(schema.columns, frame).items():
        text = frame[name][int(bad[0])]
        raise UserError(f"{where}: {name} is {text!r} in row {bad[0] + 1}: expected a number")
    return apply(schema.columns, frame), tuple(str(n + 1) for n in range(frame.height))


def _has_columns(names: list[str], found: Any, where: str) -> None:
    absent = [name for name in names if name not in found]
    if absent:
        raise UserError(
            f"{where} lacks the columns {', '.join(absent)}; it has {', '.join(map(str, found))}"
        )
