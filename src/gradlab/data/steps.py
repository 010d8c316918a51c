"""The step of a series: how far one time stamp is from the next, and what the calendar says of it.

A step is a number of seconds, a number of months (a month, a quarter, a year), or 1 for stamps
that are whole numbers and no times.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field as Described

from gradlab.config import Config
from gradlab.errors import UserError

DAY = 86_400
YEAR = 365.2425 * DAY
_PERIODS: tuple[tuple[str, float, int], ...] = (
    ("day", DAY, 3),
    ("week", 7 * DAY, 3),
    ("year", YEAR, 2),
)
"""What returns in the calendar: name, seconds, and how many waves describe it."""


class Step(Config):
    """How far apart the stamps of a series are."""

    unit: Literal["seconds", "months", "number"] = Described("number", description="of what")
    count: int = Described(1, ge=1, description="how many of them")

    @property
    def seconds(self) -> float:
        """About how long a step is; 0 for numbers."""
        return {"seconds": 1.0, "months": YEAR / 12, "number": 0.0}[self.unit] * self.count

    @property
    def words(self) -> str:
        """As people say it."""
        for name, length in (("day", DAY), ("hour", 3600), ("minute", 60), ("second", 1)):
            if self.unit == "seconds" and self.count % length == 0:
                many = self.count // length
                return name if many == 1 else f"{many} {name}s"
        if self.unit == "months":
            years = {12: "year", 3: "quarter", 1: "month"}.get(self.count)
            return years or f"{self.count} months"
        return "step" if self.count == 1 else f"step of {self.count}"

    @property
    def season(self) -> int:
        """Steps after which the nearest season returns: a day, a week, a year; 1 for none."""
        if not self.seconds:
            return 1
        for _, length, _ in _PERIODS:
            if length / self.seconds >= 1.9:
                return round(length / self.seconds)
        return 1

    def after(self, stamp: np.ndarray, count: int) -> np.ndarray:
        """The `count` stamps that follow one."""
        ahead = np.arange(1, count + 1) * self.count
        if self.unit == "months":
            month = stamp.astype("datetime64[M]")
            rest = stamp - month.astype(stamp.dtype)
            found: np.ndarray = (month + ahead).astype(stamp.dtype) + rest
            return found
        if self.unit == "seconds":
            return np.asarray(stamp + ahead.astype("timedelta64[s]"))
        return np.asarray(stamp + ahead)

    def numbers(self, stamps: np.ndarray, where: str) -> np.ndarray:
        """How many steps each stamp is after the first; UserError for one between two steps."""
        if self.unit == "months":
            months = stamps.astype("datetime64[M]")
            rest = stamps - months.astype(stamps.dtype)
            # The last day of a month is where the first day of the next would be, less a day.
            end = (months + 1).astype(stamps.dtype) - stamps
            regular = (rest == rest[0]) | (end == end[0])
            place = (months - months[0]).astype(np.int64)
        else:
            unit = "timedelta64[s]"
            gone = stamps - stamps[0]
            place = (gone.astype(unit) if self.unit == "seconds" else gone).astype(np.int64)
            regular = np.ones(len(stamps), bool)
        regular = regular & (place % self.count == 0)
        if not regular.all():
            odd = stamps[np.flatnonzero(~regular)[0]]
            raise UserError(
                f"{where}: the stamps are a {self.words} apart, but {odd} lies between two steps: "
                "bring them to equal steps (by the mean of each hour or day, say)"
            )
        found: np.ndarray = place // self.count
        return found


def step_of(stamps: np.ndarray, where: str) -> Step:
    """The commonest distance of sorted, different stamps of one series."""
    if len(stamps) < 3:
        raise UserError(f"{where}: expected a series of three steps or more, found {len(stamps)}")
    gaps = np.diff(stamps)
    if stamps.dtype.kind != "M":
        values, often = np.unique(gaps, return_counts=True)
        return Step(count=int(values[often.argmax()]))
    days = gaps / np.timedelta64(1, "D")
    for months, least, most in ((1, 28, 31), (3, 89, 92), (12, 365, 366)):
        inside = (days >= least) & (days <= most) & (days == np.round(days))
        if inside.mean() > 0.5 and (months > 1 or len(np.unique(days[inside])) > 1):
            return Step(unit="months", count=months)
    values, often = np.unique(gaps.astype("timedelta64[s]").astype(np.int64), return_counts=True)
    return Step(unit="seconds", count=max(int(values[often.argmax()]), 1))


def calendar(stamps: np.ndarray, step: Step, periods: tuple[str, ...]) -> np.ndarray:
    """Waves of the day, the week and the year at each stamp: M C."""
    if stamps.dtype.kind != "M" or not periods:
        return np.zeros((len(stamps), 0))
    day = stamps.astype("datetime64[D]")
    in_day = (stamps - day) / np.timedelta64(1, "s")
    week = ((day.astype(np.int64) + 3) % 7) * DAY + in_day  # 1970-01-01 was a Thursday
    year = (stamps - stamps.astype("datetime64[Y]")) / np.timedelta64(1, "s")
    found = []
    for name, length, waves in _PERIODS:
        if name in periods:
            phase = 2 * np.pi * {"day": in_day, "week": week, "year": year}[name] / length
            found += [turn(n * phase) for n in range(1, waves + 1) for turn in (np.sin, np.cos)]
    return np.stack(found, 1)


def wave_names(periods: tuple[str, ...]) -> tuple[str, ...]:
    """What the columns of `calendar` are called.

    >>> wave_names(("year",))
    ('year sin1', 'year cos1', 'year sin2', 'year cos2')
    """
    return tuple(
        f"{name} {turn}{n}"
        for name, _, waves in _PERIODS
        if name in periods
        for n in range(1, waves + 1)
        for turn in ("sin", "cos")
    )


def periods_of(step: Step, steps: int) -> tuple[str, ...]:
    """What of the calendar can be learnt from so many steps: each must have returned once."""
    if not step.seconds:
        return ()
    return tuple(name for name, length, _ in _PERIODS if 2 <= length / step.seconds <= steps / 2)
