"""Which words of a text move an answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gradlab
from gradlab.errors import UserError

FILMS = Path(__file__).parents[1] / "films"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    fields = {"model.buckets": 100, "batch_size": 8, "epochs": 20, "lr": 0.05, "data.test": 0.2}
    out = tmp_path_factory.mktemp("runs")
    return gradlab.train(
        "bag_of_ngrams", data=str(FILMS), out=out, threads=1, progress=False, **fields
    )


def test_the_words_that_speak_for_and_against_an_answer(run):
    assert run.metrics["test"]["accuracy"] > 0.9
    found = gradlab.explain(run, "a great and lovely film, though the end is sad.")
    assert found.answer == "pos" and 0.5 < found.value <= 1
    changes = dict(zip((word.strip() for word in found.words), found.changes, strict=True))
    assert changes["great"] > 0 and changes["lovely"] > 0 > changes["sad"]
    assert "".join(found.words) == "a great and lovely film, though the end is sad."
    (table,) = found.tables()
    assert {"great", "lovely"} <= {row[0] for row in table.rows[:6]}


def test_a_change_is_what_the_answer_loses_without_the_word(run):
    found = gradlab.explain(run, "a sad end")
    without = run.predict(["a xyzzy end"])[0].answer
    assert found.answer == "neg"
    assert found.changes[1] == pytest.approx(found.value - without.probabilities["neg"], abs=1e-6)
    assert np.isfinite(found.changes).all()


def test_what_cannot_be_explained_is_refused(run, tmp_path):
    with pytest.raises(UserError, match="expected a text"):
        gradlab.explain(run, " ")
    with pytest.raises(UserError, match=r"\.png"):
        gradlab.explain(run, "a film").save(tmp_path / "a.txt")
    digits = gradlab.train("softmax_regression", out=tmp_path, epochs=1, threads=1, progress=False)
    with pytest.raises(UserError, match="explain"):
        gradlab.explain(digits, "a film")
