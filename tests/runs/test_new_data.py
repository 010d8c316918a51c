"""`eval --data`: a run on data of one's own that come with what is asked of them."""

import csv
import json
import zipfile

import numpy as np
import polars as pl
import pytest
from command import refused, run
from PIL import Image

import gradlab
from gradlab.data.fields.label import Label
from gradlab.data.fields.number import Number

QUIET = {"progress": False, "test": False, "threads": 1}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    return gradlab.train("softmax_regression", out=out, epochs=6, **QUIET)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A run on a table, and its rows."""
    out = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "size": rng.normal(size=90).round(3),
            "kind": ["u", "v", "w"] * 30,
            "alive": (rng.normal(size=90) > 0).tolist(),
        }
    ).with_columns(pl.when(pl.col("size") > 0).then(True).otherwise("alive").alias("alive"))
    frame.write_csv(out / "train.csv")
    found = gradlab.train(
        "softmax_regression", data=str(out / "train.csv"), out=out, epochs=4, **QUIET,
        **{"data.target": "alive"},
    )  # fmt: skip
    return found, frame


def rows_of_val(found):
    """The numbers of the rows that were held out for val."""
    return [int(name) - 1 for name in found.dataset.split("val").ids]


def test_rows_of_a_split_give_its_metrics_and_baselines(table, tmp_path, capsys):
    found, frame = table
    chosen = frame[rows_of_val(found)]
    chosen.write_csv(tmp_path / "new.csv")
    code, out, err = run(capsys, "eval", found.path, "--data", tmp_path / "new.csv", "--json")
    record = json.loads(out)
    assert code == 0 and err == ""
    assert record["metrics"] == pytest.approx(found.metrics["val"])
    assert record["baselines"][str(tmp_path / "new.csv")] == {
        name: pytest.approx(figures) for name, figures in found.baselines["val"].items()
    }
    assert record["examples"] == chosen.height and record["skipped"]["count"] == 0
    assert np.sum(record["confusion"]) == chosen.height
    assert found.evaluate(data=chosen) == record["metrics"]
    assert not [line for line in found.history if line.get("event") == "test read"]
    assert found.evaluate("val") == pytest.approx(found.metrics["val"])  # it is as it was


def test_what_cannot_be_evaluated_is_named_and_left_out(table, tmp_path, capsys):
    found, frame = table
    texts = [
        list(map(str, row)) for row in frame.head(8).with_columns(pl.col("alive").cast(str)).rows()
    ]
    texts[1][0], texts[2][2], texts[4][2], texts[5][2] = "big", "maybe", "", "maybe"
    with (tmp_path / "new.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([frame.columns, *texts[:6], texts[6][:2], texts[7]])
    _, out, err = run(capsys, "eval", found.path, "--data", tmp_path / "new.csv", "--json")
    record = json.loads(out)
    assert record["examples"] == 3
    assert [
        (one["input"], one["reason"].split(": ")[-1]) for one in record["skipped"]["inputs"]
    ] == [
        ("2", "size is 'big', expected a number"),
        ("3", "its class 'maybe' is not known (false, true are)"),
        ("5", "it has no class"),
        ("6", "its class 'maybe' is not known (false, true are)"),
        ("7", "it has 2 values, expected 3"),
    ]
    assert "note: inputs 3, 6 left out: its class 'maybe' is not known (false, true are)\n" in err
    assert record["metrics"] == found.evaluate(data=frame[[0, 3, 7]])
    _code, out, _ = run(capsys, "eval", found.path, "--data", tmp_path / "new.csv")
    assert "new.csv (3)" in out and "majority class" in out


def test_photos_in_class_folders(digits, tmp_path, capsys):
    split = digits.dataset.split("val")
    for number, label in enumerate(split["label"][:40]):
        folder = tmp_path / "set" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(split["image"][number][..., 0]).save(folder / f"{number:02}.png")
    expected = digits.evaluate(data=(split["image"][:40], split["label"][:40]))
    assert digits.evaluate(data=tmp_path / "set") == pytest.approx(expected)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in (tmp_path / "set").rglob("*.png"):
            archive.write(file, file.relative_to(tmp_path))
    assert digits.evaluate(data=tmp_path / "set.zip") == pytest.approx(expected)
    (tmp_path / "set" / "3" / "bad.png").write_bytes(b"x")
    (tmp_path / "set" / "3" / "list.txt").write_bytes(b"x")
    (tmp_path / "set" / "ten").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "set" / "ten" / "a.png")
    _code, out, _err = run(capsys, "eval", digits.path, "--data", tmp_path / "set", "--json")
    record = json.loads(out)
    assert record["metrics"] == pytest.approx(expected) and record["examples"] == 40
    assert [one["input"] for one in record["skipped"]["inputs"]] == ["3/bad.png", "ten/a.png"]
    assert record["notes"] == ["left out, no images: 1 .txt"]
    assert set(record["baselines"][str(tmp_path / "set")]) == {
        "majority class",
        "nearest class mean",
    }
    (tmp_path / "one").mkdir()
    (tmp_path / "set" / "3").rename(tmp_path / "one" / "3")
    assert set(digits.evaluate(data=tmp_path / "one")) == set(expected)


def test_arrays_and_an_ensemble(digits, tmp_path, capsys):
    split = digits.dataset.split("val")
    x, y = split["image"][:], split["label"][:]
    np.savez(tmp_path / "new.npz", x=x, y=y)
    _code, out, _ = run(capsys, "eval", digits.path, "--data", tmp_path / "new.npz", "--json")
    assert json.loads(out)["metrics"] == pytest.approx(digits.metrics["val"])
    names = np.array([f"{k}" for k in range(10)])
    np.savez(tmp_path / "t.npz", x_train=x[:2], y_train=y[:2], x_test=x, y_test=y, classes=names)
    assert digits.evaluate(data=tmp_path / "t.npz") == pytest.approx(digits.metrics["val"])
    other = gradlab.train("softmax_regression", out=tmp_path, epochs=2, seed=1, **QUIET)
    both = gradlab.Ensemble.of([digits, other])
    assert both.evaluate(data=tmp_path / "new.npz") == pytest.approx(both.evaluate("val"))


def test_a_number_is_compared(tmp_path):
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"a": rng.normal(size=60)}).with_columns(y=pl.col("a") * 3 + 1)
    frame.write_csv(tmp_path / "t.csv")
    found = gradlab.train(
        "linear_regression", data=str(tmp_path / "t.csv"), out=tmp_path, epochs=2, **QUIET,
        **{"data.target": "y"},
    )  # fmt: skip
    chosen = frame[rows_of_val(found)]
    assert found.evaluate(data=chosen) == pytest.approx(found.metrics["val"], rel=1e-5)
    (tmp_path / "t.csv").unlink()  # the baselines learn from it; the network can do without
    again = gradlab.load(found.path).details_on(chosen)
    assert again.metrics == found.evaluate(data=chosen) and again.baselines == {}
    assert "no baselines: " in again.parts[-1].notes[0]


def test_what_is_no_data_to_evaluate_is_refused(table, digits, tmp_path, capsys):
    found, frame = table
    frame.drop("alive").write_csv(tmp_path / "new.csv")
    said = refused(capsys, "eval", found.path, "--data", tmp_path / "new.csv")
    assert "lacks the column 'alive': what is asked for; it has size, kind" in said
    assert "--split val" in refused(capsys, "eval", found.path, "--data", "x", "--split", "val")
    assert "no file or folder absent" in refused(capsys, "eval", found.path, "--data", "absent")
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    assert "no class folder" in refused(capsys, "eval", digits.path, "--data", tmp_path)
    with pytest.raises(gradlab.UserError, match="3 inputs, but 2 targets"):
        digits.evaluate(data=(np.zeros((3, 8, 8), np.uint8), [1, 2]))
    with pytest.raises(gradlab.UserError, match="none of the inputs can be read"):
        digits.evaluate(data=(np.zeros((1, 8, 8), np.uint8), ["ten"]))


def test_classes_and_numbers_as_people_write_them():
    def codes(classes, *items):
        found = Label(classes=classes).read(items)
        return found.column[:].tolist(), [one.place for one in found.skipped]

    assert codes(("0", "1"), "0", 1, 1.0, "1.0", np.int64(1), None, 2) == ([0, 1, 1, 1, 1], [5, 6])
    assert codes(("a", "b"), "b", 0, 1, 2, "1", float("nan"), "c") == ([1, 0, 1], [3, 4, 5, 6])
    assert codes(("false", "true"), True, np.bool_(False), "true") == ([1, 0, 1], [])
    assert Number().read(["1,054.30", None, "7"]).column[:].tolist() == [np.float32(1054.3), 7]
    found = Number(column="y").read(["1.5", 2, None, "x", float("nan"), np.float32(3), 1e300])
    assert found.column[:].tolist() == [1.5, 2, 3]
    assert [(one.place, one.reason) for one in found.skipped] == [
        (2, "it has no y"), (3, "its y is 'x', no number"), (4, "it has no y"), (6, "it has no y"),
    ]  # fmt: skip
