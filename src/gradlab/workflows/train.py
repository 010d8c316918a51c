"""From a recipe to a finished run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import torch

from gradlab import files, paths
from gradlab.config import Recipe, Runtime
from gradlab.data import Schema
from gradlab.data.dataset import SplitName
from gradlab.data.given import dataset_of, is_held
from gradlab.dotted import override
from gradlab.engine import Diverged, Observer, Progress, RunFolder, fit, seeded
from gradlab.engine.console import Console
from gradlab.engine.runtime import machine
from gradlab.errors import UserError
from gradlab.insight import refuse
from gradlab.recipes import find
from gradlab.report import Gallery, write
from gradlab.runs.kept import FILE, HELD, again, mark, to_keep
from gradlab.runs.make import learnt_from, make
from gradlab.runs.run import Run, open_run
from gradlab.runs.showing import show_run
from gradlab.tasks.base import Own, Task
from gradlab.version import __version__
from gradlab.workflows.diagnosis import FlatLoss, first_fault
from gradlab.workflows.evidence import beginning, evidence, network
from gradlab.workflows.photos import settled
from gradlab.workflows.verdict import verdict


@dataclass(frozen=True)
class RunOptions:
    """How a training is carried out: nothing of it changes the result."""

    out: str | os.PathLike[str] = "runs"
    name: str | None = None
    test: bool = True
    keep_data: bool = True
    progress: bool = True
    results: bool = True
    """Whether the results are printed at the end, where the progress is."""
    report: bool = True
    """Whether the page is written at the end; `gradlab.resume` writes one that is missing."""
    log: Sequence[str] = ()
    observers: Sequence[Observer] = ()
    runtime: Runtime = field(default_factory=Runtime)


def train(recipe: str | Recipe, **options: Any) -> Run:
    """Train a recipe and return its run, which is the folder `out/name`.

    Options are those of `RunOptions` (`out`, `name`, `test`, `keep_data`, `progress`, `results`,
    `report`, `log`, `observers`), the runtime's (`device`, `precision`, `threads`) and the recipe's
    fields by short or dotted name: `data="mnist"`, `epochs=5`, `**{"optimizer.lr": 0.01}`. `data`
    may also be arrays (x, y), or a data frame with `target="COLUMN"`. The test split is read once,
    at the end, on the weights of the best epoch; `test=False` leaves it out.
    `log=("tensorboard",)` writes event files too. `progress=False` prints nothing.
    """
    others = own_splits(options)
    run_options, fields = divide(options)
    if not is_held(fields.get("data")):
        if others:
            names = ", ".join(others)
            raise UserError(f"{names}: examples of your own go with data held in Python")
        chosen, said = settled(located(find(recipe, fields)))
        return told(begin(chosen, learnt_from(chosen), None, run_options, said), run_options)
    data = fields.pop("data")
    chosen, said = settled(located(find(recipe, {"data": "arrays", **fields})))
    dataset, config = dataset_of(data, chosen.data, others)
    chosen = chosen.model_copy(update={"data": config})
    return told(begin(chosen, dataset, None, run_options, said), run_options)


def own_splits(options: dict[str, Any]) -> dict[SplitName, Any]:
    """Examples of one's own for val and test, taken out of the options (`test` may be a flag)."""
    names: tuple[SplitName, ...] = ("val", "test")
    return {
        name: options.pop(name)
        for name in names
        if name in options and not isinstance(options[name], bool | None)
    }


R = TypeVar("R", bound=Run)


def told(run: R, run_options: RunOptions) -> R:
    """The run, its results printed where the progress was."""
    if run_options.progress and run_options.results:
        show_run(run)
    return run


