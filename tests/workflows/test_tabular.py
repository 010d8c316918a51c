"""The recipe `tabular` on tables: what a linear model cannot see, numbers and classes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import gradlab
from gradlab.recipes import find

FIELDS = {"plan.updates": 60, "plan.epochs": 1, "plan.batch_size": 128}


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    """Two numbers, one of them skewed and sometimes missing, and a text that turns the sign."""
    rng = np.random.default_rng(0)
    count = 400
    a, b = rng.standard_normal(count), rng.lognormal(0, 1, count)
    side = rng.choice(["left", "right"], count)
    sign = np.where(side == "left", 1.0, -1.0)
    skewed = pl.Series(b).set(pl.Series(rng.random(count) < 0.1), None)
    columns = {"a": a, "b": skewed, "side": side}
    frame = pl.DataFrame(columns)
    return frame.with_columns(
        pl.Series("kind", np.where(a * sign > 0, "yes", "no")),
        pl.Series("size", 100 + 10 * np.abs(a) + sign),
    )


def train(tmp_path, frame, target, **changes):
    fields = {**FIELDS, **changes}
    return gradlab.train(
        "tabular", data=frame, target=target, out=tmp_path, progress=False, threads=1, **fields
    )


def test_classes_that_no_linear_model_tells_apart(tmp_path, table):
    run = train(tmp_path, table.drop("size"), "kind")
    assert run.recipe.task.name == "classification"
    assert run.metrics["test"]["accuracy"] > 0.9
    assert run.end["baselines"]["test"]["linear model"]["accuracy"] < 0.7
    rows = [{"a": 1.0, "b": 1.0, "side": side} for side in ("left", "right")]
    assert [found.answer.label for found in run.predict(rows)] == ["yes", "no"]


def test_numbers_of_a_shape_that_no_line_has(tmp_path, table):
    run = train(tmp_path, table.drop("kind"), "size")
    assert run.recipe.task.name == "regression"
    assert run.metrics["test"]["r2"] > 0.9
    assert run.end["baselines"]["test"]["linear model"]["r2"] < 0.5


def test_the_edges_of_the_encoding_are_quantiles_of_the_training_split(tmp_path, table):
    run = train(tmp_path, table.drop("size"), "kind", **{"plan.updates": 1})
    encoding = run.model.encoding
    (name,) = run.schema.inputs
    x = run.dataset.splits["train"][name][:]
    place = encoding.chosen.tolist().index(0)
    expected = np.quantile(x[:, 0], np.arange(encoding.low.shape[1]) / encoding.low.shape[1])
    np.testing.assert_allclose(encoding.low[place], expected, atol=1e-5)


def test_the_last_epoch_is_kept_and_a_large_table_is_gone_through_ten_times():
    plan = find("tabular").plan
    assert plan.keep == "last" and plan.epochs == 10 and plan.updates > 0
