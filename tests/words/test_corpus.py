"""A corpus read in blocks from files, folders and archives."""

from __future__ import annotations

import gzip
import io
import lzma
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gradlab.config import DataConfig, TokensConfig
from gradlab.data import corpus as reading
from gradlab.data.corpus import END, Corpus
from gradlab.data.sources.corpora import corpus_source
from gradlab.errors import UserError

SONNETS = Path(__file__).parents[1] / "texts" / "sonnets.txt"


def read(path: object, phrases: int = 0, **fields: object) -> Corpus:
    tokens = TokensConfig(lower=True, **{"minimum": 1, **fields.pop("tokens", {})})  # type: ignore[dict-item]
    return corpus_source(DataConfig(name=str(path), tokens=tokens, **fields), phrases)  # type: ignore[arg-type]


def texts(corpus: Corpus) -> list[list[str]]:
    """The words again, text by text."""
    tokens = corpus.schema.inputs["word"].tokens  # type: ignore[attr-defined]
    cut = np.split(corpus.tokens, np.flatnonzero(corpus.tokens == END))
    found = [[tokens.vocabulary[n - 2] for n in part if n != END] for part in cut]
    return [part for part in found if part]


@pytest.mark.parametrize("end", ["\n", "\n\n"])
def test_words_and_texts_are_those_of_the_file(end, tmp_path):
    """Lines, or paragraphs where there are any."""
    path = tmp_path / "x.txt"
    path.write_text(SONNETS.read_text("utf-8").replace("\n\n", end), "utf-8")
    lines = path.read_text("utf-8").lower().split(end)
    expected = [re.findall(r"\w+(?:['\u2019]\w+)*", line) for line in lines]
    corpus = read(path)
    assert texts(corpus) == [line for line in expected if line]
    assert corpus.words == sum(map(len, expected))
    counts = np.bincount(corpus.tokens[corpus.tokens != END], minlength=len(corpus.counts))
    assert np.array_equal(counts, corpus.counts)
    assert np.all(np.diff(corpus.counts[2:]) <= 0), "the most frequent ones come first"


def test_a_file_is_read_the_same_in_small_blocks(monkeypatch, tmp_path):
    """Words, lines, empty lines and letters of several bytes are not cut in two."""
    path = tmp_path / "long.txt"
    text = ("l\u00e9on went to \u4e2d\u6587 and it's\nfine\n\n" * 50 + "one line without end ") * 20
    path.write_text(text, "utf-8")
    whole = texts(read(path))
    monkeypatch.setattr(reading, "HEAD", 1000)
    for size in (7, 16, 61):
        monkeypatch.setattr(reading, "BLOCK", size)
        assert texts(read(path)) == whole


