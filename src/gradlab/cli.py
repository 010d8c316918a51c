"""The command line: a thin reader of the registries and of `gradlab.recipes`.

Progress goes to stderr and results to stdout; with `--json` stdout is exactly one JSON object.
Exit codes: 0 done, 2 a mistake in what was given, 128 + N stopped by signal N.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from gradlab import __version__, commands, printing
from gradlab.commands import Fields, Json
from gradlab.errors import UserError

app = App(
    name="gradlab",
    help="Train every classic network of deep learning on real data with one command.",
    version=__version__,
    help_format="plaintext",  # Markdown would cost a fifth of the start
)
data_app = App(name="data", help="Datasets: list, get, check.")
app.command(data_app)
app.command(commands.weights_app)
app.command(commands.features)
app.command(commands.similar)
app.command(commands.generate)
app.command(commands.judge)
app.command(commands.latent)
app.command(commands.play)


@app.command(name="list")
def list_recipes(*, json: Json = False) -> None:
    """List the recipes."""
    from gradlab.recipes import recipes

    rows: list[dict[str, Any]] = [
        {
            "recipe": name,
            "summary": recipes[name].summary,
            "data": recipes[name].data.name,
            "targets": [target.model_dump() for target in recipes[name].targets],
        }
        for name in recipes
    ]
    printing.emit(
        {"recipes": rows},
        json,
        lambda: printing.table(
            ("recipe", "what it is", "data", "targets on test"),
            [
                (
                    r["recipe"],
                    r["summary"],
                    r["data"],
                    ", ".join(printing.target(t) for t in r["targets"]),
                )
                for r in rows
            ],
        ),
    )


@app.command
def show(recipe: str, /, *, json: Json = False, **fields: Fields) -> None:
    """Show a recipe: every field and what it means."""
    from gradlab.config import field_table
    from gradlab.recipes import find

    chosen = find(recipe, _dotted(fields))
    printing.emit(
        chosen.model_dump(mode="json"),
        json,
        lambda: printing.table(("field", "value", "meaning"), field_table(chosen)),
    )


@app.command
def train(
    recipe: str,
    /,
    *,
    data: Annotated[str | None, Parameter(help="a named set, or the path of your own")] = None,
    epochs: Annotated[int | None, Parameter(help="passes over the training split")] = None,
    seed: Annotated[int | None, Parameter(help="owner of all randomness but the split")] = None,
    device: Annotated[str | None, Parameter(help="auto, cpu, cuda or cuda:N")] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"] | None, Parameter(help="of the arithmetic")
    ] = None,
    out: Annotated[Path, Parameter(help="the folder of runs")] = Path("runs"),
    name: Annotated[str | None, Parameter(help="the run's name (a fresh one)")] = None,
    test: Annotated[bool, Parameter(help="evaluate the test split at the end")] = True,
    log: Annotated[Literal["tensorboard"] | None, Parameter(help="write event files too")] = None,
    ensemble: Annotated[int, Parameter(help="train so many, of seeds that follow")] = 0,
    json: Json = False,
    **fields: Fields,
) -> None:
    """Train a recipe and leave a run behind, or an ensemble of runs."""
    from gradlab.recipes.ensemble import train_ensemble
    from gradlab.recipes.training import train as train_recipe

    given: dict[str, Any] = {
        "out": out,
        "name": name,
        "test": test,
        "log": (log,) if log else (),
        "data": data,
        "epochs": epochs,
        "seed": seed,
        "device": device,
        "precision": precision,
        **_dotted(fields),
    }
    run = train_ensemble(recipe, ensemble, **given) if ensemble else train_recipe(recipe, **given)
    printing.print_run(run, json)


@app.command
def resume(
    run: Path,
    /,
    *,
    test: Annotated[bool, Parameter(help="evaluate the test split at the end")] = True,
    log: Annotated[Literal["tensorboard"] | None, Parameter(help="write event files too")] = None,
    json: Json = False,
) -> None:
    """Continue a run that was stopped."""
    from gradlab.recipes.run import load
    from gradlab.recipes.training import is_finished
    from gradlab.recipes.training import resume as resume_run

    done = is_finished(load(run))
    if done:
        print(f"{run} is finished already: nothing to do", file=sys.stderr)
    printing.print_run(resume_run(run, test=test, log=(log,) if log else ()), json)


@app.command(name="eval")
def evaluate(
    runs: Annotated[list[Path], Parameter(help="a run; of several, the ensemble")],
    /,
    *,
    split: Annotated[Literal["train", "val", "test"], Parameter(help="which split")] = "test",
    json: Json = False,
) -> None:
    """Evaluate a run's best weights on a split; several runs as an ensemble."""
    from gradlab.recipes.ensemble import Ensemble
    from gradlab.recipes.run import load

    opened = load(runs[0]) if len(runs) == 1 else Ensemble.of(runs)
    details = opened.details(split)
    record: dict[str, Any] = {
        "run": str(opened.path),
        "split": split,
        "metrics": details.metrics,
        "classes": list(details.classes),
        "per_class": details.per_class,
        "confusion": None if details.confusion is None else details.confusion.tolist(),
    }
    gains = opened.gain(split) if isinstance(opened, Ensemble) else ()
    if isinstance(opened, Ensemble):
        record["members"] = [str(path) for path in opened.paths]
        record["gain"] = [gain.to_dict() for gain in gains]
    printing.emit(record, json, lambda: printing.print_details(record, gains))


