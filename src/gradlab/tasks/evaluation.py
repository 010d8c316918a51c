"""An evaluation: metrics, and the parts that a task adds to them.

A part is a finding about a split: numbers first, which can then be shown as JSON, as tables, as a
figure, as pictures with captions. The command line, the report and the studio show any part, and
know none by name.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gradlab.data.dataset import Split
from gradlab.data.loader import Batch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORST = 24
"""How many mistakes are kept."""


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


@dataclass(frozen=True)
class Confusion(Part):
    """Counts of truth against answer, K K, rows are the truth."""

    classes: tuple[str, ...]
    counts: np.ndarray
    title = "Confusion matrix"
    caption = (
        "Rows: truth. Columns: prediction. The stronger the colour, the larger the share of the "
        "row."
    )

    @property
    def per_class(self) -> dict[str, dict[str, float]]:
        """Precision, recall, F1 and the number of examples of each class.

        By the counts: scikit-learn, loaded for this alone, would take a second and 60 MB.
        """
        right, truth, given = self.counts.diagonal(), self.counts.sum(1), self.counts.sum(0)
        figures = {
            "precision": right / given.clip(1),
            "recall": right / truth.clip(1),
            "f1": 2 * right / (truth + given).clip(1),
            "count": truth,
        }
        return {
            name: {key: float(np.float32(values[k])) for key, values in figures.items()}
            for k, name in enumerate(self.classes)
        }

    def to_dict(self) -> dict[str, Any]:
        """Classes, figures of each, and the counts."""
        return {
            "classes": list(self.classes),
            "per_class": self.per_class,
            "confusion": self.counts.tolist(),
        }

    def tables(self) -> Sequence[Table]:
        """The figures of each class, and the most common confusions."""
        from gradlab.drawing import confusions

        rows = tuple(
            (
                name,
                *(f"{row[key]:.4f}" for key in ("precision", "recall", "f1")),
                f"{row['count']:.0f}",
            )
            for name, row in self.per_class.items()
        )
        common = tuple(
            (truth, answer, str(count), f"{share:.1%}")
            for truth, answer, count, share in confusions(self.counts, self.classes)
        )
        header = ("class", "precision", "recall", "F1", "examples")
        return (
            Table(header, rows, folded=True, title="Each class"),
            Table(
                ("truth", "taken for", "count", "of the class"), common, title="Common confusions"
            ),
        )

    def figure(self) -> Figure | None:
        """The matrix, coloured."""
        from gradlab.drawing import confusion_matrix

        return confusion_matrix(self.counts, self.classes)

    def words(self) -> str:
        """How many are right."""
        right, total = int(np.trace(self.counts)), int(self.counts.sum())
        return f"Confusion matrix of {len(self.counts)} classes: {right} of {total} right"


class ConfusionCollector(Collector):
    """Counts truth against answer."""

    def __init__(self, task: Any, split: Split) -> None:
        super().__init__(task, split)
        count = len(task.field.classes)
        self.counts = np.zeros((count, count), np.int64)

    def update(self, output: Tensor, batch: Batch) -> None:
        """Count a batch."""
        count = len(self.counts)
        pairs = batch[self.task.target] * count + self.task.chosen(output)
        found = torch.bincount(pairs, minlength=count**2).view(count, count)
        self.counts += found.cpu().numpy()

    def compute(self) -> Part:
        """The matrix."""
        return Confusion(self.task.field.classes, self.counts)


@dataclass(frozen=True)
class Mistake:
    """An example that the model gets wrong; `seen` is a picture of the input or a text."""

    id: str
    truth: str
    answer: str
    value: float
    """The probability of the wrong class, or the error."""
    seen: Any = field(default=None, repr=False)


@dataclass(frozen=True)
class Mistakes(Part):
    """The worst mistakes of a split, worst first; `measured` says what their value is."""

    items: tuple[Mistake, ...]
    measured: str
    title = "Worst mistakes"

    def to_dict(self) -> dict[str, Any]:
        """Without the pictures."""
        worst = [
            {"id": m.id, "truth": m.truth, "answer": m.answer, self.measured: m.value}
            for m in self.items
        ]
        return {"worst": worst}

    def _value(self, mistake: Mistake) -> str:
        return f"{mistake.value:.1%}" if self.measured == "probability" else f"{mistake.value:.4g}"

    def _caption(self, mistake: Mistake) -> tuple[str, ...]:
        what = f"{mistake.truth} taken for {mistake.answer}"
        return what, f"{self.measured} {self._value(mistake)}", mistake.id

    def tables(self) -> Sequence[Table]:
        """A row for each, where there are no pictures."""
        if self.cards() or not self.items:
            return ()
        rows = tuple((m.id, m.truth, m.answer, self._value(m), m.seen or "") for m in self.items)
        return (Table(("example", "truth", "answer", self.measured, "input"), rows),)

    def cards(self) -> Sequence[Card]:
        """A picture for each."""
        return [
            Card(m.seen, self._caption(m)) for m in self.items if isinstance(m.seen, np.ndarray)
        ]


class MistakeCollector(Collector):
    """Keeps the examples that the task finds worst (`task.wrong`)."""

    measured = "error"

    def __init__(self, task: Any, split: Split) -> None:
        super().__init__(task, split)
        self.heap: list[tuple[float, int, str, str]] = []

    def update(self, output: Tensor, batch: Batch) -> None:
        """Keep the worst so far; of equal ones the first."""
        assert batch.rows is not None
        badness, describe = self.task.wrong(output, batch)
        order = badness.argsort(descending=True, stable=True)[:WORST].tolist()
        for place in order:
            value = float(badness[place])
            if value <= 0 or (len(self.heap) == WORST and value <= self.heap[0][0]):
                break
            item = (value, -(batch.rows.start + place), *describe(place))
            heapq.heappush(self.heap, item)
            if len(self.heap) > WORST:
                heapq.heappop(self.heap)

    def compute(self) -> Part | None:
        """With names and what was seen."""
        worst = sorted(self.heap, reverse=True)
        if not worst:
            return None
        name, shown = next(iter(self.task.schema.inputs.items()))
        items = tuple(
            Mistake(
                self.split.name_of(-number),
                truth,
                answer,
                value,
                shown.show(self.split[name][-number]) if name in self.split.columns else None,
            )
            for value, number, truth, answer in worst
        )
        return Mistakes(items, self.task.wrong_measure)
