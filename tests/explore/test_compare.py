"""Runs side by side."""

import pytest
from PIL import Image

import gradlab
from gradlab.explore.compare import compare


def test_what_differs_is_told_with_the_best_of_each_metric(tmp_path):
    options = {"out": tmp_path, "progress": False}
    a = gradlab.train("softmax_regression", name="a", epochs=1, **options)
    b = gradlab.train("softmax_regression", name="b", epochs=6, seed=3, **options)
    found = compare([a, b.path])
    assert found.differences["plan.epochs"] == (1, 6) and found.differences["seed"] == (0, 3)
    assert not [name for name in found.differences if name.startswith(("data", "model"))]
    reached = (a.metrics["test"]["accuracy"], b.metrics["test"]["accuracy"])
    assert found.metrics["test"]["accuracy"] == reached
    row = next(row for row in found.tables()[1].rows if row[0] == "test accuracy")
    assert row[2].endswith(" *") and not row[1].endswith("*")
    found.save(tmp_path / "c.png")
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.width > 800
    figure = found.figure()
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles[:2] == ["loss", "accuracy"] and titles[-1] == "learning rate"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "val", "train"]
    one_epoch, six = (line for line in figure.axes[1].lines)
    assert one_epoch.get_marker() == "o" and len(six.get_xdata()) == 6  # a point is no line
    with pytest.raises(gradlab.UserError, match=r"\.png"):
        found.save(tmp_path / "c.gif")
    with pytest.raises(gradlab.UserError, match="at least 2 runs"):
        compare([a])


def test_runs_of_one_name_are_told_apart_and_those_without_curves_refused(tmp_path):
    options = {"epochs": 1, "name": "$a_1$", "progress": False}
    first, other = (
        gradlab.train("softmax_regression", out=tmp_path / place, **options) for place in "xy"
    )
    found = compare([first, other])
    assert found.names == (str(first.path), str(other.path))
    assert found.tables()[0].rows[0][0] == "the recipes are the same"
    found.save(tmp_path / "c.png")
    for run in (first, other):
        (run.path / "metrics.jsonl").unlink()
    with pytest.raises(gradlab.UserError, match="no curves to draw"):
        compare([first.path, other.path]).save(tmp_path / "none.png")
