"""What was stopped, continued: a run or an ensemble."""

from __future__ import annotations

import os
from typing import Any

from gradlab.errors import UserError
from gradlab.runs.ensemble import is_ensemble
from gradlab.runs.run import Run
from gradlab.workflows.ensemble import resume_ensemble
from gradlab.workflows.longer import lengthen
from gradlab.workflows.train import divide, resume_run


def resume(path: str | os.PathLike[str], **options: Any) -> Run:
    """Continue a run from its last checkpoint, or the members of an ensemble.

    Of what is finished, only a report that is missing is written. Options are those of
    `gradlab.train` that do not change the result: `progress`, `log`, `observers`, `test`, and the
    runtime's (`device`, `precision`, `threads`), which are as in the training where they are left
    out; `epochs`, to train a run longer (so many in all: see `lengthen`), after which the test
    split is read again, and that recorded; and `data`, where the run learns from arrays or a data
    frame held in Python. On a CPU the final weights are bit for bit those of a run that was never
    stopped.
    """
    data, epochs = options.pop("data", None), options.pop("epochs", None)
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
        return resume_ensemble(path, run_options)
    if epochs is None:
        return resume_run(path, run_options, data)
    before = lengthen(path, epochs)
    run = resume_run(path, run_options, data)
    if run_options.test and "test" in before:
        run.note_reading("resume --epochs", run.metrics["test"])
    return run
