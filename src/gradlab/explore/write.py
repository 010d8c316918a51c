"""Text that the run of a language model writes on from a beginning, piece by piece."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from gradlab import files
from gradlab.config import Runtime
from gradlab.data.tokens import UNKNOWN
from gradlab.errors import UserError
from gradlab.runs import Run, load
from gradlab.tasks.evaluation import Table
from gradlab.tasks.language import LanguageModeling
from gradlab.wording import counted

LENGTH = 500
"""Tokens that are written unless told."""


@dataclass(frozen=True)
class Written:
    """A text that was written on."""

    run: str
    seed: int
    temperature: float
    top_k: int
    prompt: str
    text: str
    """What follows the prompt."""
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "run": self.run,
            "seed": self.seed,
            "temperature": self.temperature,
            "top_k": self.top_k,
            "prompt": self.prompt,
            "text": self.text,
            "notes": list(self.notes),
        }

    def tables(self) -> list[Table]:
        """The text in a row."""
        return [Table(("prompt", "text"), ((self.prompt, self.text),))]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write prompt and text into a .txt file."""
        check_out(path)
        files.write_text(Path(path), self.prompt + self.text + "\n")

    def __str__(self) -> str:
        return self.prompt + self.text


@dataclass(frozen=True)
class Writer:
    """A run that can write, with a prompt and how it is to go on."""

    run: Run
    prompt: str
    temperature: float
    top_k: int
    length: int
    seed: int

    @property
    def task(self) -> LanguageModeling:
        """The language model."""
        task = self.run.task
        assert isinstance(task, LanguageModeling)
        return task

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the prompt is not known."""
        count = int((self._numbers() == UNKNOWN).sum())
        tokens = self.task.field.tokens
        return (f"{counted(count, tokens.unit)} of the prompt not known to the network",) * (
            count > 0
        )

    def pieces(self) -> Iterator[str]:
        """Piece after piece of what follows the prompt, as it is written."""
        tokens = self.task.field.tokens
        numbers = self._numbers().tolist()
        with self.task.setup.applied():
            written = self.task.write(
                numbers or [tokens.start],
                temperature=self.temperature,
                top_k=self.top_k,
                seed=self.seed,
            )
            yield from tokens.pieces_of(numbers, islice(written, self.length))

    def written(self) -> Written:
        """All of it."""
        return self.record("".join(self.pieces()))

    def record(self, text: str) -> Written:
        """The text beside how it came about."""
        how = (self.seed, self.temperature, self.top_k)
        return Written(str(self.run.path), *how, self.prompt, text, self.notes)

    def _numbers(self) -> Any:
        return self.task.field.tokens.encode(self.prompt)


def writes(run: Run) -> bool:
    """Whether a run is one that writes."""
    return isinstance(run.task, LanguageModeling)


def write(
    run: str | os.PathLike[str] | Run,
    prompt: str = "",
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    length: int = LENGTH,
    seed: int = 0,
    runtime: Runtime | None = None,
) -> Written:
    """What a language model writes after a prompt, equal for equal seeds.

    `temperature` divides the scores: below 1 likely tokens become likelier still, and 0 always
    takes the likeliest. `top_k` draws among so many likeliest tokens alone (0: all). `length`
    counts tokens. `runtime` is that of a run given by its folder. UserError for a run that writes
    nothing.
    """
    return writer(
        load(run, runtime=runtime),
        prompt,
        temperature=temperature,
        top_k=top_k,
        length=length,
        seed=seed,
    ).written()


def writer(
    run: Run, prompt: str, *, temperature: float, top_k: int, length: int, seed: int
) -> Writer:
    """See `write`: the text piece by piece."""
    if not writes(run):
        raise UserError(
            f"{run.path} writes nothing ({run.recipe.name}): a prompt needs the run of a language "
            "model, such as 'gradlab train char_lm'"
        )
    for name, value, least in (("temperature", temperature, 0), ("top_k", top_k, 0)):
        if not value >= least:
            raise UserError(f"--{name}: expected at least {least}, found {value}")
    if length < 1:
        raise UserError(f"--length: expected at least 1, found {length}")
    return Writer(run, prompt, temperature, top_k, length, seed)


def check_out(path: str | os.PathLike[str]) -> None:
    """UserError for a kind of file that a text is not written into."""
    if Path(path).suffix.lower() != ".txt":
        raise UserError(f"--out: a text is written into a .txt file, found {str(path)!r}")
