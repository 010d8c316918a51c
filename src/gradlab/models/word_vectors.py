"""Vectors of words as a thing of their own: asked, read from files and written to them.

The text and binary formats are those of word2vec.c, which other programs read too; .npz holds
`words` and `vectors`.
"""

from __future__ import annotations

import difflib
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gradlab import files, paths
from gradlab.errors import UserError
from gradlab.text import brief

NEAR = 50_000
"""Words, the most frequent ones, among which those near an unknown one are looked for."""
KINDS = ".txt or .vec (text), .bin (binary), .npz"


@dataclass(frozen=True)
class WordVectors:
    """Words, the most frequent first, and a vector for each, float32 V E.

    >>> known = WordVectors(("a", "b", "c"), np.array([[1, 0], [1, 0.1], [0, 1]], np.float32))
    >>> known.similar("a", 1)[0][0], known.odd(["a", "b", "c"])[0][0]
    ('b', 'c')
    """

    words: tuple[str, ...]
    vectors: np.ndarray = field(repr=False)

    @cached_property
    def number(self) -> dict[str, int]:
        """Of each word."""
        return {word: number for number, word in enumerate(self.words)}

    @cached_property
    def directions(self) -> np.ndarray:
        """The vectors in length 1; one without a length stays as it is."""
        lengths = np.linalg.norm(self.vectors, axis=1, keepdims=True)
        found: np.ndarray = self.vectors / np.where(lengths > 0, lengths, 1)
        return found

    def place(self, word: str) -> int:
        """The number of a word, as it is written or in small letters; UserError where unknown."""
        found = self.number.get(word, self.number.get(word.lower()))
        if found is None:
            near = difflib.get_close_matches(word.lower()[:50], self.words[:NEAR], 3)
            hint = f"; near it: {', '.join(near)}" if near else ""
            raise UserError(f"the word {brief(word)} is not in the vocabulary{hint}")
        return found

    def similar(self, word: str, count: int = 10) -> list[tuple[str, float]]:
        """The words whose vectors point most nearly where its own does, and the cosines."""
        place = self.place(word)
        return self.nearest(self.directions[place], count, (place,))

    def analogy(self, a: str, b: str, c: str, count: int = 10) -> list[tuple[str, float]]:
        """What is to c as b is to a: the words nearest to b - a + c."""
        places = [self.place(word) for word in (a, b, c)]
        first, second, third = self.directions[places]
        return self.nearest(second - first + third, count, places)

    def odd(self, words: Sequence[str]) -> list[tuple[str, float]]:
        """Words and their cosines with the mean of all, the least alike first.

        UserError for fewer than three.
        """
        if len(words) < 3:
            raise UserError(f"odd: expected three words or more, found {len(words)}")
        found = self.directions[[self.place(word) for word in words]]
        middle = found.mean(0)
        cosines = found @ (middle / max(float(np.linalg.norm(middle)), 1e-12))
        return sorted(zip(words, cosines.tolist(), strict=True), key=lambda pair: pair[1])

    def nearest(
        self, direction: np.ndarray, count: int, without: Sequence[int] = ()
    ) -> list[tuple[str, float]]:
        """The words nearest to a direction, and their cosines."""
        length = float(np.linalg.norm(direction)) or 1.0
        cosines = self.directions @ (direction / length)
        cosines[list(without)] = -np.inf
        count = min(count, len(cosines) - len(set(without)))
        if count < 1:
            return []
        chosen = np.argpartition(-cosines, count - 1)[:count]
        order = sorted(chosen.tolist(), key=lambda number: (-cosines[number], number))
        return [(self.words[number], float(cosines[number])) for number in order]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all of them, as the file's ending says."""
        place = check_out(path)
        if place.suffix.lower() == ".npz":
            with files.writing(place) as stream:
                np.savez(stream, words=np.array(self.words), vectors=self.vectors)
            return
        binary = place.suffix.lower() == ".bin"
        with files.writing(place) as stream:
            stream.write(f"{len(self.words)} {self.vectors.shape[1]}\n".encode())
            for word, vector in zip(self.words, self.vectors.astype("<f4"), strict=True):
                written = word.replace(" ", "_").encode()
                if binary:
                    stream.write(written + b" " + vector.tobytes() + b"\n")
                else:
                    numbers = " ".join(repr(float(value)) for value in vector.astype(np.float32))
                    stream.write(written + b" " + numbers.encode() + b"\n")


def check_out(path: str | os.PathLike[str]) -> Path:
    """The path; UserError for a kind of file that vectors are not written as."""
    place = Path(path)
    if place.suffix.lower() not in (".txt", ".vec", ".bin", ".npz"):
        raise UserError(f"--out: vectors are written as {KINDS}, found {os.fspath(path)!r}")
    return place


def read(path: str | os.PathLike[str]) -> WordVectors:
    """Vectors from a file of any of the formats; UserError says where it is broken."""
    place = paths.given(path, "vectors")
    if not place.is_file():
        raise UserError(f"{place} is no file: expected vectors as {KINDS}")
    kind = place.suffix.lower()
    if kind == ".npz":
        return _read_arrays(place)
    if kind not in (".txt", ".vec", ".bin"):
        raise UserError(f"{place}: expected vectors as {KINDS}")
    with place.open("rb") as stream:
        words, vectors = (_read_binary if kind == ".bin" else _read_text)(stream, place)
    if len(set(words)) != len(words):
        twice = next(word for number, word in enumerate(words) if word in words[:number])
        raise UserError(f"{place}: the word {brief(twice)} stands there twice")
    return WordVectors(tuple(words), vectors)


