"""A table as series: which column is the time, which is forecast, which tell the series apart.

The rule for what is missing: rows are put in the order of time; a step that lacks its row gets one;
a missing value is the last one known before it. Nothing is ever learnt from, or measured on, a
target that was missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field as Described

from gradlab.config import Config, DataConfig
from gradlab.data.columns import Frame
from gradlab.data.steps import Step, calendar, periods_of, step_of, wave_names
from gradlab.data.tabular import decimal_sign, numbers_in
from gradlab.data.windows import Timeline
from gradlab.errors import UserError, unknown
from gradlab.wording import counted, some

if TYPE_CHECKING:
    import polars as pl

LONG = ("unique_id", "ds", "y")
"""Columns of the long form: the series, the time, the value."""
MOST_CATEGORIES = 20
"""A column of more different texts is no variable of a series."""


class Layout(Config):
    """The columns of series in a table, and the step of time between its rows."""

    time: tuple[str, ...] = Described(description="one column of stamps, or year, month, day, ...")
    series: str = Described("", description="the column that tells series apart")
    target: str = Described(description="what is forecast")
    numbers: tuple[str, ...] = Described((), description="variables that are numbers")
    categories: dict[str, tuple[str, ...]] = Described({}, description="those of a few texts")
    step: Step = Described(Step(), description="from one row to the next")
    periods: tuple[str, ...] = Described((), description="what of the calendar is a variable")

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of what stands in each step, in order."""
        texts = (f"{name}={value}" for name, values in self.categories.items() for value in values)
        return (*self.numbers, *texts, *wave_names(self.periods))


@dataclass(frozen=True)
class Prepared:
    """Series of a table, step by step.

    values: M F, without gaps; known: M, whether the target was there; raw: its values, M, numbers
    (NaN where there is none) or texts (None).
    """

    timeline: Timeline
    values: np.ndarray
    known: np.ndarray
    raw: np.ndarray
    notes: tuple[str, ...]


def layout_of(name: str, frame: pl.DataFrame, config: DataConfig) -> tuple[Layout, tuple[str, ...]]:
    """The layout of a table, as a person has named its columns, else by the long form."""
    long = {"unique_id", "ds", "y"} <= set(frame.columns)
    target = config.target or ("y" if long or "y" in frame.columns else "")
    time = tuple((config.time or "").split(",")) if config.time else (("ds",) if long else ())
    series = config.series or ("unique_id" if long else "")
    if not time:
        found = [key for key in frame.columns if key != target and _looks_like_time(frame[key])]
        if len(found) != 1:
            raise UserError(
                f"{name}: which column is the time? Give it with --data.time. Columns: "
                f"{some(frame.columns, 30)}"
            )
        time = (found[0],)
    if not target:
        raise UserError(
            f"{name}: what is to be forecast? Give its column with --data.target. Columns: "
            f"{some(frame.columns, 30)}"
        )
    for key in (*time, *((series,) if series else ()), target, *config.drop):
        if key not in frame.columns:
            raise unknown(f"column of {name}:", key, frame.columns)
    others = [key for key in frame.columns if key not in (*time, series, *config.drop)]
    others.sort(key=lambda key: key != target)
    numbers, categories, said = [], {}, []
    for key in others:
        values = _numbers(frame, key)
        texts = frame[key].drop_nulls().unique()
        if values is not None and not np.isfinite(values).any():
            said.append(f"{key}: left out, it has no value")
        elif values is not None and not (key == target and config.target_kind == "class"):
            if key != target and np.nanmin(values) == np.nanmax(values):
                said.append(f"{key}: left out, it is the same in every row")
            elif key != target and _counts(values):
                said.append(f"{key}: left out, it counts the rows")
            else:
                numbers.append(key)
        elif len(texts) <= MOST_CATEGORIES:
            categories[key] = tuple(sorted(map(str, texts.to_list())))
        elif key == target:
            raise UserError(
                f"{name}: the target {key!r} holds texts such as {str(texts[0])!r}, neither "
                f"numbers nor at most {MOST_CATEGORIES} classes"
            )
        else:
            said.append(f"{key}: left out, it has {len(texts)} different texts")
    layout = Layout(
        time=time, series=series, target=target, numbers=tuple(numbers), categories=categories
    )
    stamps, _ = _stamps(name, frame, layout)
    codes, _ = _codes(frame, layout)
    longest = np.bincount(codes).argmax()
    own = np.unique(stamps[codes == longest])
    step = step_of(own, name)
    layout = layout.model_copy(update={"step": step, "periods": periods_of(step, len(own))})
    many = f", {counted(int(codes.max()) + 1, 'series')}" if series else ""
    known = ", ".join(layout.numbers + tuple(layout.categories))
    waves = f"; waves of the {' and '.join(layout.periods)}" if layout.periods else ""
    said.insert(0, f"series: {target} by {' '.join(time)}, a row each {step.words}{many}")
    said.insert(1, f"series: learnt from {known}{waves}")
    return layout, tuple(said)


