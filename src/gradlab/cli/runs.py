"""Commands about runs: eval, predict; runs list, compare, remove."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from gradlab import terminal
from gradlab.cli import printing
from gradlab.cli.options import NO_MACHINE, Json, Machine, Split
from gradlab.errors import UserError
from gradlab.text import one_line
from gradlab.wording import some

if TYPE_CHECKING:
    from gradlab.runs.run import Run

Out = Annotated[Path, Parameter(help="the folder of runs")]
app = App(name="runs", help="Runs: list, compare, remove.")


def evaluate(
    runs: Annotated[list[Path], Parameter(help="a run; of several, the ensemble")],
    /,
    *,
    split: Annotated[Split | None, Parameter(help="which split (test)")] = None,
    data: Annotated[
        str | None, Parameter(help="data of your own with the target: a table, class folders, .npz")
    ] = None,
    machine: Machine = NO_MACHINE,
    json: Json = False,
) -> None:
    """Evaluate a run's best weights on a split, or on new data; several runs as an ensemble."""
    from gradlab.runs import load
    from gradlab.runs.ensemble import Ensemble

    opened = (
        load(runs[0], runtime=machine.runtime)
        if len(runs) == 1
        else Ensemble.of(runs, runtime=machine.runtime)
    )
    if data is not None:
        if split is not None:
            raise UserError(f"--data and --split {split}: a split is one of the run's own data")
        _on_new(opened, data, json)
        return
    split = split or "test"
    found = opened.details(split)
    record: dict[str, Any] = {"run": str(opened.path), "split": split, **found.to_dict()}
    record["baselines"] = {split: opened.baselines[split]} if split in opened.baselines else {}
    gains = opened.gain(split) if isinstance(opened, Ensemble) else ()
    if isinstance(opened, Ensemble):
        record["members"] = [str(path) for path in opened.paths]
        record["gain"] = [gain.to_dict() for gain in gains]
    printing.emit(record, json, lambda: printing.show_evaluation(record, found, gains))


evaluate.command_name = "eval"  # type: ignore[attr-defined]


def _on_new(run: Run, data: str, json: bool) -> None:
    from gradlab.data.new import counted_of
    from gradlab.tasks.evaluation import OnNew

    found = run.details_on(data)
    (part,) = (part for part in found.parts if isinstance(part, OnNew))
    for note in (*part.notes, *counted_of(part.left_out)):
        printing.note(note)
    record = {"run": str(run.path), "data": data, **found.to_dict()}
    record["baselines"] = {data: found.baselines}
    head = f"{data} ({part.count})"
    printing.emit(
        record, json, lambda: printing.show_evaluation({**record, "split": head}, found, ())
    )


def predict(
    run: Path,
    inputs: Annotated[
        list[str], Parameter(help="image files, folders or globs, or tables of rows")
    ],
    /,
    *,
    machine: Machine = NO_MACHINE,
    csv: Annotated[Path | None, Parameter(help="a file to write the answers into")] = None,
    json: Json = False,
) -> None:
    """Predict with a run: one line for each input. What cannot be read is skipped, and named."""
    from gradlab.data.new import NothingRead, said_of
    from gradlab.runs import load
    from gradlab.tasks.answers import Predictions

    if csv is not None and csv.is_dir():
        raise UserError(f"--csv: {csv} is a folder; give the name of a file")
    try:
        answers = load(run, runtime=machine.runtime).predict(inputs, warn=False)
    except NothingRead as error:
        answers = Predictions((), error.skipped)
    for note in (*answers.notes, *said_of(answers.skipped)):
        printing.note(note)
    if answers.skipped:
        total = len(answers) + len(answers.skipped)
        printing.note(f"{len(answers.skipped)} of {total} inputs skipped")
    if not answers:
        csv = None
    if csv is not None:
        answers.save(csv)
    record = {"run": str(run), **answers.to_dict(), "csv": None if csv is None else str(csv)}
    printing.emit(record, json, lambda: printing.show_answers(answers, csv))
    if not answers:
        raise SystemExit(1)


@app.command(name="list")
@app.default
def list_runs(
    *,
    out: Out = Path("runs"),
    recipe: Annotated[str | None, Parameter(help="only runs of this recipe")] = None,
    data: Annotated[str | None, Parameter(help="only runs on this dataset")] = None,
    state: Annotated[
        Literal["finished", "stopped", "training", "unreadable"] | None,
        Parameter(help="only these"),
    ] = None,
    sort: Annotated[str, Parameter(help="created, name, recipe, data, seconds or a metric")] = (
        "created"
    ),
    json: Json = False,
) -> None:
    """List the runs with their data, metrics, seconds and state."""
    from gradlab.runs.listing import HEADER, listed

    found = listed(out, recipe=recipe, data=data, state=state, sort=sort)
    printing.emit(
        {"runs": [entry.to_dict() for entry in found]},
        json,
        lambda: terminal.table(HEADER, [entry.cells() for entry in found]),
    )


@app.command
def compare(
    runs: Annotated[list[Path], Parameter(help="two runs or more")],
    /,
    *,
    out: Annotated[Path | None, Parameter(help="the curves on one picture: .png")] = None,
    json: Json = False,
) -> None:
    """Say in what runs differ, and what each reached."""
    from gradlab.explore.compare import check_out
    from gradlab.explore.compare import compare as compared

    if out is not None:
        check_out(out)
    printing.answer(compared(runs), (out,), json)


@app.command
def remove(runs: list[Path], /, *, json: Json = False) -> None:
    """Remove runs: all that gradlab has written into them, and nothing else."""
    from gradlab.runs.listing import remove as removed

    found = removed(*runs)
    for entry in found:
        if entry["left"]:
            kept = some(map(one_line, entry["left"]))
            printing.note(f"the folder {entry['run']} is kept, it holds other files: {kept}")
    said = "\n".join(f"removed {entry['run']} ({entry['bytes'] / 1e6:,.1f} MB)" for entry in found)
    printing.emit({"removed": found}, json, lambda: terminal.say(said))


COMMANDS = (evaluate, predict)
