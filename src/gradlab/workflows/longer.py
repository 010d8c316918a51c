"""A training made longer: its plan changed, to be continued from where it ended."""

from __future__ import annotations

import os

from gradlab.engine.schedule import factor
from gradlab.errors import UserError
from gradlab.runs.run import Run, open_run
from gradlab.tasks.base import Own


def lengthen(
    path: str | os.PathLike[str], epochs: int, own: Own | None = None
) -> dict[str, dict[str, float]]:
    """Change the plan of a run to `epochs` in all; `resume_run` then continues it, exactly.

    Returns the metrics that were final before.

    Recorded in the run: the recipe, a note and an event. The learning rate follows the schedule of
    the longer plan from here on, so that one which had fallen may rise again: the note says so.
    UserError when so many epochs are done already.
    """
    run = open_run(path, own)
    with run.folder.locked():
        progress, _ = run.folder.load("last")
        if epochs <= progress.epoch:
            raise UserError(
                f"--epochs {epochs}: {run.path} has been trained for {progress.epoch} epochs "
                f"already; expected more, in all"
            )
        before = run.metrics
        if epochs != run.recipe.plan.epochs or progress.finished:
            run.folder.lengthen(epochs, _note(run, progress.epoch, progress.step, epochs))
        return before


def _note(run: Run, done: int, step: int, epochs: int) -> str:
    recipe = run.recipe
    said = f"trained longer: {epochs} epochs in all, after {done}"
    if not done or recipe.schedule.name in ("constant", "plateau"):
        return said
    steps = step // done
    now, before = (
        recipe.optimizer.lr * factor(recipe.schedule, step, total * steps, steps)
        for total in (epochs, recipe.plan.epochs)
    )
    return (
        f"{said}; the schedule {recipe.schedule.name} is now that of {epochs} epochs: the learning "
        f"rate goes on at {now:.3g}, where it had come to {before:.3g}"
    )
