"""Several runs side by side: in what their recipes differ, what each reached, their curves."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradlab import files
from gradlab.drawing import THEME, Series, label, png, series, styled
from gradlab.errors import UserError
from gradlab.explore.latent import colours
from gradlab.measures import measure
from gradlab.runs import load
from gradlab.runs.run import Run
from gradlab.tasks.evaluation import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 6
"""Metrics on a picture, at most."""

_WORDS = ("targets", "summary", "paper", "departures", "kind")
"""What a recipe says of itself, which changes no training."""

_BOLD: dict[str, Any] = {"lw": 1.6}
_THIN: dict[str, Any] = {"lw": 0.8, "alpha": 0.5}


@dataclass(frozen=True)
class Comparison:
    """`runs`: names; `differences`: field of the recipe -> its value in each run; `metrics`: split
    -> metric -> its value in each run (None where it has none)."""

    runs: tuple[str, ...]
    differences: dict[str, tuple[Any, ...]]
    metrics: dict[str, dict[str, tuple[float | None, ...]]]
    histories: tuple[list[dict[str, Any]], ...] = field(repr=False, default=())

    @property
    def names(self) -> tuple[str, ...]:
        """What the runs are called: their folders, with the way to them where two have one name."""
        names = tuple(Path(run).name for run in self.runs)
        return names if len(set(names)) == len(names) else self.runs

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
        names = self.names
        different = [
            (
                name,
                *(_text(value)[: 8 if name == "dataset.fingerprint" else None] for value in found),
            )
            for name, found in self.differences.items()
        ]
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

    @styled
    def figure(self) -> Figure:
        """A panel for each metric that was logged, a colour for each run; train is thin."""
        from matplotlib.figure import Figure

        curves = [series(history) for history in self.histories]
        found = dict.fromkeys(name for one in curves for name in one)
        names = sorted(found, key=lambda name: name == "lr")[:PANELS]
        if not names:
            raise UserError("there are no curves to draw: these runs have logged nothing yet")
        rows = -(-len(names) // 2)
        figure = Figure(figsize=(11, 3.2 * rows + 0.4), layout="constrained")
        for place, name in enumerate(names, 1):
            self._panel(figure.add_subplot(rows, 2, place), name, [c.get(name, {}) for c in curves])
        figure.legend(
            handles=self._handles(), loc="outside lower center", ncols=6, frameon=False, fontsize=8
        )
        return figure

    def _panel(self, axes: Axes, name: str, curves: Sequence[Series]) -> None:
        """One metric of all runs, over the steps."""
        held_out = any(split != "train" for one in curves for split in one)
        for colour, one in zip(colours(len(curves)), curves, strict=True):
            for split, (steps, values) in one.items():
                axes.plot(
                    steps,
                    values,
                    color=colour,
                    marker="o" if len(steps) == 1 else None,
                    ms=4,
                    **(_THIN if split == "train" and held_out else _BOLD),
                )
        title = "learning rate" if name == "lr" else label(name, 40)
        axes.set_title(title, loc="left", fontweight="bold")
        axes.set_xlabel("step")
        axes.grid(lw=0.5)
        axes.spines[["top", "right"]].set_visible(False)

    def _handles(self) -> list[Any]:
        """What the legend says: the runs by their colour, the splits by their line."""
        from matplotlib.lines import Line2D

        shades = zip(self.names, colours(len(self.names)), strict=True)
        runs = [Line2D([], [], color=colour, label=label(name, 40)) for name, colour in shades]
        splits = [("val", _BOLD), ("train", _THIN)]
        ink = THEME["ink"]
        return [*runs, *(Line2D([], [], color=ink, label=name, **how) for name, how in splits)]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the curves as a PNG."""
        check_out(path)
        files.write_bytes(Path(path), png(self.figure()))


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
                    "dataset": {k: v for k, v in run.record["dataset"].items() if k != "name"},
                }
            )
        )
        for run in opened
    ]
    keys = dict.fromkeys(key for tree in trees for key in tree)
    different = {
        key: tuple(tree.get(key) for tree in trees)
        for key in keys
        if len({repr(tree.get(key)) for tree in trees}) > 1 and key.split(".")[0] not in _WORDS
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
