"""A network as a feature extractor: what one of its layers makes of each example."""

from __future__ import annotations

import io
import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gradlab import files
from gradlab.config import DataConfig
from gradlab.data import Dataset, Schema, Split, datasets
from gradlab.data.inputs import read
from gradlab.data.kinds import kind_of
from gradlab.data.sources import source
from gradlab.data.sources.arrays import read_npz
from gradlab.data.sources.folders import SPLIT_FOLDERS
from gradlab.errors import UserError
from gradlab.recipes.ensemble import Ensemble
from gradlab.recipes.run import Run, load
from gradlab.tasks.activations import Pool, activations

SUFFIXES = (".parquet", ".npz")


@dataclass(frozen=True)
class Features:
    """What a layer makes of N examples.

    values: float32 N D. ids: N names. labels: N class numbers (int64) or values (float32), None
    where they are not known. splits: the split of each example, "" for new inputs.
    """

    values: np.ndarray
    ids: tuple[str, ...]
    labels: np.ndarray | None
    layer: str
    classes: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def summary(self) -> dict[str, Any]:
        """What it holds, without the values: what `features --json` prints."""
        return {
            "layer": self.layer,
            "features": int(self.values.shape[1]),
            "examples": {split or "inputs": count for split, count in Counter(self.splits).items()},
            "labels": self.labels is not None,
            "classes": list(self.classes),
        }

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
            self._table().write_parquet(buffer)
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

    def _table(self) -> Any:
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
    None takes the input of the last linear layer. Maps (N C H W) are averaged over space; `pool`
    takes the largest value instead ("max") or keeps all of them ("none").

    UserError for a layer that is not there, inputs of another kind, or a split that is missing.
    """
    run = run if isinstance(run, Run) else load(run)
    examples = gather(run, data, split)
    return of_examples(run, examples, layer=layer, pool=pool, batch_size=batch_size)


@dataclass(frozen=True)
class Examples:
    """Examples in the form that a run's network reads, by split ("" for new inputs).

    What of `classes` and `labelled` holds says how to read their y.
    """

    parts: dict[Any, Split]
    classes: tuple[str, ...] = ()
    labelled: bool = True


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
        labels.append(part.y)
        ids += part.ids or [f"{split}-{i}" if split else str(i + 1) for i in range(len(part))]
        splits += [split] * len(part)
    return Features(
        np.concatenate(values),
        tuple(ids),
        np.concatenate(labels) if examples.labelled else None,
        name,
        examples.classes,
        tuple(splits),
    )


def gather(run: Run, data: Any = None, split: str | None = None) -> Examples:
    """The examples that are meant, as `features` says; the run's own test split is recorded."""
    own = _is_own(run, data)
    if own or isinstance(data, Dataset):
        dataset: Dataset = run.dataset if own else data
        _check_form(run.schema, dataset.schema, dataset.name)
        found = Examples(dict(dataset.splits), dataset.schema.classes, _labelled(dataset.schema))
        where = dataset.name
    elif _is_dataset(data, run.schema):
        found, where = _other(run.schema, str(data)), str(data)
    else:
        many = isinstance(data, list | tuple)
        x, names = read(run.schema, data if many else [data])
        found = Examples({"": Split(x, np.zeros(len(x), np.int64), names)}, labelled=False)
        where = "these inputs"
    if split is not None:
        if split not in found.parts:
            known = ", ".join(name for name in found.parts if name) or "no splits"
            raise UserError(f"{where}: there is no split {split!r}; found {known}")
        found = replace(found, parts={split: found.parts[split]})
    if own and "test" in found.parts:
        run.folder.append({"event": "test read", "by": "features"})
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
        return bool(data.fingerprint == run.record["dataset"]["fingerprint"])
    if not isinstance(data, str | os.PathLike):
        return False
    name = run.recipe.data.name
    return str(data) == name or (str(data) not in datasets and str(Path(data).resolve()) == name)


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
        from gradlab.data.sources.frames import read_frame

        return schema.target_name in read_frame(path)[0].columns
    return kind == "archive"


def _other(schema: Schema, name: str) -> Examples:
    """A dataset that the network was not trained on, in the form that it reads."""
    image = schema.kind == "image"
    made = source(
        DataConfig(
            name=name,
            target=schema.target_name or None,
            image_size="x".join(map(str, schema.shape[:0:-1])) if image else 0,
            channels=schema.shape[0] if image else 0,
        )
    )
    parts: dict[Any, Split] = dict(made.parts)
    if schema.kind == "table" and made.schema.kind == "table":
        parts = {split: _encoded(schema, part, name) for split, part in parts.items()}
    else:
        _check_form(schema, made.schema, name)
    return Examples(parts, made.schema.classes, _labelled(made.schema))


def _encoded(schema: Schema, part: Split, name: str) -> Split:
    """Rows of a table, encoded as those that the network was trained on."""
    from gradlab.data.sources.tables import apply

    frame: Any = part.x
    absent = [column.name for column in schema.columns if column.name not in frame.columns]
    if absent:
        raise UserError(f"{name} lacks the columns {', '.join(absent)} that this run reads")
    # Copied: polars lends its own memory, which may not be written to.
    return replace(part, x=apply(schema.columns, frame), y=np.array(part.y))


def _check_form(expected: Schema, found: Schema, name: str) -> None:
    if (found.kind, found.shape, found.columns) != (
        expected.kind,
        expected.shape,
        expected.columns,
    ):
        raise UserError(
            f"{name} holds {_form(found)}, but this run reads {_form(expected)}: give data like "
            "those it was trained on"
        )


def _form(schema: Schema) -> str:
    if schema.kind == "image":
        channels, height, width = schema.shape
        return f"images of {width}x{height} with {channels} channels"
    if schema.kind == "table":
        return f"a table ({', '.join(column.name for column in schema.columns[:6])})"
    return f"arrays of {schema.shape[0]} values"


def _labelled(schema: Schema) -> bool:
    return schema.target != "none"
