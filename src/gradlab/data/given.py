"""The dataset that a person means: by name, by path, or held in Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlab.config import DataConfig
from gradlab.data.columns import Frame
from gradlab.data.dataset import Dataset, Parts, Source, SplitName
from gradlab.data.fields.image import Image
from gradlab.data.fields.table import Table
from gradlab.data.fields.values import Values
from gradlab.data.frames import given_frame, read_frame
from gradlab.data.held import (
    Held,
    Target,
    checked,
    grouped,
    is_frame,
    is_items,
    of_frame,
    source_of,
)
from gradlab.data.kinds import kind_of
from gradlab.data.sources import load
from gradlab.data.sources.arrays import from_arrays
from gradlab.data.sources.tables import data_frame_source
from gradlab.data.splits import finish
from gradlab.data.tabular import decimal_sign
from gradlab.data.tabular.written import numbers_in
from gradlab.errors import UserError

if TYPE_CHECKING:
    import polars as pl

EXPECTED = (
    "expected a named set, a path, a pair (x, y) of arrays or tensors, a data frame of polars or "
    "pandas or a dictionary of arrays (with target=NAME), or a torch Dataset or DataLoader"
)
Others = Mapping[SplitName, Any]
"""Examples of a person's own for val and test, of the form of the training's."""


def is_held(data: Any) -> bool:
    """Whether data are held in Python, instead of named."""
    return data is not None and not isinstance(data, str | os.PathLike)


def hold(data: Any, target: Target = None, where: str = "data") -> Held:
    """What a person holds, by field name and as it is; UserError for what is not understood.

    >>> found = hold((np.zeros((6, 2)), {"a": np.zeros(6), "b": np.ones((6, 3))}))
    >>> found.targets_as, {name: y.shape for name, y in found.targets.items()}
    ('dict', {'a': (6,), 'b': (6, 3)})
    """
    from torch.utils.data import DataLoader, IterableDataset, TensorDataset

    if is_frame(data):
        return of_frame(data, target, where)
    if isinstance(data, Mapping) or (isinstance(data, tuple | list) and len(data) == 2):
        return checked(grouped(data, target, where), where)
    if isinstance(data, TensorDataset):
        return checked(replace(grouped(data.tensors, target, where), name="dataset"), where)
    if isinstance(data, DataLoader | IterableDataset) or is_items(data):
        from gradlab.data.reading import of_dataset, of_loader

        read = of_loader if isinstance(data, DataLoader) else of_dataset
        return checked(read(data, target, where), where)
    found = type(data).__name__
    if isinstance(data, tuple | list):
        found += f" of {len(data)} entries. For several inputs give ((x1, x2), y)"
    raise UserError(f"{where}: {EXPECTED}; found {found}")


# for a registered network: the fields of its recipe


def dataset_of(
    data: Any, config: DataConfig, others: Others | None = None
) -> tuple[Dataset, DataConfig]:
    """The dataset that a person means, and the configuration that records it.

    Images, tables and labels become fields as they do when they are read from files. `others`:
    val and test of their own, of the same form. UserError for anything else.
    """
    others = {name: value for name, value in (others or {}).items() if value is not None}
    if isinstance(data, Dataset):
        _none_beside(others, f"the dataset {data.name}")
        return data, config.model_copy(update={"name": data.name})
    if not is_held(data):
        _none_beside(others, f"{data}, which is read with its own splits")
        config = config.model_copy(update={"name": os.fspath(data)})
        return load(config), config
    if is_frame(data):
        source = _frames({"train": data, **others}, config)
        return finish(source, config), config.model_copy(update={"name": "data frame"})
    parts = {name: hold(part, config.target, _called(name)) for name, part in _all(data, others)}
    arrays: dict[str, np.ndarray] = {}
    for name, part in parts.items():
        if part.streamed or len(part.inputs) > 1 or len(part.targets) > 1:
            raise UserError(
                f"{_called(name)}: a recipe's network takes one input in memory and one target: "
                "train a network of your own on these with gradlab.fit(network, data=...)"
            )
        arrays[f"x_{name}"], arrays[f"y_{name}"] = (
            next(iter(found.values())) for found in (part.inputs, part.targets)
        )
    source = from_arrays(arrays, "arrays", config)
    said = tuple(dict.fromkeys(note for part in parts.values() for note in part.notes))
    config = config.model_copy(update={"name": parts["train"].name})
    return finish(replace(source, notes=(*said, *source.notes)), config), config


def _all(data: Any, others: Others) -> list[tuple[SplitName, Any]]:
    return [("train", data), *others.items()]


def _called(name: SplitName) -> str:
    """What people call the examples of a split where they give them."""
    return "data" if name == "train" else name


def _none_beside(others: Others, what: str) -> None:
    if others:
        raise UserError(
            f"{', '.join(others)}: examples of your own go with data held in Python, but data is "
            f"{what}"
        )


def _frames(frames: Mapping[SplitName, Any], config: DataConfig) -> Source:
    """Frames of several splits as one table, so that all are read alike, and cut again."""
    import polars as pl

    if len(frames) == 1:
        return data_frame_source(frames["train"], config)
    tables = {name: given_frame(frame, _called(name)) for name, frame in frames.items()}
    first = tables["train"].columns
    for name, table in tables.items():
        if missing := set(first) - set(table.columns):
            raise UserError(f"{name} lacks the columns {', '.join(sorted(missing))}")
    try:
        whole = pl.concat(
            [table.select(first) for table in tables.values()], how="vertical_relaxed"
        )
    except pl.exceptions.PolarsError as error:
        reason = str(error).split("\n")[0]
        raise UserError(f"the frames of {', '.join(tables)} do not go together: {reason}") from None
    source = data_frame_source(whole, config)
    train = source.parts["train"]
    rows = np.array([int(number) for number in train.ids]) - 1
    parts: Parts = {}
    start = 0
    for name, table in tables.items():
        inside = (rows >= start) & (rows < start + table.height)
        parts[name] = train.take(np.flatnonzero(inside))
        start += table.height
    kept = {
        key: values[np.isin(rows, np.arange(tables["train"].height))]
        for key, values in source.keys.items()
    }
    return replace(source, parts=parts, keys=kept)


# for a network of one's own: everything as it is


def raw_dataset(
    parts: Mapping[SplitName, Held],
    config: DataConfig,
    types: Mapping[str, str],
    *,
    standardise: bool = False,
) -> tuple[Dataset, DataConfig]:
    """The dataset of a network of one's own: nothing is moved, scaled or reshaped.

    `types` names the type in which an input or a target is kept, where it is another than it came
    in. `standardise`: float inputs get mean 0 and standard deviation 1 of the training split.
    """
    dataset = finish(source_of(parts, types, standardise), config)
    return dataset, config.model_copy(update={"name": parts["train"].name})


def raw_parts(
    data: Any, target: Target, others: Others | None, standardise: bool
) -> dict[SplitName, Held] | None:
    """The splits that are held in Python, by field name; None for what has fields of its own.

    A table at a path is read as a frame, unless it is to be encoded.
    """
    others = {name: value for name, value in (others or {}).items() if value is not None}
    if isinstance(data, Dataset):
        return None
    path = not is_held(data)
    if path and (kind_of(data) != "table" or not os.path.isfile(os.fspath(data))):  # noqa: PTH113
        return None
    if (path or is_frame(data)) and standardise and (target is None or isinstance(target, str)):
        return None
    if path:
        from gradlab import paths

        data = _typed(read_frame(paths.given(data, "data"))[0])
    return {name: hold(part, target, _called(name)) for name, part in _all(data, others)}


def _typed(frame: pl.DataFrame) -> pl.DataFrame:
    """A table whose columns of numbers in text are numbers, whole ones int64."""
    import polars as pl

    def number(column: pl.Series) -> pl.Series:
        found, _ = numbers_in(column, lambda: decimal_sign(Frame(frame)))
        if not found.dtype.is_float() or found.null_count():
            return found
        whole = bool((found == found.round()).all()) and bool((found.abs() < 2**53).all())
        return found.cast(pl.Int64) if whole else found

    texts = [column for column in frame.get_columns() if column.dtype == pl.String]
    return frame.with_columns([number(column).alias(column.name) for column in texts])


def unscaled(dataset: Dataset) -> Dataset:
    """A dataset whose images are 0..1 and whose values are as they are."""
    inputs = dict(dataset.schema.inputs)
    notes = list(dataset.notes)
    for name, field in inputs.items():
        if isinstance(field, Image):
            zeros, ones = (0.0,) * field.channels, (1.0,) * field.channels
            inputs[name] = field.model_copy(update={"mean": zeros, "std": ones})
            notes.append(f"{name}: given to the network as N C H W, 0..1; not standardised")
        elif isinstance(field, Values):
            inputs[name] = field.model_copy(update={"mean": (), "std": (), "standardise": False})
        elif isinstance(field, Table):
            raise UserError(
                f"{dataset.name} is a table, whose numbers are standardised and whose categories "
                "become inputs of 0 and 1: give standardise=True if that is meant, or numbers as "
                "arrays"
            )
    schema = dataset.schema.model_copy(update={"inputs": inputs})
    return replace(dataset, schema=schema, notes=tuple(notes))
