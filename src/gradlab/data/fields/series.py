"""Series: the last steps of one as an input, and the steps that follow as what is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field as Described
from torch import Tensor

from gradlab import paths
from gradlab.data.augment import Draws
from gradlab.data.columns import Rows
from gradlab.data.fields import fields
from gradlab.data.fields.base import Checked, Field, Inputs, Skipped
from gradlab.data.frames import read_frame
from gradlab.data.layout import Layout, Prepared, series_of
from gradlab.data.windows import Windowed, WindowedTensor
from gradlab.errors import UserError
from gradlab.text import brief


@fields.register("series")
class Series(Field):
    """The last `length` steps of a series, all its variables, standardised: N 1 T F."""

    baseline = "linear"
    measured_by = "a forecast is measured on a new table with 'gradlab backtest RUN --data FILE'"

    type: Literal["series"] = "series"
    length: int = Described(ge=1, description="steps that are looked back on")
    layout: Layout = Described(description="the columns of the table, and the step")
    means: tuple[float, ...] = Described((), description="of each variable in the training split")
    stds: tuple[float, ...] = Described((), description="standard deviations there")
    several: bool = Described(False, description="whether there are several series")

    @property
    def shape(self) -> tuple[int, int, int]:
        """1 T F: one channel, as of a grey image whose rows are steps."""
        return 1, self.length, len(self.layout.variables)

    def fit(self, raw: Windowed) -> Series:
        """With mean and standard deviation of the steps of the training split."""
        seen = raw.covered()
        spread = seen.std(0)
        spread[spread < 1e-12] = 1.0
        found = {
            "means": tuple(map(float, seen.mean(0))),
            "stds": tuple(map(float, spread)),
            "several": len(raw.timeline.names) > 1,
        }
        return self.model_copy(update=found)

    def encode(self, raw: Windowed) -> Windowed:
        """Standardised, float32."""
        base = ((raw.base - np.array(self.means)) / np.array(self.stds)).astype(np.float32)
        return Windowed(base, raw.starts, raw.length, raw.timeline, raw.notes)

    def batch(self, column: WindowedTensor, rows: Rows, draws: Draws | None) -> Tensor:
        """float32 N 1 T F."""
        return column.gather(rows)[:, None]

    def read(self, items: Sequence[Any]) -> Inputs:
        """Tables of the columns that were learnt from: the last steps of each of their series."""
        found: list[tuple[Prepared, int]] = []
        names: list[str] = []
        skipped: list[Skipped] = []
        if not items:
            raise UserError("there is nothing to forecast: expected a table of the series' past")
        tables = []
        for item in items:
            name, frame = _opened(item)
            tables.append(frame)
            made = series_of(name, frame, self.layout)
            ends = np.flatnonzero(np.diff(made.timeline.codes, append=-1) != 0)
            begins = np.concatenate([[0], ends[:-1] + 1])
            for first, last in zip(begins.tolist(), ends.tolist(), strict=True):
                own = made.timeline.name(last)
                called = f"{own or Path(name).name} after {made.timeline.stamp(last)}"
                count = last - first + 1
                if count < self.length:
                    why = f"it has {count} steps, expected the last {self.length} or more"
                    skipped.append(Skipped(called, why, len(names) + len(skipped)))
                else:
                    found.append((made, last + 1 - self.length))
                    names.append(called)
        stretches = [made.values[start : start + self.length] for made, start in found]
        empty = np.zeros((0, len(self.layout.variables)))
        base = np.concatenate([empty, *stretches])
        starts = np.arange(len(found), dtype=np.int64) * self.length
        notes = tuple(dict.fromkeys(note for made, _ in found for note in made.notes))
        column = Windowed(base, starts, self.length, made.timeline, notes)
        return Inputs(self.encode(column), tuple(names), tuple(skipped), tuple(tables))

    def issues(self, raw: Mapping[str, Any]) -> Checked:
        """How many examples, steps and variables there are."""
        column = next(iter(raw.values()))
        line = column.timeline
        facts: dict[str, Any] = {
            "steps": len(column.base),
            "series": len(line.names),
            "variables": len(self.layout.variables),
            "step": self.layout.step.words,
            "from": line.stamp(0),
            "to": line.stamp(len(line.codes) - 1),
        }
        return Checked(facts)

    def show(self, value: Any) -> str:
        """The last values of the first variable, in its units."""
        first = np.asarray(value).reshape(self.length, -1)[-6:, 0]
        if self.means:
            first = first * self.stds[0] + self.means[0]
        return "... " + ", ".join(f"{one:.4g}" for one in first)

    def persistent(self, x: Tensor, target: Field) -> Tensor | None:
        """The class of the last step, where the target is a variable of a few texts."""
        names, classes = self.layout.variables, getattr(target, "classes", ())
        wanted = [f"{getattr(target, 'column', '')}={name}" for name in classes]
        if not wanted or not set(wanted) <= set(names):
            return None
        places = [names.index(name) for name in wanted]
        scale = [torch.tensor([one[place] for place in places]) for one in (self.stds, self.means)]
        hot = x[:, 0, -1, places] * scale[0].to(x) + scale[1].to(x)  # N K, 0 or 1
        return hot.argmax(1)

    def example(self) -> Tensor:
        """1 1 T F, zeros."""
        return torch.zeros(1, *self.shape)


@fields.register("future")
class Future(Field):
    """The next values of one variable of a series, in its own units: N H."""

    type: Literal["future"] = "future"
    steps: int = Described(ge=1, description="H, how many")
    column: str = Described("", description="the column of the table that is forecast")
    step: str = Described("step", description="what a step is called")
    mean: float = Described(0.0, description="of the training split")
    std: float = Described(1.0, description="standard deviation there")

    @property
    def shape(self) -> tuple[int]:
        """H."""
        return (self.steps,)

    def fit(self, raw: Windowed) -> Future:
        """With mean and standard deviation of the training split."""
        seen = raw.covered()[:, 0]
        return self.model_copy(update={"mean": float(seen.mean()), "std": float(seen.std()) or 1.0})

    def encode(self, raw: Windowed) -> Windowed:
        """float32, in its own units."""
        base = raw.base.astype(np.float32)
        return Windowed(base, raw.starts, raw.length, raw.timeline, raw.notes)

    def batch(self, column: WindowedTensor, rows: Rows, draws: Draws | None) -> Tensor:
        """float32 N H."""
        return column.gather(rows)[..., 0]

    def read(self, items: Sequence[Any]) -> Inputs:
        """Nothing that can be given: what follows a past is known to no table of it."""
        raise UserError(Series.measured_by)

    def show(self, value: Any) -> str:
        """The values, with four digits."""
        values = np.asarray(value).reshape(-1)
        more = ", ..." if len(values) > 6 else ""
        return ", ".join(f"{one:.4g}" for one in values[:6]) + more

    def example(self) -> Tensor:
        """1 H."""
        return torch.zeros(1, self.steps)


def _opened(item: Any) -> tuple[str, Any]:
    """A table by its path, or a data frame."""
    import polars as pl

    if isinstance(item, str | Path):
        place = paths.given(item, "data")
        if not place.is_file():
            raise UserError(f"there is no file {place}: expected a table of the series' past")
        return str(place), read_frame(place)[0]
    if isinstance(item, pl.DataFrame):
        return "the data frame", item
    if hasattr(item, "to_dict") and hasattr(item, "columns"):
        return "the data frame", pl.DataFrame({str(key): item[key].to_list() for key in item})
    raise UserError(f"expected a table (.csv, .parquet) or a data frame, found {brief(item)}")
