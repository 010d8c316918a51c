"""What the command line prints: one JSON object, or tables for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradlab.errors import UserError
from gradlab.files import finite
from gradlab.measures import measure
from gradlab.text import one_line, printable

if TYPE_CHECKING:
    from gradlab.runs.ensemble import Gain
    from gradlab.runs.run import Run
    from gradlab.tasks.answers import Predictions
    from gradlab.tasks.evaluation import Evaluation


def emit(record: dict[str, Any], as_json: bool, show_it: Callable[[], Any]) -> None:
    """Print a record as one JSON object, or as people read it."""
    if as_json:
        print(json.dumps(finite(record), allow_nan=False))
    else:
        show_it()


def answer(
    found: Any, places: Sequence[Path | None], as_json: bool, *, show_tables: bool = True
) -> None:
    """What was asked of a run: written into files, printed as its tables or its JSON."""
    written = [place for place in places if place is not None]
    for place in written:
        found.save(place)
    names = [str(place) for place in written]
    one = len(places) == 1  # a command with a single --out says what became of it
    record = {
        **found.to_dict(),
        **({"out": names[0] if names else None} if one else {"written": names}),
    }

    def show() -> None:
        for shown in found.tables() if show_tables else ():
            table(shown.header, shown.rows)
        for place in written:
            say(f"written: {place}")

    emit(record, as_json, show)


def say(text: str) -> None:
    """Text as people read it, whatever names stand in it."""
    print("\n".join(printable(line) for line in text.split("\n")))


def stream(first: str, pieces: Iterable[str], *, silent: bool) -> str:
    """Text as it comes, after its beginning; what came, whole. Nothing is printed if `silent`."""
    came = []
    if not silent:
        print(printable(first), end="", flush=True)
    for piece in pieces:
        came.append(piece)
        if not silent:
            print(printable(piece), end="", flush=True)
    if not silent:
        print()
    return "".join(came)


def note(text: str) -> None:
    """Something said beside the results."""
    print(f"note: {printable(text)}", file=sys.stderr)


def print_run(run: Run, as_json: bool) -> None:
    """The summary of a training."""
    emit(run.summary, as_json, lambda: show_run(run))


def show_run(run: Run) -> None:
    """The metrics of each split beside the baselines, the time, and where the report is."""
    from gradlab.runs.ensemble import HEADER, Ensemble

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
    show_baselines(summary["baselines"])
    for line in summary["notes"]:
        say(f"note: {line}")
    for found in summary["verdict"]:
        say(f"verdict: {found['evidence']}. Try {found['fix']}")
    if isinstance(run, Ensemble):
        split = "test" if "test" in metrics else "val"
        say(f"the {len(run.paths)} members and their ensemble on {split}:")
        table(HEADER, [gain.cells() for gain in run.gain(split)])
        say(f"{summary['seconds']:.1f} s; ensemble: {run.path}")
        return
    rate = summary["examples_per_second"]
    speed = f", {rate:,.0f} examples/s" if rate else ""
    say(f"{summary['seconds']:.1f} s{speed}, best epoch {summary['best_epoch']}")
    say(f"report: {run.path / 'report.html'}")


def show_baselines(baselines: dict[str, dict[str, dict[str, float]]]) -> None:
    """A column for each baseline, with its figures on the split that counts."""
    known = [name for name in ("test", "val", "train") if name in baselines]
    split = next(iter([*known, *baselines]), "")
    found = baselines.get(split, {})
    names = dict.fromkeys(key for figures in found.values() for key in figures)
    if names:
        table(
            (f"baselines on {split}", *found),
            [(name, *(metric(name, row.get(name)) for row in found.values())) for name in names],
        )


def show_evaluation(record: dict[str, Any], found: Evaluation, gains: Sequence[Gain]) -> None:
    """The metrics of an evaluation, the baselines, and the tables of its parts."""
    if gains:
        from gradlab.runs.ensemble import HEADER

        table(HEADER, [gain.cells() for gain in gains])
    else:
        table(
            ("metric", record["split"]),
            [(name, metric(name, value)) for name, value in found.metrics.items()],
        )
    show_baselines(record["baselines"])
    for part in found.parts:
        for shown in part.tables():
            table(shown.header, shown.rows)


def show_answers(answers: Predictions, file: Path | None) -> None:
    """A line for each input, and the file they were written into."""
    if not answers:
        say("nothing was answered")
        return
    table(
        ("input", "answer", ""),
        [(found.name, str(found.answer), found.answer.more()) for found in answers],
    )
    if file is not None:
        say(f"csv: {file}")


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Rows under a header; names from a person's data are not read as markup."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in header:
        drawn.add_column(Text(one_line(name)), overflow="fold")  # wrapped, and nothing left out
    for row in rows:
        drawn.add_row(*(Text(one_line(str(cell))) for cell in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=10_000)  # cut for a person's screen only: a pipe gets it all
    try:
        console.print(drawn)
    except UnicodeEncodeError as error:
        raise UserError(f"the output cannot be written in {error.encoding}: set LANG") from None


def metric(name: str, value: float | None) -> str:
    """A metric as people write it; empty when there is none."""
    return "" if value is None else measure(name).text(value)


def target(goal: dict[str, Any]) -> str:
    """A published figure in words."""
    least = (goal.get("goal") or measure(goal["metric"]).goal) == "max"
    sign = "at least" if least else "at most"
    return f"{goal['dataset']} {goal['metric']} {sign} {goal['value']:g}"