def resume_run(
    path: str | os.PathLike[str],
    run_options: RunOptions,
    own: Own | None = None,
    given: Mapping[str, Any] | None = None,
) -> Run:
    """Continue a run from its last checkpoint; of a finished one what is missing is written.

    `own` is the network of one's own that it trains. `given` is what it learns from (data, target,
    val, test), where that is held in Python and not kept in the run.
    """
    run = open_run(path, own)
    if given and given.get("data") is not None:
        others: Any = {"val": given.get("val"), "test": given.get("test")}
        found = again(run.recipe, run.schema, given["data"], given.get("target"), others)
        run.dataset = run.same(found)
    with run.folder.locked():
        if run.finished:
            if run_options.report and not run.has_report:
                _report(run)
            return run
        runtime = run.trained_with
        if run_options.runtime != Runtime():
            runtime = override(runtime, run_options.runtime.model_dump(exclude_defaults=True))
        began = run.folder.has("last")
        with training(
            run.recipe, run.dataset, runtime, run.brought, schema=run.schema, fresh=not began
        ) as task:
            return carry_out(run, task, run_options)


def begin(
    recipe: Recipe,
    dataset: Any,
    own: Own | None,
    run_options: RunOptions,
    said: tuple[str, ...] = (),
) -> Run:
    """Make the task, look it over, make the run folder, train; `said` is noted in the run."""
    with training(recipe, dataset, run_options.runtime, own) as task:
        data = to_keep(dataset) if run_options.keep_data else None
        record = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "gradlab": __version__,
            "seed": task.recipe.seed,
            "recipe": task.recipe.model_dump(mode="json"),
            "schema": task.schema.model_dump(mode="json"),
            "runtime": task.setup.runtime.model_dump(mode="json"),
            "dataset": {**dataset.describe(), **({"kept": mark(data)} if data else {})},
            "notes": [*said, *dataset.notes, *task.notes, *_said(dataset, data)],
            "machine": machine(),
        }
        stem = f"{recipe.name}-{Path(dataset.name).stem}".replace(" ", "_")
        folder = RunFolder.create(Path(run_options.out), run_options.name, stem, record)
        run = Run(folder, own)
        run.dataset = dataset
        with folder.locked():
            if data:
                files.write_bytes(folder.path / FILE, data)
            return carry_out(run, task, run_options)


def _said(dataset: Any, data: bytes | None) -> tuple[str, ...]:
    """What becomes of data held in Python."""
    if dataset.name not in HELD:
        return ()
    if data is None:
        return ("the data are not kept in the run: give them again to evaluate or to resume it",)
    return (f"the data are kept in the run ({len(data) / 1e6:.1f} MB)",)


@contextmanager
def training(
    recipe: Recipe,
    dataset: Any,
    runtime: Runtime,
    own: Own | None,
    *,
    schema: Schema | None = None,
    fresh: bool = True,
) -> Iterator[Task]:
    """A task ready to train, and for as long as it trains the process's seed and threads.

    The one place that owns the seed: a training that is begun and one that is resumed before its
    first checkpoint come out of it alike. Afterwards torch is as it was found.
    """
    with seeded(recipe.seed):
        task = make(recipe, schema or dataset.schema, runtime, own)
        with task.setup.applied():
            task.prepare(dataset, fresh=fresh)
            findings = refuse(task.preflight())
            task.notes += tuple(str(finding) for finding in findings)
            # The preflight and the count of operations draw nothing, but whoever adds a draw to
            # them should not change every training: the generator is set anew.
            torch.manual_seed(task.recipe.seed)
            yield task


def carry_out(run: Run, task: Task, run_options: RunOptions) -> Run:
    """Train until the end, then evaluate the best epoch, record it and write the report."""
    observers = list(run_options.observers)
    if run_options.progress:
        observers.append(Console(run.record, task.plan.epochs, task.steps))
    if Gallery.wanted(task):
        observers.append(Gallery(task, run.path / "samples"))
    for kind in run_options.log:
        observers.append(_logger(kind, run))
    first = None if run.folder.has("last") else beginning(task)
    if first is not None:
        run.folder.append(first)
        if run_options.progress:
            total = task.plan.epochs * task.steps
            observers.append(FlatLoss(first["loss"], total, run.recipe.name))
    try:
        progress = fit(task, task.plan, run.folder, observers)
    except Diverged as error:
        raise _explained(error, run, task) from None
    _conclude(run, task, progress, run_options)
    return run


