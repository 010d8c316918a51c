"""Ensembles, trained: members of seeds that follow each other, then the whole evaluated."""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from gradlab.config import Recipe, Runtime
from gradlab.dotted import override
from gradlab.engine import Interrupted, RunFolder
from gradlab.errors import UserError
from gradlab.recipes import find
from gradlab.runs.ensemble import FILE, Ensemble, EnsembleRecord, load_ensemble, new_folder
from gradlab.runs.make import learnt_from
from gradlab.tasks import tasks
from gradlab.tasks.supervised import Supervised
from gradlab.workflows.evidence import Evidence
from gradlab.workflows.photos import settled
from gradlab.workflows.train import RunOptions, begin, divide, located, resume_run, told
from gradlab.workflows.verdict import verdict

MOST = 1000
"""Members, at most."""


def train_ensemble(recipe: str | Recipe, count: int = 5, **options: Any) -> Ensemble:
    """Train `count` members, of the recipe's seed and those that follow, and return the ensemble.

    Options are those of `gradlab.train`. The folder is `out/name`; `gradlab.resume` continues one
    that was stopped.
    """
    if not 2 <= count <= MOST:
        raise UserError(f"an ensemble has at least 2 members and at most {MOST}, found {count}")
    run_options, fields = divide(options)
    chosen, _ = settled(located(find(recipe, fields)))
    _check_answers(chosen)
    record = EnsembleRecord(
        members=tuple(f"member-{index}" for index in range(count)),
        recipe=chosen,
        runtime=run_options.runtime,
        test=run_options.test,
    )
    stem = f"{chosen.name}-{Path(chosen.data.name).stem}-ensemble"
    folder = new_folder(Path(run_options.out), run_options.name, stem, record).path
    try:
        return told(resume_ensemble(folder, run_options), run_options)
    except UserError:
        _take_back(folder, record)
        raise


def resume_ensemble(path: str | os.PathLike[str], run_options: RunOptions) -> Ensemble:
    """Train the members that are missing or were stopped, then evaluate the whole.

    Members that are finished stay as they are. An ensemble of runs that were there before has
    nothing to train.
    """
    ensemble = load_ensemble(path)
    record = ensemble.kept
    if record is None or record.recipe is None:
        return ensemble
    run_options = replace(run_options, test=run_options.test and record.test)
    with ensemble.folder.locked():
        if ensemble.finished:
            for member in ensemble.paths:
                resume_run(member, run_options)  # writes a report that is missing
            return ensemble
        for index, member in enumerate(ensemble.paths):
            if run_options.progress:
                print(f"member {index + 1} of {len(ensemble.paths)}", file=sys.stderr)
            try:
                if (member / "recipe.json").is_file():
                    resume_run(member, run_options)
                else:
                    recipe = find(record.recipe, {"seed": record.recipe.seed + index})
                    _begin(recipe, record.runtime, member, run_options)
            except Interrupted as stopped:
                raise Interrupted(stopped.signal, ensemble.folder) from None
        _conclude(ensemble, run_options.test)
    return ensemble


def _begin(recipe: Recipe, runtime: Runtime, member: Path, run_options: RunOptions) -> None:
    """Train a member from its beginning; one that was stopped before it began is taken over."""
    if member.exists() and not RunFolder(member).is_unbegun():
        raise UserError(
            f"{member} is no run that gradlab has begun: it has no recipe.json, but holds other "
            "files. Move it away, then resume again"
        )
    asked = run_options.runtime.model_dump(exclude_defaults=True)
    runtime = override(runtime, asked, where="runtime")
    run_options = replace(run_options, out=member.parent, name=member.name, runtime=runtime)
    begin(recipe, learnt_from(recipe), None, run_options)


def _conclude(ensemble: Ensemble, test: bool) -> None:
    """Evaluate the ensemble once, and record it."""
    task = ensemble.task
    task.dataset = ensemble.dataset
    ensemble.keep_decision()
    metrics = {}
    with task.setup.applied():
        for split in ("val", "test") if test else ("val",):
            if task.has(split):
                metrics[split] = task.measure(split)
                line = {"split": split, "final": True, "metrics": metrics[split]}
                ensemble.folder.append(line)
    ends = [member.end for member in ensemble.members]
    rates = [end["examples_per_second"] for end in ends if end.get("examples_per_second")]
    guessed = ends[0].get("baselines", {})
    baselines = {split: guessed[split] for split in metrics if split in guessed}
    found = Evidence(
        ensemble.recipe,
        ensemble.recipe.plan.monitor or "loss",
        metrics,
        baselines,
        {split: len(task.dataset.split(split)) for split in metrics},
    )
    ensemble.folder.append(
        {
            "event": "end",
            "decision": ensemble.decision,
            "notes": list(task.decision.notes),
            "seconds": round(sum(end.get("seconds") or 0.0 for end in ends), 3),
            "examples_per_second": round(statistics.fmean(rates), 1) if rates else None,
            "baselines": baselines,
            "verdict": verdict(found),
        }
    )


def _check_answers(recipe: Recipe) -> None:
    """UserError, before anything is trained, for a task whose answers have no mean."""
    name = recipe.task.name
    if name != "auto" and not issubclass(tasks[name], Supervised):
        raise UserError(
            f"an ensemble needs answers to average, and the task {name!r} gives none: train the "
            "recipe without --ensemble"
        )


def _take_back(folder: Path, record: EnsembleRecord) -> None:
    """Take away, file by file, what was made for an ensemble of which no member has begun."""
    members = [folder / name for name in record.members]
    if any((member / "recipe.json").exists() for member in members):
        return
    for place in (*members, folder):
        for name in (FILE, ".lock"):
            with contextlib.suppress(OSError):
                (place / name).unlink()
        with contextlib.suppress(OSError):
            place.rmdir()  # only where nothing else is in it
