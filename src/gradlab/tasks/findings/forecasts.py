"""Forecasts against what came: the error of each step ahead, and a picture of some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from gradlab.data.dataset import Split
from gradlab.data.loader import Batch
from gradlab.data.windows import Windowed
from gradlab.tasks.evaluation import Collector, Part, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN = 240
"""Steps of the picture, about."""
TABLED = 12
"""Steps ahead in the table."""


@dataclass(frozen=True)
class Forecasts(Part):
    """The error of each step ahead, H; and forecasts one after the other, with what came.

    stamps: of each step; truth, said: S; low, high: S, empty without quantiles; begins: places in
    these where a forecast begins.
    """

    rmse: np.ndarray
    covered: np.ndarray
    what: str
    step: str
    inside: float
    stamps: np.ndarray = field(repr=False)
    truth: np.ndarray = field(repr=False)
    said: np.ndarray = field(repr=False)
    low: np.ndarray = field(repr=False)
    high: np.ndarray = field(repr=False)
    begins: tuple[int, ...] = field(repr=False)
    title = "Forecast and truth"

    @property
    def caption(self) -> str:  # type: ignore[override]
        """What is drawn."""
        ahead = len(self.rmse)
        each = f"each of {ahead} steps from what was known before it" if ahead > 1 else "one ahead"
        band = (
            f"; the band is to hold {self.inside:.0%} of the values, and holds "
            f"{self.covered.mean():.1%} of all of the split"
            if len(self.low)
            else ""
        )
        return f"The last forecasts of the split, {each}{band}."

    def to_dict(self) -> dict[str, Any]:
        """By step."""
        found: dict[str, Any] = {"rmse_by_step": self.rmse.tolist()}
        if len(self.low):
            found["coverage_by_step"] = self.covered.tolist()
        return found

    def tables(self) -> Sequence[Table]:
        """The error of each step ahead, where there are several."""
        if len(self.rmse) < 2:
            return ()
        count = min(TABLED, len(self.rmse))
        chosen = np.unique(np.linspace(0, len(self.rmse) - 1, count).round().astype(int))
        rows = tuple(
            (
                f"{number + 1}",
                f"{self.rmse[number]:.4g}",
                *((f"{self.covered[number]:.1%}",) if len(self.low) else ()),
            )
            for number in chosen.tolist()
        )
        held = (f"inside the {self.inside:.0%} interval",) if len(self.low) else ()
        return (Table((f"{self.step}s ahead", "rmse", *held), rows, folded=True),)

    def figure(self) -> Figure | None:
        """Truth, forecasts and interval over time."""
        from gradlab.figures import forecasts

        return forecasts(
            self.stamps, self.truth, self.said, self.low, self.high, self.begins, self.what
        )

    def words(self) -> str:
        """The first and the last error."""
        ahead = f", {self.rmse[-1]:.4g} {len(self.rmse)} steps ahead" if len(self.rmse) > 1 else ""
        return (
            f"Forecasts of {self.what} and what came: rmse {self.rmse[0]:.4g} one step ahead{ahead}"
        )


class ForecastCollector(Collector):
    """Adds up the errors of each step, and keeps the last forecasts that do not overlap."""

    def __init__(self, task: Any, split: Split) -> None:
        super().__init__(task, split)
        self.steps = task.field.steps
        self.squares, self.inside = np.zeros(self.steps), np.zeros(self.steps)
        self.seen = 0
        past: Windowed = split[task.name]
        place = past.starts + past.length
        wanted, free = [], np.iinfo(np.int64).max
        codes = past.timeline.codes[place]
        for number in np.flatnonzero(codes == codes[-1])[::-1].tolist() if len(place) else []:
            if place[number] + self.steps <= free:
                wanted.append(number)
                free = place[number]
            if len(wanted) * self.steps >= DRAWN:
                break
        self.place = {number: int(place[number]) for number in wanted}
        self.stamps = past.timeline.stamps
        self.kept: list[tuple[int, np.ndarray]] = []

    def update(self, output: Tensor, batch: Batch) -> None:
        """output: N K."""
        task = self.task
        truth = batch[task.target].double().cpu().numpy()
        said = task.interpreted(output).double().cpu().numpy()
        self.squares += ((said - truth) ** 2).sum(0)
        low = high = None
        if len(task.quantiles) > 1:
            low, high = (one.double().cpu().numpy() for one in task.interval(output))
            self.inside += ((truth >= low) & (truth <= high)).sum(0)
        for number in range(self.seen, self.seen + len(truth)):
            if number in self.place:
                row = number - self.seen
                rows = [truth[row], said[row]]
                rows += [low[row], high[row]] if low is not None and high is not None else []
                self.kept.append((self.place[number], np.stack(rows)))
        self.seen += len(truth)

    def compute(self) -> Part | None:
        """None where nothing finite was said."""
        if not self.kept or not np.isfinite(self.squares).all():
            return None
        self.kept.sort(key=lambda one: one[0])
        lines = np.concatenate([rows for _, rows in self.kept], 1)
        steps = [place + n for place, _ in self.kept for n in range(self.steps)]
        shares = self.task.quantiles
        empty = np.zeros(0)
        return Forecasts(
            rmse=np.sqrt(self.squares / self.seen),
            covered=self.inside / self.seen,
            what=self.task.field.column or "the series",
            step=self.task.field.step,
            inside=shares[-1] - shares[0] if len(shares) > 1 else 0.0,
            stamps=self.stamps[np.array(steps)],
            truth=lines[0],
            said=lines[1],
            low=lines[2] if len(lines) > 2 else empty,
            high=lines[3] if len(lines) > 2 else empty,
            begins=tuple(range(0, len(steps), self.steps)),
        )
