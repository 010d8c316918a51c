"""Answers: what a model says of one input. Numbers first; then JSON, cells, a picture."""

from __future__ import annotations

import csv
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from gradlab import files
from gradlab.data.fields.base import Skipped

if TYPE_CHECKING:
    import polars as pl

Cell = str | float
Picture = np.ndarray
"""uint8 H W C, C 1 or 3."""


class Answer(ABC):
    """What a model says of one input."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The answer for JSON."""

    @abstractmethod
    def cells(self) -> dict[str, Cell]:
        """The answer as columns of a CSV."""

    @abstractmethod
    def __str__(self) -> str:
        """The answer in a few words."""

    def more(self) -> str:
        """What else a person may want to see beside it on a screen."""
        return ""

    def draw(self) -> Picture | None:
        """The answer as a picture, where it is one."""
        return None


@dataclass(frozen=True)
class LabelAnswer(Answer):
    """A class, its probability, and the likeliest classes with theirs, likeliest first.

    classes: all of them, in order; values: their probabilities, float32 K.
    """

    label: str
    probability: float
    top: tuple[tuple[str, float], ...]
    classes: tuple[str, ...] = field(repr=False)
    values: np.ndarray = field(repr=False, compare=False)

    @property
    def probabilities(self) -> dict[str, float]:
        """Of every class, in their order."""
        return dict(zip(self.classes, self.values.tolist(), strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Class, probability, the likeliest classes, and all of them."""
        return {
            "answer": self.label,
            "probability": self.probability,
            "top": [list(pair) for pair in self.top],
            "probabilities": self.probabilities,
        }

    def cells(self) -> dict[str, Cell]:
        """Class and probability, then the probability of every class."""
        every = {f"probability_{name}": value for name, value in self.probabilities.items()}
        return {"answer": self.label, "probability": self.probability, **every}

    def __str__(self) -> str:
        return self.label

    def more(self) -> str:
        """The likeliest classes."""
        return ", ".join(f"{name} {value:.1%}" for name, value in self.top)


@dataclass(frozen=True)
class NumberAnswer(Answer):
    """A number in the target's own units; `what` says what it is of."""

    number: float
    what: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The number."""
        return {"answer": self.number}

    def cells(self) -> dict[str, Cell]:
        """The number."""
        return {"answer": self.number}

    def __str__(self) -> str:
        return f"{self.number:.6g}"

    def more(self) -> str:
        """What it is of."""
        return self.what


@dataclass(frozen=True)
class ImageAnswer(Answer):
    """A picture made of the input, and how far it is from it (mean squared error)."""

    error: float
    picture: Picture | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The error."""
        return {"answer": self.error, "mse": self.error}

    def cells(self) -> dict[str, Cell]:
        """The error."""
        return {"answer": self.error}

    def __str__(self) -> str:
        return f"{self.error:.6g}"

    def draw(self) -> Picture | None:
        """The picture."""
        return self.picture


@dataclass(frozen=True)
class ActionAnswer(Answer):
    """An action, and what each action is worth."""

    action: str
    values: tuple[tuple[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """The action and all values."""
        return {"answer": self.action, "values": dict(self.values)}

    def cells(self) -> dict[str, Cell]:
        """The action and all values."""
        return {"answer": self.action, **{f"value_{name}": value for name, value in self.values}}

    def __str__(self) -> str:
        return self.action

    def more(self) -> str:
        """The values."""
        return ", ".join(f"{name} {value:.4g}" for name, value in self.values)


@dataclass(frozen=True)
class Prediction:
    """An answer and what its input is called."""

    name: str
    answer: Answer

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"input": self.name, **self.answer.to_dict()}


class Predictions(list[Prediction]):
    """The answers for new inputs, in their order, and what is to be said of the inputs.

    `skipped` are the inputs that could not be read and have no answer; `notes` say what was
    converted. `tables` are all inputs as they were given, where they are rows of tables.
    """

    def __init__(
        self,
        answers: Iterable[Prediction],
        skipped: Sequence[Skipped] = (),
        notes: Sequence[str] = (),
        tables: Sequence[pl.DataFrame] = (),
    ) -> None:
        super().__init__(answers)
        self.skipped, self.notes, self.tables = tuple(skipped), tuple(notes), tuple(tables)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "predictions": [found.to_dict() for found in self],
            "skipped": skipped_record(self.skipped),
            "notes": list(self.notes),
        }

    def csv(self) -> str:
        """A header, then a line for each input in their order: its name, or the columns of its
        table; and the answer, which is empty where the input was skipped.

        A column of an answer that a table has already is called `answer_2`.
        """
        everything: list[Prediction | Skipped] = list(self)
        for absent in self.skipped:  # by their places, so that each finds its own
            everything.insert(absent.place, absent)
        rows: Iterable[dict[str, Any]]
        if self.tables:
            rows = (row for table in self.tables for row in table.iter_rows(named=True))
            given = list(dict.fromkeys(name for table in self.tables for name in table.columns))
        else:
            rows, given = ({"input": one.name} for one in everything), ["input"]
        names = dict.fromkeys(name for found in self for name in found.answer.cells())
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*given, *_free(names, given)])
        for row, one in zip(rows, everything, strict=True):
            cells: dict[str, Cell] = one.answer.cells() if isinstance(one, Prediction) else {}
            # Nine digits give a float32 back exactly.
            said = [
                c if isinstance(c := cells.get(name, ""), str) else f"{c:.9g}" for name in names
            ]
            writer.writerow([*(row.get(name) for name in given), *said])
        return text.getvalue()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write them as a CSV, see `csv`."""
        files.write_text(Path(path), self.csv())


def skipped_record(skipped: Sequence[Skipped]) -> dict[str, Any]:
    """For JSON: how many were skipped, which and why."""
    inputs = [{"input": found.name, "reason": found.reason} for found in skipped]
    return {"count": len(inputs), "inputs": inputs}


def _free(names: Iterable[str], taken: Sequence[str]) -> list[str]:
    """Names that are not taken: a number is put behind those that are."""
    used = set(taken)
    found = []
    for name in names:
        number, free = 2, name
        while free in used:
            free, number = f"{name}_{number}", number + 1
        used.add(free)
        found.append(free)
    return found


def ranked(
    probability: Tensor, classes: Sequence[str], answered: Tensor | None = None, most: int = 5
) -> list[LabelAnswer]:
    """Answers from probabilities of N K; `answered`: N class numbers (None: the likeliest)."""
    values, order = probability.topk(min(most, len(classes)), dim=1)
    every, names = probability.cpu().numpy(), tuple(classes)
    numbers = order[:, 0] if answered is None else answered
    sure = probability.gather(1, numbers[:, None])[:, 0]
    answers = []
    for row, chosen, number, own, all_of_it in zip(
        values.tolist(), order.tolist(), numbers.tolist(), sure.tolist(), every, strict=True
    ):
        top = tuple((classes[k], value) for k, value in zip(chosen, row, strict=True))
        answers.append(LabelAnswer(classes[number], own, top, names, all_of_it))
    return answers
