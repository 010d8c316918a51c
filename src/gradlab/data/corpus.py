"""A corpus: words of many texts one after the other, read once and kept as numbers on the disk.

Text comes in blocks, so neither a corpus nor one of its lines has to fit into memory. A line ends
a text, as in word2vec.c; in a file whose paragraphs are set apart by empty lines, these do. A word
is what the tokens of the recipe say, without signs that are no words.
"""

from __future__ import annotations

import codecs
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from gradlab.config import TokensConfig
from gradlab.data.dataset import Schema, fingerprint_of
from gradlab.data.fields.text import Word
from gradlab.data.tokens import FIRST, Tokens
from gradlab.errors import UserError
from gradlab.text import brief
from gradlab.wording import counted

END = -1
"""Where a text ends, among the numbers of words."""
BLOCK = 1 << 20
"""Bytes that are read at a time."""
HEAD = 1 << 16
"""Bytes by which it is seen whether empty lines set paragraphs apart."""
THRESHOLD = 100.0
"""The score from which two words are a phrase (word2phrase)."""

_STOP = "\x00"
_WORDS = re.compile(r"\w+(?:['\u2019]\w+)*|\x00")
_EMPTY_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")
_AT_ONCE = 1 << 22
"""Numbers that are looked at together."""
_LOST = -2


@dataclass(frozen=True)
class Corpus:
    """Numbers of words, int32 M with `END` between texts, and how often each occurs (int64 V).

    It stands where a dataset does: its schema has one field, a word.
    """

    name: str
    schema: Schema
    tokens: np.ndarray
    counts: np.ndarray
    fingerprint: str
    notes: tuple[str, ...] = ()

    @property
    def words(self) -> int:
        """How many there are in all."""
        return int(self.counts.sum())

    def describe(self) -> dict[str, Any]:
        """What a run records of it."""
        counts = {"words": self.words}
        return {"name": self.name, "fingerprint": self.fingerprint, "counts": counts}


def corpus(
    name: str, texts: Iterable[tuple[str, BinaryIO]], config: TokensConfig, encoding: str,
    phrases: int = 0,
) -> Corpus:  # fmt: skip
    """The corpus of texts as they come, each with what it is called.

    `phrases`: so many times, neighbours that stand together far more often than by chance become
    one word. UserError when nothing is left, or a text is not of this encoding.
    """
    if config.name not in ("word", "space"):
        raise UserError(
            f"data.tokens: word vectors are of words: expected word or space, found {config.name}"
        )
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    assert numbers[_STOP] == 0
    found = _Spooled()
    for label, stream in texts:
        for block in _blocks(label, stream, encoding):
            text = block.lower() if config.lower else block
            cut = text.replace(_STOP, f" {_STOP} ").split() if config.name == "space" else None
            found.add(list(map(numbers.__getitem__, cut or _WORDS.findall(text))))
        found.add([0])
    words = list(numbers)
    raw = found.mapped()
    for _ in range(phrases):
        raw, words = _phrases(raw, words, config.minimum)
    return _corpus(name, raw, words, config, phrases)


def _corpus(
    name: str, raw: np.ndarray, words: list[str], config: TokensConfig, phrases: int
) -> Corpus:
    """With the words that are kept, the most frequent first; all others are left out."""
    counts = np.zeros(len(words), np.int64)
    for part in _parts(raw):
        counts += np.bincount(part, minlength=len(words))
    total = int(counts[1:].sum())
    if not total:
        raise UserError(f"{name}: there is no word in it")
    counts[0] = 0
    enough = [number for number in np.flatnonzero(counts >= config.minimum).tolist() if number]
    enough.sort(key=lambda number: (-counts[number], words[number]))
    chosen = np.array(enough[: config.most], np.int64)
    if len(chosen) < 2:
        raise UserError(
            f"{name}: expected two words or more that occur {config.minimum} times, found "
            f"{len(chosen)} among {counted(total, 'word')}: give more text, or a smaller "
            "--data.tokens.minimum"
        )
    number_of = np.full(len(words), _LOST, np.int32)
    number_of[chosen] = np.arange(len(chosen)) + FIRST
    number_of[0] = END
    kept = _Spooled()
    for part in _parts(raw):
        mapped = number_of[part]
        kept.add(mapped[mapped != _LOST])
    tokens = kept.mapped()
    vocabulary = tuple(words[number] for number in chosen.tolist())
    field = Word(tokens=Tokens(by=config.name, lower=config.lower, vocabulary=vocabulary))
    schema = Schema(inputs={"word": field})
    kept_counts = np.concatenate([np.zeros(FIRST, np.int64), counts[chosen]])
    said = [
        f"corpus: {total:,} words, {len(chosen):,} different ones that occur {config.minimum} "
        f"times or more ({kept_counts.sum() / total:.1%} of the text)"
    ]
    if phrases:
        joined = [word for word in vocabulary if "_" in word]
        said.append(f"phrases: {len(joined):,}, such as {', '.join(joined[:5]) or 'none'}")
    mark = fingerprint_of(schema, _parts(tokens))
    return Corpus(name, schema, tokens, kept_counts, mark, tuple(said))