def _conclude(run: Run, task: Task, progress: Progress, run_options: RunOptions) -> None:
    """Evaluate the weights of the best epoch on each split, once, and record it."""
    seen = network(task, run.history)  # of the last weights: those of the best come next
    best, state = run.folder.load("best")
    task.load_weights(state)
    if decision := task.decide():
        run.folder.save("best", best, {**state, "decision": decision})
    splits = [split for split in ("train", "val", "test") if task.has(split)]
    if not run_options.test:
        splits = [split for split in splits if split != "test"]
    details = {}
    for split in splits:
        details[split] = task.details(split)
        line = {"step": progress.step, "split": split, "final": True}
        run.folder.append({**line, "metrics": details[split].metrics})
    found = task.baselines(splits)
    metrics = {split: evaluation.metrics for split, evaluation in details.items()}
    rate = progress.examples / progress.step_seconds if progress.step_seconds else None
    run.folder.append(
        {
            "event": "end",
            "step": progress.step,
            "reason": progress.reason,
            "seconds": round(progress.seconds, 3),
            "examples_per_second": rate and round(rate, 1),
            "best_epoch": progress.best_epoch + 1,
            "decision": decision,
            "notes": list(task.decision.notes),
            "baselines": found,
            "verdict": verdict(evidence(task, run.history, seen, metrics, found)),
        }
    )
    run.task = task
    if run_options.report:
        write(run, task, details)


def _report(run: Run) -> None:
    """Write the report of a finished run that has none; the test split is not read again."""
    task = run.task
    task.dataset = run.dataset
    with task.setup.applied():
        splits = [split for split in run.metrics if split != "test"]
        write(run, task, {split: task.details(split) for split in splits})


def located(recipe: Recipe) -> Recipe:
    """The recipe with absolute paths: a resume may be started from another folder."""
    config, before = recipe.data, recipe.transfer
    if paths.given(config.name, "data").exists():
        config = config.model_copy(update={"name": str(Path(config.name).resolve())})
    beside = ("val_file", "test_file")
    whole = {
        key: str(Path(name).expanduser().resolve())
        for key in beside
        if (name := getattr(config, key))
    }
    config = config.model_copy(update=whole)
    if (
        before.weights and paths.given(before.weights, "weights").exists()
    ):  # else published ones, by their name
        before = before.model_copy(update={"weights": str(Path(before.weights).resolve())})
    return recipe.model_copy(update={"data": config, "transfer": before})


def divide(options: dict[str, Any]) -> tuple[RunOptions, dict[str, Any]]:
    """Options of the run and the runtime, and fields of the recipe (None left out)."""
    given = {key: value for key, value in options.items() if value is not None}
    runtime_part = {key: given.pop(key) for key in [*given] if key in Runtime.model_fields}
    known = RunOptions.__dataclass_fields__
    run_options = {key: given.pop(key) for key in [*given] if key in known}
    runtime = override(run_options.pop("runtime", Runtime()), runtime_part, where="runtime")
    return RunOptions(**run_options, runtime=runtime), given


def _explained(error: Diverged, run: Run, task: Task) -> UserError:
    """The divergence in words: where it began, and what to try."""
    where = first_fault(task, run.folder, error.step)
    kept = (
        f"The checkpoint of the last good step is kept in {run.path}."
        if run.folder.has("last")
        else "No checkpoint had been written yet."
    )
    smaller = task.recipe.optimizer.lr / 10
    return UserError(
        f"the training diverged at {error}. {where} {kept} Try a smaller learning rate "
        f"(--lr {smaller:.3g}), gradient clipping (--clip-norm 1) or warm-up "
        "(--warmup 1)"
    )


def _logger(kind: str, run: Run) -> Observer:
    if kind == "tensorboard":
        from gradlab.engine.tensorboard import TensorBoard

        return TensorBoard(run.path)
    raise UserError(f"--log: expected tensorboard, found {kind!r}")
