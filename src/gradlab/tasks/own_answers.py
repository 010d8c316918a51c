"""Answers of networks of one's own: arrays, several labels, several parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradlab.tasks.answers import Answer, Cell

MOST_CELLS = 100
"""Numbers of an answer that have a column of their own in a CSV."""


@dataclass(frozen=True)
class ArrayAnswer(Answer):
    """Numbers of any shape, as the network gives them."""

    values: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """The numbers as nested lists."""
        return {"answer": self.values.tolist()}

    def cells(self) -> dict[str, Cell]:
        """The first numbers, one a column."""
        flat = self.values.reshape(-1)[:MOST_CELLS].tolist()
        return {f"answer_{number}": value for number, value in enumerate(flat, 1)}

    def __str__(self) -> str:
        flat = self.values.reshape(-1)
        more = " ..." if len(flat) > 4 else ""
        return ", ".join(f"{value:.6g}" for value in flat[:4].tolist()) + more

    def more(self) -> str:
        """The shape, where it has one."""
        shape = " x ".join(map(str, self.values.shape))
        return shape if self.values.ndim > 1 or len(self.values.reshape(-1)) > 4 else ""


@dataclass(frozen=True)
class LabelsAnswer(Answer):
    """The labels that are likelier than not, and the probability of each."""

    labels: tuple[str, ...]
    probabilities: tuple[tuple[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """The labels and all probabilities."""
        return {"answer": list(self.labels), "probabilities": dict(self.probabilities)}

    def cells(self) -> dict[str, Cell]:
        """The labels, then a column for each probability."""
        found: dict[str, Cell] = {"answer": " ".join(self.labels)}
        return found | {f"probability_{name}": value for name, value in self.probabilities}

    def __str__(self) -> str:
        return ", ".join(self.labels) or "none"


@dataclass(frozen=True)
class PartsAnswer(Answer):
    """The parts of an output that is a tuple or a dictionary, by name."""

    parts: dict[str, Answer]

    def to_dict(self) -> dict[str, Any]:
        """Each part's own."""
        return {"answer": {name: part.to_dict()["answer"] for name, part in self.parts.items()}}

    def cells(self) -> dict[str, Cell]:
        """Each part's own, under its name."""
        return {
            f"{name}_{key}": cell
            for name, part in self.parts.items()
            for key, cell in part.cells().items()
        }

    def __str__(self) -> str:
        return "; ".join(f"{name}: {part}" for name, part in self.parts.items())
