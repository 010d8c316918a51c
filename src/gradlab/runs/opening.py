"""A run or an ensemble, by its folder."""

from __future__ import annotations

import os

from torch import nn

from gradlab import paths
from gradlab.config import Runtime
from gradlab.errors import UserError
from gradlab.runs.ensemble import is_ensemble, load_ensemble
from gradlab.runs.pretrained import Pretrained, names_weights
from gradlab.runs.run import Run, open_run


def load(
    path: str | os.PathLike[str] | Run,
    model: nn.Module | None = None,
    runtime: Runtime | None = None,
) -> Run:
    """What a training has left in a folder: a `Run`, or an `Ensemble` of several.

    `model` is the network of a run that was trained from Python with one's own. `runtime` says
    where it is used; what it leaves open is as in the training. A run that is open already is
    returned as it is. The name of published weights opens these (`Pretrained`). UserError when
    there is no run.
    """
    if isinstance(path, Run):
        return path
    if names_weights(path):
        return Pretrained(str(path), runtime)
    path = paths.given(path, "run")
    if not is_ensemble(path):
        return open_run(path, model, runtime)
    if model is not None:
        raise UserError(
            f"{path} is an ensemble, whose members have networks of their own: load it without one"
        )
    return load_ensemble(path, runtime)
