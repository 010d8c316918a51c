"""Several runs side by side: in what their recipes differ, what each reached, their curves."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradlab import files
from gradlab.drawing import series
from gradlab.errors import UserError
from gradlab.measures import measure
from gradlab.runs import load
from gradlab.runs.run import Run
from gradlab.tasks.evaluation import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Comparison:
    """`runs`: names; `differences`: field of the recipe -> its value in each run; `metrics`: split
    -> metric -> its value in each run (None where it has none)."""

    runs: tuple[str, ...]
    differences: dict[str, tuple[Any, ...]]
    metrics: dict[str, dict[str, tuple[float | None, ...]]]
    histories: tuple[list[dict[str, Any]], ...] = field(repr=False, default=())

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without the curves."""
        return {
            "runs": list(self.runs),
            "differences": {name: list(values) for name, values in self.differences.items()},
            "metrics": {
                split: {name: list(values) for name, values in found.items()}
                for split, found in self.metrics.items()
            },
        }

    def tables(self) -> list[Table]:
        """The fields that differ, then the metrics; the best of each row has a star."""
        names = tuple(Path(run).name for run in self.runs)
        different = [(name, *map(_text, values)) for name, values in self.differences.items()]
        reached = [
            (f"{split} {name}", *_starred(name, values))
            for split, found in self.metrics.items()
            for name, values in found.items()
        ]
        if not different:
            different = [("the recipes are the same", *("" for _ in names))]
        return [
            Table(("field", *names), tuple(different)),
            Table(("metric", *names), tuple(reached)),
        ]

    def figure(self) -> Figure:
        """A panel for each metric that was logged, a line for each run: train is thin."""
        from matplotlib.figure import Figure

        curves = [series(history) for history in self.histories]
        names = list(dict.fromkeys(name for found in curves for name in found))[:6]
        rows = -(-max(len(names), 1) // 2)
        figure = Figure(figsize=(11, 3.4 * rows), layout="constrained")
        for place, name in enumerate(names, 1):
            axes = figure.add_subplot(rows, 2, place)
            for number, found in enumerate(curves):
                for split, (steps, values) in found.get(name, {}).items():
                    thin = split == "train" and any("val" in c.get(name, {}) for c in curves)
                    axes.plot(
                        steps,
                        values,
                        color=f"C{number % 10}",
                        lw=0.8 if thin else 1.6,
                        alpha=0.5 if thin else 1,
                        label=None if thin else f"{Path(self.runs[number]).name} ({split})",
                    )
            axes.set_title(name, loc="left", fontweight="bold", parse_math=False)
            axes.set_xlabel("step")
            axes.grid(lw=0.5)
            axes.spines[["top", "right"]].set_visible(False)
            for text in axes.legend(frameon=False, fontsize=8).get_texts():
                text.set_parse_math(False)  # a run may be called "$"
        return figure

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the curves as a PNG."""
        check_out(path)
        buffer = io.BytesIO()
        self.figure().savefig(buffer, format="png", dpi=100)
        files.write_bytes(Path(path), buffer.getvalue())


def compare(runs: Sequence[Run | str | os.PathLike[str]]) -> Comparison:
    """Two runs or more side by side; UserError for fewer."""
    if len(runs) < 2:
        raise UserError(f"a comparison needs at least 2 runs, found {len(runs)}")
    opened = [run if isinstance(run, Run) else load(run) for run in runs]
    trees = [
        dict(
            _flat(
                {
                    **run.recipe.model_dump(mode="json"),
                    "runtime": run.record.get("runtime", {}),
                    "dataset": run.record["dataset"],
                }
            )
        )
        for run in opened
    ]
    keys = dict.fromkeys(key for tree in trees for key in tree)
    different = {
        key: tuple(tree.get(key) for tree in trees)
        for key in keys
        if len({repr(tree.get(key)) for tree in trees}) > 1
        and key.split(".")[0] not in ("targets", "summary", "paper", "departures")
    }
    metrics: dict[str, dict[str, tuple[float | None, ...]]] = {}
    for split in ("train", "val", "test"):
        found = [run.metrics.get(split, {}) for run in opened]
        names = dict.fromkeys(name for one in found for name in one)
        if names:
            metrics[split] = {name: tuple(one.get(name) for one in found) for name in names}
    return Comparison(
        tuple(str(run.path) for run in opened),
        different,
        metrics,
        tuple(run.history for run in opened),
    )


def check_out(path: str | os.PathLike[str]) -> None:
    """UserError for a file in which the curves cannot be written."""
    if Path(path).suffix.lower() != ".png":
        raise UserError(f"the curves are written as .png, found {str(path)!r}")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """A JSON tree by dotted names."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _starred(name: str, values: Sequence[float | None]) -> list[str]:
    """Values as people write them, the best with a star."""
    known = measure(name)
    given = [value for value in values if value is not None]
    best = None
    if known.goal and len(set(given)) > 1:
        best = max(given) if known.goal == "max" else min(given)
    return ["" if v is None else known.text(v) + (" *" if v == best else "") for v in values]
