"""The learning rate that a training can bear, found by raising it until the loss explodes.

Smith (2015), "Cyclical learning rates for training neural networks",
https://arxiv.org/abs/1506.01186, section 3.3.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from gradlab import files
from gradlab.config import Recipe, ScheduleConfig
from gradlab.data.given import dataset_of, is_held
from gradlab.drawing import THEME, png, smooth, styled
from gradlab.drawing import svg as drawn
from gradlab.errors import UserError
from gradlab.recipes import find
from gradlab.runs.make import learnt_from
from gradlab.tasks.base import LossTask, Own
from gradlab.tasks.evaluation import Table
from gradlab.workflows.own import prepared
from gradlab.workflows.train import divide, located, training

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOWEST, HIGHEST = 1e-7, 10.0
STEPS = 100
EXPLODED = 4.0
"""The test ends where the smoothed loss is above its lowest value by so much of its fall."""
SUFFIXES = (".png", ".svg", ".json")
_MEMORY = 0.7  # of the smoothing: the share of the past


@dataclass(frozen=True)
class RangeTest:
    """`rates` and the smoothed `losses` of the steps; `suggested` is the rate to train with.

    The suggestion is the rate at which the smoothed loss had come down halfway to its lowest
    value: there it falls fast, and the rates at which it explodes are far. It is at most a tenth
    of the rate at which it exploded. `tuned` is the recipe's own.
    """

    recipe: str
    data: str
    suggested: float
    tuned: float
    exploded: float | None
    """The rate at which the test ended; None where the loss bore every rate."""
    rates: tuple[float, ...] = field(repr=False)
    losses: tuple[float, ...] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "recipe": self.recipe,
            "data": self.data,
            "suggested_lr": self.suggested,
            "recipe_lr": self.tuned,
            "exploded_at": self.exploded,
            "rates": list(self.rates),
            "losses": list(self.losses),
        }

    def tables(self) -> list[Table]:
        """What was found, as it is typed."""
        best = int(np.argmin(self.losses))
        rows = [
            ("suggested", f"--lr {self.suggested:.2g}"),
            ("the recipe's own", f"--lr {self.tuned:.2g}"),
            ("lowest loss at", f"{self.rates[best]:.2g}"),
            ("exploded at", "not at all" if self.exploded is None else f"{self.exploded:.2g}"),
        ]
        return [Table(("learning rate", ""), tuple(rows))]

    @styled
    def figure(self) -> Figure:
        """The smoothed loss over the rates, and the one that is suggested."""
        from matplotlib.figure import Figure
        from matplotlib.ticker import FuncFormatter

        figure = Figure(figsize=(6, 3.6), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(self.rates, self.losses, color=THEME["train"], lw=2)
        axes.axvline(self.suggested, color=THEME["val"], lw=1.4, label=f"{self.suggested:.2g}")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
        low, first = min(self.losses), self.losses[0]
        axes.set_ylim(low - 0.1 * abs(first - low), first + 0.6 * max(first - low, 1e-12))
        title = f"{self.recipe} on {self.data}: learning rate range test"
        axes.set_title(title, loc="left", fontweight="bold")
        axes.set_xlabel("learning rate")
        axes.set_ylabel("training loss, smoothed")
        axes.grid(lw=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, title="suggested")
        return figure

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the figure (.png, .svg) or the figures (.json)."""
        check_out(place := Path(path))
        if place.suffix.lower() == ".json":
            files.write_json(place, self.to_dict())
        elif place.suffix.lower() == ".svg":
            text = drawn(self.figure(), "lr", f"suggested learning rate {self.suggested:.2g}")
            for role, colour in THEME.items():
                text = text.replace(f"var(--{role})", colour)  # it stands alone, without a page
            files.write_text(place, text)
        else:
            files.write_bytes(place, png(self.figure()))

    def __str__(self) -> str:
        return f"suggested learning rate {self.suggested:.2g} ({self.recipe} on {self.data})"