def test_empty_lines_end_texts_where_there_are_some(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("It was the best\nof times.\r\n\r\nIt was\nthe worst.\n \n\nEnd", "utf-8")
    assert texts(read(path)) == [
        ["it", "was", "the", "best", "of", "times"], ["it", "was", "the", "worst"], ["end"],
    ]  # fmt: skip


def test_one_long_line_is_read_and_kept_on_the_disk(tmp_path):
    path = tmp_path / "line.txt"
    path.write_text("some words again and again " * 80_000, "utf-8")  # 2 MB: several blocks
    corpus = read(path)
    assert corpus.words == 400_000 and len(texts(corpus)) == 1
    assert isinstance(corpus.tokens, np.memmap)


def packed(folder: Path, kind: str) -> Path:
    data = SONNETS.read_bytes()
    path = folder / f"x{kind}"
    if kind == ".txt.gz":
        path.write_bytes(gzip.compress(data))
    elif kind == ".txt.xz":
        path.write_bytes(lzma.compress(data))
    elif kind == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/b.txt", data)
            archive.writestr("a/picture.png", b"no text")
    elif kind.startswith(".tar"):
        with tarfile.open(path, f"w:{kind.removeprefix('.tar').strip('.')}") as archive:
            for name, content in (("a/b.txt", data), ("a/README", b"no text")):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    else:
        path = folder / "texts"
        path.mkdir()
        (path / "b.txt").write_bytes(data)
        (path / "other.md").write_bytes(b"no text")
    return path


@pytest.mark.parametrize("kind", [".txt.gz", ".txt.xz", ".zip", ".tar", ".tar.xz", ".tar.gz", ""])
def test_packed_texts_are_the_same(kind, tmp_path):
    assert texts(read(packed(tmp_path, kind))) == texts(read(SONNETS))


def test_a_column_of_a_table(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text('stars,review\n5,"good, very good"\n1,bad\n2,\n', "utf-8")
    assert texts(read(path, text="review")) == [["good", "very", "good"], ["bad"]]
    path.write_text("review\ncaf\u00e9 \U0001f600 \u4e2d\nnothing\n", "utf-8")
    assert texts(read(path, text="review", encoding="latin-1"))[0] == ["caf\u00e9", "\u4e2d"]
    path.write_text("stars,review\n5,good\n1,bad\n", "utf-8")
    with pytest.raises(UserError, match=r"--data.text NAME. Columns: stars, review"):
        read(path)


def test_rare_words_are_left_out_and_counted():
    corpus = read(SONNETS, tokens={"minimum": 3})
    assert corpus.counts[2:].min() >= 3
    assert f"{corpus.words / read(SONNETS).words:.1%}" in corpus.notes[0]


def test_neighbours_that_belong_together_become_a_phrase(tmp_path):
    generator = np.random.default_rng(0)
    words = [f"w{n}" for n in generator.integers(300, size=20_000)]
    for place in range(0, 20_000, 400):
        words[place : place + 3] = ["new", "york", "times"]
    path = tmp_path / "news.txt"
    path.write_text(" ".join(words), "utf-8")
    once = read(path, 1, tokens={"minimum": 5})
    assert once.schema.inputs["word"].tokens.number("new_york") > 1  # type: ignore[attr-defined]
    twice = read(path, 2, tokens={"minimum": 5})
    vocabulary = twice.schema.inputs["word"].tokens.vocabulary  # type: ignore[attr-defined]
    assert [word for word in vocabulary if "_" in word] == ["new_york_times"]
    assert twice.counts[vocabulary.index("new_york_times") + 2] == 50
    assert once.words == 20_000 - 50 and twice.words == 20_000 - 100
    assert "new_york_times" in twice.notes[-1]


def test_another_text_has_another_fingerprint(tmp_path):
    (tmp_path / "a.txt").write_text("one two three", "utf-8")
    (tmp_path / "b.txt").write_text("one three two", "utf-8")
    marks = [read(tmp_path / f"{name}.txt").fingerprint for name in "aab"]
    assert marks[0] == marks[1] != marks[2]


def test_what_cannot_be_read_is_named(tmp_path):
    latin = tmp_path / "latin.txt"
    latin.write_bytes(b"caf" + b"\xe9 au lait\n")
    with pytest.raises(UserError, match=r"latin.txt: byte 3 \(0xe9\) is no UTF-8.*latin-1"):
        read(latin)
    assert texts(read(latin, encoding="latin-1")) == [["caf\u00e9", "au", "lait"]]
    with pytest.raises(UserError, match="no encoding that is known"):
        read(latin, encoding="nonsense")
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n... !\n", "utf-8")
    with pytest.raises(UserError, match="there is no word in it"):
        read(empty)
    one = tmp_path / "one.txt"
    one.write_text("again again again", "utf-8")
    with pytest.raises(UserError, match=r"two words or more.*found 1 among 3 words"):
        read(one)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="holds no text"):
        read(tmp_path / "folder")
    with pytest.raises(UserError, match=r"neither a path that exists nor a named set.*imdb"):
        read("nowhere")
    broken = tmp_path / "broken.tar.xz"
    broken.write_bytes(packed(tmp_path, ".tar.xz").read_bytes()[:200])
    with pytest.raises(UserError, match="damaged"):
        read(broken)
    with pytest.raises(UserError, match=r"expected word or space, found bpe"):
        read(SONNETS, tokens={"name": "bpe"})
