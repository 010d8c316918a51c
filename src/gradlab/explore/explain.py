"""Which words of a text move a network's answer: each is taken out in turn (occlusion).

Zeiler and Fergus (2014), "Visualizing and understanding convolutional networks", for images;
Li et al. (2016), "Understanding neural networks through representation erasure",
https://arxiv.org/abs/1612.08220, for words.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlab import files
from gradlab.config import Runtime
from gradlab.data.columns import Ragged
from gradlab.data.dataset import Split
from gradlab.data.fields.text import Text
from gradlab.data.tokens import UNKNOWN
from gradlab.drawing import png
from gradlab.errors import UserError
from gradlab.figures import passage
from gradlab.runs import Run, load
from gradlab.tasks.answers import Answer, LabelAnswer, NumberAnswer
from gradlab.tasks.evaluation import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 12
"""Words in the table."""
LONGEST = 2000
"""Tokens of a text, at most: each is an evaluation of the network."""
_WIDTH = 76
_AT_ONCE = 64


@dataclass(frozen=True)
class Explained:
    """A text, the answer to it, and by how much each of its words moves that.

    changes: the probability of the answer (or the number) with the word, less that without it.
    """

    run: str
    answer: str
    value: float
    words: tuple[str, ...] = field(repr=False)
    changes: np.ndarray = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: every word in its order."""
        pairs = zip(self.words, self.changes.tolist(), strict=True)
        return {
            "run": self.run,
            "answer": self.answer,
            "value": self.value,
            "words": [[word, change] for word, change in pairs],
        }

    def tables(self) -> tuple[Table, ...]:
        """The words that move it most."""
        order = np.argsort(-np.abs(self.changes), kind="stable")[:SHOWN]
        rows = tuple((self.words[n].strip(), f"{self.changes[n]:+.4f}") for n in order)
        return (Table(("word", f"moves {self.answer} ({self.value:.4g}) by"), rows),)

    def figure(self) -> Figure:
        """The text, each word on the colour of its change."""
        title = f"{self.answer}: blue words speak for it, orange against; dark: {{}} and more"
        return passage(self.words, self.changes, _WIDTH, title)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the text in its colours (.png)."""
        check_out(path)
        files.write_bytes(Path(path), png(self.figure()))


def explain(
    run: str | os.PathLike[str] | Run, text: str, *, runtime: Runtime | None = None
) -> Explained:
    """Which words of a text move the answer of a run that reads texts.

    Each word in turn is replaced by an unknown one. `text` may be a .txt file. `runtime` is that
    of a run given by its folder. UserError for a run of anything else.
    """
    run = load(run, runtime=runtime)
    name, words_of = run.schema.input(Text, "explain")
    read = run.read([text])
    if read.skipped:
        raise UserError(read.skipped[0].reason)
    column = read.split[name]
    numbers = column[0]
    if not 0 < len(numbers) <= LONGEST:
        raise UserError(f"expected a text of 1 to {LONGEST:,} words, found {len(numbers):,}")
    variants = np.tile(numbers, (len(numbers) + 1, 1))
    variants[np.arange(len(numbers)) + 1, np.arange(len(numbers))] = UNKNOWN
    answers: list[Answer] = []
    with run.task.setup.applied():
        for start in range(0, len(variants), _AT_ONCE):
            some = Ragged.of(list(variants[start : start + _AT_ONCE]), np.int32)
            answers += run.task.predict(Split({name: some}))
    label, values = _values(answers)
    pieces = tuple(words_of.tokens.pieces_of([], numbers.tolist()))
    return Explained(str(run.path), label, float(values[0]), pieces, values[0] - values[1:])


def _values(answers: list[Answer]) -> tuple[str, np.ndarray]:
    """What the first answer says, and how much each of them says so."""
    first = answers[0]
    if isinstance(first, LabelAnswer):
        place = first.classes.index(first.label)
        found = [float(one.values[place]) for one in answers if isinstance(one, LabelAnswer)]
        return first.label, np.array(found)
    if isinstance(first, NumberAnswer):
        numbers = [one.number for one in answers if isinstance(one, NumberAnswer)]
        return first.what or "the number", np.array(numbers)
    raise UserError("explain: the answers of this run are neither classes nor numbers")


def check_out(path: str | os.PathLike[str]) -> None:
    """UserError for a kind of file that it is not written as."""
    if Path(path).suffix.lower() != ".png":
        raise UserError(f"--out: a text in its colours is written as .png, found {str(path)!r}")