def _read_arrays(path: Path) -> WordVectors:
    try:
        with np.load(path, allow_pickle=False) as found:
            words, vectors = found["words"], found["vectors"]
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: expected arrays 'words' and 'vectors' in a .npz file: {error}"
        ) from None
    if vectors.ndim != 2 or len(words) != len(vectors):
        raise UserError(
            f"{path}: expected a vector for each word, found words {words.shape} and vectors "
            f"{vectors.shape}"
        )
    return WordVectors(tuple(map(str, words.tolist())), vectors.astype(np.float32))


def _head(stream: BinaryIO, path: Path) -> tuple[int, int]:
    line = stream.readline(200)
    try:
        count, size = map(int, line.split())
    except ValueError:
        raise UserError(
            f"{path}: expected a first line with the number of words and the size of a vector, "
            f"found {brief(line.decode('utf-8', 'replace').strip())}"
        ) from None
    if count < 1 or size < 1:
        raise UserError(f"{path}: expected words and a size above 0, found {count} and {size}")
    return count, size


def _truncated(path: Path, count: int, found: int) -> UserError:
    return UserError(
        f"{path} is not whole: its first line promises {count:,} words, it ends in word "
        f"{found + 1:,}: fetch or write it anew"
    )


def _read_binary(stream: BinaryIO, path: Path) -> tuple[list[str], np.ndarray]:
    count, size = _head(stream, path)
    rest = path.stat().st_size - stream.tell()
    if rest < count * (4 * size + 2):
        found = rest // (4 * size + 2)
        raise _truncated(path, count, found)
    vectors, words = np.empty((count, size), np.float32), []
    for number in range(count):
        word = bytearray()
        while (letter := stream.read(1)) != b" ":
            if not letter:
                raise _truncated(path, count, number)
            if letter != b"\n":
                word += letter
        data = stream.read(4 * size)
        if len(data) < 4 * size:
            raise _truncated(path, count, number)
        vectors[number] = np.frombuffer(data, "<f4")
        words.append(_decoded(bytes(word), path, number))
    return words, vectors


def _read_text(stream: BinaryIO, path: Path) -> tuple[list[str], np.ndarray]:
    count, size = _head(stream, path)
    if path.stat().st_size < count * size * 2:
        found = sum(1 for line in stream if line.strip())
        raise _truncated(path, count, max(found - 1, 0))
    vectors, words = np.empty((count, size), np.float32), []
    for number, line in enumerate(_lines(stream)):
        if number == count:
            raise UserError(f"{path}: more than the {count:,} words that its first line promises")
        word, *numbers = line.rstrip().split(b" ")
        if len(numbers) != size:
            if len(numbers) < size and not line.endswith(b"\n"):
                raise _truncated(path, count, number)
            raise UserError(
                f"{path}, line {number + 2}: expected a word and {size} numbers, found "
                f"{len(numbers)} numbers"
            )
        try:
            vectors[number] = np.array(numbers, dtype=np.float64)
        except ValueError:
            raise UserError(f"{path}, line {number + 2}: a value is no number") from None
        words.append(_decoded(word, path, number))
    if len(words) < count:
        raise _truncated(path, count, len(words))
    return words, vectors


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    return (line for line in stream if line.strip())


def _decoded(word: bytes, path: Path, number: int) -> str:
    try:
        return word.decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path}: word {number + 1:,} is no UTF-8") from None


Pairs = Sequence[tuple[str, str, float]]
Questions = dict[str, list[tuple[str, str, str, str]]]


@dataclass(frozen=True)
class Analogies:
    """How many analogies of a section are known, how many of these are right."""

    section: str
    right: int
    known: int
    total: int

    @property
    def accuracy(self) -> float:
        """Of those whose words are all known; NaN where none is."""
        return self.right / self.known if self.known else float("nan")


def analogies(vectors: WordVectors, questions: Questions, most: int = 300_000) -> list[Analogies]:
    """Whether b - a + c lies nearest to d, section by section.

    Only the `most` frequent words are looked at, and capitals do not count (as in word2vec.c).
    """
    words = [word.lower() for word in vectors.words[:most]]
    number: dict[str, int] = {}
    for place, word in enumerate(words):
        number.setdefault(word, place)
    directions = vectors.directions[:most]
    found = []
    for section, rows in questions.items():
        known = np.array(
            [
                [number[word.lower()] for word in row]
                for row in rows
                if all(word.lower() in number for word in row)
            ],
            np.int64,
        ).reshape(-1, 4)
        right = 0
        for start in range(0, len(known), 256):
            a, b, c, d = known[start : start + 256].T
            cosines = (directions[b] - directions[a] + directions[c]) @ directions.T
            rows_of = np.arange(len(a))
            for given in (a, b, c):
                cosines[rows_of, given] = -np.inf
            right += int((cosines.argmax(1) == d).sum())
        found.append(Analogies(section, right, len(known), len(rows)))
    return found


def spearman(vectors: WordVectors, pairs: Pairs) -> tuple[float, int]:
    """How well cosines rank pairs of words as people do, -1 to 1; and how many are known."""
    from scipy.stats import spearmanr

    known = {word.lower(): place for place, word in reversed(list(enumerate(vectors.words)))}
    rows: list[Any] = [
        (known[a.lower()], known[b.lower()], value)
        for a, b, value in pairs
        if a.lower() in known and b.lower() in known
    ]
    if len(rows) < 3:
        return float("nan"), len(rows)
    first, second, said = (np.array(column) for column in zip(*rows, strict=True))
    cosines = (vectors.directions[first] * vectors.directions[second]).sum(1)
    return float(spearmanr(cosines, said).statistic), len(rows)
