"""Answers: what a model says of one input. Numbers first; then JSON, cells, a picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

Cell = str | float
Picture = np.ndarray
"""uint8 H W C, C 1 or 3."""


class Answer(ABC):
    """What a model says of one input."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The answer for JSON."""

    @abstractmethod
    def cells(self) -> dict[str, Cell]:
        """The answer as columns of a CSV."""

    @abstractmethod
    def __str__(self) -> str:
        """The answer in a few words."""

    def more(self) -> str:
        """What else a person may want to see beside it on a screen."""
        return ""

    def draw(self) -> Picture | None:
        """The answer as a picture, where it is one."""
        return None


@dataclass(frozen=True)
class LabelAnswer(Answer):
    """A class, its probability, and the likeliest classes with theirs, likeliest first."""

    label: str
    probability: float
    top: tuple[tuple[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """Class, probability and the likeliest classes."""
        top = [list(pair) for pair in self.top]
        return {"answer": self.label, "probability": self.probability, "top": top}

    def cells(self) -> dict[str, Cell]:
        """Class and probability, then the likeliest in order."""
        found: dict[str, Cell] = {"answer": self.label, "probability": self.probability}
        for rank, (name, value) in enumerate(self.top, 1):
            found |= {f"class_{rank}": name, f"probability_{rank}": value}
        return found

    def __str__(self) -> str:
        return self.label

    def more(self) -> str:
        """The likeliest classes."""
        return ", ".join(f"{name} {value:.1%}" for name, value in self.top)


@dataclass(frozen=True)
class NumberAnswer(Answer):
    """A number in the target's own units; `what` says what it is of."""

    number: float
    what: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The number."""
        return {"answer": self.number}

    def cells(self) -> dict[str, Cell]:
        """The number."""
        return {"answer": self.number}

    def __str__(self) -> str:
        return f"{self.number:.6g}"

    def more(self) -> str:
        """What it is of."""
        return self.what


@dataclass(frozen=True)
class ImageAnswer(Answer):
    """A picture made of the input, and how far it is from it (mean squared error)."""

    error: float
    picture: Picture | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The error."""
        return {"answer": self.error, "mse": self.error}

    def cells(self) -> dict[str, Cell]:
        """The error."""
        return {"answer": self.error}

    def __str__(self) -> str:
        return f"{self.error:.6g}"

    def draw(self) -> Picture | None:
        """The picture."""
        return self.picture


@dataclass(frozen=True)
class ActionAnswer(Answer):
    """An action, and what each action is worth."""

    action: str
    values: tuple[tuple[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """The action and all values."""
        return {"answer": self.action, "values": dict(self.values)}

    def cells(self) -> dict[str, Cell]:
        """The action and all values."""
        return {"answer": self.action, **{f"value_{name}": value for name, value in self.values}}

    def __str__(self) -> str:
        return self.action

    def more(self) -> str:
        """The values."""
        return ", ".join(f"{name} {value:.4g}" for name, value in self.values)


@dataclass(frozen=True)
class Prediction:
    """An answer and what its input is called."""

    name: str
    answer: Answer

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"input": self.name, **self.answer.to_dict()}

    def cells(self) -> dict[str, Cell]:
        """For a CSV."""
        return {"input": self.name, **self.answer.cells()}


def ranked(
    probability: Tensor, classes: Sequence[str], answered: Tensor | None = None, most: int = 5
) -> list[LabelAnswer]:
    """Answers from probabilities of N K; `answered`: N class numbers (None: the likeliest)."""
    values, order = probability.topk(min(most, len(classes)), dim=1)
    numbers = order[:, 0] if answered is None else answered
    sure = probability.gather(1, numbers[:, None])[:, 0]
    answers = []
    for row, chosen, number, own in zip(
        values.tolist(), order.tolist(), numbers.tolist(), sure.tolist(), strict=True
    ):
        top = tuple((classes[k], value) for k, value in zip(chosen, row, strict=True))
        answers.append(LabelAnswer(classes[number], own, top))
    return answers
