"""Series: windows of a table's rows in the order of time, and what follows each of them.

An example belongs to the split in which all that is asked of it lies; what it looks back on may lie
before. So val and test are of times that come after everything that is learnt from.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlab.config import DataConfig
from gradlab.data.columns import Dense
from gradlab.data.dataset import Parts, Schema, Source, Split, SplitName
from gradlab.data.fields.base import Field
from gradlab.data.fields.label import Label
from gradlab.data.fields.series import Future, Series
from gradlab.data.frames import read_frame
from gradlab.data.layout import Layout, Prepared, layout_of, series_of
from gradlab.data.sources import datasets
from gradlab.data.sources.download import fetch
from gradlab.data.windows import Windowed
from gradlab.errors import UserError

if TYPE_CHECKING:
    import polars as pl

WINDOW = 28
"""Steps that are looked back on where nothing is asked for and no season says how many."""
SEASONS = 2
"""Seasons that are looked back on else, where they are no more than `MOST` steps."""
MOST = 168
LEAST: dict[SplitName, int] = {"train": 10, "val": 1, "test": 1}
"""Examples of a split, at least."""


@datasets.register("daily_min_temperatures")
def daily_min_temperatures(config: DataConfig) -> Source:
    """Ten years of daily minimum temperatures in Melbourne, degrees Celsius, from 1981 on."""
    path = fetch(
        "timeseries",
        "daily-min-temperatures.csv",
        ("https://raw.githubusercontent.com/jbrownlee/Datasets/master/daily-min-temperatures.csv",),
        "8b9de63ed6789492bf497625e7f9beb96a63d367b4b0a21754006f749fa5e5da",
    )
    return series_source(path, _usual(config, time="Date", target="Temp"))


@datasets.register("pollution")
def pollution(config: DataConfig) -> Source:
    """Five years of hourly PM2.5 in Beijing with its weather (Liang et al. 2015)."""
    path = fetch(
        "timeseries",
        "pollution.csv",
        ("https://raw.githubusercontent.com/jbrownlee/Datasets/master/pollution.csv",),
        "892e9559205d16d32623135c127a3951c12e46ea1e0b3093e107ce89a9fd60e2",
    )
    usual = _usual(config, time="year,month,day,hour", target="pm2.5")
    return series_source(path, usual.model_copy(update={"drop": (*usual.drop, "No")}))


@datasets.register("seattle_weather")
def seattle_weather(config: DataConfig) -> Source:
    """Four years of Seattle's daily weather: rain, temperatures, wind, and a class of five."""
    path = fetch(
        "timeseries",
        "seattle-weather.csv",
        ("https://raw.githubusercontent.com/vega/vega-datasets/main/data/seattle-weather.csv",),
        "0845078a290b48e3149ab8639966824110a251db4e06fc144c06ebb534af23be",
    )
    return series_source(path, _usual(config, time="date", target="weather"))


def _usual(config: DataConfig, time: str, target: str) -> DataConfig:
    """With the columns of a named set, where none are named."""
    return config.model_copy(
        update={"time": config.time or time, "target": config.target or target}
    )


def series_source(path: Path, config: DataConfig) -> Source:
    """Windows of the series of a table."""
    frame, notes = read_frame(path, config.header)
    return windows(config.name, frame, config, notes)


