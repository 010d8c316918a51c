"""What a dataset is: columns with a schema and three fixed splits.

Sources (`gradlab.data.sources`) read a `Source`: raw columns by field, split or not. `finish`
makes a `Dataset` of it: the missing splits cut off, what is learnt from data learnt from the
training split alone, every column encoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, overload

import numpy as np
from pydantic import Field as Described

from gradlab.config import Config
from gradlab.data.columns import Column
from gradlab.data.fields.base import AnyField, Checked, Field
from gradlab.errors import UserError

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
Order = Literal["shuffled", "length"]
F = TypeVar("F", bound=Field)


class Schema(Config):
    """The fields of an example by name: enough to build a model and to read new inputs."""

    inputs: dict[str, AnyField] = Described(
        min_length=1, description="what goes into the network, in order"
    )
    targets: dict[str, AnyField] = Described({}, description="what is asked for, in order")

    @property
    def fields(self) -> dict[str, Field]:
        """All fields, inputs first."""
        return {**self.inputs, **self.targets}

    def input(self, kind: type[F], for_what: str) -> tuple[str, F]:
        """Name and field of the only input; UserError when it is not one of that kind."""
        return _only(self.inputs, kind, for_what, "input")

    def target(self, kind: type[F], for_what: str) -> tuple[str, F]:
        """Name and field of the only target; UserError when it is not one of that kind."""
        return _only(self.targets, kind, for_what, "target")

    def words(self) -> str:
        """What goes in and what is asked for."""
        targets = ", ".join(f.type for f in self.targets.values())
        return f"{', '.join(f.type for f in self.inputs.values())} -> {targets or 'nothing'}"


def _only(found: Mapping[str, Field], kind: type[F], for_what: str, place: str) -> tuple[str, F]:
    chosen = [(name, one) for name, one in found.items() if isinstance(one, kind)]
    if len(chosen) != 1 or len(found) != 1:
        wanted = kind.model_fields["type"].default
        there = ", ".join(f"{name} ({one.type})" for name, one in found.items()) or "nothing"
        raise UserError(f"{for_what} needs one {wanted} as its {place}, found {there}")
    return chosen[0]


class RowNumbers(Sequence[str]):
    """The numbers of a table's rows as names: texts only when they are asked for.

    Millions of texts take more memory than the rows themselves.

    >>> names = RowNumbers(np.arange(1, 9)).take(np.array([2, 4]))
    >>> names[1], tuple(names)
    ('5', ('3', '5'))
    """

    def __init__(self, numbers: np.ndarray) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, chosen: int) -> str: ...
    @overload
    def __getitem__(self, chosen: slice) -> RowNumbers: ...
    def __getitem__(self, chosen: int | slice) -> str | RowNumbers:
        found = self.numbers[chosen]
        return RowNumbers(found) if isinstance(chosen, slice) else str(found)

    def take(self, index: np.ndarray) -> RowNumbers:
        """Those at `index`, in its order."""
        return RowNumbers(self.numbers[index])


@dataclass(frozen=True)
class Split:
    """Examples as columns by field name, and names of the examples (files, rows), if they have any.

    Raw before `finish`, encoded afterwards.
    """

    columns: Mapping[str, Any]
    ids: Sequence[str] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> Any:
        return self.columns[name]

    def take(self, index: np.ndarray) -> Split:
        """The examples at `index`, in its order."""
        columns = {name: column.take(index) for name, column in self.columns.items()}
        if isinstance(self.ids, RowNumbers):
            return Split(columns, self.ids.take(index))
        return Split(columns, tuple(self.ids[i] for i in index.tolist()) if self.ids else ())

    def only(self, names: Iterable[str]) -> Split:
        """The same examples with these fields alone."""
        return Split({name: self.columns[name] for name in names}, self.ids)

    def name_of(self, number: int) -> str:
        """What an example is called: its file or row, or its number in the split, from 1."""
        return self.ids[number] if self.ids else str(number + 1)


Parts = dict[SplitName, Split]


@dataclass(frozen=True)
class Source:
    """Raw columns by split, before the splits are complete and anything is learnt.

    `parts` holds the splits that the source itself has; `train` is always there. `stratify` names
    the target whose shares each cut keeps. `keys` are values of each training example that a cut
    may be made by: `group` (equal ones stay in one split) and `time` (the last are held out).
    `checked` is what the reading itself has found, for `data check`.
    """

    name: str
    schema: Schema
    parts: Parts
    notes: tuple[str, ...] = ()
    stratify: str = ""
    keys: Mapping[str, np.ndarray] = field(default_factory=dict)
    order: Order = "shuffled"
    checked: Checked = field(default_factory=Checked)
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Examples that are there and were not used, by name, and why."""


@dataclass(frozen=True)
class Dataset:
    """Encoded columns with a schema, three fixed splits and a fingerprint of their content."""

    name: str
    schema: Schema
    splits: Parts
    fingerprint: str
    notes: tuple[str, ...] = ()
    order: Order = "shuffled"
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Examples in each split."""
        return {name: len(split) for name, split in self.splits.items()}

    def split(self, name: str) -> Split:
        """A split; UserError when there is none of that name."""
        if name not in self.splits:
            known = ", ".join(self.splits)
            raise UserError(f"{self.name} has no split {name!r}; it has {known}")
        return self.splits[name]

    def describe(self) -> dict[str, Any]:
        """What a run records of its dataset."""
        known = {"name": self.name, "fingerprint": self.fingerprint, "counts": self.counts}
        return {**known, "left_out": dict(self.left_out)} if self.left_out else known


def encode(source: Source, parts: Parts) -> Dataset:
    """The dataset of complete splits: fields fitted to train, every column encoded."""

    def fitted(found: Mapping[str, Field]) -> dict[str, Field]:
        return {name: one.fit(parts["train"][name]) for name, one in found.items()}

    schema = Schema(inputs=fitted(source.schema.inputs), targets=fitted(source.schema.targets))
    said = [note for one in schema.fields.values() for note in one.notes]
    splits: Parts = {}
    for split, part in parts.items():
        columns: dict[str, Column] = {
            name: one.encode(part[name]) for name, one in schema.fields.items()
        }
        said += [f"{split}: {note}" for column in columns.values() for note in column.notes]
        splits[split] = Split(columns, part.ids)
    notes = (*source.notes, *said)
    mark = fingerprint(splits, schema)
    return Dataset(source.name, schema, splits, mark, notes, source.order, source.left_out)


def fingerprint(parts: Parts, schema: Schema) -> str:
    """A hash of the fields and of the bytes of all columns, split by split."""

    def contents() -> Iterator[np.ndarray | bytes]:
        for split, part in parts.items():
            for name, column in part.columns.items():
                yield repr((split, name, len(column))).encode()
                for block in column.blocks():
                    yield repr((block.dtype.str, block.shape[1:])).encode()
                    yield block

    return fingerprint_of(schema, contents())


def fingerprint_of(schema: Schema, contents: Iterable[np.ndarray | bytes]) -> str:
    """A hash of the fields and of all that is learnt from."""
    digest = hashlib.blake2b(schema.model_dump_json().encode(), digest_size=16)
    for content in contents:
        digest.update(content if isinstance(content, bytes) else content.data)
    return digest.hexdigest()