class _Spooled:
    """Numbers added one after the other, in a file that vanishes with its last user."""

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115
        self.count = 0

    def add(self, numbers: Any) -> None:
        made = np.asarray(numbers, np.int32)
        self.file.write(made.tobytes())
        self.count += len(made)

    def mapped(self) -> np.ndarray:
        """All of them, read from the disk where they are looked at."""
        self.file.flush()
        if not self.count:
            return np.empty(0, np.int32)
        return np.memmap(self.file, np.int32, "r", shape=(self.count,))


def _parts(numbers: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(numbers), _AT_ONCE):
        yield numbers[start : start + _AT_ONCE]


def _blocks(name: str, stream: BinaryIO, encoding: str) -> Iterator[str]:
    """The text of a file, cut between words, with `_STOP` where a text ends."""
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError:
        raise UserError(
            f"--data.encoding: {brief(encoding)} is no encoding that is known"
        ) from None
    read, rest, paragraphs = 0, "", None
    while True:
        data = stream.read(HEAD if paragraphs is None else BLOCK)
        try:
            text = rest + decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            place = read - (len(error.object) - len(data)) + error.start
            raise UserError(
                f"{name}: byte {place} (0x{error.object[error.start]:02x}) is no "
                f"{encoding.upper()}: save the file as UTF-8, or name its encoding "
                "(--data.encoding latin-1)"
            ) from None
        read += len(data)
        text = text.replace("\r\n", "\n")
        if paragraphs is None:
            lines = text.count("\n") + 1
            paragraphs = len(_EMPTY_LINES.findall(text)) > 0.01 * lines
        if data:
            cut = max(text.rfind("\n"), text.rfind(" ")) + 1
            # An empty line is not cut in two, nor a word; one without an end is.
            cut = len(text[:cut].rstrip()) if paragraphs else cut
            cut = cut or (len(text) if len(text) > 4 * BLOCK else 0)
            text, rest = text[:cut], text[cut:]
        yield _EMPTY_LINES.sub(_STOP, text) if paragraphs else text.replace("\n", _STOP)
        if not data:
            return


def _phrases(raw: np.ndarray, words: list[str], minimum: int) -> tuple[np.ndarray, list[str]]:
    """Neighbours that are phrases as one word each, from left to right.

    score = (count of both - minimum) * words / (count of one * count of the other)
    (Mikolov et al. 2013, "Distributed representations of words and phrases", section 4).
    """
    size = len(words)
    counts = np.zeros(size, np.int64)
    keys, times = np.empty(0, np.int64), np.empty(0, np.int64)
    for part in _parts(raw):
        counts += np.bincount(part, minlength=size)
    for part in _parts(raw):
        pairs = _pairs(part, size)
        first, second = np.divmod(pairs, size)
        usual = (first > 0) & (second > 0) & (np.minimum(counts[first], counts[second]) >= minimum)
        new, often = np.unique(pairs[usual], return_counts=True)
        keys, place = np.unique(np.concatenate([keys, new]), return_inverse=True)
        times = np.bincount(place, np.concatenate([times, often]), len(keys)).astype(np.int64)
    first, second = np.divmod(keys, size)
    total = counts[1:].sum()
    score = (times - minimum) * (total / np.maximum(counts[first] * counts[second], 1))
    phrases = keys[score > THRESHOLD]
    kept = _Spooled()
    for part in _parts(raw):
        place = np.searchsorted(phrases, pairs := _pairs(part, size))
        hit = (
            np.flatnonzero(phrases[place.clip(max=len(phrases) - 1)] == pairs)
            if len(phrases)
            else np.empty(0, np.int64)
        )
        # Of hits in a row every second one: a word is of one phrase only.
        start = np.flatnonzero(np.diff(hit, prepend=-2) != 1)
        since = hit - np.repeat(hit[start], np.diff(start, append=len(hit)))
        hit = hit[since % 2 == 0]
        made = part.astype(np.int32)
        made[hit] = size + place[hit]
        kept.add(np.delete(made, hit + 1))
    first, second = np.divmod(phrases, size)
    joined = [
        f"{words[a]}_{words[b]}" for a, b in zip(first.tolist(), second.tolist(), strict=True)
    ]
    return kept.mapped(), words + joined


def _pairs(part: np.ndarray, size: int) -> np.ndarray:
    """A number for each word and the one after it."""
    found: np.ndarray = part[:-1].astype(np.int64) * size + part[1:]
    return found