@app.command
def predict(
    run: Path,
    inputs: Annotated[
        list[str], Parameter(help="image files, folders or globs, or tables of rows")
    ],
    /,
    *,
    csv: Annotated[Path | None, Parameter(help="a file to write the answers into")] = None,
    json: Json = False,
) -> None:
    """Predict with a run: one line for each input."""
    from gradlab import files
    from gradlab.recipes.run import load

    if csv is not None and csv.is_dir():
        raise UserError(f"--csv: {csv} is a folder; give the name of a file")
    answers, notes = load(run).predict_noted(inputs)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    if csv is not None:
        files.write_text(csv, printing.as_csv(answers))
    record = {
        "run": str(run),
        "predictions": [printing.answer_record(answer) for answer in answers],
        "notes": list(notes),
        "csv": None if csv is None else str(csv),
    }
    printing.emit(record, json, lambda: printing.show_answers(answers, csv))


@app.command
def reproduce(
    recipe: str,
    /,
    *,
    data: Annotated[str | None, Parameter(help="one of the target's datasets (all)")] = None,
    seeds: Annotated[int, Parameter(help="how many seeds, from 0")] = 3,
    out: Annotated[Path, Parameter(help="the folder of runs")] = Path("runs"),
    results: Annotated[Path, Parameter(help="the table to write the row into")] = Path(
        "docs/results.md"
    ),
    json: Json = False,
    **fields: Fields,
) -> None:
    """Run a recipe over several seeds and compare with its published targets."""
    from gradlab.recipes.reproduce import reproduce as run_all

    rows = run_all(recipe, data=data, seeds=seeds, out=out, results=results, **_dotted(fields))
    printing.emit(
        {"recipe": recipe, "rows": [row.to_dict() for row in rows]},
        json,
        lambda: printing.table(
            ("dataset", "metric", "target", "mean", "deviation", "seeds", "reached"),
            [row.cells() for row in rows],
        ),
    )


@data_app.command(name="list")
def data_list(*, json: Json = False) -> None:
    """List the named datasets."""
    from gradlab.data.sources import datasets

    rows = [(name, (datasets[name].__doc__ or "").split("\n")[0]) for name in datasets]
    printing.emit(
        {"datasets": [{"name": name, "summary": said} for name, said in rows]},
        json,
        lambda: printing.table(("dataset", "what it is"), rows),
    )


@data_app.command(name="get")
def data_get(name: str, /, *, json: Json = False) -> None:
    """Download a named dataset into the cache."""
    from gradlab.data.sources import get

    files = [str(path) for path in get(name)]
    printing.emit(
        {"dataset": name, "files": files},
        json,
        lambda: print("\n".join(files) or f"{name} comes with gradlab: nothing to download"),
    )


@data_app.command(name="check")
def data_check(data: str, /, *, json: Json = False, **fields: Fields) -> None:
    """Look a dataset over: counts, broken files, duplicates, leaks, imbalance, columns."""
    from gradlab.config import DataConfig, override
    from gradlab.data.check import check

    given = {key.removeprefix("data."): value for key, value in _dotted(fields).items()}
    finding = check(override(DataConfig(), {"name": data, **given}, where="data"))
    printing.emit(finding.to_dict(), json, lambda: print(finding.text()))
    if any(issue.level == "error" for issue in finding.issues):
        raise SystemExit(2)


@data_app.command(name="clear")
def data_clear(*, json: Json = False) -> None:
    """Remove the images that are kept decoded; they are decoded again when they are needed."""
    from gradlab.data.image_store import cache_folder, trim

    removed, used = trim(0)
    record = {"folder": str(cache_folder()), "removed_bytes": removed, "entries_in_use": used}
    said = f"removed {removed / 1e6:,.1f} MB from {record['folder']}"
    kept = f"; {used} in use and kept" if used else ""
    printing.emit(record, json, lambda: print(said + kept))


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: a person's mistake is one message and exit code 2."""
    tokens = joined(sys.argv[1:] if arguments is None else arguments)
    try:
        app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except (UserError, CycloptsError) as error:
        print(f"gradlab: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("gradlab: stopped", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:
        # Whoever read our output has gone; Python must not complain again at its own exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except Exception as error:
        # Imported here alone, so that --help does not load torch.
        from gradlab.engine import Interrupted

        if not isinstance(error, Interrupted):
            raise
        print(f"gradlab: {error}. Continue with: gradlab resume {error.run.path}", file=sys.stderr)
        raise SystemExit(128 + error.signal) from None


def joined(tokens: Sequence[str]) -> list[str]:
    """Dotted options in the form that the parser reads: one token each, no dots.

    >>> joined(["train", "mlp", "--optimizer.lr", "0.1", "--data.augment.flip", "--json"])
    ['train', 'mlp', '--optimizer:lr=0.1', '--data:augment:flip=true', '--json']
    """
    found, rest = [], list(tokens)
    while rest:
        token = rest.pop(0)
        option, has_value, value = token.partition("=")
        if not option.startswith("--") or "." not in option:
            found.append(token)
            continue
        if not has_value:
            typed = bool(rest) and not rest[0].startswith("--")
            value = rest.pop(0) if typed else "true"
        found.append(f"{option.replace('.', _DOT)}={value}")
    return found


_DOT = ":"


def _dotted(fields: dict[str, str]) -> dict[str, str]:
    return {key.replace(_DOT, "."): value for key, value in fields.items()}


if __name__ == "__main__":
    main()
