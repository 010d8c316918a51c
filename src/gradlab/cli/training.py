"""Commands that train: train, resume, lr, reproduce."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from gradlab import terminal
from gradlab.cli import printing
from gradlab.cli.options import NO_MACHINE, Fields, Json, Machine, dotted
from gradlab.errors import UserError

Log = Annotated[Literal["tensorboard"] | None, Parameter(help="write event files too")]
Test = Annotated[bool, Parameter(help="evaluate the test split at the end")]
Report = Annotated[bool, Parameter(help="write the page at the end")]


def train(
    recipe: str | None = None,
    /,
    *,
    data: Annotated[str | None, Parameter(help="a named set, or the path of your own")] = None,
    epochs: Annotated[int | None, Parameter(help="passes over the training split")] = None,
    seed: Annotated[int | None, Parameter(help="owner of all randomness but the split")] = None,
    lr: Annotated[float | None, Parameter(help="learning rate, the peak of the schedule")] = None,
    batch_size: Annotated[int | None, Parameter(help="examples in one update")] = None,
    machine: Machine = NO_MACHINE,
    out: Annotated[Path, Parameter(help="the folder of runs")] = Path("runs"),
    name: Annotated[str | None, Parameter(help="the run's name (a fresh one)")] = None,
    test: Test = True,
    report: Report = True,
    log: Log = None,
    ensemble: Annotated[int, Parameter(help="train so many, of seeds that follow")] = 0,
    json: Json = False,
    **fields: Fields,
) -> None:
    """Train a recipe (its name, a .toml or .json file, or FILE.py:FUNCTION) and leave a run.

    Without one it is the usual recipe for data of that kind.
    """
    from gradlab.recipes import find
    from gradlab.recipes.usual import usual
    from gradlab.workflows.ensemble import train_ensemble
    from gradlab.workflows.train import train as train_recipe

    if recipe is None and "recipe" in fields:
        asked = fields["recipe"]
        raise UserError(f"--recipe is no option, it comes first: gradlab train {asked}")
    short = {"data": data, "epochs": epochs, "seed": seed, "lr": lr, "batch_size": batch_size}
    named = {key: value for key, value in short.items() if value is not None}
    said = dotted(fields)
    chosen = find(recipe or usual(data, said), {**named, **said})
    run_options: dict[str, Any] = {
        "out": out,
        "name": name,
        "test": test,
        "report": report,
        "log": (log,) if log else (),
        "results": False,
        **machine.given,
    }
    run = (
        train_ensemble(chosen, ensemble, **run_options)
        if ensemble
        else train_recipe(chosen, **run_options)
    )
    printing.print_run(run, json)


def resume(
    run: Path,
    /,
    *,
    epochs: Annotated[int | None, Parameter(help="train longer: so many in all")] = None,
    machine: Machine = NO_MACHINE,
    test: Test = True,
    report: Report = True,
    log: Log = None,
    json: Json = False,
) -> None:
    """Continue a run that was stopped, or train one longer; else write what is missing."""
    from gradlab.runs import load
    from gradlab.workflows.resume import resume as resume_run

    before = load(run)
    was_read = epochs is not None and "test" in before.metrics
    if epochs is None and before.finished:
        printing.note(
            f"{run} is finished already: with --epochs N it is trained longer, for N in all"
        )
    options: dict[str, Any] = {"test": test, "log": (log,) if log else (), "epochs": epochs}
    options |= {"report": report, "results": False}
    found = resume_run(run, **options, **machine.given)
    if was_read and test:
        printing.note(
            "test was read again: if its first figure led to this, the new one is too good"
        )
    printing.print_run(found, json)


def lr(
    recipe: str,
    /,
    *,
    data: Annotated[str | None, Parameter(help="a named set, or the path of your own")] = None,
    machine: Machine = NO_MACHINE,
    out: Annotated[
        list[Path] | None,
        Parameter(help="the curve, as a figure (.png, .svg) or figures (.json); may be repeated"),
    ] = None,
    json: Json = False,
    **fields: Fields,
) -> None:
    """Find a learning rate for a recipe: 100 steps at a rising rate, which leave no run."""
    from gradlab.workflows.lr import check_out, find_lr

    places = out or []
    for place in places:
        check_out(place)
    found = find_lr(recipe, data=data, **machine.given, **dotted(fields))
    printing.answer(found, places, json)


def reproduce(
    recipe: str,
    /,
    *,
    data: Annotated[str | None, Parameter(help="one of the target's datasets (all)")] = None,
    seeds: Annotated[int, Parameter(help="how many seeds, from 0")] = 3,
    machine: Machine = NO_MACHINE,
    out: Annotated[Path, Parameter(help="the folder of runs")] = Path("runs"),
    results: Annotated[Path, Parameter(help="the table to write the row into")] = Path(
        "docs/results.md"
    ),
    json: Json = False,
    **fields: Fields,
) -> None:
    """Run a recipe over several seeds and compare with its published targets."""
    from gradlab.recipes import find
    from gradlab.workflows.reproduce import HEADER
    from gradlab.workflows.reproduce import reproduce as run_all

    find(recipe, dotted(fields))  # a field that there is not is said before anything is trained
    given = {**machine.given, **dotted(fields)}
    rows = run_all(recipe, data=data, seeds=seeds, out=out, results=results, **given)
    printing.emit(
        {"recipe": recipe, "rows": [row.to_dict() for row in rows]},
        json,
        lambda: terminal.table(HEADER, [row.cells() for row in rows]),
    )


COMMANDS = (train, resume, lr, reproduce)
