"""Texts: tokens as numbers, ragged int32 as they are kept; and one long text, token by token."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field as Described
from torch import Tensor

from gradlab.data.augment import Draws
from gradlab.data.columns import Dense, DenseTensor, Listed, Ragged, RaggedTensor, Rows
from gradlab.data.columns import padded as filled
from gradlab.data.fields import fields
from gradlab.data.fields.base import Checked, Field, Inputs, Issue, Skipped
from gradlab.data.tokens import FIRST, PAD, UNKNOWN, Tokens
from gradlab.errors import UserError
from gradlab.text import brief
from gradlab.wording import counted, shown

SHOWN = 60
"""Tokens of a text that are shown."""
NEAR = 50_000
"""Words, the most frequent ones, among which those near an unknown one are looked for."""


class _Written(Field):
    """What fields of text share: a vocabulary, learnt from the training split."""

    tokens: Tokens = Described(Tokens(), description="how text becomes numbers")

    @property
    def shape(self) -> tuple[int, int]:
        """T V; T 0: any length."""
        return 0, self.tokens.size

    @property
    def notes(self) -> tuple[str, ...]:
        """The size of the vocabulary."""
        tokens = self.tokens
        return (f"text: a vocabulary of {counted(len(tokens.vocabulary), tokens.unit)}",)

    def fit(self, raw: Listed) -> Any:
        """With the vocabulary of the training split; one that was given is kept."""
        if self.tokens.vocabulary:
            return self
        return self.model_copy(update={"tokens": self.tokens.learn(raw)})

    def show(self, value: Any) -> str:
        """The text again, its first tokens."""
        numbers = np.asarray(value).reshape(-1)
        more = " ..." if len(numbers) > SHOWN else ""
        return self.tokens.decode(numbers[:SHOWN]) + more

    def example(self) -> Tensor:
        """1 T of eight tokens."""
        return torch.full((1, 8), UNKNOWN)

    def _texts(self, items: Sequence[Any]) -> tuple[list[str], tuple[str, ...]]:
        """A person's texts, and their names: texts themselves, or .txt files of one each."""
        texts, names = [], []
        for number, item in enumerate(items, 1):
            if not isinstance(item, str | Path) or not str(item).strip():
                raise UserError(f"input {number}: expected a text or a .txt file, found {item!r}")
            is_file = str(item).lower().endswith(".txt") and len(str(item)) < 1000
            text = read_text(Path(item)) if is_file else str(item)
            if not text.strip():
                raise UserError(f"{item}: the text is empty")
            texts.append(text)
            names.append(str(item) if is_file else "")
        if not texts:
            raise UserError("there is nothing to predict: expected at least one text")
        return texts, tuple(names)


@fields.register("text")
class Text(_Written):
    """A text for each example; a batch is filled up with 0: N T."""

    type: Literal["text"] = "text"
    longest: int = Described(0, ge=0, description="tokens that are kept of a text (0: all)")

    def encode(self, raw: Listed) -> Ragged:
        """Numbers, ragged int32."""
        encode = self.tokens.encoder()
        numbers = [encode(text) for text in raw]
        most = self.longest or None
        return Ragged.of([one[:most] for one in numbers], np.int32)

    def batch(self, column: RaggedTensor, rows: Rows, draws: Draws | None) -> Tensor:
        """int64 N T."""
        values, lengths = column.gather(rows)
        return filled(values.long(), lengths, fill=PAD)

    def read(self, items: Sequence[Any]) -> Inputs:
        """Texts, or .txt files of one each."""
        texts, names = self._texts(items)
        column = self.encode(Listed(texts))
        unknown = [n for n, one in enumerate(column, 1) if len(one) and (one == UNKNOWN).all()]
        notes = [
            f"{names[n - 1] or f'input {n}'}: none of its words is known to the network"
            for n in unknown
        ]
        return Inputs(Ragged(column.values, column.offsets, notes=tuple(notes)), names)

    def issues(self, raw: Mapping[str, Any]) -> Checked:
        """How long the texts are, and those that are empty."""
        lengths = {name: [len(text.split()) for text in column] for name, column in raw.items()}
        empty = [
            f"{name}: example {place + 1}"
            for name, counts in lengths.items()
            for place, count in enumerate(counts)
            if not count
        ]
        known = np.concatenate([np.asarray(counts) for counts in lengths.values()])
        facts = {
            "words": int(known.sum()),
            "longest": int(known.max(initial=0)),
            "median": float(np.median(known)) if len(known) else 0.0,
            "empty_texts": len(empty),
        }
        what = f"empty texts: {len(empty)}"
        return Checked(facts, (Issue("warning", what, shown(empty)),) if empty else ())