def windows(
    name: str, frame: pl.DataFrame, config: DataConfig, notes: tuple[str, ...] = ()
) -> Source:
    """Every window with what follows it, in three splits by time."""
    layout, said = layout_of(name, frame, config)
    made = series_of(name, frame, layout)
    horizon = config.horizon or 1
    seasons = SEASONS * layout.step.season
    length = config.window or (seasons if SEASONS < seasons <= MOST else WINDOW)
    past, future = examples_of(name, made, length, horizon)
    asked = layout.target
    cuts = _cuts(name, made, config)
    first, last = (
        made.timeline.stamps[future],
        made.timeline.stamps[future + horizon - 1],
    )
    inside: dict[SplitName, np.ndarray] = {
        "train": last < cuts[0],
        "val": (first >= cuts[0]) & (last < cuts[1]),
        "test": first >= cuts[1],
    }
    targets, column = _target(made, layout, horizon, config)
    parts: Parts = {}
    for split, mask in inside.items():
        share = {"train": 1.0, "val": config.val, "test": config.test}[split]
        if not share:
            continue
        chosen = np.flatnonzero(mask)
        if len(chosen) < LEAST[split]:
            raise UserError(
                f"{name}: {len(chosen)} windows of {length} steps with {horizon} to forecast lie "
                f"in {split}, expected {LEAST[split]} or more: give a longer series, or a smaller "
                "--data.window or --data.horizon"
            )
        ids = tuple(
            f"{made.timeline.name(end)} {made.timeline.stamp(end)}".strip()
            for end in (past[chosen] + length - 1).tolist()
        )
        values = Windowed(made.values, past[chosen], length, made.timeline)
        parts[split] = Split({"past": values, **{asked: column(future[chosen])}}, ids)
    between = " and ".join(
        f"{split} from {_date(made, cut)}"
        for split, cut, share in (
            ("val", cuts[0], config.val),
            ("test", cuts[1], config.test),
        )
        if share
    )
    notes = (
        *notes,
        *said,
        *made.notes,
        f"series: the last {length} steps are looked back on, {horizon} ahead asked for; {between}",
    )
    schema = Schema(inputs={"past": Series(length=length, layout=layout)}, targets=targets)
    return Source(name, schema, parts, notes)


def examples_of(
    name: str, made: Prepared, length: int, horizon: int
) -> tuple[np.ndarray, np.ndarray]:
    """Where windows begin, and where what follows them does: a target that is known throughout."""
    codes = made.timeline.codes
    total = length + horizon
    if len(codes) < total or max(np.bincount(codes)) < total:
        raise UserError(
            f"{name}: the longest series has {max(np.bincount(codes), default=0)} steps, fewer "
            f"than a window of {length} and {horizon} ahead: give a longer series, or a smaller "
            "--data.window or --data.horizon"
        )
    starts = np.arange(len(codes) - total + 1)
    whole = codes[starts] == codes[starts + total - 1]
    missing = np.concatenate([[0], np.cumsum(~made.known)])
    whole &= missing[starts + total] == missing[starts + length]
    # What stands before the first known value is that value: it would tell what comes.
    whole &= starts >= first_known(made)[codes[starts]]
    past = starts[whole]
    return past, past + length


def first_known(made: Prepared) -> np.ndarray:
    """The step of each series at which its target is known for the first time."""
    codes = made.timeline.codes[made.known]
    found = np.full(len(made.timeline.names), len(made.known))
    found[codes[::-1]] = np.flatnonzero(made.known)[::-1]
    return found


def _target(made: Prepared, layout: Layout, horizon: int, config: DataConfig) -> tuple[Any, Any]:
    """The field that is asked for, and what makes its column of places."""
    if layout.target in layout.categories:
        if horizon > 1:
            raise UserError(
                f"data.horizon: {layout.target!r} is a class, of which one step ahead can be asked "
                f"for, found {horizon}"
            )
        field: Field = Label(classes=layout.categories[layout.target], column=layout.target)
        return {layout.target: field}, lambda place: Dense(made.raw[place].astype(str))
    base = np.nan_to_num(made.values[:, :1])
    field = Future(steps=horizon, column=layout.target, step=layout.step.words)
    return {layout.target: field}, lambda place: Windowed(base, place, horizon, made.timeline)


def _cuts(name: str, made: Prepared, config: DataConfig) -> tuple[Any, Any]:
    """The times at which val and test begin: shares of all steps, counted from the end."""
    order = np.sort(made.timeline.stamps)
    count = len(order)
    test = round(config.test * count)
    val = round(config.val * count)
    if val + test >= count:
        raise UserError(f"{name}: --data.val and --data.test leave nothing to learn from")
    after = order[-1] + (order[-1] - order[-2] if order[-1] > order[-2] else 1)
    edges = [order[count - held] if held else after for held in (val + test, test)]
    return edges[0] if val else edges[1], edges[1]


def _date(made: Prepared, cut: Any) -> str:
    place = int(np.flatnonzero(made.timeline.stamps == cut)[0])
    return made.timeline.stamp(place)
