"""Data held in Python: small ones are kept in the run, others are given again and compared."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from gradlab.config import Recipe
from gradlab.data import Dataset, Schema
from gradlab.data.columns import Dense
from gradlab.data.dataset import SPLITS, Parts, RowNumbers, Split
from gradlab.data.fields.values import Values
from gradlab.data.given import Others, dataset_of, raw_dataset, raw_parts
from gradlab.data.held import Target
from gradlab.data.npz import read_npz
from gradlab.engine import Record
from gradlab.errors import UserError

FILE = "data.npz"
LARGEST = 32_000_000
"""Bytes: data held in Python are kept in the run up to here."""
HELD = ("arrays", "data frame", "dataset")
"""Names of datasets that are held in Python: no path leads to them."""


def to_keep(dataset: Any) -> bytes | None:
    """The columns of a dataset as the bytes of an .npz; None where they are large or no arrays."""
    if not isinstance(dataset, Dataset) or dataset.name not in HELD:
        return None
    columns = [column for part in dataset.splits.values() for column in part.columns.values()]
    if not all(isinstance(column, Dense) for column in columns):
        return None
    if sum(int(np.prod(c.shape)) * c.dtype.itemsize for c in columns) > LARGEST:
        return None
    arrays = {}
    for split, part in dataset.splits.items():
        for name, column in part.columns.items():
            arrays[f"{split}/{name}"] = column[:]
        if isinstance(part.ids, RowNumbers):
            arrays[f"{split}//"] = part.ids.numbers
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def mark(data: bytes) -> str:
    """What recipe.json says of the file, so that another is not taken for it."""
    return hashlib.sha256(data).hexdigest()


def kept(path: Path, record: Record, schema: Schema) -> Dataset | None:
    """The dataset that is kept in a run; None where there is none. UserError if it was edited."""
    expected = record["dataset"].get("kept")
    file = path / FILE
    if expected is None or not file.is_file():
        return None
    if mark(file.read_bytes()) != expected:
        raise UserError(
            f"{file} is damaged or was edited: put it back, or give the data with data="
        )
    arrays = read_npz(file)
    splits: Parts = {}
    for split in SPLITS:
        columns = {
            name: Dense(arrays[f"{split}/{name}"])
            for name in schema.fields
            if f"{split}/{name}" in arrays
        }
        if columns:
            numbers = arrays.get(f"{split}//")
            splits[split] = Split(columns, () if numbers is None else RowNumbers(numbers))
    dataset = record["dataset"]
    return Dataset(dataset["name"], schema, splits, dataset["fingerprint"])


def again(
    recipe: Recipe, schema: Schema, data: Any, target: Target = None, others: Others | None = None
) -> Any:
    """The dataset of a run, out of the data that it was trained on, given once more."""
    target = target or recipe.data.target
    if recipe.task.name != "own":
        config = recipe.data.model_copy(update={"target": target})
        return dataset_of(data, config, others)[0]
    values = {name: one for name, one in schema.fields.items() if isinstance(one, Values)}
    standardise = len(values) < len(schema.inputs) or any(
        one.standardise for name, one in values.items() if name in schema.inputs
    )
    held = raw_parts(data, target, others, standardise)
    if held is None:
        return dataset_of(data, recipe.data, others)[0]
    types = {name: one.dtype for name, one in values.items()}
    return raw_dataset(held, recipe.data, types, standardise=standardise)[0]
