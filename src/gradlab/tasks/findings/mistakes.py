"""The examples that a model gets most wrong."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from gradlab.data.dataset import Split
from gradlab.data.loader import Batch
from gradlab.tasks.evaluation import Card, Collector, Part, Table

WORST = 24
"""How many mistakes are kept."""


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
        """Without the pictures; what was seen, where it is a text."""
        worst = [
            {
                "id": m.id,
                "truth": m.truth,
                "answer": m.answer,
                self.measured: m.value,
                **({"input": m.seen} if isinstance(m.seen, str) else {}),
            }
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
