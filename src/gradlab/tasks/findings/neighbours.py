"""What stands near what among vectors of words: a table, and a map of the frequent ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlab.tasks.evaluation import Part, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gradlab.models.word_vectors import WordVectors

MAPPED = 300
"""Words of the map."""
COMMON = 100
"""The most frequent words, which say little, are no examples."""
TABLED = 12
"""Words whose neighbours are named."""


@dataclass(frozen=True)
class Neighbours(Part):
    """Some words with those nearest to them, and where the frequent ones lie on a map.

    words: those of the map; points: N 2.
    """

    near: dict[str, list[tuple[str, float]]]
    words_on_map: tuple[str, ...] = field(repr=False)
    points: np.ndarray = field(repr=False)
    title = "Words and their neighbours"
    subject = "the vectors"
    caption = (
        "Neighbours by the cosine of two vectors. On the map (t-SNE) near ones are alike; what is "
        "far apart says little. 'gradlab words RUN similar WORD' asks for any word."
    )

    def to_dict(self) -> dict[str, Any]:
        """Neighbours by word."""
        return {"neighbours": {w: [list(pair) for pair in near] for w, near in self.near.items()}}

    def tables(self) -> Sequence[Table]:
        """A word a row."""
        rows = [
            (word, ", ".join(f"{other} {cosine:.2f}" for other, cosine in near))
            for word, near in self.near.items()
        ]
        return (Table(("word", "nearest, with cosines"), tuple(rows)),)

    def figure(self) -> Figure | None:
        """The map."""
        from gradlab.figures import word_map

        if len(self.words_on_map) < 3:
            return None
        title = f"{len(self.words_on_map)} frequent words (t-SNE)"
        return word_map(self.words_on_map, self.points, title)

    def words(self) -> str:
        """Two of the rows."""
        said = [f"near {word}: {near[0][0]}" for word, near in self.near.items() if near]
        return "A map of frequent words; " + ", ".join(said[:4])


def neighbours(task: Any) -> Part | None:
    """Of words in the middle of the vocabulary: neither too common to say much, nor rare."""
    known = task.vectors()
    if len(known.words) < 3 or not np.isfinite(known.vectors).all():
        return None
    first = min(COMMON, len(known.words) // 4)
    chosen = known.words[first : first + TABLED * 8 : 8] or known.words[:TABLED]
    mapped = frequent(known, first)
    return Neighbours({word: known.similar(word, 5) for word in chosen}, *mapped)


def frequent(
    known: WordVectors, first: int = COMMON, count: int = MAPPED
) -> tuple[tuple[str, ...], np.ndarray]:
    """The most frequent words after the first ones, and their places on a map (t-SNE), N 2.

    Van der Maaten and Hinton (2008), "Visualizing data using t-SNE".
    """
    from sklearn.manifold import TSNE

    directions = known.directions[first : first + count]
    words = known.words[first : first + count]
    if len(words) < 3:
        return words, np.zeros((len(words), 2))
    perplexity = min(20.0, (len(words) - 1) / 3)
    start = "pca" if directions.shape[1] > 1 else "random"
    made = TSNE(perplexity=perplexity, init=start, random_state=0).fit_transform(directions)
    return words, np.asarray(made)
