"""Tables: CSV and Parquet files and data frames, whose columns become the inputs of a network.

A CSV is read as text. What is asked for is a column of its own, a class or a number; the others are
a `Table` field, which is fitted to the training split later. A group or a time that the split goes
by is no input.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlab import paths
from gradlab.config import DataConfig
from gradlab.data.columns import Dense, Frame
from gradlab.data.dataset import Parts, RowNumbers, Schema, Source, Split, SplitName
from gradlab.data.fields.base import Field
from gradlab.data.fields.table import Table
from gradlab.data.frames import given_frame, read_frame
from gradlab.data.kinds import table_files
from gradlab.data.sources import datasets
from gradlab.data.sources.download import fetch
from gradlab.data.sources.table_splits import joined, keys_of
from gradlab.data.sources.targets import read_target
from gradlab.data.tabular import batches, decimal_sign
from gradlab.errors import UnknownName, UserError, unknown
from gradlab.wording import some

if TYPE_CHECKING:
    import polars as pl


@datasets.register("titanic")
def titanic(config: DataConfig) -> Source:
    """891 passengers of the Titanic, who survived (Kaggle's training table), 2 classes."""
    path = fetch(
        "titanic",
        "titanic.csv",
        ("https://raw.githubusercontent.com/datasciencedojo/datasets/master/titanic.csv",),
        "4a437fde05fe5264e1701a7387ac6fb75393772ba38bb2c9c566405af5af4bd7",
    )
    return frame_source("titanic", *read_frame(path), asking(config, "Survived"))


def table_source(path: Path, config: DataConfig) -> Source:
    """The rows of a CSV or Parquet file, or of a folder with one for each split.

    UserError when `config.target` is no column of it.
    """
    files = table_files(path)
    frame, notes = read_frame(files.pop("train", path), config.header)
    return frame_source(str(path), frame, notes, config, files)


def data_frame_source(data: Any, config: DataConfig) -> Source:
    """The rows of a polars or pandas data frame; UserError as of `table_source`."""
    return frame_source("data frame", given_frame(data, "the data"), (), config)


def asking(config: DataConfig, target: str) -> DataConfig:
    """The configuration with a named table's own target, unless another is given."""
    return config if config.target else config.model_copy(update={"target": target})


def frame_source(
    name: str,
    frame: pl.DataFrame,
    notes: tuple[str, ...],
    config: DataConfig,
    files: Mapping[str, Path] = MappingProxyType({}),
) -> Source:
    """The rows of a frame that is clean; the columns beside target, group and time are the inputs.

    `files` are tables of other splits that were found beside it. UserError when there are no such
    columns, or nothing can be learnt from them.
    """
    import polars as pl

    target, aside = _special(name, frame, config)
    counters = _counters(frame, {target, *aside, *config.drop})
    hint = _header_hint(frame)
    notes = (*notes, f"the names of the columns are numbers{hint}") if hint else notes
    said = [*notes, *(f"{column}: left out (it counts the rows)" for column in counters)]
    said += [f"{column}: left out (as asked for)" for column in config.drop]
    apart = {*aside, *config.drop, *counters}
    beside = _beside(target, config, files, said)
    whole = joined(name, frame, beside, set(frame.columns) - apart, said)
    frame, is_train = whole.frame, whole.split == 0
    known = np.ones(frame.height, bool)
    for key in aside:
        lost = known & is_train & frame[key].is_null().to_numpy()
        if lost.any():
            said.append(f"{lost.sum()} rows without {key} left out")
        known &= ~lost
        if not (known & is_train).any():
            raise UserError(f"{name}: {key!r} has no value in any row that could be used")
    inputs = pl.DataFrame([c for c in frame if c.name not in {target, *apart}])
    targets: dict[str, Field] = {}
    columns: dict[str, Any] = {}
    if target is not None and config.target_kind == "none":
        said.append(f"{target}: left out (nothing is asked for)")
    elif target is not None:
        field, values, has, found = read_target(
            name, frame[target].filter(known), config, lambda: decimal_sign(Frame(inputs))
        )
        known[known] = has
        said += found
        targets[field.type], columns[field.type] = field, Dense(values)
    if not inputs.width:
        named = ", ".join(repr(key) for key in (target, *aside) if key is not None)
        why = f" ({', '.join(counters)}: counts the rows)" if counters else ""
        raise UserError(f"{name}: there is no column beside {named} to learn from{why}")
    rows = np.flatnonzero(known)
    keys = keys_of(name, frame, rows[is_train[rows]], config, said)
    columns["table"] = Frame(inputs, None if known.all() else rows)
    every = Split(columns, RowNumbers(whole.number[rows]))
    parts: Parts = {}
    for number, split in enumerate(whole.names):
        chosen = np.flatnonzero(whole.split[rows] == number)
        if not len(chosen):
            raise UserError(f"{name}: there is no row of {split} that could be used")
        parts[split] = every if len(whole.names) == 1 else every.take(chosen)
    return Source(
        name,
        Schema(inputs={"table": Table(header=config.header)}, targets=targets),
        parts,
        tuple(said),
        stratify="label" if "label" in targets else "",
        keys=keys,
    )


def _beside(
    target: str | None, config: DataConfig, files: Mapping[str, Path], said: list[str]
) -> dict[SplitName, tuple[str, pl.DataFrame]]:
    """The tables of other splits: those that are asked for, and those found beside."""
    found: dict[SplitName, tuple[str, pl.DataFrame]] = {}
    asked: dict[SplitName, str] = {"val": config.val_file, "test": config.test_file}
    for split, given in asked.items():
        path = paths.given(given, f"data.{split}_file") if given else files.get(split)
        if path is None:
            continue
        frame, notes = read_frame(path, config.header)
        said += [f"{path.name}: {note}" for note in notes]
        if not given and target is not None and target not in frame.columns:
            said.append(
                f"{path.name}: it has no {target}, so it is no {split} split; answer it with "
                "gradlab predict"
            )
            continue
        found[split] = str(path) if given else path.name, frame
    return found


def _special(
    name: str, frame: pl.DataFrame, config: DataConfig
) -> tuple[str | None, tuple[str, ...]]:
    """The column that is asked for, and those that the split goes by."""
    target = config.target
    aside = tuple(key for key in (config.group, config.time) if key is not None)
    if len(aside) > 1:
        raise UserError(
            f"{name}: the split goes by one column, found two: --data.group {config.group} and "
            f"--data.time {config.time}. Leave one of them out"
        )
    if target is None and config.target_kind != "none":
        raise UserError(
            f"{name}: which column is to be predicted? Give it with --data.target. "
            f"Columns: {some(frame.columns, 30)}{_header_hint(frame)}"
        )
    for key in (target, *aside):
        if key is not None and key not in frame.columns:
            error = unknown(f"column of {name}:", key, frame.columns)
            raise UnknownName(f"{error}{_header_hint(frame)}")
    for key in config.drop:
        if key not in frame.columns:
            raise unknown(f"column of {name}:", key, frame.columns)
        if key in (target, *aside):
            raise UserError(
                f"{name}: --data.drop leaves {key!r} out, which the target or the split goes by"
            )
    if target in aside:
        raise UserError(
            f"{name}: {target!r} is to be predicted, so the split cannot go by it: give another "
            "column to --data.group or --data.time, or leave them out"
        )
    return target, aside


def _header_hint(frame: pl.DataFrame) -> str:
    """What to do where the names of columns rather are values; "" where they are not."""
    names = [re.sub(r"_duplicated_\d+$", "", name) for name in frame.columns]
    if sum(bool(_NUMBER.fullmatch(name)) for name in names) <= len(names) / 2:
        return ""
    return (
        ". If the first line holds values, add --data.header none: the columns are then column_1, "
        f"column_2, ..., column_{frame.width}"
    )


_NUMBER = re.compile(r"[-+]?[\d.]+([eE][-+]?\d+)?")


def _counters(frame: pl.DataFrame, others: set[str | None]) -> list[str]:
    """Columns that are 0, 1, 2, ... or 1, 2, 3, ...: they say where a row is, not what it is."""
    import polars as pl

    if frame.height <= 20:
        return []
    columns = zip(frame.schema.items(), frame.row(0), strict=True)
    places = [
        place
        for place, ((key, dtype), first) in enumerate(columns)
        if key not in others
        and (dtype.is_integer() or dtype == pl.String)
        and str(first) in ("0", "1")
    ]
    for rows in (20, frame.height):  # the first rows leave out nearly all of them
        kept: list[int] = []
        for batch in batches(places, rows):
            part = Frame(frame).part(batch, slice(0, rows))
            count = part.select(pl.all().cast(pl.Int64, strict=False) - pl.int_range(pl.len()))
            steady = count.select((pl.all() == pl.all().first()).all(ignore_nulls=False)).row(0)
            kept += [place for place, one in zip(batch, steady, strict=True) if one]
        places = kept
    names = frame.columns
    return [names[place] for place in places]