def find_lr(recipe: str | Recipe | nn.Module, *, loss: Any = None, **options: Any) -> RangeTest:
    """A learning rate for a recipe, or for a network of one's own, and the curve behind it.

    Up to 100 steps are taken, with a rate that rises exponentially from 1e-7 to 10 and no
    schedule; the test ends where the loss explodes. Options are those of `gradlab.train` and
    `gradlab.fit`: `data`, fields of the recipe, the runtime. No run is left behind, and a network
    of one's own has its weights back afterwards.

    >>> found = find_lr("softmax_regression", data="iris", threads=1)
    >>> 1e-5 < found.suggested < 1
    True
    """
    run_options, fields = divide(options)
    own = Own(recipe, loss) if isinstance(recipe, nn.Module) else None
    data = fields.pop("data", None)
    if isinstance(recipe, nn.Module):
        target, scaled = fields.pop("target", None), fields.pop("standardise", False)
        chosen, dataset = prepared(recipe, data, fields, target=target, standardise=scaled)
    elif is_held(data):
        chosen = located(find(recipe, {"data": "arrays", **fields}))
        dataset, config = dataset_of(data, chosen.data)
        chosen = chosen.model_copy(update={"data": config})
    else:
        chosen = located(find(recipe, fields if data is None else {**fields, "data": data}))
        dataset = learnt_from(chosen)
    tuned = chosen.optimizer.lr
    chosen = chosen.model_copy(
        update={
            "schedule": ScheduleConfig(),
            "optimizer": chosen.optimizer.model_copy(update={"lr": 1.0}),
        }
    )
    before = None if own is None else {k: v.clone() for k, v in own.model.state_dict().items()}
    try:
        with training(chosen, dataset, run_options.runtime, own) as task:
            if not isinstance(task, LossTask):
                raise UserError(
                    f"a learning rate is found for tasks with a loss on examples; "
                    f"{task.recipe.task.name!r} ({chosen.name}) has none"
                )
            rates, losses = _raised(task)
    finally:
        if own is not None and before is not None:
            own.model.load_state_dict(before)
    exploded = float(rates[-1]) if len(rates) < STEPS else None
    return RangeTest(
        recipe=chosen.name,
        data=dataset.name,
        suggested=float(f"{min(_halfway(rates, losses), (exploded or math.inf) / 10):.2g}"),
        tuned=tuned,
        exploded=exploded,
        rates=tuple(rates.tolist()),
        losses=tuple(losses.tolist()),
    )


def _raised(task: Any) -> tuple[np.ndarray, np.ndarray]:
    """The rates of the steps that were taken, and the smoothed losses before them."""
    peaks = [*task.updates.peaks]
    raw: list[float] = []
    rates = np.geomspace(LOWEST, HIGHEST, STEPS)
    lowest = first = math.inf
    batches = (batch for epoch in count() for batch in task.batches(epoch))
    for rate, batch in zip(rates, batches, strict=False):
        task.updates.peaks = [peak * rate for peak in peaks]
        raw.append(float(task.step(batch)["loss"]))
        if not math.isfinite(raw[-1]):
            raw.pop()
            break
        now = float(smooth(np.array(raw), _MEMORY)[-1])
        first = min(first, now) if len(raw) < 5 else first
        lowest = min(lowest, now)
        # Above where it began by far; a loss that had fallen little still explodes.
        if now > first + EXPLODED * max(first - lowest, 0.1 * abs(first)):
            break
    if len(raw) < 5:
        raise UserError(
            f"the loss is not finite at a learning rate of {LOWEST:g} already: look at the data "
            "and the loss first"
        )
    return rates[: len(raw)], smooth(np.array(raw), _MEMORY)


def _halfway(rates: np.ndarray, losses: np.ndarray) -> float:
    """The rate at which the loss has come down halfway from where it began to its lowest value."""
    down = losses < (losses[0] + losses.min()) / 2
    if losses.min() >= losses[0]:
        raise UserError(
            "the loss falls at no learning rate from 1e-7 to 10: look at the network, the loss and "
            "the data first ('gradlab train' says in its verdict what is to be seen)"
        )
    return float(rates[int(np.argmax(down))])


def check_out(path: Path) -> None:
    """UserError for a file that is neither a figure nor JSON."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"--out: expected a file ending in {', '.join(SUFFIXES)}, found {path}")
