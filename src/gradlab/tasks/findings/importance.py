"""How much worse a model becomes where a column's values are shuffled.

Breiman (2001), "Random forests", section 10; Fisher, Rudin and Dominici (2019), "All models are
wrong, but many are useful".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradlab.data.loader import Batch
from gradlab.engine.updater import evaluating
from gradlab.measures import measure
from gradlab.tasks.evaluation import Part, Table
from gradlab.tasks.findings.inputs import named_inputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPEATS = 5
SEED = 0
WORK = 200_000
"""Examples that are passed through the network for it, about."""
ROWS = (100, 2000)
"""Examples of val that are looked at: at least and at most so many."""
MOST_COLUMNS = 500


@dataclass(frozen=True)
class Importance(Part):
    """By column, how much worse `metric` becomes: mean and standard deviation of the repeats."""

    metric: str
    score: float
    """As it is without shuffling, on the same examples."""
    columns: tuple[tuple[str, float, float], ...]
    examples: int
    title = "Importance of the columns"
    subject = "val split"

    @property
    def caption(self) -> str:  # type: ignore[override]
        """What was done."""
        return (
            f"How much worse {self.metric} becomes (it is {measure(self.metric).text(self.score)}) "
            f"where a column's values are shuffled among {self.examples} examples of val; mean and "
            f"standard deviation of {REPEATS} shuffles, seed {SEED}. Columns that say the same "
            "share their importance."
        )

    def to_dict(self) -> dict[str, Any]:
        """By column, the most important first."""
        return {
            "importance": {
                "metric": self.metric,
                "score": self.score,
                "split": "val",
                "examples": self.examples,
                "repeats": REPEATS,
                "seed": SEED,
                "columns": {name: {"mean": m, "std": s} for name, m, s in self.columns},
            }
        }

    def tables(self) -> Sequence[Table]:
        """A row for each column."""
        rows = tuple((name, f"{mean:+.4g}", f"{std:.2g}") for name, mean, std in self.columns)
        header = ("column", f"{self.metric} worse by", "standard deviation")
        return (Table(header, rows, folded=True, title="All columns"),)

    def figure(self) -> Figure | None:
        """The most important."""
        from gradlab.figures import bars

        names = [name for name, _, _ in self.columns]
        means, stds = (np.array([c[k] for c in self.columns]) for k in (1, 2))
        return bars(names, means, stds, f"{self.metric} worse by")

    def words(self) -> str:
        """The most important."""
        first = ", ".join(name for name, _, _ in self.columns[:3])
        return f"Importance of the columns for {self.metric}; the largest: {first}"


def importance(task: Any) -> Part | None:
    """The importance of a table's columns on val; all inputs of a column are shuffled together.

    None where the inputs are no table, or there is no val split.
    """
    inputs = named_inputs(task.schema)
    if inputs is None or not task.has("val") or not 1 < len(inputs.columns) <= MOST_COLUMNS:
        return None
    val = task.dataset.split("val")
    most = int(np.clip(WORK // (REPEATS * len(inputs.columns)), *ROWS))
    spread = np.linspace(0, len(val) - 1, min(len(val), most)).astype(int)
    loader = task.loader_of(val.take(spread), task.schema.fields)
    batch = next(loader.in_order(len(spread)))
    x = batch[inputs.name]
    name = task.plan.monitor or task.monitor
    kind = next((one for one in task.metrics if one.name == name), task.metrics[0])

    def score(values: Any) -> float | None:
        changed = Batch({**batch.values, inputs.name: values}, len(batch))
        meter = kind(task)
        meter.update(task.output_of(changed), changed)
        found: float | None = meter.compute()
        return found

    sign = 1 if measure(kind.name).goal == "min" else -1
    generator = np.random.default_rng(SEED)
    found = []
    with evaluating(task.model):
        before = score(x)
        if before is None or not np.isfinite(before):
            return None
        for column, places in inputs.columns.items():
            worse = []
            for _ in range(REPEATS):
                order = torch.from_numpy(generator.permutation(len(x))).to(x.device)
                values = x.clone()
                values[:, places] = x[order][:, places]
                after = score(values)
                worse.append(sign * ((before if after is None else after) - before))
            found.append((column, float(np.mean(worse)), float(np.std(worse))))
    found.sort(key=lambda one: -one[1])
    return Importance(kind.name, before, tuple(found), len(x))
