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

__version__ = "0.1.0"

_PUBLIC = {
    "train": ("gradlab.recipes.training", "train"),
    "resume": ("gradlab.recipes.training", "resume"),
    "fit": ("gradlab.recipes.training", "fit_own"),
    "load": ("gradlab.recipes.run", "load"),
    "features": ("gradlab.recipes.features", "features"),
    "similar": ("gradlab.recipes.similar", "similar"),
    "generate": ("gradlab.recipes.generate", "generate"),
    "judge": ("gradlab.recipes.generate", "judge"),
    "train_ensemble": ("gradlab.recipes.ensemble", "train_ensemble"),
    "Ensemble": ("gradlab.recipes.ensemble", "Ensemble"),
    "Run": ("gradlab.recipes.run", "Run"),
    "models": ("gradlab.models", None),
    "UserError": ("gradlab.errors", "UserError"),
}

__all__ = [
    "Ensemble",
    "Run",
    "UserError",
    "__version__",
    "features",
    "fit",
    "generate",
    "judge",
    "load",
    "models",
    "resume",
    "similar",
    "train",
    "train_ensemble",
]

if TYPE_CHECKING:
    from gradlab import models
    from gradlab.errors import UserError
    from gradlab.recipes.ensemble import Ensemble, train_ensemble
    from gradlab.recipes.features import features
    from gradlab.recipes.generate import generate, judge
    from gradlab.recipes.run import Run, load
    from gradlab.recipes.similar import similar
    from gradlab.recipes.training import fit_own as fit
    from gradlab.recipes.training import resume, train


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'gradlab' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    loaded = importlib.import_module(module)
    return loaded if attribute is None else getattr(loaded, attribute)


def __dir__() -> list[str]:
    return __all__
