"""A column of a table, and how it becomes inputs; what the files beside this one share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field as Described

from gradlab.config import Config
from gradlab.data.columns import CELLS
from gradlab.wording import some

if TYPE_CHECKING:
    import polars as pl

LARGEST = float(np.finfo(np.float32).max)
BATCH = 256
"""Columns that are looked at together: a polars call costs more than a short column."""


class DatePart(Config):
    """A number that is made of a date: one input, (value - mean) / std."""

    name: Literal["year", "month", "day", "weekday", "hour", "days"] = Described(
        description="weekday: 1 is Monday; days: since the training split's last"
    )
    mean: float = Described(description="in the training split; fills missing ones")
    std: float = Described(description="standard deviation, of the same")


class TableColumn(Config):
    """How one column of a table becomes inputs; learnt from the training split."""

    name: str = Described(description="the column's name")
    kind: Literal["number", "category", "date", "text"] = Described(description="what it holds")
    mean: float = Described(0.0, description="of the training split's numbers; fills missing ones")
    std: float = Described(1.0, description="standard deviation, of the same")
    low: float = Described(0.0, description="the smallest of the same")
    high: float = Described(0.0, description="the largest of the same")
    decimal: Literal[".", ","] = Described(".", description="between the whole and its parts")
    sign: str = Described("", description="what stands beside its numbers: a currency, or %")
    categories: tuple[str, ...] = Described((), description="categories or words, one input each")
    others: int = Described(0, description="inputs that all other categories share (0: all zeros)")
    format: str = Described("", description="how its dates are written")
    last: float = Described(0.0, description="the last date, in days since 1970")
    parts: tuple[DatePart, ...] = Described((), description="what its dates become")
    missing: bool = Described(False, description="whether an input says that the value is missing")
    note: str = Described("", description="how it is read, where that is not plain")

    @property
    def width(self) -> int:
        """How many inputs it becomes."""
        if self.kind == "number":
            return 1 + self.missing
        return len(self.categories) + self.others + len(self.parts) + self.missing

    @property
    def kept(self) -> int:
        """How many values are kept of it: a category's is the number of its input, or -1."""
        return 1 if self.kind == "category" else self.width

    def written(self, value: Any) -> str | None:
        """A value held in Python as the column is written: 1.054 may be 1,054 there.

        >>> TableColumn(name="n", kind="number", decimal=",").written(1.054)
        '1,054'
        """
        if value is None:
            return None
        is_number = self.kind == "number" and not isinstance(value, str)
        return str(value).replace(".", self.decimal) if is_number else str(value)

    def show(self, values: np.ndarray) -> str:
        """What its kept values say, in the column's own units."""
        return f"{self.name} {self._shown(np.asarray(values, np.float64))}"

    def _shown(self, values: np.ndarray) -> str:
        if self.kind == "category":
            code, known = int(values[0]), len(self.categories)
            if code == known + self.others and self.missing:
                return "missing"
            return self.categories[code] if 0 <= code < known else "other"
        if self.missing and values[-1]:
            return "missing"
        if self.kind == "number":
            return _plain(float(values[0]), self.std, self.mean)
        if self.kind == "text":
            words = [self.categories[n] for n in np.flatnonzero(values[: len(self.categories)])]
            return repr(some(words, 5)) if words else "other words"
        parts = zip(self.parts, values, strict=False)
        return ", ".join(f"{p.name} {_plain(float(value), p.std, p.mean)}" for p, value in parts)


def _plain(value: float, std: float, mean: float) -> str:
    """A standardised value in its own units; what float32 leaves of nothing is nothing.

    >>> _plain(-0.4743416, 1.1027433, 0.52307695)
    '0'
    """
    found = value * std + mean
    return f"{0.0 if abs(found) < 1e-6 * max(std, abs(mean)) else found:.4g}"


def batches(places: Sequence[int], rows: int = 1) -> Iterator[list[int]]:
    """Places of columns, so many together as can be looked at over so many rows at once."""
    step = max(min(BATCH, CELLS // max(rows, 1)), 1)
    for start in range(0, len(places), step):
        yield list(places[start : start + step])


def is_plain(dtype: Any) -> bool:
    """Whether a column of this type can be inputs: numbers, truth values, text, dates, nothing."""
    import polars as pl

    plain = (pl.Boolean, pl.String, pl.Null, pl.Date, pl.Datetime, pl.Duration)
    return bool(dtype.is_numeric() or dtype in plain)


def long(part: pl.DataFrame) -> pl.DataFrame:
    """A row for each value: its row, column (its name in `part`) and text."""
    import polars as pl

    texts = part.cast(pl.String).with_row_index("row")
    return texts.unpivot(index="row", variable_name="column", value_name="value")
