"""Where examples come from and how they become batches.

torch is imported with the first of these names, so that `gradlab list` does without it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradlab.data.dataset import Dataset, Schema, Split
    from gradlab.data.sources import datasets, load

__all__ = ["Dataset", "Schema", "Split", "datasets", "load"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'gradlab.data' has no attribute {name!r}")
    place = "gradlab.data.sources" if name in ("datasets", "load") else "gradlab.data.dataset"
    return getattr(importlib.import_module(place), name)