@fields.register("stream")
class Stream(_Written):
    """One long text: every token is an example, and examples are asked for in windows."""

    type: Literal["stream"] = "stream"

    def encode(self, raw: Listed) -> Dense:
        """All tokens one after the other, int32 M."""
        numbers = [self.tokens.encode(text) for text in raw]
        return Dense(np.concatenate([np.empty(0, np.int32), *numbers]))

    def batch(self, column: DenseTensor, rows: Rows, draws: Draws | None) -> Tensor:
        """int64, in the shape of `rows`."""
        return column.gather(rows).long()

    def read(self, items: Sequence[Any]) -> Inputs:
        """Texts, or .txt files of one each, for what a network says of them."""
        texts, names = self._texts(items)
        return Inputs(Ragged.of([self.tokens.encode(text) for text in texts], np.int32), names)

    def issues(self, raw: Mapping[str, Any]) -> Checked:
        """How long it is, and what the training split does not have."""
        tokens = self.tokens if self.tokens.vocabulary else self.tokens.learn(raw["train"])
        facts: dict[str, Any] = {"vocabulary": len(tokens.vocabulary)}
        for name, column in raw.items():
            numbers = np.concatenate([tokens.encode(text) for text in column])
            facts[f"{name}_tokens"] = len(numbers)
            facts[f"{name}_unknown"] = int((numbers == UNKNOWN).sum())
        return Checked(facts)


@fields.register("word")
class Word(_Written):
    """One word of a vocabulary, kept as its number."""

    type: Literal["word"] = "word"

    @property
    def shape(self) -> tuple[int, int]:
        """T V: one word of so many."""
        return 1, self.tokens.size

    def encode(self, raw: Listed) -> Dense:
        """Numbers, int32 N."""
        return Dense(np.array([self.tokens.number(self._cased(word)) for word in raw], np.int32))

    def batch(self, column: DenseTensor, rows: Rows, draws: Draws | None) -> Tensor:
        """int64 N."""
        return column.gather(rows).long()

    def read(self, items: Sequence[Any]) -> Inputs:
        """Words; one that is not known is skipped, and the nearest known ones are named."""
        known: list[str] = []
        skipped: list[Skipped] = []
        for place, item in enumerate(items):
            if not isinstance(item, str):
                raise UserError(f"input {place + 1}: expected a word, found {brief(item)}")
            word = item.strip()
            if self.tokens.number(self._cased(word)) != UNKNOWN:
                known.append(word)
            else:
                skipped.append(Skipped(word, self.missing(word), place))
        return Inputs(self.encode(Listed(known)), ("",) * len(known), tuple(skipped))

    def missing(self, word: str) -> str:
        """What is said of a word that is not known."""
        near = difflib.get_close_matches(self._cased(word), self.tokens.vocabulary[:NEAR], 3)
        hint = f" (near it: {', '.join(near)})" if near else ""
        return f"the word {brief(word)} is not in the vocabulary{hint}"

    def show(self, value: Any) -> str:
        """The word."""
        return self.tokens.name(int(value))

    def example(self) -> Tensor:
        """One word."""
        return torch.tensor([FIRST])

    def issues(self, raw: Mapping[str, Any]) -> Checked:
        """How many there are."""
        return Checked({f"{name}_words": len(column) for name, column in raw.items()})

    def _cased(self, word: str) -> str:
        return word.lower() if self.tokens.lower else word


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """A file's text; UserError names the first byte that is not of this encoding."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}: byte {error.start} (0x{data[error.start]:02x}, line {line}) is no "
            f"{encoding.upper()}: save the file as UTF-8, or name its encoding "
            "(--data.encoding latin-1)"
        ) from None
    except LookupError:
        raise UserError(
            f"--data.encoding: {brief(encoding)} is no encoding that is known"
        ) from None