def series_of(name: str, frame: pl.DataFrame, layout: Layout) -> Prepared:
    """The series of a table, step by step; UserError where stamps cannot be put in order."""
    lacking = [
        key
        for key in (*layout.time, layout.series, *layout.numbers, *layout.categories)
        if key and key not in frame.columns
    ]
    if lacking:
        raise UserError(
            f"{name} lacks {some(lacking, 5)}: expected the columns that were learnt from"
        )
    stamps, notes = _stamps(name, frame, layout)
    codes, names = _codes(frame, layout)
    numbers = [_numbers(frame, key) for key in layout.numbers]
    for key, column in zip(layout.numbers, numbers, strict=True):
        if column is None:
            raise UserError(f"{name}: the column {key!r} holds texts that are no numbers")
    texts = {
        key: np.array([None if v is None else str(v) for v in frame[key].to_list()], object)
        for key in layout.categories
    }
    found: list[tuple[np.ndarray, ...]] = []
    unsorted, gaps = 0, 0
    for code, series in enumerate(names):
        rows = np.flatnonzero(codes == code)
        order = np.argsort(stamps[rows], kind="stable")
        unsorted += int((order != np.arange(len(order))).any())
        rows = rows[order]
        own = stamps[rows]
        _check_once(name, own, rows, series)
        place = layout.step.numbers(own, name)
        every = stamps_from(own[0], layout.step, int(place[-1]) + 1)
        gaps += len(every) - len(rows)
        values = np.full((len(every), len(numbers)), np.nan)
        for number, column in enumerate(numbers):
            if column is not None:
                values[place, number] = column[rows]
        cells = {key: np.full(len(every), None, object) for key in texts}
        for key, own_texts in cells.items():
            own_texts[place] = texts[key][rows]
        found.append((every, np.full(len(every), code), *_filled(layout, values, cells, every)))
    every, of, values, known, raw = (np.concatenate(parts) for parts in zip(*found, strict=True))
    missing = int((~known).sum()) - gaps
    said = _said(layout, unsorted > 0, gaps, missing)
    return Prepared(Timeline(every, of, names), values, known, raw, (*notes, *said))


def _check_once(name: str, own: np.ndarray, rows: np.ndarray, series: str) -> None:
    """UserError where a stamp of one series, in order, stands there twice."""
    again = np.flatnonzero(own[1:] == own[:-1])
    if not len(again):
        return
    first = int(again[0])
    hint = (
        ""
        if series
        else "; if the table holds several series, name the column that tells them apart "
        "(--data.series)"
    )
    raise UserError(
        f"{name}: {_shown(own[first])} stands there twice{f' of {series!r}' if series else ''} "
        f"(rows {int(rows[first]) + 1} and {int(rows[first + 1]) + 1}): expected one row a "
        f"step{hint}"
    )


def _said(layout: Layout, unsorted: bool, gaps: int, missing: int) -> list[str]:
    said = []
    if unsorted:
        said.append("series: the rows were not in the order of time; they are now")
    if gaps:
        said.append(
            f"series: {counted(gaps, 'step')} without a row (each {layout.step.words}): filled "
            "with the last values before, and not learnt from"
        )
    if missing > 0:
        said.append(
            f"series: {missing:,} values of {layout.target} are missing: the last one known stands "
            "for them, and none is learnt from or measured on"
        )
    return said


