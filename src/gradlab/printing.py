"""What the command line prints: one JSON object, or tables for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradlab.recipes.ensemble import Gain
    from gradlab.recipes.run import Run


def emit(record: dict[str, Any], as_json: bool, show_it: Callable[[], Any]) -> None:
    """Print a record as one JSON object, or as people read it."""
    if as_json:
        print(json.dumps(record))
    else:
        show_it()


def show_gains(gains: Sequence[Gain]) -> None:
    """The members of an ensemble and what it gains over them."""
    from gradlab.recipes.ensemble import HEADER

    table(HEADER, [gain.cells() for gain in gains])


def print_run(run: Run, as_json: bool) -> None:
    """The summary of a training."""
    emit(run.summary, as_json, lambda: show_run(run))


def show_run(run: Run) -> None:
    """The metrics of each split, the time, and where the report is."""
    from gradlab.recipes.ensemble import Ensemble

    summary = run.summary
    metrics: dict[str, dict[str, float]] = summary["metrics"]
    names = list(dict.fromkeys(name for figures in metrics.values() for name in figures))
    table(
        ("", *metrics),
        [
            (name, *(metric(name, figures.get(name)) for figures in metrics.values()))
            for name in names
        ],
    )
    if isinstance(run, Ensemble):
        split = "test" if "test" in metrics else "val"
        print(f"the {len(run.paths)} members and their ensemble on {split}:")
        show_gains(run.gain(split))
        print(f"{summary['seconds']:.1f} s; ensemble: {run.path}")
        return
    rate = summary["examples_per_second"]
    print(f"{summary['seconds']:.1f} s, {rate:,.0f} examples/s, best epoch {summary['best_epoch']}")
    print(f"report: {run.path / 'report.html'}")


def print_details(record: dict[str, Any], gains: Sequence[Gain]) -> None:
    """The metrics of an evaluation, and the figures of each class."""
    if gains:
        show_gains(gains)
    else:
        table(
            ("metric", record["split"]),
            [(name, metric(name, value)) for name, value in record["metrics"].items()],
        )
    if record["per_class"]:
        table(
            ("class", "precision", "recall", "F1", "examples"),
            [
                (
                    name,
                    *(f"{row[key]:.4f}" for key in ("precision", "recall", "f1")),
                    f"{row['count']:.0f}",
                )
                for name, row in record["per_class"].items()
            ],
        )


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Rows under a header; names from a person's data are not read as markup."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*header, box=box.SIMPLE_HEAD)
    for row in rows:
        drawn.add_row(*(Text(str(cell)) for cell in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=10_000)  # cut for a person's screen only: a pipe gets it all
    console.print(drawn)


def metric(name: str, value: float | None) -> str:
    """A metric as people write it; empty when there is none."""
    from gradlab.engine.console import in_words

    return "" if value is None else in_words(name, value)


def number(value: str | float) -> str:
    """An answer: a class name as it is, a number with six digits."""
    return value if isinstance(value, str) else f"{value:.6g}"


def target(goal: dict[str, Any]) -> str:
    """A published figure in words."""
    sign = "at least" if goal["goal"] == "max" else "at most"
    return f"{goal['dataset']} {goal['metric']} {sign} {goal['value']:g}"
