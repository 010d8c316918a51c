"""From a recipe to a finished run: train, resume, and the training of one's own network."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import gradlab
from gradlab.config import Recipe
from gradlab.data import Dataset
from gradlab.engine import Diverged, Observer, Progress, RunFolder, fit
from gradlab.engine.console import Console
from gradlab.engine.setup import machine
from gradlab.errors import UserError
from gradlab.insight import refuse
from gradlab.recipes import find
from gradlab.recipes.diagnosis import first_fault
from gradlab.recipes.own import dataset_of, recipe_of
from gradlab.recipes.reporting import Gallery, write
from gradlab.recipes.run import Run, learnt_from, load, make
from gradlab.tasks.base import Own, Task


@dataclass(frozen=True)
class Manner:
    """How a training is carried out: nothing of it changes the result."""

    out: str | os.PathLike[str] = "runs"
    name: str | None = None
    test: bool = True
    progress: bool = True
    log: Sequence[str] = ()
    observers: Sequence[Observer] = ()


def train(recipe: str | Recipe, **options: Any) -> Run:
    """Train a recipe and return its run, which is the folder `out/name`.

    Options are those of `Manner` (`out`, `name`, `test`, `progress`, `log`, `observers`) and the
    recipe's fields by short or dotted name: `data="mnist"`, `epochs=5`,
    `**{"optimizer.lr": 0.01}`. The test split is read once, at the end, on the weights of the best
    epoch; `test=False` leaves it out. `log=("tensorboard",)` writes event files too.
    """
    manner, fields = _divide(options)
    chosen = find(recipe, fields)
    chosen = _located(chosen)
    return _begin(chosen, learnt_from(chosen), None, manner)


def fit_own(
    module: nn.Module,
    *,
    data: Any,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    **options: Any,
) -> Run:
    """Train a network of one's own: any `nn.Module` that maps a batch of x to outputs.

    `data` is a named set, a path, a `Dataset`, or a pair of arrays (x, y). `loss` maps (output, y)
    to the mean over the batch; without one the task's own is used. Options are those of `train`.
    The run is reopened with `gradlab.load(path, model=module)`.
    """
    manner, fields = _divide(options)
    recipe = find(recipe_of(module), fields)
    dataset, config = dataset_of(data, recipe.data)
    recipe = recipe.model_copy(update={"data": config})
    return _begin(recipe, dataset, Own(module, loss), manner)


def resume(path: str | os.PathLike[str], **options: Any) -> Run:
    """Continue a run from its last checkpoint; a finished run is returned as it is.

    Options are those of `Manner`. On a CPU the final weights are bit for bit those of the run that
    was never stopped.
    """
    manner, fields = _divide(options)
    if fields:
        raise UserError(
            f"resume takes no field of the recipe (found {', '.join(fields)}): the run continues "
            "as it began; begin a new run to change it"
        )
    if (Path(path) / "ensemble.json").is_file():
        from gradlab.recipes.ensemble import resume_ensemble

        return resume_ensemble(
            path, test=manner.test, progress=manner.progress, log=manner.log,
            observers=manner.observers,
        )  # fmt: skip
    run = load(path)
    if is_finished(run):
        return run
    with run.folder.locked():
        return _carry_out(run, run.training_task(), manner)


def is_finished(run: Run) -> bool:
    """Whether the training has ended and its final metrics are recorded."""
    return any(line.get("event") == "end" for line in run.history)


def _located(recipe: Recipe) -> Recipe:
    """The recipe with absolute paths: a resume may be started from another folder."""
    config, before = recipe.data, recipe.transfer
    if Path(config.name).exists():
        config = config.model_copy(update={"name": str(Path(config.name).resolve())})
    if before.weights and Path(before.weights).exists():  # else published ones, by their name
        before = before.model_copy(update={"weights": str(Path(before.weights).resolve())})
    return recipe.model_copy(update={"data": config, "transfer": before})


def _divide(options: dict[str, Any]) -> tuple[Manner, dict[str, Any]]:
    """Options of the manner, and fields of the recipe (those that are None left out)."""
    known = Manner.__dataclass_fields__
    manner = Manner(**{key: value for key, value in options.items() if key in known})
    fields = {key: value for key, value in options.items() if key not in known}
    return manner, {key: value for key, value in fields.items() if value is not None}


def _begin(recipe: Recipe, dataset: Dataset, own: Own | None, manner: Manner) -> Run:
    """Make the task, look it over, make the run folder, train."""
    task = make(recipe, dataset, own)
    warnings = refuse(task.preflight())
    # The preflight and the count of operations draw nothing, but whoever adds a draw to them
    # should not change every training: the generator is set anew.
    torch.manual_seed(task.recipe.seed)
    record = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "gradlab": gradlab.__version__,
        "seed": task.recipe.seed,
        "recipe": task.recipe.model_dump(mode="json"),
        "schema": task.schema.model_dump(mode="json", exclude_defaults=True),
        "dataset": dataset.describe(),
        "notes": [*dataset.notes, *task.notes, *(str(finding) for finding in warnings)],
        "machine": machine(),
        "runtime": {
            "device": task.recipe.device,
            "precision": task.recipe.precision,
            "threads": task.recipe.threads,
        },
    }
    stem = f"{recipe.name}-{Path(dataset.name).stem}"
    folder = RunFolder.create(Path(manner.out), manner.name, stem, record)
    run = Run(folder, own.model if own else None)
    run.dataset = dataset
    with folder.locked():
        return _carry_out(run, task, manner)


def _carry_out(run: Run, task: Task, manner: Manner) -> Run:
    """Train until the end, then evaluate the best epoch, record it and write the report."""
    observers = list(manner.observers)
    if manner.progress:
        observers.append(Console(run.record, task.recipe.plan.epochs, task.steps))
    if Gallery.wanted(task):
        observers.append(Gallery(task, run.path / "samples"))
    for kind in manner.log:
        observers.append(_logger(kind, run))
    try:
        progress = fit(task, task.recipe.plan, run.folder, observers)
    except Diverged as error:
        raise _explained(error, run, task) from None
    _conclude(run, task, progress, manner.test)
    return run


def _conclude(run: Run, task: Task, progress: Progress, test: bool) -> None:
    """Evaluate the weights of the best epoch on each split, once, and record it."""
    task.load_weights(run.folder.load("best")[1])
    details = {}
    for split in ("train", "val", "test") if test else ("train", "val"):
        if not task.has(split):
            continue
        details[split] = task.details(split)
        line = {"step": progress.step, "split": split, "final": True}
        run.folder.append({**line, "metrics": details[split].metrics})
    rate = progress.examples / progress.step_seconds if progress.step_seconds else None
    run.folder.append(
        {
            "event": "end",
            "step": progress.step,
            "reason": progress.reason,
            "seconds": round(progress.seconds, 3),
            "examples_per_second": rate and round(rate, 1),
            "best_epoch": progress.best_epoch + 1,
        }
    )
    run.task = task
    write(run, task, details)


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
        f"(--optimizer.lr {smaller:.3g}), gradient clipping (--plan.clip_norm 1) or warm-up "
        "(--schedule.warmup 1)"
    )


def _logger(kind: str, run: Run) -> Observer:
    if kind == "tensorboard":
        from gradlab.engine.tensorboard import TensorBoard

        return TensorBoard(run.path)
    raise UserError(f"--log: expected tensorboard, found {kind!r}")
