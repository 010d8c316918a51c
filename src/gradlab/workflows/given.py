"""The dataset that a person means: by name, by path, or held in Python."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from torch import Tensor

from gradlab.config import DataConfig
from gradlab.data import Dataset, load
from gradlab.data.sources.arrays import from_arrays
from gradlab.data.sources.tables import data_frame_source
from gradlab.data.splits import finish
from gradlab.errors import UserError


def is_held(data: Any) -> bool:
    """Whether data are held in Python, instead of named."""
    return data is not None and not isinstance(data, str | os.PathLike)


def dataset_of(data: Any, config: DataConfig) -> tuple[Dataset, DataConfig]:
    """The dataset that a person means, and the configuration that records it.

    `data` is a named set, a path, a `Dataset`, a pair of arrays (x, y), or a data frame of polars
    or pandas. UserError for anything else.
    """
    if isinstance(data, Dataset):
        return data, config.model_copy(update={"name": data.name})
    if not is_held(data):
        config = config.model_copy(update={"name": os.fspath(data)})
        return load(config), config
    if isinstance(data, tuple) and len(data) == 2:
        x, y = (part.numpy() if isinstance(part, Tensor) else np.asarray(part) for part in data)
        source = from_arrays({"x": x, "y": y}, "arrays", config)
        return finish(source, config), config.model_copy(update={"name": "arrays"})
    if type(data).__module__.split(".")[0] in ("pandas", "polars"):
        source = data_frame_source(data, config)
        return finish(source, config), config.model_copy(update={"name": "data frame"})
    raise UserError(
        "data: expected a named set, a path, a pair of arrays (x, y) or a data frame of polars or "
        f"pandas, found {type(data).__name__}"
    )
