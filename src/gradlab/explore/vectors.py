"""The vectors of a run's words as a file that other programs read."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradlab.errors import UserError
from gradlab.models.word_vectors import WordVectors, read
from gradlab.runs import Run, load
from gradlab.tasks.evaluation import Table
from gradlab.tasks.word2vec import Word2VecTask


@dataclass(frozen=True)
class Vectors:
    """Vectors and where they come from."""

    run: str
    known: WordVectors = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """How many words, and how many numbers each."""
        count, size = self.known.vectors.shape
        return {"run": self.run, "words": count, "size": size}

    def tables(self) -> tuple[Table, ...]:
        """The same."""
        count, size = self.known.vectors.shape
        return (Table(("words", "numbers of each"), ((f"{count:,}", f"{size:,}"),)),)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write them: word2vec's text (.txt, .vec) or binary format (.bin), or .npz."""
        self.known.save(path)


def vectors(run: str | os.PathLike[str] | Run) -> Vectors:
    """The vectors of a run of word2vec (or of a file of vectors), to be written to a file."""
    return Vectors(*vectors_of(run))


def vectors_of(run: str | os.PathLike[str] | Run) -> tuple[str, WordVectors]:
    """The name and the vectors of a run or of a file of vectors."""
    if not isinstance(run, Run) and Path(run).is_file():
        return str(run), read(run)
    opened = load(run)
    if not isinstance(opened.task, Word2VecTask):
        raise UserError(
            f"{opened.path} is a run of {opened.recipe.name!r} and has no vectors of words: "
            "expected a run of word2vec (gradlab train skip_gram) or a file of vectors"
        )
    return str(opened.path), opened.task.vectors()
