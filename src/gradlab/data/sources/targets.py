"""The column of a table that is asked for: a class of several, or a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from gradlab.config import DataConfig
from gradlab.data.fields.base import Field
from gradlab.data.fields.label import Label
from gradlab.data.fields.number import Number
from gradlab.data.tabular import LARGEST, Decimal, names_rows, numbers_in
from gradlab.errors import UserError

if TYPE_CHECKING:
    import polars as pl

MOST_CLASSES = 20
"""A target of whole numbers with more distinct values than this is a number, not a class."""


def read_target(
    name: str, column: pl.Series, config: DataConfig, decimal: Callable[[], Decimal]
) -> tuple[Field, np.ndarray, np.ndarray, tuple[str, ...]]:
    """The field so far, the values of the rows that have one, which rows have one, and notes.

    `decimal` finds the decimal sign of the file, where the column's own values do not tell.
    """
    import polars as pl

    where, target, kind = (
        f"{name}: the target column {column.name!r}",
        column.name,
        config.target_kind,
    )
    values = column.alias("value")
    values = values.cast(pl.String) if column.dtype == pl.Boolean else values
    notes: tuple[str, ...] = ()
    if values.dtype == pl.String:
        values, said = numbers_in(values, decimal)
        notes = (f"{target}: {said}",) if said else ()
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
    if len(values) < len(column):
        notes += (f"{len(column) - len(values)} rows without {target} left out",)
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
