"""What a dataset is: examples with a schema and three fixed splits.

Sources (`gradlab.data.sources`) make a `Source`: arrays as they were decoded, split or not.
`finish` turns it into a `Dataset`: the missing splits cut off, the normalisation learnt from the
training split alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pydantic import Field

from gradlab.config import Config, DataConfig
from gradlab.errors import UserError

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


class Column(Config):
    """How one column of a table becomes numbers; learnt from the training split."""

    name: str = Field(description="the column's name")
    kind: Literal["number", "category"] = Field(description="what it holds")
    mean: float = Field(0.0, description="of the training split's numbers; fills missing ones")
    std: float = Field(1.0, description="of the training split's numbers")
    categories: tuple[str, ...] = Field((), description="one input each; any other is all zeros")
    missing: bool = Field(False, description="whether an input says that the value is missing")

    @property
    def width(self) -> int:
        """How many inputs it becomes."""
        return (1 if self.kind == "number" else len(self.categories)) + self.missing


class Schema(Config):
    """What x and y are: enough to build a model and to read new inputs, without the dataset."""

    kind: Literal["image", "table", "array", "environment"] = Field(
        description="what one example is"
    )
    shape: tuple[int, ...] = Field(description="of one input: C H W for an image, D otherwise")
    target: Literal["class", "number", "action", "none"] = Field(description="what y is")
    classes: tuple[str, ...] = Field((), description="the names of the classes, in order")
    target_name: str = Field("", description="the column that is predicted")
    target_mean: float = Field(0.0, description="of a number's training split")
    target_std: float = Field(1.0, description="of a number's training split")
    mean: tuple[float, ...] = Field((), description="per channel or input, of the training split")
    std: tuple[float, ...] = Field((), description="per channel or input, of the training split")
    columns: tuple[Column, ...] = Field((), description="how a table's columns are read")


@dataclass(frozen=True)
class Rows:
    """Chosen rows of an array on the disk, read when they are asked for: no copy of them is made.

    It is read like an array: `rows[5]`, `rows[2:9]`, `rows[[1, 3]]`, `np.asarray(rows)`.

    >>> rows = Rows(np.arange(10) ** 2, np.array([1, 3, 5]))
    >>> len(rows), rows[1], rows[1:]
    (3, np.int64(9), array([ 9, 25]))
    """

    base: np.ndarray
    index: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""
        return (len(self.index), *self.base.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """As of an array."""
        return self.base.dtype

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, chosen: Any) -> np.ndarray:
        if isinstance(chosen, tuple):
            rows: np.ndarray = self[chosen[0]][(slice(None), *chosen[1:])]
            return rows
        found: np.ndarray = self.base[self.index[chosen]]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.base[self.index], dtype)

    @classmethod
    def of(cls, x: Any, index: np.ndarray) -> Any:
        """The rows of `x` at `index`: copied in memory, only noted when they lie on the disk."""
        if isinstance(x, Rows):
            return cls(x.base, x.index[index])
        return cls(x, index) if isinstance(x, np.memmap) else x[index]

    @staticmethod
    def parts(x: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """The array that rows lie in, and their places in it (None: all, in order)."""
        return (x.base, x.index) if isinstance(x, Rows) else (x, None)


@dataclass(frozen=True)
class Split:
    """Examples as compact arrays.

    x: uint8 N H W C for images (channels last: no copy is needed to train so), which may lie on the
    disk (`Rows`); float32 N D otherwise. y: int64 N (class), float32 N (number). ids: N names, such
    as files or row numbers.
    """

    x: np.ndarray
    y: np.ndarray
    ids: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: np.ndarray) -> Split:
        """The examples at `index`, in its order."""
        ids = tuple(self.ids[i] for i in index) if self.ids else ()
        return Split(Rows.of(self.x, index), self.y[index], ids)


Parts = dict[SplitName, Split]


@dataclass(frozen=True)
class Source:
    """Examples as decoded, before the splits are complete and the statistics known.

    `parts` holds the splits that the source itself has; `train` is always there. Their x may be
    anything that takes an index array (a table's is a polars frame), as long as `groups` numbers
    its examples by content and `encode` turns it into arrays once the training split is known.
    """

    name: str
    schema: Schema
    parts: Parts
    notes: tuple[str, ...] = ()
    groups: Callable[[Any], np.ndarray] = field(default=lambda x: content_groups(x))
    encode: Callable[[Schema, Parts], tuple[Schema, Parts, tuple[str, ...]]] = field(
        default=lambda schema, parts: (learn_statistics(schema, parts), parts, ())
    )


@dataclass(frozen=True)
class Dataset:
    """Examples with a schema, three fixed splits and a fingerprint of their content."""

    name: str
    schema: Schema
    splits: Parts
    fingerprint: str
    notes: tuple[str, ...] = field(default=())

    @property
    def counts(self) -> dict[str, int]:
        """Examples in each split."""
        return {name: len(split) for name, split in self.splits.items()}

    def describe(self) -> dict[str, Any]:
        """What a run records of its dataset."""
        return {"name": self.name, "fingerprint": self.fingerprint, "counts": self.counts}


def finish(source: Source, config: DataConfig) -> Dataset:
    """The dataset of a source: splits completed, what is learnt from data learnt from train."""
    parts, cut = complete_splits(source, config)
    schema, parts, encoded = source.encode(source.schema, parts)
    if schema.target == "number":
        y = parts["train"].y.astype(np.float64)
        schema = schema.model_copy(
            update={"target_mean": float(y.mean()), "target_std": float(y.std()) or 1.0}
        )
    notes = (*source.notes, *cut, *encoded)
    return Dataset(source.name, schema, parts, fingerprint(parts, schema), notes)


def complete_splits(source: Source, config: DataConfig) -> tuple[Parts, tuple[str, ...]]:
    """Cut the splits that are missing off train; equal examples stay on one side.

    A pure function of `config.split_seed` and the examples. Classes keep their shares.
    """
    parts = dict(source.parts)
    notes = []

    def cut(share: float, owner: int) -> tuple[Split, Split]:
        train = parts["train"]
        rng = np.random.default_rng([config.split_seed, owner])
        label = train.y if source.schema.target == "class" else np.zeros(len(train), np.int64)
        held = held_out(source.groups(train.x), label, share, rng)
        return train.take(np.flatnonzero(held)), train.take(np.flatnonzero(~held))

    missing: tuple[tuple[SplitName, float], ...] = (("test", config.test), ("val", config.val))
    for owner, (name, share) in enumerate(missing):
        if name in parts or share == 0:
            continue
        held, rest = cut(share, owner)
        if not len(held) or not len(rest):
            raise UserError(
                f"{source.name}: {len(parts['train'])} training examples are too few to hold out "
                f"{share:.0%} for {name}: add examples, give a {name} split, or change "
                f"--data.{name}"
            )
        parts[name], parts["train"] = held, rest
        notes.append(f"{name}: {len(held)} examples held out of train (there was no {name})")
    count = len(parts["train"])
    if config.limit and config.limit < count:
        parts["train"] = cut(config.limit / count, 2)[0]
        notes.append(f"train: limited to {len(parts['train'])} of {count} examples")
    return {name: parts[name] for name in SPLITS if name in parts}, tuple(notes)


def held_out(
    group: np.ndarray, label: np.ndarray, share: float, rng: np.random.Generator
) -> np.ndarray:
    """A mask of about `share` of the examples of each label; equal examples go together."""
    first = np.unique(group, return_index=True)[1]
    held: np.ndarray = np.zeros(len(first), bool)
    for value in np.unique(label[first]):
        members = np.flatnonzero(label[first] == value)
        count = round(share * len(members))
        if len(members) > 1:
            count = min(max(count, 1), len(members) - 1)
        held[rng.permutation(members)[:count]] = True
    mask: np.ndarray = held[group]
    return mask


def content_groups(x: np.ndarray) -> np.ndarray:
    """A number for each example, the same for examples of equal content, counted from 0."""
    seen: dict[bytes, int] = {}
    return np.array(
        [seen.setdefault(hashlib.blake2b(row.tobytes()).digest(), len(seen)) for row in x]
    )


def learn_statistics(schema: Schema, parts: Parts) -> Schema:
    """The schema with the mean and deviation of the training split's inputs."""
    mean, std = channel_statistics(parts["train"].x)
    return schema.model_copy(update={"mean": mean, "std": std})


def channel_statistics(x: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel (images: of values scaled to 0..1), over all examples.

    Images are counted through a histogram, so that no float copy of them is made.
    """
    if x.dtype == np.uint8:
        levels = np.arange(256) / 255.0
        counts = np.zeros((x.shape[-1], 256), np.int64)
        for start in range(0, len(x), _BLOCK):  # bincount makes an int64 copy of what it counts
            block = x[start : start + _BLOCK]
            for channel, count in enumerate(counts):
                count += np.bincount(block[..., channel].reshape(-1), minlength=256)
        means = [float(np.average(levels, weights=c)) for c in counts]
        stds = [
            float(np.sqrt(np.average((levels - m) ** 2, weights=c)))
            for c, m in zip(counts, means, strict=True)
        ]
    else:
        means = [float(value) for value in x.mean(axis=0, dtype=np.float64)]
        stds = [float(value) for value in x.std(axis=0, dtype=np.float64)]
    return tuple(means), tuple(std if std > 1e-8 else 1.0 for std in stds)


_BLOCK = 1024  # examples that are looked at together


def fingerprint(parts: Parts, schema: Schema) -> str:
    """A hash of the examples, the labels and the class names, split by split."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((schema.kind, schema.classes)).encode())
    for name, split in parts.items():
        digest.update(f"{name}{split.x.shape}{split.x.dtype}".encode())
        for start in range(0, len(split.x), _BLOCK):
            digest.update(np.ascontiguousarray(split.x[start : start + _BLOCK]).data)
        digest.update(np.ascontiguousarray(split.y).data)
    return digest.hexdigest()
