"""Texts and their classes: folders, files of lines, columns of tables, the published sets."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import gradlab
from gradlab.config import DataConfig, TokensConfig
from gradlab.data import load
from gradlab.data.here import is_here
from gradlab.errors import UserError

GOOD, BAD = ["fine", "great", "lovely", "happy"], ["awful", "poor", "sad", "broken"]


def texts(count: int) -> list[tuple[str, str]]:
    """Texts of two classes, told apart by their words."""
    found = []
    for number in range(count):
        words = GOOD if number % 2 else BAD
        chosen = [words[(number * k + k) % 4] for k in range(1, 4 + number % 5)]
        found.append(
            (f"the film {number % 7} is " + " ".join(chosen), "pos" if number % 2 else "neg")
        )
    return found


def folders(place: Path, count: int = 60) -> Path:
    for number, (text, label) in enumerate(texts(count)):
        path = place / label / f"{number:03}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return place


def test_class_folders_of_texts(tmp_path):
    dataset = load(DataConfig(name=str(folders(tmp_path / "films"))))
    assert dataset.schema.targets["label"].classes == ("neg", "pos")
    assert sum(dataset.counts.values()) == 60 and dataset.order == "length"
    name = dataset.split("train").name_of(0)
    assert name.split("/")[0] in ("neg", "pos") and name.endswith(".txt")
    shown = dataset.schema.inputs["text"].show(dataset.split("train")["text"][0])
    assert shown.startswith("the film")


def test_folders_for_each_split(tmp_path):
    for name, count in (("train", 60), ("test", 20)):
        folders(tmp_path / "films" / name, count)
    dataset = load(DataConfig(name=str(tmp_path / "films")))
    assert dataset.counts["test"] == 20 and dataset.counts["train"] + dataset.counts["val"] == 60


def test_a_file_for_each_class_whose_lines_are_texts(tmp_path):
    for label in ("neg", "pos"):
        lines = [text for text, own in texts(60) if own == label]
        (tmp_path / f"{label}.txt").write_text("\n".join(lines) + "\n\n", "utf-8")
    dataset = load(DataConfig(name=str(tmp_path)))
    assert sum(dataset.counts.values()) == 60
    assert dataset.split("train").name_of(0).startswith(("neg.txt:", "pos.txt:"))


def test_a_column_of_a_table_and_what_is_asked_of_it(tmp_path):
    rows = texts(60)
    frame = pl.DataFrame(
        {"id": range(60), "review": [t for t, _ in rows], "kind": [k for _, k in rows]}
    )
    frame = frame.with_columns(
        review=pl.when(pl.col("id") == 3).then(None).otherwise(pl.col("review")),
        kind=pl.when(pl.col("id") == 4).then(None).otherwise(pl.col("kind")),
    )
    for name, write in (("t.csv", frame.write_csv), ("t.parquet", frame.write_parquet)):
        write(tmp_path / name)
        config = DataConfig(name=str(tmp_path / name), text="review", target="kind")
        dataset = load(config)
        assert sum(dataset.counts.values()) == 58 and list(dataset.schema.inputs) == ["text"]
        assert any("1 row without review left out" in note for note in dataset.notes)
    for wrong, message in (
        ({"text": "reviews", "target": "kind"}, "did you mean 'review'"),
        ({"text": "review"}, "data.target: which column"),
    ):
        with pytest.raises(UserError, match=message):
            load(DataConfig(name=str(tmp_path / "t.csv"), **wrong))


def test_what_is_no_set_of_texts_is_refused(tmp_path):
    latin = tmp_path / "latin"
    folders(latin, 20)
    (latin / "pos" / "x.txt").write_bytes("schön".encode("latin-1"))
    with pytest.raises(UserError, match=r"x.txt: byte 3 \(0xf6, line 1\) is no UTF-8"):
        load(DataConfig(name=str(latin)))
    assert load(DataConfig(name=str(latin), encoding="latin-1")).counts["train"] > 0


def test_empty_texts_are_left_out_and_named(tmp_path):
    folders(tmp_path / "films")
    (tmp_path / "films" / "pos" / "999.txt").write_text(" \n", "utf-8")
    dataset = load(DataConfig(name=str(tmp_path / "films")))
    assert "train: empty texts left out: pos/999.txt" in dataset.notes


def test_texts_may_be_cut(tmp_path):
    config = DataConfig(name=str(folders(tmp_path / "films")), tokens=TokensConfig(longest=4))
    dataset = load(config)
    assert max(len(text) for text in dataset.split("train")["text"]) == 4


@pytest.mark.parametrize("recipe", ["bag_of_ngrams", "nbsvm", "text_cnn", "bilstm"])
def test_each_recipe_learns_texts_of_ones_own(tmp_path, recipe):
    small = {
        "bag_of_ngrams": {"model.buckets": 500, "epochs": 15, "batch_size": 8, "lr": 0.05},
        "nbsvm": {"model.buckets": 500, "epochs": 10, "batch_size": 8},
        "text_cnn": {
            "model.width": 16,
            "model.filters": 8,
            "epochs": 8,
            "batch_size": 8,
            "lr": 1e-2,
        },
        "bilstm": {"model.width": 8, "model.hidden": 8, "epochs": 8, "batch_size": 8, "lr": 2e-2},
    }[recipe]  # fmt: skip
    run = gradlab.train(
        recipe, data=str(folders(tmp_path / "films", 120)), out=tmp_path / "runs", threads=1,
        progress=False, **{"data.test": 0.2, **small},
    )  # fmt: skip
    assert run.metrics["test"]["accuracy"] > 0.9
    answers = gradlab.load(run.path).predict(["lovely great film", "a sad broken thing"])
    assert [one.answer.label for one in answers] == ["pos", "neg"]
    again = gradlab.load(run.path).evaluate("val")
    assert again["accuracy"] == run.metrics["val"]["accuracy"]


def test_a_text_of_unknown_words_is_said(tmp_path):
    run = gradlab.train(
        "bag_of_ngrams", data=str(folders(tmp_path / "films")), out=tmp_path / "runs", epochs=1,
        threads=1, progress=False, **{"model.buckets": 100},
    )  # fmt: skip
    found = run.predict(["xyzzy plugh"])
    assert len(found) == 1 and "none of its words is known" in " ".join(found.notes)
    with pytest.raises(UserError, match="expected a text"):
        run.predict(["  "])


@pytest.mark.skipif(not is_here("rt_polarity"), reason="rt_polarity is not in the cache")
def test_rt_polarity_as_published():
    dataset = load(DataConfig(name="rt_polarity"))
    assert sum(dataset.counts.values()) == 10_662
    assert dataset.schema.targets["label"].classes == ("neg", "pos")
