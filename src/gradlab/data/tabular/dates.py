"""Dates and times in text, and the numbers that are made of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradlab.data.tabular.column import DatePart, TableColumn
from gradlab.data.tabular.written import ENOUGH, MANY, MISSING

if TYPE_CHECKING:
    import polars as pl

_CLOCK = (
    r"(?:(?:T|[ ]+)([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}(?:[.,][0-9]+)?))?[ ]*([AaPp])?"
    r"(?:\.?[Mm]\.?)?[ ]*(?:Z|UTC|GMT|[-+][0-9]{2}:?[0-9]{2})?)?"
)
_WAYS = {
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}": ("%Y-%m-%d",),
    r"[0-9]{4}/[0-9]{1,2}/[0-9]{1,2}": ("%Y/%m/%d",),
    r"[0-9]{4}\.[0-9]{1,2}\.[0-9]{1,2}": ("%Y.%m.%d",),
    r"[0-9]{4}-[0-9]{1,2}": ("%Y-%m",),
    r"[0-9]{4}/[0-9]{1,2}": ("%Y/%m",),
    r"[0-9]{1,2}/[0-9]{4}": ("%m/%Y",),
    r"[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{4}": ("%d.%m.%Y",),
    r"[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}": ("%m/%d/%Y", "%d/%m/%Y"),
    r"[0-9]{1,2}-[0-9]{1,2}-[0-9]{4}": ("%m-%d-%Y", "%d-%m-%Y"),
    r"[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{2}": ("%d.%m.%y",),
    r"[0-9]{1,2}/[0-9]{1,2}/[0-9]{2}": ("%m/%d/%y", "%d/%m/%y"),
    r"[0-9]{1,2}-[0-9]{1,2}-[0-9]{2}": ("%m-%d-%y", "%d-%m-%y"),
    r"[0-9]{1,2} [A-Za-z]{3,9} [0-9]{4}": ("%d %B %Y",),
    r"[0-9]{1,2}-[A-Za-z]{3,9}-[0-9]{4}": ("%d-%B-%Y",),
    r"[0-9]{1,2}-[A-Za-z]{3,9}-[0-9]{2}": ("%d-%B-%y",),
    r"[A-Za-z]{3,9} [0-9]{1,2}, [0-9]{4}": ("%B %d, %Y",),
    r"[A-Za-z]{3,9} [0-9]{1,2} [0-9]{4}": ("%B %d %Y",),
}
"""What a date looks like, and how it is then read: where two ways fit, the first."""
LOOK = rf"^(?:{'|'.join(_WAYS)}){_CLOCK}$"
"""What a date looks like, with a time or without."""


class Dated(NamedTuple):
    """How the dates of a column can be read: the formats that fit all of them."""

    formats: tuple[str, ...]
    example: str
    other: str
    """A text that is no date, where most are."""


def looked(texts: pl.Series, counts: pl.Series) -> Dated:
    """The formats that fit different texts; those that mark a missing value aside."""
    known = ~texts.str.to_lowercase().is_in(MISSING)
    texts, counts = texts.filter(known), counts.filter(known)
    if not len(texts):
        return Dated((), "", "")
    example = texts.filter(texts.str.contains(LOOK)).sort().first()
    date = re.sub(f"{_CLOCK}$", "", str(example))
    ways = next((ways for look, ways in _WAYS.items() if re.fullmatch(look, date)), ())
    fits, shares, other = [], [], ""
    for way in ways:
        days = read(texts, way)
        lost = np.isnan(days)
        share = 1 - float(counts.to_numpy()[lost].sum()) / float(counts.sum())
        if share == 1 or (share >= ENOUGH and len(texts) > MANY):
            fits.append(way)
            shares.append(share)
            other = str(texts[int(np.flatnonzero(lost)[0])]) if lost.any() else ""
    best = [way for way, share in zip(fits, shares, strict=True) if share == max(shares)]
    return Dated(tuple(best), str(example), other)


def day_first(found: Iterable[Dated]) -> bool | None:
    """Whether the day is first in the columns where it can be told; None where there are none."""
    told = [one.formats[0] for one in found if len(one.formats) == 1]
    days = sum(way.startswith("%d") for way in told)
    months = sum(way.startswith("%m") for way in told)
    return None if days == months else days > months


def choose(found: Dated, is_day_first: bool | None) -> tuple[str, str]:
    """The format of a column, and what is to be said of it; `is_day_first` as of `day_first`."""
    way, said = found.formats[0], ""
    if len(found.formats) > 1:
        said = ", month first (no value tells; nor does another column)"
        if is_day_first is not None:
            way = next(w for w in found.formats if w.startswith("%d" if is_day_first else "%m"))
            said = f", {'day' if is_day_first else 'month'} first as in the other columns"
    elif way[1] in "dm" and way[4:5] in "md":
        said = f", {'day' if way[1] == 'd' else 'month'} first"
    other = f"; others, such as {found.other!r}, are read as missing" if found.other else ""
    return way, f"dates such as {found.example!r}{said}{other}"


def read(texts: pl.Series, way: str) -> np.ndarray:
    """Days since 1970 in the time of the text's own place, with fractions; NaN for what is no date.

    >>> import polars as pl
    >>> read(pl.Series(["2/1/1970", "01/01/1970 6:00 PM", "x"]), "%d/%m/%Y").tolist()
    [1.0, 0.75, nan]
    """
    import polars as pl

    date, hour, minute, second, half = texts.str.extract_groups(rf"^(.+?){_CLOCK}$").struct.unnest()
    if "%d" not in way:  # a month: its first day
        date, way = date + " 1", way + " %d"
    days = date.str.to_date(way, strict=False).to_numpy().astype("datetime64[D]")
    found = np.where(np.isnat(days), np.nan, days.astype(np.int64))
    if hour.null_count() == len(hour):
        return found
    parts = [
        part.str.replace(",", ".").cast(pl.Float64).fill_null(0).to_numpy()
        for part in (hour, minute, second)
    ]
    late = half.str.to_lowercase().fill_null("").to_numpy()
    hours = np.where(late == "", parts[0], parts[0] % 12 + 12 * (late == "p"))
    with_clock: np.ndarray = found + (hours + parts[1] / 60 + parts[2] / 3600) / 24
    return with_clock


def moments(part: pl.DataFrame, columns: Sequence[TableColumn]) -> tuple[np.ndarray, np.ndarray]:
    """Columns of dates as days since 1970, float64 N C, NaN where there is none.

    The second says which texts are no dates: bool N C.
    """
    import polars as pl

    found = np.full((part.height, len(columns)), np.nan)
    bad = np.zeros(found.shape, bool)
    for place, (values, column) in enumerate(zip(part.get_columns(), columns, strict=True)):
        if values.dtype.is_temporal():
            wall = values.cast(pl.Datetime("us")) if values.dtype == pl.Date else values
            if wall.dtype.time_zone is not None:  # type: ignore[attr-defined]
                wall = wall.dt.replace_time_zone(None)
            micros = wall.cast(pl.Datetime("us")).cast(pl.Int64).cast(pl.Float64)
            found[:, place] = micros.fill_null(np.nan).to_numpy() / 86_400e6
            continue
        texts = values.cast(pl.String)
        way = column.format or "%Y-%m-%d"
        days = read(texts, way)
        if way != "%Y-%m-%d":  # what Python writes is understood too
            days = np.where(np.isnan(days), read(texts, "%Y-%m-%d"), days)
        found[:, place] = days
        marked = (texts.is_null() | texts.str.to_lowercase().is_in(MISSING)).to_numpy()
        bad[:, place] = np.isnan(days) & ~marked
    return found, bad


PARTS = ("year", "month", "day", "weekday", "hour", "days")


def part_of(days: np.ndarray, name: str, last: float) -> np.ndarray:
    """A number that is made of dates, float64; NaN where there is none.

    >>> [part_of(np.array([0.5]), name, 2.0).item() for name in PARTS]
    [1970.0, 1.0, 1.0, 4.0, 12.0, -1.5]
    """
    absent = np.isnan(days)
    known = np.where(absent, 0.0, days)
    whole = np.floor(known)
    date = whole.astype(np.int64).astype("datetime64[D]")
    month = date.astype("datetime64[M]")
    found: np.ndarray
    if name == "year":
        found = date.astype("datetime64[Y]").astype(np.int64) + 1970
    elif name == "month":
        found = month.astype(np.int64) % 12 + 1
    elif name == "day":
        found = (date - month).astype(np.int64) + 1
    elif name == "weekday":
        found = (whole + 3) % 7 + 1  # 1970 began on a Thursday
    elif name == "hour":
        found = (known - whole) * 24
    else:
        found = known - last
    return np.where(absent, np.nan, found)


def learn(name: str, days: np.ndarray, way: str, note: str) -> TableColumn | str:
    """A column of dates, float64 N (NaN where one is missing)."""
    known = days[~np.isnan(days)]
    if not len(known):
        return "it has no value"
    if known.min() == known.max() and len(known) == len(days):
        return "it is constant"
    last = float(known.max())
    parts = []
    for part in PARTS:
        values = part_of(known, part, last)
        if values.min() != values.max():
            parts.append(DatePart(name=part, mean=float(values.mean()), std=float(values.std())))
    made = ", ".join(part.name for part in parts)
    made = made.replace("days", "days since the last in train")
    return TableColumn(
        name=name,
        kind="date",
        format=way,
        last=last,
        low=float(known.min()),
        high=last,
        parts=tuple(parts),
        missing=len(known) < len(days),
        note=f"{note}, become {made}" if made else note,
    )
