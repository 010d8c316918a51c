"""Vectors of words from the command to the answer, on texts in which it is known what is alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import refused
from command import run as command

import gradlab
from gradlab.errors import UserError
from gradlab.models.word_vectors import read
from gradlab.runs import Run

pytest.importorskip("numba")

TOPICS, EACH = 6, 12


@pytest.fixture(scope="module")
def topics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lines of words of one topic each, with common words between them."""
    generator = np.random.default_rng(0)
    lines = []
    for _ in range(3000):
        topic = generator.integers(TOPICS)
        words = [f"t{topic}w{n}" for n in generator.integers(EACH, size=10)]
        words[::3] = [f"common{n}" for n in generator.integers(5, size=4)]
        lines.append(" ".join(words))
    path = tmp_path_factory.mktemp("topics") / "topics.txt"
    path.write_text("\n".join(lines), "utf-8")
    return path


def trained(topics: Path, out: Path, recipe: str = "skip_gram", **fields: Any) -> Run:
    given = {"model.size": 16, "batch_size": 2000, "epochs": 8, "lr": 0.1, **fields}
    return gradlab.train(recipe, data=str(topics), out=out, progress=False, results=False, **given)


def alike(run: Run) -> float:
    """The share of words whose nearest neighbours are of their own topic; by chance 0.15."""
    known = run.task.vectors()  # type: ignore[attr-defined]
    found = [
        near.split("w")[0] == word.split("w")[0]
        for word in known.words
        if word.startswith("t")
        for near, _ in known.similar(word, 5)
    ]
    return float(np.mean(found))


@pytest.mark.parametrize(
    ("recipe", "fields"),
    [
        ("skip_gram", {}),
        ("skip_gram", {"task.softmax": "hierarchical"}),
        ("skip_gram", {"task.softmax": "full"}),
        ("skip_gram", {"threads": 2}),
        ("cbow", {}),
        ("cbow", {"task.softmax": "hierarchical"}),
        ("cbow", {"task.softmax": "full"}),
        ("cbow", {"task.compat": True}),
    ],
)
def test_words_of_a_topic_come_to_lie_together(recipe, fields, topics, tmp_path):
    run = trained(topics, tmp_path, recipe, **fields)
    assert alike(run) > 0.95
    guess = next(iter(run.summary["baselines"]["val"].values()))["loss"]
    assert run.summary["metrics"]["val"]["loss"] < 0.95 * guess


def test_the_same_seed_gives_the_same_vectors_and_another_others(topics, tmp_path):
    weights = [
        trained(topics, tmp_path, epochs=1, seed=seed).model.vectors.weight for seed in (1, 1, 2)
    ]
    assert np.array_equal(*(one.detach().numpy() for one in weights[:2]))
    assert not np.array_equal(*(one.detach().numpy() for one in weights[1:]))


def test_what_word2vec_has_no_use_for_is_refused(topics, tmp_path):
    for fields, said in (
        ({"optimizer": "adam"}, "expected sgd, found adam"),
        ({"device": "cuda"}, "learnt on the processor"),
        ({"plan.clip_norm": 1.0}, "has no use for plan.clip_norm"),
        ({"schedule": "plateau"}, "no plateau"),
    ):
        with pytest.raises(UserError, match=said):
            trained(topics, tmp_path, **fields)


def test_a_text_with_fewer_words_than_threads(tmp_path):
    path = tmp_path / "few.txt"
    path.write_text("one two one", "utf-8")
    fields = {"data.tokens.minimum": 1, "threads": 8, "epochs": 2, "data.val": 0}
    run = trained(path, tmp_path, **fields)
    assert run.task.vectors().words == ("one", "two")  # type: ignore[attr-defined]
    notes = "\n".join(run.record["notes"])
    assert "5% of all are learnt (few: --task.sample 0 leaves none out)" in notes


def test_commands_ask_a_run_and_its_files(topics, tmp_path, capsys):
    run = trained(topics, tmp_path, epochs=5).path
    file = tmp_path / "v.bin"
    assert command(capsys, "vectors", run, "--out", file)[0] == 0
    assert read(file).vectors.shape == (TOPICS * EACH + 5, 16)
    for source in (run, file):
        asked = command(capsys, "words", source, "similar", "t1w3", "--count", "4", "--json")
        assert [word[:2] for word, _ in json.loads(asked[1])["words"]] == ["t1"] * 4
    odd = command(capsys, "words", run, "odd", "t1w1", "t1w2", "t1w7", "t4w2", "--json")
    assert json.loads(odd[1])["odd"] == "t4w2"
    assert command(capsys, "words", run, "map", "--out", tmp_path / "m.png")[0] == 0
    assert (tmp_path / "m.png").stat().st_size > 10_000
    found = json.loads(command(capsys, "predict", run, "t2w1", "--json")[1])
    assert found["predictions"][0]["answer"].startswith("t2")
    said = refused(capsys, "words", run, "similar", "t1w33")
    assert "not in the vocabulary; near it: t1w3" in said
    assert "analogy A B C" in refused(capsys, "words", run, "analogy", "t1w1")
    assert ".bin (binary)" in refused(capsys, "vectors", run, "--out", tmp_path / "v.doc")


def test_an_evaluation_says_what_is_known(topics, tmp_path):
    run = trained(topics, tmp_path, epochs=5)
    (tmp_path / "q.txt").write_text(": a\nt1w1 t1w2 t2w1 t2w2\nx y z w\n", "utf-8")
    pairs = [f"t1w1,t1w{n},9" for n in range(2, 6)] + [f"t1w1,t3w{n},1" for n in range(4)]
    (tmp_path / "p.csv").write_text("\n".join(["a,b,score", *pairs, "x,y,5"]), "utf-8")
    found = gradlab.words(run, "eval", analogies=tmp_path / "q.txt", pairs=tmp_path / "p.csv")
    numbers = found.to_dict()
    assert (numbers["analogies"]["all"]["known"], numbers["analogies"]["all"]["total"]) == (1, 2)
    assert (numbers["pairs"]["known"], numbers["pairs"]["total"]) == (8, 9)
    assert numbers["pairs"]["spearman"] > 0.8
    with pytest.raises(UserError, match="line 1: expected four words"):
        gradlab.words(run, "eval", analogies=tmp_path / "p.csv", pairs=tmp_path / "p.csv")
