"""Word vectors as the beginning of networks that read texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gradlab
from gradlab.errors import UserError
from gradlab.models.word_vectors import WordVectors
from gradlab.runs import Run

FILMS = Path(__file__).parents[1] / "films"
SONNETS = Path(__file__).parents[1] / "texts" / "sonnets.txt"
KNOWN = WordVectors(
    ("the", "film", "good", "love", "of"),
    np.random.default_rng(0).normal(3, 1, (5, 12)).astype(np.float32),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vectors") / "v.bin"
    KNOWN.save(path)
    return path


def trained(source: Path, out: Path, recipe: str = "text_cnn", **fields: object) -> Run:
    given = {"embedding": str(source), "model.width": 12, "epochs": 2, "data.test": 0.2, **fields}
    return gradlab.train(
        recipe, data=str(FILMS), out=out, progress=False, results=False, threads=1, **given
    )


def rows(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of the words that are known, in the network and in the file."""
    vocabulary = run.schema.inputs["text"].tokens  # type: ignore[attr-defined]
    pairs = [
        (vocabulary.number(word), place)
        for place, word in enumerate(KNOWN.words)
        if vocabulary.number(word) > 1
    ]
    assert len(pairs) >= 2
    mine, theirs = (list(column) for column in zip(*pairs, strict=True))
    return run.model.embedding.weight.detach().numpy()[mine], KNOWN.vectors[theirs]


@pytest.mark.parametrize("recipe", ["text_cnn", "bilstm"])
def test_frozen_vectors_stay_as_they_were(recipe, file, tmp_path):
    run = trained(file, tmp_path, recipe, freeze="embedding")
    assert np.array_equal(*rows(run))
    again = gradlab.resume(run.path, epochs=3, progress=False, results=False)
    assert np.array_equal(*rows(again))


def test_others_are_learnt_on(file, tmp_path):
    mine, theirs = rows(trained(file, tmp_path))
    assert not np.array_equal(mine, theirs) and np.abs(mine - theirs).max() < 0.5


def test_a_run_of_word2vec_gives_its_vectors(tmp_path):
    words = gradlab.train(
        "skip_gram", data=str(SONNETS), out=tmp_path, progress=False, results=False,
        **{"model.size": 12, "data.tokens.minimum": 1, "epochs": 1},
    )  # fmt: skip
    run = trained(words.path, tmp_path, freeze="embedding")
    known = words.task.vectors()  # type: ignore[attr-defined]
    vocabulary = run.schema.inputs["text"].tokens  # type: ignore[attr-defined]
    row = run.model.embedding.weight.detach().numpy()[vocabulary.number("the")]
    assert np.array_equal(row, known.vectors[known.place("the")])


def test_a_language_model_begins_with_them(file, tmp_path):
    run = gradlab.train(
        "word_lm", data=str(SONNETS), out=tmp_path, progress=False, results=False, threads=1,
        **{
            "embedding": str(file), "model.embedding": 12, "model.width": 8, "epochs": 1,
            "data.tokens": "word", "task.window": 4, "batch_size": 2, "lr": 1e-6,
        },
    )  # fmt: skip
    number = run.schema.inputs["text"].tokens.number("of")  # type: ignore[attr-defined]
    row = run.model.embedding.weight.detach().numpy()[number]
    assert np.allclose(row, KNOWN.vectors[4], atol=1e-3)


def test_what_does_not_fit_is_refused(file, tmp_path):
    for fields, said in (
        ({"model.width": 20}, "have 12 numbers, those of the network 20: give --model.width 12"),
        ({"data.tokens": "character"}, "choose --data.tokens word"),
        ({"source": tmp_path / "none.txt"}, "is no file"),
    ):
        with pytest.raises(UserError, match=said):
            trained(**{"source": file, **fields}, out=tmp_path)
    with pytest.raises(UserError, match="no table of word vectors"):
        gradlab.train("nbsvm", data=str(FILMS), embedding=str(file), out=tmp_path, progress=False)
