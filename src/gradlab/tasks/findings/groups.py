"""Errors by the values of a column: a good mean may hide a group that is served badly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gradlab.data.dataset import Split
from gradlab.data.loader import Batch
from gradlab.errors import UserError, unknown
from gradlab.measures import measure
from gradlab.tasks.evaluation import Collector, Part, Table
from gradlab.tasks.findings.inputs import Inputs, named_inputs

MOST = 20
"""Groups; a column of more values is cut into quarters, or its rare values are taken together."""
_LEFT_OUT = ("loss", "ece")  # of the table, not of the JSON

GroupErrors = Annotated[
    str, Field(description="a table's column: the metrics for each of its values, in the report")
]


@dataclass(frozen=True)
class Groups(Part):
    """The examples and the metrics of each group of a column's values."""

    column: str
    groups: tuple[tuple[str, int, dict[str, float]], ...]
    title = "Errors by group"

    @property
    def caption(self) -> str:  # type: ignore[override]
        """What the groups are."""
        return f"Examples by their {self.column}. Few examples make uncertain figures."

    def to_dict(self) -> dict[str, Any]:
        """By group."""
        found = {name: {"count": count, **metrics} for name, count, metrics in self.groups}
        return {"groups": {"column": self.column, "values": found}}

    def tables(self) -> Sequence[Table]:
        """A row for each group."""
        names = dict.fromkeys(name for _, _, found in self.groups for name in found)
        shown = [name for name in names if name not in _LEFT_OUT]
        rows = tuple(
            (
                group,
                str(count),
                *(measure(n).text(found[n]) if n in found else "" for n in shown),
            )
            for group, count, found in self.groups
        )
        return (Table((self.column, "examples", *shown), rows),)


class GroupCollector(Collector):
    """The metrics of each group, where a column is named (`task.group_errors`)."""

    def __init__(self, task: Any, split: Split) -> None:
        super().__init__(task, split)
        self.column = task.group_errors
        if not self.column:
            return
        found = checked(task.schema, self.column)
        self.names, self.numbers = _groups(task, split, found, self.column)
        self.meters = [[metric(task) for metric in task.metrics] for _ in self.names]

    def update(self, output: Tensor, batch: Batch) -> None:
        """Give each group its examples."""
        if not self.column:
            return
        y, numbers = batch[self.task.target], self.numbers[batch.rows]
        for group in np.unique(numbers).tolist():
            index = torch.from_numpy(np.flatnonzero(numbers == group)).to(y.device)
            part = Batch({self.task.target: y[index]}, len(index))
            for meter in self.meters[group]:
                meter.update(output[index], part)

    def compute(self) -> Part | None:
        """None where no column is named."""
        if not self.column:
            return None
        counts = np.bincount(self.numbers, minlength=len(self.names)).tolist()
        groups = []
        for name, count, meters in zip(self.names, counts, self.meters, strict=True):
            found = {meter.name: meter.compute() for meter in meters}
            groups.append((name, count, {k: v for k, v in found.items() if v is not None}))
        return Groups(self.column, tuple(group for group in groups if group[1]))


def checked(schema: Any, column: str) -> Inputs:
    """The inputs of a table with this column; UserError where there is none."""
    inputs = named_inputs(schema)
    if inputs is None:
        raise UserError(
            f"task.group_errors: expected a column of a table, but the inputs are {schema.words()}:"
            " leave it out"
        )
    if column not in inputs.columns:
        raise unknown("input column (task.group_errors)", column, inputs.columns)
    return inputs


def _groups(task: Any, split: Split, inputs: Inputs, column: str) -> tuple[list[str], np.ndarray]:
    """The names of the groups, and the number of each example's."""
    loader = task.loader_of(split.only([inputs.name]), [inputs.name])
    places = inputs.columns[column]
    x = np.concatenate([b[inputs.name][:, places].cpu().numpy() for b in loader.in_order()])
    texts = _quarters(inputs, column, x) or _values(inputs, column, x)
    common = [text for text, _ in Counter(texts).most_common(MOST)]
    if len(set(texts)) > MOST:
        common[-1] = "any other"
    place = {text: index for index, text in enumerate(common)}
    return common, np.array([place.get(text, len(common) - 1) for text in texts], np.int64)


def _values(inputs: Inputs, column: str, x: np.ndarray) -> list[str]:
    """What a column's inputs say, in its own units, of each example."""
    names = [inputs.names[place].removeprefix(column).strip() for place in inputs.columns[column]]
    mean, std = _units(inputs, column)

    def said(row: np.ndarray) -> str:
        if not names[0] and not (names[-1] and row[-1]):
            return f"{row[0] * std + mean:.4g}"
        return ", ".join(name for name, value in zip(names, row, strict=True) if value) or "other"

    rows, number = np.unique(x, axis=0, return_inverse=True)
    texts = [said(row) for row in rows.astype(np.float64)]
    return [texts[n] for n in number.reshape(-1).tolist()]


def _quarters(inputs: Inputs, column: str, x: np.ndarray) -> list[str]:
    """The quarter of the examples that each is of, by a number of many values; else nothing."""
    places = inputs.columns[column]
    if inputs.names[places[0]] != column or len(np.unique(x[:, 0])) <= MOST:
        return []
    there = x[:, 1] == 0 if len(places) > 1 else np.ones(len(x), bool)
    mean, std = _units(inputs, column)
    edges = np.quantile(x[there, 0], (0.25, 0.5, 0.75)) if there.any() else np.zeros(3)
    ends = [f"{edge * std + mean:.4g}" for edge in edges.astype(np.float64)]
    cuts = [
        f"up to {ends[0]}",
        *(f"above {low} to {high}" for low, high in pairwise(ends)),
        f"above {ends[-1]}",
    ]
    found = np.searchsorted(edges, x[:, 0], side="left").tolist()
    return [cuts[cut] if known else "missing" for cut, known in zip(found, there, strict=True)]


def _units(inputs: Inputs, column: str) -> tuple[float, float]:
    """Mean and standard deviation that a number was standardised by."""
    own = next((c for c in getattr(inputs.field, "columns", ()) if c.name == column), None)
    return getattr(own, "mean", 0.0), getattr(own, "std", 1.0)
