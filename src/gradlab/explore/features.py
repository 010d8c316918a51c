"""A network as a feature extractor: what one of its layers makes of each example."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gradlab import files
from gradlab.config import DataConfig
from gradlab.data import Dataset, Schema, Split, datasets
from gradlab.data.fields.base import Field
from gradlab.data.fields.image import Image
from gradlab.data.fields.label import Label
from gradlab.data.fields.number import Number
from gradlab.data.kinds import kind_of
from gradlab.data.new import said_of
from gradlab.data.npz import read_npz
from gradlab.data.sources import source
from gradlab.data.sources.folders import SPLIT_FOLDERS
from gradlab.errors import UserError
from gradlab.runs import Ensemble, Run, load
from gradlab.tasks.activations import Pool, activations
from gradlab.tasks.evaluation import Table

SUFFIXES = (".parquet", ".npz")


@dataclass(frozen=True)
class Features:
    """What a layer makes of N examples.

    values: float32 N D. ids: N names. labels: N class numbers (int64) or values (float32), None
    where they are not known. splits: the split of each example, "" for new inputs. notes: what was
    converted to the form that the network reads.
    """

    run: str
    layer: str
    values: np.ndarray = field(repr=False)
    ids: tuple[str, ...] = field(repr=False)
    labels: np.ndarray | None = field(repr=False)
    classes: tuple[str, ...] = ()
    splits: tuple[str, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def counts(self) -> dict[str, int]:
        """Examples of each split; new inputs are called so."""
        return {split or "inputs": count for split, count in Counter(self.splits).items()}

    def to_dict(self) -> dict[str, Any]:
        """What it holds, for JSON; without the values."""
        return {
            "run": self.run,
            "layer": self.layer,
            "features": int(self.values.shape[1]),
            "examples": self.counts,
            "labels": self.labels is not None,
            "classes": list(self.classes),
            "notes": list(self.notes),
        }

    def tables(self) -> tuple[Table, ...]:
        """How many features there are of how many examples."""
        width = str(self.values.shape[1])
        rows = tuple((name, f"{n:,}", width, self.layer) for name, n in self.counts.items())
        return (Table(("split", "examples", "features", "layer"), rows),)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a table (.parquet) or arrays (.npz), as the suffix says.

        The table has the columns id, split (where there are several), label (a class by its name)
        and f0, f1, ... The arrays are those that gradlab reads as a dataset: x, y and classes, and
        ids beside them; of several splits x_train, y_train, ids_train and so on.
        """
        kind = check_suffix(path)
        buffer = io.BytesIO()
        if kind == ".npz":
            np.savez(buffer, **self._arrays())
        else:
            self._frame().write_parquet(buffer)
        files.write_bytes(Path(path), buffer.getvalue())

    def _arrays(self) -> dict[str, Any]:
        names = dict.fromkeys(self.splits)
        arrays: dict[str, Any] = {"classes": np.array(self.classes)} if self.classes else {}
        for name in names:
            chosen = np.array([split == name for split in self.splits])
            end = f"_{name}" if len(names) > 1 else ""
            arrays[f"x{end}"] = self.values[chosen]
            if self.labels is not None:
                arrays[f"y{end}"] = self.labels[chosen]
            arrays[f"ids{end}"] = np.array(self.ids)[chosen]
        return arrays

    def _frame(self) -> Any:
        import polars as pl

        columns: dict[str, Any] = {"id": self.ids}
        if len(set(self.splits)) > 1:
            columns["split"] = self.splits
        if self.labels is not None:
            named = [self.classes[k] for k in self.labels] if self.classes else self.labels
            columns["label"] = named
        names = [f"f{d}" for d in range(self.values.shape[1])]
        return pl.DataFrame(columns).hstack(pl.DataFrame(self.values, schema=names))


def features(
    run: Run | str | os.PathLike[str],
    data: Any = None,
    *,
    layer: str | None = None,
    split: str | None = None,
    pool: Pool = "mean",
    batch_size: int = 0,
) -> Features:
    """What a layer of a run's network makes of each example, in evaluation mode.

    `data` is the run's own dataset (None), a dataset by name or path, or whatever `run.predict`
    takes. A dataset gives labels and the examples of `split` (None: of all its splits); reading
    the test split of the run's own is recorded in the run.

    `layer` is the name of a module (`run.model.named_modules()`), of which the output is taken;
    None takes the input of the last linear layer (of an autoencoder, its latent vector). Maps
    (N C H W) are averaged over space; `pool` takes the largest value instead ("max") or keeps all
    of them ("none").

    UserError for a layer that is not there, inputs of another kind, a split that is missing, or a
    task whose network answers no inputs.
    """
    run = load(run)
    examples = gather(run, data, split)
    return of_examples(run, examples, layer=layer, pool=pool, batch_size=batch_size)


@dataclass(frozen=True)
class Examples:
    """Examples in the form that a run's network reads, by split ("" for new inputs).

    `target` is the name of the column that their labels are, "" where they have none; `classes`
    are the names of class numbers.
    """

    parts: Mapping[str, Split]
    target: str = ""
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def of_examples(
    run: Run,
    examples: Examples,
    *,
    layer: str | None = None,
    pool: Pool = "mean",
    batch_size: int = 0,
) -> Features:
    """As `features`, for examples that are at hand."""
    if isinstance(run, Ensemble) and layer is None:
        raise UserError(
            f"{run.path} is an ensemble, and each member has features of its own: give one of "
            f"them, such as {run.paths[0]}"
        )
    values, labels = [], []
    ids: list[str] = []
    splits: list[str] = []
    name = layer or ""
    for split, part in examples.parts.items():
        made, name = activations(run.task, part, layer, pool, batch_size)
        values.append(made)
        if examples.target:
            labels.append(np.asarray(part[examples.target][:]))
        ids += part.ids or [f"{split}-{number}" for number in range(1, len(part) + 1)]
        splits += [split] * len(part)
    return Features(
        str(run.path),
        name,
        np.concatenate(values),
        tuple(ids),
        np.concatenate(labels) if examples.target else None,
        examples.classes,
        tuple(splits),
        examples.notes,
    )