def _filled(
    layout: Layout, values: np.ndarray, cells: dict[str, np.ndarray], every: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All variables of a series without gaps, whether its target was there, and its raw target."""
    raw = cells[layout.target] if layout.target in cells else values[:, 0].copy()
    known = np.array([v is not None for v in raw]) if layout.target in cells else np.isfinite(raw)
    hot = []
    for key, classes in layout.categories.items():
        index = {value: float(n) for n, value in enumerate(classes)}
        number = np.array([index.get(value, np.nan) for value in cells[key]])
        hot.append(_forward(number[:, None]) == np.arange(len(classes)))
    waves = calendar(every, layout.step, layout.periods)
    return np.concatenate([_forward(values), *hot, waves], 1), known, raw


def stamps_from(first: np.ndarray, step: Step, count: int) -> np.ndarray:
    """A stamp and those that follow it, `count` in all."""
    return np.concatenate([np.asarray([first]), step.after(np.asarray(first), count - 1)])


def _forward(values: np.ndarray) -> np.ndarray:
    """Each column with the last value known before; at its beginning the first one known."""
    known = np.isfinite(values)
    place = np.where(known, np.arange(len(values))[:, None], -1)
    place = np.maximum.accumulate(place, 0)
    first = np.where(known.any(0), known.argmax(0), 0)
    place = np.where(place < 0, first, place)
    found: np.ndarray = np.nan_to_num(np.take_along_axis(values, place, 0))
    return found


def _codes(frame: pl.DataFrame, layout: Layout) -> tuple[np.ndarray, tuple[str, ...]]:
    if not layout.series:
        return np.zeros(frame.height, np.int64), ("",)
    texts = np.array([str(value) for value in frame[layout.series].to_list()])
    names, codes = np.unique(texts, return_inverse=True)
    return codes.astype(np.int64), tuple(names.tolist())


def _numbers(frame: pl.DataFrame, key: str) -> np.ndarray | None:
    """A column as float64 with NaN, or None where it is not one of numbers."""
    import polars as pl

    column = frame[key]
    if column.dtype == pl.Boolean:
        column = column.cast(pl.Int8)
    if column.dtype == pl.String:
        column = numbers_in(column, lambda: decimal_sign(Frame(frame)))[0]
    if not column.dtype.is_numeric():
        return None
    found: np.ndarray = column.cast(pl.Float64).to_numpy().astype(np.float64)
    return np.where(np.isfinite(found), found, np.nan)


def _counts(values: np.ndarray) -> bool:
    """Whether a column counts the rows."""
    return len(values) > 20 and bool((np.diff(values) == 1).all())


def _looks_like_time(column: pl.Series) -> bool:
    import polars as pl

    if column.dtype in (pl.Date, pl.Datetime):
        return True
    if column.dtype != pl.String:
        return False
    head = column.drop_nulls().head(20)
    return len(head) > 0 and _parsed(head) is not None


def _parsed(column: pl.Series) -> np.ndarray | None:
    """Stamps of texts, datetime64[us], or None where one is none.

    Of day/month and month/day, where both can be read, the one whose steps are more alike.
    """
    texts = column.str.strip_chars()
    found = []
    for form in _FORMS:
        read = texts.str.to_datetime(form, strict=False, time_unit="us")
        if read.null_count() == column.null_count():
            stamps = read.to_numpy().astype("datetime64[us]")
            if "/" not in form or form.startswith("%Y"):
                return np.asarray(stamps)
            found.append(stamps)
    return min(found, key=lambda one: len(np.unique(np.diff(np.sort(one)))), default=None)


_FORMS = (
    "%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.fZ", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m", "%Y/%m/%d",
    "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S",
    "%m/%d/%Y", "%m/%d/%Y %H:%M", "%d/%m/%Y", "%d/%m/%Y %H:%M", "%Y%m%d",
)  # fmt: skip
_PARTS = ("year", "month", "day", "hour", "minute", "second")


def _stamps(name: str, frame: pl.DataFrame, layout: Layout) -> tuple[np.ndarray, tuple[str, ...]]:
    """The time of each row: datetime64[us], or whole numbers."""
    import polars as pl

    if len(layout.time) > 1:
        return _composed(name, frame, layout.time), ()
    (key,) = layout.time
    column = frame[key]
    if column.null_count():
        row = int(column.is_null().arg_max() or 0) + 1
        raise UserError(f"{name}, row {row}: the time {key!r} is missing")
    if column.dtype in (pl.Date, pl.Datetime):
        return column.cast(pl.Datetime("us")).to_numpy().astype("datetime64[us]"), ()
    if column.dtype == pl.String:
        found = _parsed(column)
        if found is not None:
            return found, ()
        column = numbers_in(column, lambda: ".")[0]
    if column.dtype.is_numeric():
        values = column.cast(pl.Float64).to_numpy()
        if (values == np.round(values)).all():
            return values.astype(np.int64), ()
    texts = frame[key].cast(pl.String)
    odd = next(
        (n for n, text in enumerate(texts.to_list()) if _parsed(pl.Series([text])) is None), 0
    )
    raise UserError(
        f"{name}, row {odd + 1}: the time {key!r} is {texts[odd]!r}: expected all rows in one "
        "form, such as 2024-01-31, 2024-01-31 18:00, 31.01.2024, or whole numbers"
    )


def _composed(name: str, frame: pl.DataFrame, keys: Sequence[str]) -> np.ndarray:
    """The time out of columns for year, month, day, hour, minute, second, in this order."""
    import polars as pl

    if len(keys) > len(_PARTS):
        raise UserError(f"--data.time: expected at most {', '.join(_PARTS)}, found {some(keys, 9)}")
    parts = [frame[key].cast(pl.Int32, strict=False) for key in keys]
    if any(part.null_count() for part in parts):
        raise UserError(f"{name}: {' '.join(keys)}: expected whole numbers in every row")
    given = dict(zip(_PARTS, parts, strict=False))
    made = pl.DataFrame(given).select(
        pl.datetime(
            pl.col("year"),
            pl.col("month") if "month" in given else 1,
            pl.col("day") if "day" in given else 1,
            *(pl.col(key) for key in _PARTS[3:] if key in given),
        )
    )
    return made.to_series().cast(pl.Datetime("us")).to_numpy().astype("datetime64[us]")


def _shown(stamp: np.generic) -> str:
    return str(stamp).replace("T", " ").removesuffix(".000000").removesuffix(" 00:00:00")
