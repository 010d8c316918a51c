"""What was stopped, continued: a run or an ensemble."""

from __future__ import annotations

import os
from typing import Any

from gradlab.errors import UserError
from gradlab.runs.ensemble import is_ensemble
from gradlab.runs.run import Run
from gradlab.tasks.base import Own
from gradlab.workflows.ensemble import resume_ensemble
from gradlab.workflows.longer import lengthen
from gradlab.workflows.train import divide, own_splits, resume_run, told


def resume(path: str | os.PathLike[str], **options: Any) -> Run:
    """Continue a run from its last checkpoint, or the members of an ensemble.

    Of what is finished, only a report that is missing is written. Options are those of
    `gradlab.train` that do not change the result: `progress`, `log`, `observers`, `test`, and the
    runtime's (`device`, `precision`, `threads`), which are as in the training where they are left
    out; `epochs`, to train a run longer (so many in all: see `lengthen`), after which the test
    split is read again, and that recorded; `data` (and `target`, `val`, `test`), where the run
    learns from data held in Python that are too large to be kept in it; and for a network of one's
    own `model`, `loss`, `optimizer`, `schedule` and `metrics`, made as before. On a CPU the final
    weights are bit for bit those of a run that was never stopped.
    """
    given = {key: options.pop(key, None) for key in ("data", "target")} | own_splits(options)
    own = _own({key: options.pop(key, None) for key in Own.__dataclass_fields__})
    epochs = options.pop("epochs", None)
    run_options, fields = divide(options)
    refused = [*fields, *({"out", "name"} & set(options))]
    if refused:
        raise UserError(
            f"resume takes no field of the recipe (found {', '.join(refused)}): the run continues "
            "as it began; begin a new run to change it"
        )
    if is_ensemble(path):
        if epochs is not None:
            raise UserError(f"{path} is an ensemble: train a new one with more --epochs")
        return told(resume_ensemble(path, run_options), run_options)
    if epochs is None:
        return told(resume_run(path, run_options, own, given), run_options)
    before = lengthen(path, epochs, own)
    run = resume_run(path, run_options, own, given)
    if run_options.test and "test" in before:
        run.note_reading("resume --epochs", run.metrics["test"])
    return told(run, run_options)


def _own(parts: dict[str, Any]) -> Own | None:
    """The network of one's own with what goes with it."""
    if parts["model"] is None:
        if any(part is not None for part in parts.values()):
            names = ", ".join(key for key, part in parts.items() if part is not None)
            raise UserError(f"resume: {names} goes with a network of your own: give model= too")
        return None
    return Own(**{key: part for key, part in parts.items() if part is not None})