def gather(run: Run, data: Any = None, split: str | None = None, by: str = "features") -> Examples:
    """The examples that are meant, as `features` says; `by` is who reads the run's own test."""
    own = _is_own(run, data)
    if own or isinstance(data, Dataset):
        found, where = _own(run, data), run.recipe.data.name
    elif _is_dataset(data, run.schema):
        found, where = _other(run, str(data)), str(data)
    else:
        given = run.read(data)
        notes = (*given.notes, *said_of(given.skipped))
        found, where = Examples({"": given.split}, notes=notes), "these inputs"
    if split is not None:
        if split not in found.parts:
            known = ", ".join(name for name in found.parts if name) or "no splits"
            raise UserError(f"{where}: there is no split {split!r}; found {known}")
        found = replace(found, parts={split: found.parts[split]})
    if own and "test" in found.parts:
        run.note_reading(by)
    return found


def check_suffix(path: str | os.PathLike[str]) -> str:
    """The kind of file that `Features.save` writes; UserError for any other."""
    kind = Path(path).suffix.lower()
    if kind not in SUFFIXES:
        raise UserError(f"features are written as {' or '.join(SUFFIXES)}, found {str(path)!r}")
    return kind


# data


def _is_own(run: Run, data: Any) -> bool:
    """Whether the run's own dataset is meant."""
    if data is None:
        return True
    if isinstance(data, Dataset):
        return bool(data.fingerprint == run.record["dataset"].get("fingerprint"))
    if not isinstance(data, str | os.PathLike):
        return False
    name = run.recipe.data.name
    return str(data) == name or (str(data) not in datasets and str(Path(data).resolve()) == name)


def _own(run: Run, data: Any) -> Examples:
    """The run's own dataset, read again or as it was given."""
    if isinstance(data, Dataset) and not _is_own(run, data):
        raise UserError(
            f"{data.name} is not the dataset that {run.path} was trained on: give it by its name "
            "or its path, so that it can be encoded as that was"
        )
    dataset = data if isinstance(data, Dataset) else run.dataset
    if not isinstance(dataset, Dataset):
        raise UserError(
            f"{run.path} was not trained on examples but in {run.recipe.data.name}: give inputs of "
            "your own"
        )
    parts = {str(split): part for split, part in dataset.splits.items()}
    return Examples(parts, *_labels(dataset.schema.targets))


def _is_dataset(data: Any, schema: Schema) -> bool:
    """Whether a name or path is a dataset, with splits and labels; else it is new inputs."""
    if not isinstance(data, str | os.PathLike):
        return False
    if str(data) in datasets:
        return True
    path = Path(data).expanduser()
    if path.is_dir():
        inner = [entry.name.lower() for entry in path.iterdir() if entry.is_dir()]
        return len(inner) > 1 or any(name in SPLIT_FOLDERS for name in inner)
    kind = kind_of(path)
    if kind == "arrays" and path.is_file():
        return bool({"y", "y_train"} & set(read_npz(path)))
    if kind == "table" and path.is_file():
        from gradlab.data.frames import read_frame

        return _column(schema) in read_frame(path)[0].columns
    return kind == "archive"


def _other(run: Run, name: str) -> Examples:
    """A dataset that the network was not trained on, encoded as the one that it was trained on.

    Its labels are its own.
    """
    form: dict[str, Any] = {}
    for one in run.schema.inputs.values():
        if isinstance(one, Image):  # decoded at once in the size that is read
            side = one.height if one.height == one.width else 0
            form = {"image_size": side, "channels": one.channels}
    asked = {"target": _column(run.schema) or None, "target_kind": run.recipe.data.target_kind}
    made = source(DataConfig(name=name, **asked, **form))
    reads, holds = (
        {key: one.type for key, one in schema.inputs.items()}
        for schema in (run.schema, made.schema)
    )
    if reads != holds:
        raise UserError(
            f"{name} holds examples of {_words(holds)}, but this run reads {_words(reads)}: give "
            "data like those it was trained on"
        )
    targets = {key: one.fit(made.parts["train"][key]) for key, one in made.schema.targets.items()}
    encoding = {**run.schema.inputs, **targets}
    parts = {}
    for split, part in made.parts.items():
        try:
            columns = {key: one.encode(part[key]) for key, one in encoding.items()}
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        parts[str(split)] = Split(columns, part.ids)
    return Examples(parts, *_labels(targets), made.notes)


def _labels(targets: Mapping[str, Field]) -> tuple[str, tuple[str, ...]]:
    """The target that gives labels, "" if there is none, and the names of its classes."""
    for name, one in targets.items():
        if isinstance(one, Label):
            return name, one.classes
        if isinstance(one, Number):
            return name, ()
    return "", ()


def _column(schema: Schema) -> str:
    """The column of a table that was asked for."""
    columns = [getattr(one, "column", "") for one in schema.targets.values()]
    return next((column for column in columns if column), "")


def _words(inputs: Mapping[str, str]) -> str:
    return ", ".join(inputs.values())
