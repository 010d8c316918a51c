"""Forecasts: the next values of a series, and how sure of them one can be.

The network gives for each step a value (squared error) and quantiles (pinball loss; Koenker and
Bassett 1978). What it reaches stands beside what needs no network: the last value, the value a
season ago, a linear autoregression.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from gradlab.config import Choice, Recipe, Runtime
from gradlab.data import Schema, Split
from gradlab.data.fields.series import Future, Series
from gradlab.data.loader import Batch
from gradlab.data.windows import Windowed
from gradlab.models.forecast import Forecaster
from gradlab.tasks import tasks
from gradlab.tasks.answers import Answer, Cell
from gradlab.tasks.base import Own, TrainingPart
from gradlab.tasks.baselines import Baselines
from gradlab.tasks.decision import Decision
from gradlab.tasks.findings.forecasts import ForecastCollector
from gradlab.tasks.metrics import Absolute, Loss, Mean, Metric
from gradlab.tasks.supervised import Supervised

FEW = 20
"""Examples of val below which an interval stays as it was learnt."""
MOST = 100_000
"""Those that are looked at, at most."""
RIDGE = 1e-6
"""Of the autoregression, of the mean square of its inputs: lags that are alike stay finite."""


class RootSquared(Mean):
    """The root of the mean squared error over all steps, in the target's units."""

    name = "rmse"
    steps = slice(None)

    def value(self, output: Tensor, batch: Batch) -> Tensor:
        """The mean square of the batch."""
        error = self.task.interpreted(output).double() - batch[self.task.target].double()
        found: Tensor = error[:, self.steps].square().mean()
        return found

    def compute(self) -> float | None:
        """Its root."""
        found = super().compute()
        return None if found is None else found**0.5


class LastSquared(RootSquared):
    """The same of the last step alone."""

    name = "rmse_last"
    steps = slice(-1, None)

    def compute(self) -> float | None:
        """None where there is one step."""
        return super().compute() if self.task.field.steps > 1 else None


class OfInterval(Mean):
    """A mean of what the lowest and the highest quantile say; of none without quantiles."""

    def update(self, output: Tensor, batch: Batch) -> None:
        """Of a task that has both."""
        if len(self.task.quantiles) > 1:
            super().update(output, batch)


class Coverage(OfInterval):
    """The share of the values that lie between the lowest and the highest quantile."""

    name = "coverage"

    def value(self, output: Tensor, batch: Batch) -> Tensor:
        """Of the batch."""
        low, high = self.task.interval(output)
        y = batch[self.task.target]
        found: Tensor = ((y >= low) & (y <= high)).double().mean()
        return found


class IntervalWidth(OfInterval):
    """How far apart the two are, in the target's units."""

    name = "interval"

    def value(self, output: Tensor, batch: Batch) -> Tensor:
        """Of the batch."""
        low, high = self.task.interval(output)
        found: Tensor = (high - low).double().mean()
        return found


@dataclass(frozen=True)
class ForecastAnswer(Answer):
    """The next values of a series, in its units, with quantiles: Q H."""

    values: tuple[float, ...]
    quantiles: tuple[float, ...]
    bounds: tuple[tuple[float, ...], ...] = field(repr=False)
    step: str = "step"

    def to_dict(self) -> dict[str, Any]:
        """The values, and each quantile of them."""
        return {
            "answer": self.values[0] if len(self.values) == 1 else list(self.values),
            "quantiles": {
                f"{share:g}": list(row)
                for share, row in zip(self.quantiles, self.bounds, strict=True)
            },
        }

    def cells(self) -> dict[str, Cell]:
        """A column for each step and quantile."""
        found: dict[str, Cell] = {}
        for number, value in enumerate(self.values):
            name = "answer" if len(self.values) == 1 else f"step_{number + 1}"
            found[name] = value
            for share, row in zip(self.quantiles, self.bounds, strict=True):
                found[f"{name}_q{share:g}"] = row[number]
        return found

    def __str__(self) -> str:
        more = ", ..." if len(self.values) > 6 else ""
        return ", ".join(f"{value:.4g}" for value in self.values[:6]) + more

    def more(self) -> str:
        """The interval of the first step."""
        if len(self.quantiles) < 2:
            return ""
        inside = self.quantiles[-1] - self.quantiles[0]
        low, high = self.bounds[0][0], self.bounds[-1][0]
        return f"next {self.step}: {inside:.0%} between {low:.4g} and {high:.4g}"


