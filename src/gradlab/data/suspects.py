"""Columns that tell the target by themselves: a copy of it, or something known only after it.

The training rows are put in the order of a column. Where it tells the target, neighbours have the
same class, or a number near the mean of their neighbours' (Gasser et al. 1986, residual variance by
differences); of a category, those that share it have. So any dependence is found, and all columns
at once.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from gradlab.data.dataset import Dataset
from gradlab.data.fields.base import Issue
from gradlab.data.fields.label import Label
from gradlab.data.fields.number import Number
from gradlab.data.fields.table import Table
from gradlab.wording import shown

UNTOLD = {"class": 0.02, "number": 0.001}
"""Of what guessing gets wrong, at most this share is left by a column that tells the target."""
LEAST = 30
"""Training rows from which on it is looked for: a few may be told by chance."""
FEWEST = 10
"""Training rows of other classes than the largest, of the same."""
MOST = 10_000
"""Training rows that are looked at, from all over."""
CELLS = 1 << 22
"""Values that are sorted together."""


def suspects(dataset: Dataset) -> tuple[Issue, ...]:
    """A warning that names the columns of a table, each of which tells the target alone.

    None where there is but one column, or most do: then the problem is an easy one.
    """
    fields, asked = dataset.schema.inputs, dataset.schema.targets
    train = dataset.splits["train"]
    if len(fields) != 1 or len(asked) != 1 or len(train) < LEAST:
        return ()
    (name, table), (target, field) = next(iter(fields.items())), next(iter(asked.items()))
    if not isinstance(table, Table) or not isinstance(field, Label | Number):
        return ()
    # In any order: rows that a column does not tell apart must not stand as they do in the file.
    rows = np.random.default_rng(0).permutation(len(train))[:MOST]
    kept, y = np.asarray(train[name][rows]), np.asarray(train[target][rows])
    is_class = isinstance(field, Label)
    if is_class and len(y) - np.bincount(y).max() < FEWEST:
        return ()
    told = untold(table, kept, y, is_class) <= UNTOLD["class" if is_class else "number"]
    count = int(told.sum())
    if not count or len(told) == 1 or (count > 1 and count > len(told) / 2):
        return ()
    names = [table.columns[n].name for n in np.flatnonzero(told)]
    it, are = ("it", "is") if count == 1 else ("they", "are")
    what = (
        f"{'a column that tells' if count == 1 else 'columns that each tell'} "
        f"{field.column or target} alone: {count}. This is a leak where {it} {are} known only "
        f"after the target, or made from it. Then leave "
        f"{'it' if count == 1 else 'them'} out: --data.drop"
    )
    return (Issue("warning", what, shown(names)),)


def said(found: Iterable[Issue]) -> tuple[str, ...]:
    """Warnings as notes: what is to be left out stands after the option that does so."""
    return tuple(f"warning: {one.what} {','.join(one.where)}" for one in found)


def untold(table: Table, kept: np.ndarray, y: np.ndarray, is_class: bool) -> np.ndarray:
    """How much of what guessing gets wrong each column leaves: 0 where it tells all, float64 C.

    `kept`: what is kept of some rows in any order, float32 N M; y: their targets, N.
    """
    found = np.ones(len(table.columns))
    starts = np.cumsum([0, *(column.kept for column in table.columns)])
    kinds = np.array([column.kind for column in table.columns])
    ordered = np.flatnonzero((kinds == "number") | (kinds == "date"))
    # Dates by their days, the last of their parts.
    last = [max(len(table.columns[n].parts) - 1, 0) for n in ordered]
    places = starts[ordered] + np.array(last, np.int64)
    coded = np.flatnonzero(kinds == "category")
    for each, at in ((ordered, places), (coded, starts[coded])):
        step = max(CELLS // len(y), 1)
        for first in range(0, len(each), step):
            x = kept[:, at[first : first + step]]
            found[each[first : first + step]] = _left(x, y, is_class, each is coded)
    return found


def _left(x: np.ndarray, y: np.ndarray, is_class: bool, is_code: bool) -> np.ndarray:
    """As `untold`, of columns N C: numbers, or codes whose neighbours must be equal to count."""
    order = np.argsort(x, axis=0, kind="stable")
    sorted_y = y[order]  # N C
    if is_class:
        differ = (sorted_y[1:] != sorted_y[:-1]).astype(np.float64)
        shares = np.bincount(y) / len(y)
        guessed = 1 - float(np.square(shares).sum())
    else:
        differ = np.square(np.diff(sorted_y.astype(np.float64), axis=0)) / 2
        guessed = float(y.astype(np.float64).var())
    if is_code:
        x = np.take_along_axis(x, order, axis=0)
        same = x[1:] == x[:-1]
        count = same.sum(axis=0)
        left = (differ * same).sum(axis=0) / np.maximum(count, 1) / guessed
        found: np.ndarray = np.where(count >= len(y) / 2, left, 1.0)
        return found
    if is_class:  # classes one after the other differ where they meet
        meet = np.count_nonzero(shares) - 1
        found = np.maximum(differ.sum(axis=0) - meet, 0) / (len(differ) * guessed)
        return found
    # Against the mean of both neighbours, whose error is 1.5 times the variance where x tells
    # nothing. Few rows on a line lie far apart: of these the straight line is asked.
    apart = np.square(np.diff(sorted_y.astype(np.float64), n=2, axis=0) / 2)
    left = apart.mean(axis=0) / 1.5 / guessed
    centred = x - x.mean(axis=0)
    part = (centred * (y - y.mean())[:, None]).mean(axis=0, dtype=np.float64)
    spread = np.square(centred).mean(axis=0, dtype=np.float64) * guessed
    straight = np.divide(part**2, spread, out=np.zeros_like(part), where=spread > 0)
    found = np.minimum(left, 1 - straight)
    return found
