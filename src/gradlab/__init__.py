"""gradlab trains every classic network of deep learning on real data with one command.

>>> import gradlab
>>> run = gradlab.train("lenet5", data="digits", epochs=5)  # doctest: +SKIP
>>> run.evaluate("test")["accuracy"]  # doctest: +SKIP
0.97...

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gradlab.version import __version__

_PUBLIC = {
    "train": ("gradlab.workflows.train", "train"),
    "resume": ("gradlab.workflows.resume", "resume"),
    "fit": ("gradlab.workflows.own", "fit_own"),
    "load": ("gradlab.runs", "load"),
    "features": ("gradlab.explore.features", "features"),
    "similar": ("gradlab.explore.similar", "similar"),
    "explain": ("gradlab.explore.explain", "explain"),
    "generate": ("gradlab.explore.generate", "generate"),
    "judge": ("gradlab.explore.judge", "judge"),
    "write": ("gradlab.explore.write", "write"),
    "words": ("gradlab.explore.words", "words"),
    "backtest": ("gradlab.explore.backtest", "backtest"),
    "vectors": ("gradlab.explore.vectors", "vectors"),
    "find_lr": ("gradlab.workflows.lr", "find_lr"),
    "train_ensemble": ("gradlab.workflows.ensemble", "train_ensemble"),
    "Ensemble": ("gradlab.runs.ensemble", "Ensemble"),
    "Run": ("gradlab.runs.run", "Run"),
    "models": ("gradlab.models", None),
    "UserError": ("gradlab.errors", "UserError"),
}

__all__ = [
    "Ensemble",
    "Run",
    "UserError",
    "__version__",
    "backtest",
    "explain",
    "features",
    "find_lr",
    "fit",
    "generate",
    "judge",
    "load",
    "models",
    "resume",
    "similar",
    "train",
    "train_ensemble",
    "vectors",
    "words",
    "write",
]

if TYPE_CHECKING:
    from gradlab import models
    from gradlab.errors import UserError
    from gradlab.explore.backtest import backtest
    from gradlab.explore.explain import explain
    from gradlab.explore.features import features
    from gradlab.explore.generate import generate
    from gradlab.explore.judge import judge
    from gradlab.explore.similar import similar
    from gradlab.explore.vectors import vectors
    from gradlab.explore.words import words
    from gradlab.explore.write import write
    from gradlab.runs import load
    from gradlab.runs.ensemble import Ensemble
    from gradlab.runs.run import Run
    from gradlab.workflows.ensemble import train_ensemble
    from gradlab.workflows.lr import find_lr
    from gradlab.workflows.own import fit_own as fit
    from gradlab.workflows.resume import resume
    from gradlab.workflows.train import train


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'gradlab' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    loaded = importlib.import_module(module)
    return loaded if attribute is None else getattr(loaded, attribute)


def __dir__() -> list[str]:
    return __all__
