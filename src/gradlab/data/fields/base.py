"""What every kind of field must know of its part of an example.

A field is a frozen value: a run's JSON holds it, told apart by its `type`. All of its methods work
on whole columns or batches, never example by example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from pydantic import BeforeValidator, SerializeAsAny
from torch import Tensor

from gradlab.config import Config
from gradlab.data.augment import Draws
from gradlab.data.columns import Column, Encoded, Rows
from gradlab.data.fields import fields
from gradlab.errors import UserError

if TYPE_CHECKING:
    import polars as pl

Picture = np.ndarray
"""uint8 H W C, C 1 or 3."""


@dataclass(frozen=True)
class Issue:
    """Something wrong with a dataset, and where: files, rows, columns or classes.

    An error stops a training or makes its figures wrong; a warning may be meant.
    """

    level: Literal["error", "warning"]
    what: str
    where: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join([f"{self.level}: {self.what}", *(f"    {place}" for place in self.where)])


@dataclass(frozen=True)
class Checked:
    """What a look at some data found: facts as numbers, for JSON, and issues."""

    facts: dict[str, Any] = field(default_factory=dict)
    issues: tuple[Issue, ...] = ()


class Skipped(NamedTuple):
    """A new input that cannot be read: what it is called, why, and its place (from 0)."""

    name: str
    reason: str
    place: int


@dataclass(frozen=True)
class Inputs:
    """A person's new inputs as a column, with a name for each ("" for one that has none).

    `skipped` are those of them that cannot be read, which are not in the column. `tables` are all
    of them, those included, as they were given, where they are rows of tables.
    """

    column: Encoded
    names: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    tables: tuple[pl.DataFrame, ...] = ()


class Field(Config):
    """One part of an example: how it is learnt from, kept, batched, read, checked and shown."""

    augmented: ClassVar[bool] = False
    """Whether its batches follow random changes (`data.augment`)."""
    baseline: ClassVar[Literal["linear", "nearest_mean", ""]] = ""
    """The simple model that a network on it must beat: a linear one, or the nearest class mean."""

    measured_by: ClassVar[str] = ""
    """How new data of it are evaluated, where that is not row by row."""

    word: ClassVar[str] = ""
    """What people and options call it, where that is not its type."""

    type: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example as a model reads it, or of one answer: C H W, D, T V (T 0: any length)."""
        raise NotImplementedError

    @property
    def notes(self) -> tuple[str, ...]:
        """What was chosen when it was fitted, so that a person can be told."""
        return ()

    def fit(self, raw: Any) -> Self:
        """Itself, with what is learnt from the raw column of the training split alone."""
        return self

    def encode(self, raw: Any) -> Encoded:
        """Raw values as a compact column."""
        raise NotImplementedError

    def batch(self, column: Any, rows: Rows, draws: Draws | None) -> Any:
        """The tensors of the examples at `rows` of a placed column, as a model reads them.

        `draws` are the random changes of a training batch: the same for all fields of it.
        """
        return column.gather(rows)

    def read(self, items: Sequence[Any]) -> Inputs:
        """A person's new inputs.

        One that is broken (a photo, a row) is skipped; UserError for what is no such input at all.
        """
        raise UserError(f"a {self.type} is no input that can be given")

    def issues(self, raw: Mapping[str, Column]) -> Checked:
        """What is to be said of the raw columns of all splits, by the splits' names."""
        return Checked()

    def show(self, value: Any) -> Picture | str:
        """A picture or a text of one value of its column."""
        return str(value)

    def persistent(self, x: Tensor, target: Field) -> Tensor | None:
        """The class that a batch of it says of a target by itself, N; None where it says none."""
        return None

    def example(self) -> Tensor:
        """A batch of one, all zeros: to count operations, and to export."""
        raise NotImplementedError


def _known(value: Any) -> Any:
    """A field out of its JSON, by its type."""
    if isinstance(value, Field):
        return value
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in fields:
        raise ValueError(f"expected a field with a known type ({', '.join(fields)})")
    return fields[kind].model_validate(value)


AnyField = Annotated[SerializeAsAny[Field], BeforeValidator(_known)]
"""A field of any registered kind, in a configuration."""
