"""What the figures are: which way they improve, and how they are written. The one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """A figure by name; `goal` is None where neither way is better."""

    name: str
    goal: Literal["min", "max"] | None = "max"
    percent: bool = False

    def text(self, value: float) -> str:
        """The value as people write it."""
        return f"{value:.2%}".replace("%", " %") if self.percent else f"{value:.4g}"


MEASURES = {
    m.name: m
    for m in (
        Measure("loss", "min"), Measure("accuracy", percent=True), Measure("mse", "min"),
        Measure("mae", "min"), Measure("r2"), Measure("roc_auc"), Measure("return"),
        Measure("return_std", None), Measure("length", None), Measure("frechet", "min"),
        Measure("frechet_floor", None), Measure("precision"), Measure("recall"),
        Measure("precision_real", None), Measure("recall_real", None), Measure("classes_covered"),
        Measure("nearest_ratio", None), Measure("copies", "min"),
    )
}  # fmt: skip


def measure(name: str) -> Measure:
    """The figure of this name; one that is not known is taken for a cost."""
    return MEASURES.get(name, Measure(name, "min"))
