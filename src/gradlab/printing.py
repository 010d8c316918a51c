"""What the command line prints: one JSON object, or tables for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradlab.recipes.ensemble import Gain
    from gradlab.recipes.run import Run
    from gradlab.tasks.base import Prediction


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
    if names:
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


def show_answers(answers: Sequence[Prediction], file: Path | None) -> None:
    """A line for each input, with the likeliest classes, and the file they were written into."""
    table(
        ("input", "answer", "probabilities"),
        [(a.name, number(a.answer), ", ".join(f"{k} {p:.1%}" for k, p in a.top)) for a in answers],
    )
    if file is not None:
        print(f"csv: {file}")


def answer_record(answer: Prediction) -> dict[str, Any]:
    """A prediction for JSON."""
    return {
        "input": answer.name,
        "answer": answer.answer,
        "probability": answer.probability,
        "top": [list(pair) for pair in answer.top],
    }


def as_csv(answers: Sequence[Prediction]) -> str:
    """Predictions as CSV: a header, then a line for each input.

    The columns are input and answer; of a classification also probability, then class_1,
    probability_1 and so on, the likeliest first.
    """
    ranks = range(1, max((len(answer.top) for answer in answers), default=0) + 1)
    header = ["input", "answer"]
    if ranks:
        header += ["probability", *(f"{k}_{n}" for n in ranks for k in ("class", "probability"))]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for answer in answers:
        values = [answer.answer]
        if answer.probability is not None:
            values += [answer.probability, *(value for pair in answer.top for value in pair)]
        # Nine digits give a float32 back exactly.
        cells = (value if isinstance(value, str) else f"{value:.9g}" for value in values)
        writer.writerow([answer.name, *cells])
    return text.getvalue()


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
    from gradlab.measures import measure

    return "" if value is None else measure(name).text(value)


def number(value: str | float) -> str:
    """An answer: a class name as it is, a number with six digits."""
    return value if isinstance(value, str) else f"{value:.6g}"


def target(goal: dict[str, Any]) -> str:
    """A published figure in words."""
    sign = "at least" if goal["goal"] == "max" else "at most"
    return f"{goal['dataset']} {goal['metric']} {sign} {goal['value']:g}"
