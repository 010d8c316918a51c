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
    assert len(found.figure().axes) >= 2
    with pytest.raises(gradlab.UserError, match=r"\.png"):
        found.save(tmp_path / "c.gif")
    with pytest.raises(gradlab.UserError, match="at least 2 runs"):
        compare([a])
