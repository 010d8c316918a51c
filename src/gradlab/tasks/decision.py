"""How probabilities become an answer: temperature and threshold, chosen on val after the training.

Guo et al. (2017), "On calibration of modern neural networks", 4.2 (temperature scaling);
Youden (1950), "Index for rating diagnostic tests".
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field
from torch import Tensor
from torch.nn import functional

from gradlab.config import Config
from gradlab.tasks.metrics import by_score

FEW = 20
"""Positive examples on val below which a threshold is uncertain."""
FEW_AT_ALL = 200
"""Examples on val below which a temperature is."""
_COLDEST, _HOTTEST = 0.05, 20.0  # temperatures: beyond them nothing is to be learnt
_SPREAD = 0.3  # of the logarithm of a temperature, before anything is seen
_MOST = 20_000_000  # values that a temperature is fitted to


def _threshold(value: Any) -> float | str:
    if value in ("f1", "youden"):
        return str(value)
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = -1.0
    if not 0 < found < 1:
        raise ValueError("expected f1, youden or a probability between 0 and 1")
    return found


ClassWeight = Annotated[
    Literal["none", "balanced"],
    Field(description="balanced: in the loss each class counts the same, however rare it is"),
]
Positive = Annotated[
    str,
    Field(description="the class that F1, precision and threshold are about (the rarer of two)"),
]
Threshold = Annotated[
    float | str,
    BeforeValidator(_threshold),
    Field(description="of two classes: the probability from which the positive one is answered, "
          "or by what it is chosen on val: f1 or youden"),
]  # fmt: skip
Calibrate = Annotated[
    bool, Field(description="fit a temperature of the probabilities on val, after the training")
]


class Decision(Config):
    """What is chosen on val with the weights of the best epoch, and what it changes there."""

    temperature: float = Field(1.0, gt=0, description="the outputs are divided by it")
    ece_before: float | None = Field(None, description="calibration error on val without it")
    ece_after: float | None = Field(None, description="calibration error on val with it")
    threshold: float | None = Field(None, ge=0, le=1, description="of the positive class")
    chosen_by: str = Field("", description="f1 or youden")
    at_half: float | None = Field(None, description="what that is on val at a threshold of 0.5")
    at_threshold: float | None = Field(None, description="what it is at this threshold")
    margins: tuple[float, ...] = Field(
        (), description="of a forecast: by how much the interval of each step is widened"
    )
    covered_before: float | None = Field(None, description="share of val inside it without them")
    examples: int = Field(0, ge=0, description="of val")
    positives: int = Field(0, ge=0, description="those of the positive class")

    @property
    def notes(self) -> tuple[str, ...]:
        """In words."""
        said = []
        if self.margins and self.covered_before is not None:
            said.append(
                f"intervals: {'widened' if sum(self.margins) > 0 else 'narrowed'} by what val asks "
                f"for (they held {self.covered_before:.1%} of it)"
            )
        few_at_all = self.examples < FEW_AT_ALL
        if self.ece_before is not None and self.ece_after is not None:
            said.append(
                f"calibrated: temperature {self.temperature:.4g}, fitted on val; the expected "
                f"calibration error there is {self.ece_after:.4g}, {self.ece_before:.4g} without"
                + (f"; uncertain, from {self.examples} examples" if few_at_all else "")
            )
        if self.threshold is not None and self.at_half is not None:
            few = (
                f"; uncertain, from {self.positives} positive examples"
                if self.positives < FEW
                else ""
            )
            said.append(
                f"threshold: {self.threshold:.4g}, chosen on val by {_NAMES[self.chosen_by]} "
                f"({self.at_threshold:.4g} there, {self.at_half:.4g} at 0.5){few}"
            )
        return tuple(said)


_NAMES = {"f1": "F1", "youden": "Youden's J"}


def _figures(yes: np.ndarray, no: np.ndarray, by: str) -> np.ndarray:
    """F1, or recall less false alarms (Youden's J), where all up to each score are answered yes."""
    right, wrong = yes.cumsum(), no.cumsum()
    if by == "f1":
        return np.asarray(2 * right / (right + wrong + yes.sum()))
    return np.asarray(right / max(yes.sum(), 1) - wrong / max(no.sum(), 1))


def best_threshold(chances: np.ndarray, positive: np.ndarray, by: str) -> tuple[float, float]:
    """The threshold with the largest F1 or Youden's J, and that; of equal ones the nearest to 0.5.

    chances: N probabilities of the positive class; positive: N, whether it is so. A threshold lies
    in the middle between two probabilities, so that rounding changes no answer.

    >>> best_threshold(np.array([0.1, 0.2, 0.4, 0.3]), np.array([0, 0, 1, 1], bool), "f1")
    (0.25, 1.0)
    """
    scores, yes, no = by_score(chances, positive)
    cuts = (scores + np.append(scores[1:], 0.0)) / 2
    figures = _figures(yes, no, by)
    best = np.flatnonzero(figures >= figures.max() - 1e-12)
    chosen = best[np.abs(cuts[best] - 0.5).argmin()]
    return float(cuts[chosen]), float(figures[chosen])


def figure_at(chances: np.ndarray, positive: np.ndarray, by: str, threshold: float) -> float:
    """F1 or Youden's J at a threshold."""
    answered = chances >= threshold
    right, wrong = float((answered & positive).sum()), float((answered & ~positive).sum())
    count = float(positive.sum())
    if by == "f1":
        return 2 * right / max(right + wrong + count, 1)
    return right / max(count, 1) - wrong / max(float((~positive).sum()), 1)


def fit_temperature(logits: Tensor, y: Tensor) -> float:
    """The temperature T that makes softmax(logits / T) likeliest. logits: N K; y: N classes.

    log T has a normal prior of mean 0 and standard deviation 0.3: few examples, all of them
    answered right, are no reason for certainty.

    >>> import torch
    >>> logits = torch.tensor([[4.0, 0.0]] * 1000)
    >>> round(fit_temperature(logits, torch.tensor([0, 0, 0, 1] * 250)), 1)  # 4 / T near ln 3
    3.4
    """
    from scipy.optimize import minimize_scalar

    few = slice(None, max(_MOST // max(logits.shape[1], 1), 1))
    logits, y = logits[few].double(), y[few]

    def cost(log: float) -> float:
        prior = log**2 / (2 * _SPREAD**2 * len(y))
        return float(functional.cross_entropy(logits / math.exp(log), y)) + prior

    bounds = (math.log(_COLDEST), math.log(_HOTTEST))
    found = minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return math.exp(found.x)
