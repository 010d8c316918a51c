"""Forecasts from several moments of the past, beside what came: rolling origins.

Tashman (2000), "Out-of-sample tests of forecasting accuracy". The columns of the result are those
that other programs for series have: unique_id, ds, cutoff, y, yhat.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gradlab import files, paths
from gradlab.config import Runtime
from gradlab.data.dataset import Split
from gradlab.data.frames import read_frame
from gradlab.data.layout import series_of
from gradlab.data.sources.series import examples_of
from gradlab.data.windows import Windowed
from gradlab.drawing import png
from gradlab.errors import UserError
from gradlab.figures import forecasts
from gradlab.runs import Run, load
from gradlab.tasks.answers import Answer
from gradlab.tasks.evaluation import Table
from gradlab.tasks.forecasting import ForecastAnswer, Forecasting, figures

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

KINDS = ".csv, .parquet, or a picture (.png)"
WINDOWS = 10
"""Moments that are forecast from, unless told."""


@dataclass(frozen=True)
class Backtest:
    """A row for each step of each forecast, and the errors of it and of its baselines."""

    run: str
    split: str
    what: str
    table: pl.DataFrame = field(repr=False)
    errors: dict[str, dict[str, float]]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Errors, and the rows."""
        rows = [
            {
                key: value if isinstance(value, int | float) else str(value)
                for key, value in row.items()
            }
            for row in self.table.to_dicts()
        ]
        return {"run": self.run, "split": self.split, "errors": self.errors, "forecasts": rows}

    def tables(self) -> tuple[Table, ...]:
        """The errors side by side."""
        names = list(next(iter(self.errors.values())))
        rows = tuple(
            (name, *(f"{found[key]:.4g}" for key in names)) for name, found in self.errors.items()
        )
        cutoffs = self.table["cutoff"].n_unique()
        title = f"{cutoffs} forecasts of {self.what}"
        return (Table((title, *names), rows),)

    def figure(self) -> Figure:
        """Truth and forecasts of the first series."""
        first = self.table.filter(self.table["unique_id"] == self.table["unique_id"][0])
        bounds = [key for key in first.columns if key.startswith("yhat_")]
        cutoff = first["cutoff"].to_list()
        begins = [n for n, one in enumerate(cutoff) if not n or cutoff[n - 1] != one]
        low, high = (
            (first[bounds[0]].to_numpy(), first[bounds[-1]].to_numpy())
            if len(bounds) > 1
            else (np.zeros(0), np.zeros(0))
        )
        stamps, truth, said = (first[key].to_numpy() for key in ("ds", "y", "yhat"))
        return forecasts(stamps, truth, said, low, high, begins, self.what)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the rows (.csv, .parquet), or the picture (.png)."""
        check_out(path)
        place = Path(path)
        if place.suffix.lower() == ".png":
            files.write_bytes(place, png(self.figure()))
            return
        with files.writing(place) as stream:
            if place.suffix.lower() == ".csv":
                self.table.write_csv(stream)
            else:
                self.table.write_parquet(stream)


def backtest(
    run: str | os.PathLike[str] | Run,
    windows: int = WINDOWS,
    *,
    split: Literal["val", "test"] = "test",
    data: str | os.PathLike[str] | None = None,
    every: int | None = None,
    runtime: Runtime | None = None,
) -> Backtest:
    """Forecast from the last `windows` moments of a split, `every` steps apart (the horizon).

    Every forecast knows what came before its cutoff alone. Of several series each is forecast.
    `data`: a table of one's own instead of the split. Reading test is recorded in the run.
    UserError for a run that forecasts nothing.
    """
    opened = load(run, runtime=runtime)
    task = opened.task
    if not isinstance(task, Forecasting):
        raise UserError(
            f"{opened.path} forecasts nothing ({opened.recipe.name}): expected a run of "
            "'gradlab train forecaster'"
        )
    for name, value in (("windows", windows), ("every", every)):
        if value is not None and value < 1:
            raise UserError(f"--{name}: expected at least 1, found {value}")
    if task.dataset is None:
        task.dataset = opened.dataset
    where: str = split
    notes: tuple[str, ...] = ()
    if data is None:
        examples: Split = task.dataset.split(split)
    else:
        where = os.fspath(data)
        examples, notes = _new(task, data)
    chosen = _origins(examples[task.name], windows, every or task.field.steps)
    some = examples.take(chosen)
    with task.setup.applied():
        answers = task.predict(some.only([task.name]))
    future = task.values(some, task.target)
    said = np.array([_values(answer)[0] for answer in answers])
    errors = {"network": figures(said, future)}
    errors |= {name: figures(one, future) for name, one in task.guesses(some).items()}
    if data is None and split == "test":
        opened.note_reading("backtest", errors["network"])
    table = _table(some[task.name], answers, future)
    return Backtest(str(opened.path), where, task.field.column or "y", table, errors, notes)


def _new(task: Forecasting, data: str | os.PathLike[str]) -> tuple[Split, tuple[str, ...]]:
    """The windows of a table with the columns that were learnt from."""
    place = paths.given(data, "data")
    if not place.is_file():
        raise UserError(f"data: there is no file {place}")
    frame, notes = read_frame(place)
    made = series_of(str(place), frame, task.past.layout)
    length = task.past.length
    past, future = examples_of(str(place), made, length, task.field.steps)
    if not len(past):
        raise UserError(
            f"{place}: no window of {length} steps is followed by values that are known"
        )
    inputs = task.past.encode(Windowed(made.values, past, length, made.timeline))
    base = made.values[:, :1].astype(np.float32)
    targets = Windowed(base, future, task.field.steps, made.timeline)
    return Split({task.name: inputs, task.target: targets}), (*notes, *made.notes)


def _origins(past: Windowed, windows: int, every: int) -> np.ndarray:
    """The last examples of each series, so many steps apart, in the order of time."""
    codes = past.timeline.codes[past.starts]
    found: list[int] = []
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        wanted, free = [], None
        for row in rows[np.argsort(past.starts[rows])][::-1].tolist():
            if free is None or past.starts[row] <= free:
                wanted.append(row)
                free = past.starts[row] - every
            if len(wanted) == windows:
                break
        found += wanted[::-1]
    return np.array(found)


def _values(answer: Answer) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
    assert isinstance(answer, ForecastAnswer)
    return answer.values, answer.bounds


def _table(past: Windowed, answers: list[Answer], future: np.ndarray) -> pl.DataFrame:
    import polars as pl

    line, steps = past.timeline, future.shape[1]
    last = past.starts + past.length - 1
    place = (last[:, None] + np.arange(1, steps + 1)).reshape(-1)
    columns: dict[str, Any] = {
        "unique_id": [line.name(step) for step in place.tolist()],
        "ds": line.stamps[place],
        "cutoff": np.repeat(line.stamps[last], steps),
        "y": future.reshape(-1),
        "yhat": np.array([_values(answer)[0] for answer in answers]).reshape(-1),
    }
    first = answers[0]
    assert isinstance(first, ForecastAnswer)
    for number, share in enumerate(first.quantiles):
        rows = [_values(answer)[1][number] for answer in answers]
        columns[f"yhat_{share:g}"] = np.array(rows).reshape(-1)
    return pl.DataFrame(columns)


def check_out(path: str | os.PathLike[str]) -> None:
    """UserError for a kind of file that a backtest is not written as."""
    if Path(path).suffix.lower() not in (".csv", ".parquet", ".png"):
        raise UserError(f"--out: a backtest is written as {KINDS}, found {os.fspath(path)!r}")
