"""Texts: trained on, resumed, asked, checked, reported as everything else is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gradlab
from gradlab.config import DataConfig, Plan, Recipe
from gradlab.data.check import check
from gradlab.data.columns import Dense, Listed
from gradlab.data.dataset import Schema, Source, Split
from gradlab.data.fields.label import Label
from gradlab.data.fields.text import Text
from gradlab.data.sources import datasets
from gradlab.models import Shape, models

GOOD, BAD = ("fine great lovely happy", "awful poor sad broken")


class BagOfWords(nn.Module):
    """The mean of the words' vectors, and one linear layer. N T -> N K."""

    def __init__(self, vocabulary: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 8, padding_idx=0)
        self.head = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        words = self.embedding(x)  # N T E
        counted = (x > 0).sum(1, keepdim=True).clamp(min=1)  # N 1
        return self.head(words.sum(1) / counted)  # N K


@pytest.fixture(scope="module", autouse=True)
def _registered():
    if "reviews" not in datasets:
        models.add("test_bag_of_words", _model)
        datasets.add("reviews", _reviews)


def _model(inputs: Shape, outputs: int) -> BagOfWords:
    return BagOfWords(inputs[1], outputs)


def _reviews(config: DataConfig) -> Source:
    rng = np.random.default_rng(0)
    texts, labels = [], []
    for number in range(300):
        label = number % 2
        own, other = (GOOD, BAD) if label else (BAD, GOOD)
        words = [*rng.choice(own.split(), 5), *rng.choice(other.split(), 1), f"n{number}"]
        texts.append(" ".join(rng.permutation(words)[: 3 + number % 5]))
        labels.append(label)
    schema = Schema(inputs={"text": Text()}, targets={"label": Label(classes=("bad", "good"))})
    split = Split({"text": Listed(texts), "label": Dense(np.array(labels))})
    return Source("reviews", schema, {"train": split}, stratify="label", order="length")


def recipe() -> Recipe:
    return Recipe(
        name="reviews",
        model={"name": "test_bag_of_words"},
        data=DataConfig(name="reviews"),
        optimizer={"name": "adam", "lr": 0.05},
        plan=Plan(epochs=8, batch_size=16),
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory, _registered):
    out = tmp_path_factory.mktemp("runs")
    return gradlab.train(recipe(), out=out, progress=False, report=True)


def test_it_learns_and_beats_the_baseline(run):
    assert run.metrics["val"]["accuracy"] > 0.8
    assert run.baselines["test"]["majority class"]["accuracy"] <= 0.55
    assert "text: " in " ".join(run.record["notes"])


def test_it_answers_texts(run):
    answers = gradlab.load(run.path).predict(["lovely happy day", "sad broken thing"])
    assert [answer.answer.label for answer in answers] == ["good", "bad"]


def test_it_is_resumed_exactly(run, tmp_path):
    from gradlab.engine import Observer

    class Stopped(Exception):
        pass

    class StopAfter(Observer):
        def evaluated(self, progress, line):
            if progress.epoch == 3:
                raise Stopped

    with pytest.raises(Stopped):
        gradlab.train(
            recipe(), out=tmp_path, name="a", progress=False, observers=[StopAfter()],
            **{"plan.checkpoint_seconds": 0},
        )  # fmt: skip
    whole = gradlab.train(
        recipe(), out=tmp_path, name="b", progress=False, **{"plan.checkpoint_seconds": 0}
    )
    resumed = gradlab.resume(tmp_path / "a", progress=False)
    for (name, a), b in zip(
        resumed.model.state_dict().items(), whole.model.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name


def test_it_is_checked_reported_and_looked_into(run):
    found = check(DataConfig(name="reviews"))
    assert found.facts["empty_texts"] == 0 and found.counts["train"] > 200
    page = (run.path / "report.html").read_text("utf-8")
    assert "good" in page
    features = gradlab.features(gradlab.load(run.path), split="val")
    assert features.values.shape[1] == 8


def test_the_worst_mistakes_show_the_text(run):
    found = [part for part in run.details("train").parts if "mistakes" in part.title.lower()]
    if found:
        assert all(isinstance(item.seen, str) and item.seen for item in found[0].items)
