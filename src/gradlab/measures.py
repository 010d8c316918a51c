"""What the metrics mean: which way each improves, its unit, and how it is written.

The one place that knows it. A task with a metric of its own registers it beside its class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Goal = Literal["min", "max"]


@dataclass(frozen=True)
class Measure:
    """A metric by name.

    `goal` is the way it improves, None where neither is better. A value is written `scale` times
    as large, in the format `form`, with its `unit`.

    >>> measure("accuracy").text(0.9876), measure("loss").text(0.04321)
    ('98.76 %', '0.04321')
    """

    name: str
    goal: Goal | None = None
    unit: str = ""
    scale: float = 1.0
    form: str = ".4g"

    def text(self, value: float | None) -> str:
        """The value as people write it; None, a log's word for what was not finite, as nan."""
        if value is None or not math.isfinite(value):
            return f"{math.nan if value is None else value}"
        return f"{value * self.scale:{self.form}} {self.unit}".rstrip()

    def improves(self, value: float, best: float | None) -> bool:
        """Whether `value` is better than `best`; one that is not finite is worse than anything.

        >>> measure("loss").improves(0.5, None), measure("loss").improves(math.nan, None)
        (True, False)
        """
        if not math.isfinite(value):
            return False
        if best is None:
            return True
        return value > best if self.goal == "max" else value < best


_KNOWN: dict[str, Measure] = {}


def register(known: Measure) -> Measure:
    """Make a metric known; ValueError when its name is taken."""
    if known.name in _KNOWN:
        raise ValueError(f"measure {known.name!r} is registered twice")
    _KNOWN[known.name] = known
    return known


for _measure in (
    Measure("loss", "min"),
    Measure("accuracy", "max", unit="%", scale=100, form=".2f"),
    Measure("balanced_accuracy", "max", unit="%", scale=100, form=".2f"),
    Measure("f1", "max"),
    Measure("macro_f1", "max"),
    Measure("roc_auc", "max"),
    Measure("average_precision", "max"),
    Measure("ece", "min"),
    Measure("mse", "min"),
    Measure("mae", "min"),
    Measure("r2", "max"),
    Measure("rmse", "min"),
    Measure("rmse_last", "min"),
    Measure("coverage", unit="%", scale=100, form=".1f"),
    Measure("interval", "min"),
    Measure("perplexity", "min"),
    Measure("bits_per_token", "min"),
    Measure("return", "max"),
    Measure("return_std"),
    Measure("length", unit="steps"),
    Measure("frechet", "min"),
    Measure("frechet_floor"),
    Measure("precision", "max"),
    Measure("recall", "max"),
    Measure("precision_real"),
    Measure("recall_real"),
    Measure("classes_covered", "max"),
    Measure("nearest_ratio"),
    Measure("copies", "min"),
):
    register(_measure)

_FALLING = ("loss", "error", "mse", "mae", "perplexity", "distance")


def known() -> tuple[str, ...]:
    """The names of all registered metrics."""
    return tuple(sorted(_KNOWN))


def measure(name: str) -> Measure:
    """The metric of a name. Of one that nobody registered the name tells the way it improves.

    >>> measure("top5_error").goal, measure("f1").goal
    ('min', 'max')
    """
    if name in _KNOWN:
        return _KNOWN[name]
    return Measure(name, "min" if name.endswith(_FALLING) else "max")