@tasks.register("forecast")
class Forecasting(Supervised):
    """Squared error of standardised values, and the pinball loss of quantiles beside it."""

    serves = frozenset({"init", "weights", "updates", "accumulate", "dataset"})
    monitor = "rmse"
    metrics: tuple[type[Metric], ...] = (
        Loss, RootSquared, LastSquared, Absolute, Coverage, IntervalWidth,
    )  # fmt: skip
    collectors = (ForecastCollector,)
    answers = "future"
    field: Future
    findings = ()

    def __init__(
        self,
        recipe: Recipe,
        schema: Schema,
        runtime: Runtime,
        own: Own | None = None,
        *,
        quantiles: Annotated[
            tuple[Annotated[float, Field(gt=0, lt=1)], ...],
            Field(description="shares below which a value lies, said beside the forecast"),
        ] = (0.1, 0.9),
    ) -> None:
        self.target, self.field = schema.target(Future, "a forecast")
        self.name, self.past = schema.input(Series, "a forecast")
        self.quantiles = tuple(sorted(quantiles))
        options = recipe.model.options
        if recipe.model.name == "forecaster" and "instance" not in options and self.past.several:
            chosen = Choice(name="forecaster", **{**options, "instance": True})
            recipe = recipe.model_copy(update={"model": chosen})
        super().__init__(recipe, schema, runtime, own)
        self._weights: tuple[Any, np.ndarray] | None = None

    @property
    def outputs(self) -> int:
        """For each step the value, then each of the quantiles."""
        return self.field.steps * (1 + len(self.quantiles))

    def training_parts(self, fresh: bool) -> dict[str, TrainingPart]:
        """As of any supervised task; a linear model begins by least squares."""
        if isinstance(self.model, Forecaster) and self.recipe.transfer.init == "default":
            if fresh:
                self.model.begin_with_least_squares(self._standardised, self.quantiles)
            if self.model.keep_linear():
                self.notes += (
                    "the linear model of the window is that of least squares (ridge); the "
                    "recurrent layers learn what it leaves",
                )
        return super().training_parts(fresh)

    def _standardised(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Windows and what follows, of train in the order of time."""
        for batch in self.in_order("train").in_order():
            yield batch[self.name], (batch[self.target] - self.field.mean) / self.field.std

    def split_up(self, output: Tensor) -> Tensor:
        """Outputs as N 1+Q H."""
        return output.view(len(output), -1, self.field.steps)

    def score(self, output: Tensor, y: Tensor) -> Tensor:
        """The squared error of the values and the pinball loss of the quantiles; y: N H."""
        target = ((y - self.field.mean) / self.field.std).to(output.dtype)
        value, *bounds = self.split_up(output).unbind(1)  # N H each
        loss = functional.mse_loss(value, target)
        for share, bound in zip(self.quantiles, bounds, strict=True):
            error = target - bound
            loss = loss + torch.maximum(share * error, (share - 1) * error).mean()
        return loss

    def interpreted(self, output: Tensor) -> Tensor:
        """The values in their units, N H."""
        return self.split_up(output)[:, 0] * self.field.std + self.field.mean

    def bounds(self, output: Tensor) -> Tensor:
        """The quantiles in their units, in order, N Q H."""
        rows = self.split_up(output)[:, 1:] * self.field.std + self.field.mean
        rows = rows.sort(1).values
        if self.decision.margins and len(self.quantiles) > 1:
            margin = torch.tensor(self.decision.margins).to(rows)
            rows = torch.cat([rows[:, :1] - margin, rows[:, 1:-1], rows[:, -1:] + margin], 1)
        return rows

    def interval(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """The lowest and the highest quantile, N H each."""
        rows = self.bounds(output)
        return rows[:, 0], rows[:, -1]

    @property
    def decides(self) -> bool:
        """Whether intervals are fitted to val after the training."""
        return len(self.quantiles) > 1 and self.has("val")

    def decide(self) -> dict[str, Any]:
        """Widen the interval of each step so that it would have held its share of val.

        Romano, Patterson and Candes (2019), "Conformalized quantile regression",
        https://arxiv.org/abs/1905.03222.
        """
        self.decision = Decision()
        if not self.decides:
            return {}
        outside = []
        for batch, output in self.outputs_of(self.in_order("val")):
            low, high = self.interval(output)
            y = batch[self.target]
            outside.append(torch.maximum(low - y, y - high).double().cpu())  # N H
        beyond = torch.cat(outside)
        count = len(beyond)
        share = (self.quantiles[-1] - self.quantiles[0]) * (1 + 1 / count)
        if count < FEW or share >= 1:
            return {}
        margins = torch.quantile(beyond[-MOST:], share, dim=0)
        self.decision = Decision(
            margins=tuple(margins.tolist()),
            covered_before=float((beyond <= 0).double().mean()),
            examples=count,
        )
        return self.decision.model_dump(exclude_defaults=True)

    def as_output(self, answers: Tensor) -> Tensor:
        """Values in their units (N H) as the network would have to give them."""
        standard = (answers - self.field.mean) / self.field.std
        return standard.repeat(1, 1 + len(self.quantiles))

    def pooled(self, outputs: Sequence[Tensor]) -> Tensor:
        """Several networks' outputs as one: their mean."""
        return torch.stack([output.float() for output in outputs]).mean(0)

    def wrong(self, output: Tensor, batch: Batch) -> tuple[Tensor, Any]:
        """The root of the mean squared error over the steps."""
        truth, answer = batch[self.target].cpu(), self.interpreted(output).cpu()

        def describe(place: int) -> tuple[str, str]:
            return self.field.show(truth[place]), self.field.show(answer[place])

        return (answer - truth).square().mean(1).sqrt(), describe

    def answer(self, output: Tensor, batch: Batch) -> Sequence[Answer]:
        """Values and quantiles, in their units."""
        values, bounds = self.interpreted(output), self.bounds(output)
        return [
            ForecastAnswer(tuple(row), self.quantiles, tuple(map(tuple, rows)), self.field.step)
            for row, rows in zip(values.tolist(), bounds.tolist(), strict=True)
        ]

    # what needs no network

    def baselines(self, splits: Iterable[str]) -> Baselines:
        """The last value, the one a season ago, a linear autoregression of the window."""
        found: Baselines = {}
        for split in splits:
            examples = self.dataset.split(split)
            future = self.values(examples, self.target)
            guesses = self.guesses(examples)
            found[split] = {name: figures(guess, future) for name, guess in guesses.items()}
        return found

    def guesses(self, examples: Split) -> dict[str, np.ndarray]:
        """What each of them says, N H; the autoregression is learnt from the training split."""
        window = self.values(examples, self.name)
        season = self.past.layout.step.season
        found = {"last value": np.repeat(window[:, -1:], self.field.steps, 1)}
        if season > 1:
            found[f"{season} steps ago"] = self.seasonal(examples, season)
        if self._weights is None or self._weights[0] is not self.dataset:
            train = self.dataset.split("train")
            both = (self.values(train, name) for name in (self.name, self.target))
            self._weights = self.dataset, autoregression(*both)
        found["linear autoregression"] = _lagged(window) @ self._weights[1]
        return found

    def values(self, examples: Split, name: str) -> np.ndarray:
        """What was known of the target (N T), or what followed (N H), in its units."""
        column: Windowed = examples[name]
        values = column[:][..., 0].astype(np.float64)
        return values * self.past.stds[0] + self.past.means[0] if name == self.name else values

    def seasonal(self, examples: Split, season: int) -> np.ndarray:
        """For each step the last known value of its season, N H; the last value where none is."""
        past: Windowed = examples[self.name]
        values = past.base[:, 0].astype(np.float64) * self.past.stds[0] + self.past.means[0]
        last = past.starts + past.length - 1
        ahead = np.arange(1, self.field.steps + 1)
        place = last[:, None] + ahead - season * -(-ahead // season)
        codes = past.timeline.codes
        there = (place >= 0) & (codes[place.clip(min=0)] == codes[last][:, None])
        return values[np.where(there, place, last[:, None])]


def autoregression(window: np.ndarray, future: np.ndarray) -> np.ndarray:
    """The weights of a linear forecast of each step, T+1 H, by least squares."""
    lags = _lagged(window)
    square = lags.T @ lags
    square[np.diag_indices_from(square)] += RIDGE * np.trace(square) / len(square)
    found: np.ndarray = np.linalg.solve(square, lags.T @ future)
    return found


def _lagged(window: np.ndarray) -> np.ndarray:
    return np.concatenate([window, np.ones((len(window), 1))], 1)


def figures(guess: np.ndarray, future: np.ndarray) -> dict[str, float]:
    """The errors of a forecast, N H each."""
    error = guess - future
    found = {"rmse": float(np.sqrt((error**2).mean())), "mae": float(np.abs(error).mean())}
    if future.shape[1] > 1:
        found["rmse_last"] = float(np.sqrt((error[:, -1] ** 2).mean()))
    return found
