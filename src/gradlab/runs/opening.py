"""A run or an ensemble, by its folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from gradlab import paths
from gradlab.config import Runtime
from gradlab.data.held import Target
from gradlab.errors import UserError
from gradlab.runs.ensemble import is_ensemble, load_ensemble
from gradlab.runs.kept import again
from gradlab.runs.pretrained import Pretrained, names_weights
from gradlab.runs.run import Run, open_run
from gradlab.tasks.base import Own


def load(
    path: str | os.PathLike[str] | Run,
    model: nn.Module | None = None,
    runtime: Runtime | None = None,
    *,
    loss: Callable[[Any, Any], Any] | None = None,
    metrics: Mapping[str, Callable[[Any, Any], Any]] | None = None,
    data: Any = None,
    target: Target = None,
    val: Any = None,
    test: Any = None,
) -> Run:
    """What a training has left in a folder: a `Run`, or an `Ensemble` of several.

    `model` is the network of a run that was trained from Python with one's own; `loss` and
    `metrics` are its own, of which a run keeps the losses of torch alone (without them they are not
    evaluated). `data`, `target`, `val` and `test` are what it learnt from, where that is held in
    Python and too large to be kept: UserError unless they are the same. `runtime` says where it is
    used; what it leaves open is as in the training. A run that is open already is returned as it
    is. The name of published weights opens these (`Pretrained`). UserError when there is no run.
    """
    if isinstance(path, Run):
        return path
    if names_weights(path):
        return Pretrained(str(path), runtime)
    path = paths.given(path, "run")
    if not is_ensemble(path):
        own = None if model is None else Own(model, loss, metrics=metrics or {})
        run = open_run(path, own, runtime)
        if data is not None:
            others: Any = {"val": val, "test": test}
            run.dataset = run.same(again(run.recipe, run.schema, data, target, others))
        return run
    if model is not None:
        raise UserError(
            f"{path} is an ensemble, whose members have networks of their own: load it without one"
        )
    return load_ensemble(path, runtime)
