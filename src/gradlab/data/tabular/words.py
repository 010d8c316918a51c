"""Free text as a bag of words: the most frequent words of the training split, an input each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradlab.data.columns import Frame
from gradlab.data.tabular.column import TableColumn

if TYPE_CHECKING:
    import polars as pl

MOST_WORDS = 256
"""Words of a text column that have an input of their own."""
FEW = 3
"""A word or a category must stand in so many rows to have an input of its own."""
SEVERAL = 3.0
"""Words in a value, on the mean, from which on a column is free text rather than names."""

_WORD = r"[\w'\u2019]+"
_ROWS = 1 << 14
"""Texts that are cut into words together."""


def count(value: pl.Expr) -> pl.Expr:
    """How many words a text has."""
    return value.str.count_matches(_WORD)


def learn(raw: Frame, place: int, name: str, missing: bool) -> TableColumn | str:
    """A column of free text: its most frequent words."""
    import polars as pl

    counts = pl.concat(
        [
            words.unique().group_by("word").len("count")
            for _, part in raw.stretches([place])
            for words in _words(part["0"])
        ]
    )
    rows = pl.col("count").sum()
    kept = counts.group_by("word").agg(rows).filter(pl.col("count") >= FEW)
    kept = kept.sort("count", "word", descending=[True, False]).head(MOST_WORDS)
    words = tuple(sorted(kept["word"].to_list()))
    if not words:
        return f"free text in which no word stands in {FEW} rows"
    return TableColumn(
        name=name,
        kind="text",
        categories=words,
        missing=missing,
        note=f"free text, becomes {len(words)} inputs, one for each of its most frequent words",
    )


def bag(texts: pl.Series, words: Sequence[str]) -> np.ndarray:
    """How often each word stands in each text, of length 1 (or 0 where none does), float32 N W."""
    import polars as pl

    x = np.zeros((len(texts), len(words)), np.float32)
    known = pl.DataFrame({"word": words, "input": range(len(words))})
    start = 0
    for found in _words(texts):
        cells = found.join(known, on="word").group_by("row", "input").len("count")
        x[cells["row"].to_numpy() + start, cells["input"].to_numpy()] = cells["count"].to_numpy()
        start += _ROWS
    length = np.linalg.norm(x, axis=1, keepdims=True)
    np.divide(x, length, out=x, where=length > 0)
    return x


def _words(texts: pl.Series) -> Iterator[pl.DataFrame]:
    """The words of texts with the row that they stand in, counted from 0 in each stretch."""
    import polars as pl

    for start in range(0, max(len(texts), 1), _ROWS):
        part = texts.slice(start, _ROWS).cast(pl.String).alias("word").to_frame()
        word = pl.col("word").str.to_lowercase().str.extract_all(_WORD)
        yield part.with_row_index("row").with_columns(word).explode("word").drop_nulls("word")
