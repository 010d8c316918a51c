"""An evaluation: metrics, and the parts that a task adds to them.

A part is a finding about a split: numbers first, which can then be shown as JSON, as tables, as a
figure, as pictures with captions. The command line, the report and the studio show any part, and
know none by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlab.data.dataset import Split
from gradlab.data.loader import Batch

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """Rows under a header, for a screen or a page."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    folded: bool = False
    """Whether a page shows it only when asked."""
    title: str = ""


@dataclass(frozen=True)
class Card:
    """A picture (uint8 H W C) and what stands under it, the first line in bold."""

    picture: np.ndarray
    caption: tuple[str, ...]


class Part(ABC):
    """A finding about a split."""

    title: str
    caption: str = ""
    """What a reader must know to read it."""
    subject: str = ""
    """What it is about, where that is not the split that is evaluated."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """For JSON, by names that no other part has."""

    def tables(self) -> Sequence[Table]:
        """For a screen and a page."""
        return ()

    def figure(self) -> Figure | None:
        """For a page; None where there is nothing to draw."""
        return None

    def cards(self) -> Sequence[Card]:
        """For a page: pictures with captions."""
        return ()

    def words(self) -> str:
        """The figure in a sentence, for those who do not see it."""
        return self.title


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a split and the findings about it.

    `baselines` are those of new examples, by name; those of a split stand in its run.
    """

    metrics: dict[str, float]
    parts: tuple[Part, ...] = ()
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {"metrics": self.metrics}
        for part in self.parts:
            found |= part.to_dict()
        return found


@dataclass(frozen=True)
class OnNew(Part):
    """How many new examples were evaluated, and which were left out (name and reason)."""

    count: int
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    title = "New data"

    def to_dict(self) -> dict[str, Any]:
        """Counts, names and reasons."""
        left_out = [{"input": name, "reason": reason} for name, reason in self.left_out]
        return {
            "examples": self.count,
            "skipped": {"count": len(left_out), "inputs": left_out},
            "notes": list(self.notes),
        }


class Collector(ABC):
    """Watches an evaluation pass by and makes a part of it."""

    def __init__(self, task: Any, split: Split) -> None:
        self.task, self.split = task, split

    @abstractmethod
    def update(self, output: Any, batch: Batch) -> None:
        """Take in the outputs (float32) for a batch in order."""

    @abstractmethod
    def compute(self) -> Part | None:
        """The part; None where there is nothing to say."""
