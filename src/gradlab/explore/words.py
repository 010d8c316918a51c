"""Questions to vectors of words: what is alike, what is to what, what does not belong, how good."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from gradlab import files
from gradlab.data.sources import word_eval
from gradlab.drawing import png
from gradlab.errors import UserError
from gradlab.explore.vectors import vectors_of
from gradlab.figures import bars, word_map
from gradlab.models.word_vectors import Analogies, WordVectors, analogies, spearman
from gradlab.runs import Run
from gradlab.tasks.evaluation import Table
from gradlab.tasks.findings.neighbours import COMMON, MAPPED, frequent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Question = Literal["similar", "analogy", "odd", "eval", "map"]
_FORMS = {
    "similar": "similar WORD",
    "analogy": "analogy A B C (A is to B as C is to ?)",
    "odd": "odd WORD WORD WORD ...",
}


@dataclass(frozen=True)
class WordAnswers:
    """What vectors say: words with figures, and for a map the places of the words (N 2)."""

    vectors: str
    question: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: dict[str, Any] = field(repr=False)
    words: tuple[str, ...] = field(default=(), repr=False)
    values: np.ndarray | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"vectors": self.vectors, "question": self.question, **self.numbers}

    def tables(self) -> tuple[Table, ...]:
        """The words, best first; the sections of an evaluation."""
        return (Table(self.header, self.rows),)

    def figure(self) -> Figure:
        """A map, or a bar for each word."""
        if self.values is not None and self.values.ndim == 2:
            return word_map(self.words, self.values, f"{self.question} (t-SNE)")
        values = np.zeros(0) if self.values is None else self.values
        return bars(self.words, values, None, self.question)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the figure (.png)."""
        check_out(path)
        files.write_bytes(Path(path), png(self.figure()))


def words(
    run: str | os.PathLike[str] | Run,
    question: Question,
    of: Sequence[str] = (),
    *,
    count: int | None = None,
    analogies: str | os.PathLike[str] | None = None,
    pairs: str | os.PathLike[str] | None = None,
) -> WordAnswers:
    """What the vectors of a run (or of a file of vectors) say of words.

    similar: the `count` (10) words nearest to one. analogy: what is to c as b is to a. odd: which
    of several does not belong. eval: the accuracy of analogies by section, and the rank correlation
    (Spearman) with how people compare pairs of words; `analogies` and `pairs` are files of one's
    own in the form of the usual ones. map: where the `count` (300) most frequent words lie in two
    dimensions. UserError for a word that is not known.
    """
    if question not in get_args(Question):
        raise UserError(
            f"words: expected one of {', '.join(get_args(Question))}, found {question!r}"
        )
    needed = {"similar": 1, "analogy": 3}.get(question, 0)
    if (needed and len(of) != needed) or (question == "odd" and len(of) < 3):
        raise UserError(f"words: expected {_FORMS[question]}, found {' '.join(of) or 'no word'}")
    if question in ("eval", "map") and of:
        raise UserError(f"words: {question} takes no words, found {' '.join(of)}")
    if count is not None and count < 1:
        raise UserError(f"--count: expected at least 1, found {count}")
    name, known = vectors_of(run)
    if question == "eval":
        return _evaluated(name, known, analogies, pairs)
    if question == "map":
        return _map(name, known, count or MAPPED)
    if question == "odd":
        found, asked = known.odd(of), "cosine with the mean of all"
    elif question == "similar":
        found, asked = known.similar(of[0], count or 10), f"cosine with {of[0]}"
    else:
        found = known.analogy(of[0], of[1], of[2], count or 10)
        asked = f"{of[0]} : {of[1]} = {of[2]} : ?"
    return WordAnswers(
        name,
        asked,
        ("word", asked),
        tuple((word, f"{cosine:.3f}") for word, cosine in found),
        {
            "words": [list(pair) for pair in found],
            **({"odd": found[0][0]} if question == "odd" else {}),
        },
        tuple(word for word, _ in found),
        np.array([cosine for _, cosine in found]),
    )


def _map(name: str, known: WordVectors, count: int) -> WordAnswers:
    placed, points = frequent(known, min(COMMON, len(known.words) // 4), count)
    asked = f"{len(placed)} frequent words"
    rows = tuple(
        (word, f"{x:.2f}", f"{y:.2f}") for word, (x, y) in zip(placed, points.tolist(), strict=True)
    )
    numbers = {"map": [[w, *place] for w, place in zip(placed, points.tolist(), strict=True)]}
    return WordAnswers(name, asked, ("word", "x", "y"), rows, numbers, placed, points)


def _evaluated(
    name: str,
    known: WordVectors,
    analogies_file: str | os.PathLike[str] | None,
    pairs_file: str | os.PathLike[str] | None,
) -> WordAnswers:
    sections = analogies(known, word_eval.analogies(analogies_file))
    total = Analogies(
        "all",
        *(sum(getattr(one, key) for one in sections) for key in ("right", "known", "total")),
    )
    compared = word_eval.pairs(pairs_file)
    rank, pairs = spearman(known, compared)
    rows = [
        (one.section, _share(one.accuracy), f"{one.right:,} of {one.known:,}", _of(one))
        for one in (*sections, total)
    ]
    share = f"{pairs / len(compared):.0%} of {len(compared)}"
    rows.append(("word pairs", "-" if np.isnan(rank) else f"{rank:.3f}", "Spearman", share))
    numbers = {
        "analogies": {one.section: _numbers(one) for one in (*sections, total)},
        "pairs": {"spearman": rank, "known": pairs, "total": len(compared)},
    }
    return WordAnswers(
        name,
        "accuracy of analogies",
        ("section", "accuracy", "right", "known words"),
        tuple(rows),
        files.finite(numbers),
        tuple(one.section for one in sections),
        np.nan_to_num([one.accuracy for one in sections]),
    )


def _numbers(one: Analogies) -> dict[str, Any]:
    keys = ("accuracy", "right", "known", "total")
    return {key: getattr(one, key) for key in keys}


def _share(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.1%}"


def _of(one: Analogies) -> str:
    return f"{one.known / max(one.total, 1):.0%} of {one.total:,}"


def check_out(path: str | os.PathLike[str]) -> None:
    """UserError for a kind of file that a figure is not written as."""
    if Path(path).suffix.lower() != ".png":
        raise UserError(f"--out: a figure is written as .png, found {str(path)!r}")
