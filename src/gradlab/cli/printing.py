"""What the command line prints: one JSON object, or tables for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradlab.files import finite
from gradlab.measures import measure
from gradlab.terminal import metric, say, table
from gradlab.text import printable

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
    from gradlab.runs.showing import show_run

    emit(run.summary, as_json, lambda: show_run(run))


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
    from gradlab.runs.showing import show_baselines

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


def target(goal: dict[str, Any]) -> str:
    """A published figure in words."""
    least = (goal.get("goal") or measure(goal["metric"]).goal) == "max"
    sign = "at least" if least else "at most"
    return f"{goal['dataset']} {goal['metric']} {sign} {goal['value']:g}"
