"""Files of vectors: written, read by us and by gensim, and broken ones refused."""

from __future__ import annotations

import numpy as np
import pytest

from gradlab.errors import UserError
from gradlab.models.word_vectors import WordVectors, analogies, read, spearman

RNG = np.random.default_rng(0)
KNOWN = WordVectors(
    ("the", "caf\u00e9", "new_york", "it's", "\u4e2d"), RNG.normal(size=(5, 7)).astype(np.float32)
)
KINDS = (".txt", ".vec", ".bin", ".npz")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read_again_bit_for_bit(kind, tmp_path):
    KNOWN.save(tmp_path / f"x{kind}")
    again = read(tmp_path / f"x{kind}")
    assert again.words == KNOWN.words
    assert np.array_equal(again.vectors, KNOWN.vectors)


@pytest.mark.parametrize("kind", [".txt", ".bin"])
def test_gensim_reads_what_we_write_and_we_what_it_writes(kind, tmp_path):
    models = pytest.importorskip("gensim.models")
    KNOWN.save(tmp_path / f"ours{kind}")
    loaded = models.KeyedVectors.load_word2vec_format(
        tmp_path / f"ours{kind}", binary=kind == ".bin"
    )
    assert loaded.index_to_key == list(KNOWN.words)
    assert np.array_equal(loaded.vectors, KNOWN.vectors)
    loaded.save_word2vec_format(str(tmp_path / f"theirs{kind}"), binary=kind == ".bin")
    theirs = read(tmp_path / f"theirs{kind}")
    assert theirs.words == KNOWN.words and np.allclose(theirs.vectors, KNOWN.vectors, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_is_refused(kind, tmp_path):
    path = tmp_path / f"x{kind}"
    KNOWN.save(path)
    data = path.read_bytes()
    for share in (0.3, 0.6, 0.9):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(UserError, match=r"not whole: .*promises 5 words|'words' and 'vectors'"):
            read(path)


def test_other_broken_files_are_named_with_their_line(tmp_path):
    path = tmp_path / "x.txt"
    for text, said in (
        ("hello world\n", "expected a first line with the number of words"),
        ("1 2\na 1 2 3\n", "line 2: expected a word and 2 numbers, found 3"),
        ("2 2\na 1 2\nb 1 x\n", "line 3: a value is no number"),
        ("1 2\na 1 2\nb 1 2\n", "more than the 1 words"),
        ("2 2\na 1 2\na 1 2\n", "the word 'a' stands there twice"),
    ):
        path.write_text(text, "utf-8")
        with pytest.raises(UserError, match=said):
            read(path)
    with pytest.raises(UserError, match="is no file"):
        read(tmp_path / "none.bin")


def test_questions_as_gensim_answers_them(tmp_path):
    models = pytest.importorskip("gensim.models")
    words = [f"w{n}" for n in range(60)]
    vectors = RNG.normal(size=(60, 10)).astype(np.float32)
    ours, theirs = WordVectors(tuple(words), vectors), models.KeyedVectors(10)
    theirs.add_vectors(words, vectors)
    found, expected = ours.similar("w3", 5), theirs.most_similar("w3", topn=5)
    assert [word for word, _ in found] == [word for word, _ in expected]
    assert np.allclose([c for _, c in found], [c for _, c in expected], atol=1e-6)
    found = ours.analogy("w1", "w2", "w3", 4)
    expected = theirs.most_similar(positive=["w2", "w3"], negative=["w1"], topn=4)
    assert [word for word, _ in found] == [word for word, _ in expected]
    assert ours.odd(words[:6])[0][0] == theirs.doesnt_match(words[:6])
    rows = [tuple(RNG.choice(words, 4, replace=False)) for _ in range(400)]
    rows += [(a, b, c, ours.analogy(a, b, c, 1)[0][0]) for a, b, c, _ in rows[:100]]
    questions = tmp_path / "q.txt"
    lines = [": one", *(" ".join(row) for row in rows), ": two", "w1 w2 w3 unknown"]
    questions.write_text("\n".join(lines) + "\n", "utf-8")
    [one] = analogies(ours, {"one": rows})
    score, sections = theirs.evaluate_word_analogies(str(questions))
    assert one.accuracy == pytest.approx(score) and one.right == len(sections[0]["correct"])
    pairs = [(*RNG.choice(words, 2, replace=False), RNG.random()) for _ in range(30)]
    (tmp_path / "p.txt").write_text("\n".join("\t".join(map(str, row)) for row in pairs), "utf-8")
    rank = theirs.evaluate_word_pairs(str(tmp_path / "p.txt"))[1][0]
    assert spearman(ours, [*pairs, ("w1", "unknown", 3.0)]) == (pytest.approx(rank), 30)
