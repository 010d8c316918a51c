"""The command line: a thin reader of the registries and of `gradlab.recipes`.

Progress goes to stderr and results to stdout; with `--json` stdout is exactly one JSON object.
Exit codes: 0 done, 2 a mistake in what was given, 128 + N stopped by signal N.
"""

from __future__ import annotations

import json as json_module
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from gradlab import __version__
from gradlab.errors import UserError

if TYPE_CHECKING:
    from gradlab.recipes.run import Run

Json = Annotated[bool, Parameter(negative="", help="print one JSON object on stdout")]
Fields = Annotated[
    str, Parameter(help="any other field of the recipe by its dotted name: --optimizer.lr 0.01")
]

app = App(
    name="gradlab",
    help="Train every classic network of deep learning on real data with one command.",
    version=__version__,
)
data_app = App(name="data", help="Datasets: list, get, check.")
app.command(data_app)


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
    _print(
        {"recipes": rows},
        json,
        lambda: _table(
            ("recipe", "what it is", "data", "targets on test"),
            [
                (r["recipe"], r["summary"], r["data"], ", ".join(_target(t) for t in r["targets"]))
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
    _print(
        chosen.model_dump(mode="json"),
        json,
        lambda: _table(("field", "value", "meaning"), field_table(chosen)),
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
    json: Json = False,
    **fields: Fields,
) -> None:
    """Train a recipe and leave a run behind."""
    from gradlab.recipes.training import train as train_recipe

    given = {"data": data, "epochs": epochs, "seed": seed, "device": device}
    run = train_recipe(
        recipe,
        out=out,
        name=name,
        test=test,
        log=(log,) if log else (),
        precision=precision,
        **given,
        **_dotted(fields),
    )
    _print_run(run, json)


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
    _print_run(resume_run(run, test=test, log=(log,) if log else ()), json)


@app.command(name="eval")
def evaluate(
    run: Path,
    /,
    *,
    split: Annotated[Literal["train", "val", "test"], Parameter(help="which split")] = "test",
    json: Json = False,
) -> None:
    """Evaluate a run's best weights on a split."""
    from gradlab.recipes.run import load

    opened = load(run)
    details = opened.details(split)
    record: dict[str, Any] = {
        "run": str(run),
        "split": split,
        "metrics": details.metrics,
        "classes": list(details.classes),
        "per_class": details.per_class,
        "confusion": None if details.confusion is None else details.confusion.tolist(),
    }
    _print(record, json, lambda: _print_details(record))


@app.command
def predict(
    run: Path,
    inputs: Annotated[list[str], Parameter(help="image files or folders, or a CSV of rows")],
    /,
    *,
    json: Json = False,
) -> None:
    """Predict with a run: one line for each input."""
    from gradlab.recipes.run import load

    answers = load(run).predict(inputs)
    rows = [
        {
            "input": answer.name,
            "answer": answer.answer,
            "probability": answer.probability,
            "top": [list(pair) for pair in answer.top],
        }
        for answer in answers
    ]
    _print(
        {"run": str(run), "predictions": rows},
        json,
        lambda: _table(
            ("input", "answer", "probabilities"),
            [
                (a.name, _number(a.answer), ", ".join(f"{k} {p:.1%}" for k, p in a.top))
                for a in answers
            ],
        ),
    )


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
) -> None:
    """Run a recipe over several seeds and compare with its published targets."""
    from gradlab.recipes.reproduce import reproduce as run_all

    rows = run_all(recipe, data=data, seeds=seeds, out=out, results=results)
    _print(
        {"recipe": recipe, "rows": [row.to_dict() for row in rows]},
        json,
        lambda: _table(
            ("dataset", "metric", "target", "mean", "deviation", "seeds", "reached"),
            [row.cells() for row in rows],
        ),
    )


@data_app.command(name="list")
def data_list(*, json: Json = False) -> None:
    """List the named datasets."""
    from gradlab.data.sources import datasets

    rows = [(name, (datasets[name].__doc__ or "").split("\n")[0]) for name in datasets]
    _print(
        {"datasets": [{"name": name, "summary": said} for name, said in rows]},
        json,
        lambda: _table(("dataset", "what it is"), rows),
    )


@data_app.command(name="get")
def data_get(name: str, /, *, json: Json = False) -> None:
    """Download a named dataset into the cache."""
    from gradlab.data.sources import get

    files = [str(path) for path in get(name)]
    _print(
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
    _print(finding.to_dict(), json, lambda: print(finding.text()))
    if any(issue.level == "error" for issue in finding.issues):
        raise SystemExit(2)


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
    ['train', 'mlp', '--optimizer:lr=0.1', '--data.augment:flip=true', '--json']
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


def _print(record: dict[str, Any], as_json: bool, show_it: Callable[[], Any]) -> None:
    if as_json:
        print(json_module.dumps(record))
    else:
        show_it()


def _print_run(run: Run, as_json: bool) -> None:
    _print(run.summary, as_json, lambda: _show_run(run))


def _show_run(run: Run) -> None:
    summary = run.summary
    metrics: dict[str, dict[str, float]] = summary["metrics"]
    names = list(dict.fromkeys(name for figures in metrics.values() for name in figures))
    _table(
        ("", *metrics),
        [
            (name, *(_metric(name, figures.get(name)) for figures in metrics.values()))
            for name in names
        ],
    )
    rate = summary["examples_per_second"]
    print(f"{summary['seconds']:.1f} s, {rate:,.0f} examples/s, best epoch {summary['best_epoch']}")
    print(f"report: {run.path / 'report.html'}")


def _print_details(record: dict[str, Any]) -> None:
    _table(
        ("metric", record["split"]),
        [(name, _metric(name, value)) for name, value in record["metrics"].items()],
    )
    if record["per_class"]:
        _table(
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


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*header, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=10_000)  # cut for a person's screen only: a pipe gets it all
    console.print(table)


def _metric(name: str, value: float | None) -> str:
    from gradlab.engine.console import in_words

    return "" if value is None else in_words(name, value)


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def _target(target: dict[str, Any]) -> str:
    sign = "at least" if target["goal"] == "max" else "at most"
    return f"{target['dataset']} {target['metric']} {sign} {target['value']:g}"


if __name__ == "__main__":
    main()
