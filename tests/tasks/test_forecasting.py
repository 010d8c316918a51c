"""Forecasts: what they reach beside what needs no network, their intervals, new tables."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from command import refused
from command import run as command

import gradlab
from gradlab.data.windows import Windowed
from gradlab.errors import UserError
from gradlab.models import create
from gradlab.runs import Run
from gradlab.tasks.forecasting import Forecasting, autoregression, figures

TIDES = Path(__file__).parents[1] / "series" / "tides.csv"


def trained(out: Path, data: Path = TIDES, **fields: Any) -> Run:
    given = {
        "data": str(data), "data.time": "hour", "data.target": "level", "data.window": 30,
        "data.horizon": 3, "model.width": 8, "plan.updates": 200, "data.test": 0.2, **fields,
    }  # fmt: skip
    return gradlab.train("forecaster", out=out, progress=False, results=False, threads=1, **given)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("tides"), **{"plan.updates": 600})


def test_a_network_is_better_than_what_needs_none(run):
    found, guesses = run.summary["metrics"]["test"], run.summary["baselines"]["test"]
    assert set(guesses) == {"last value", "24 steps ago", "linear autoregression"}
    assert found["rmse"] < 0.4 * guesses["last value"]["rmse"]
    assert found["rmse"] < 1.25 * guesses["linear autoregression"]["rmse"]
    assert found["rmse_last"] > 0 and 0.6 < found["coverage"] < 0.98


def test_figures_are_those_of_numpy(run):
    task = run.task
    assert isinstance(task, Forecasting)
    task.dataset = run.dataset
    examples = task.dataset.split("test")
    answers = task.predict(examples.only([task.name]))
    truth = task.values(examples, task.target)
    said = np.array([answer.values for answer in answers])  # type: ignore[attr-defined]
    found = task.measure("test")
    for name, value in figures(said, truth).items():
        assert found[name] == pytest.approx(value, rel=1e-5)
    low, high = (np.array([a.bounds[n] for a in answers]) for n in (0, -1))  # type: ignore[attr-defined]
    assert (low <= high).all()
    assert found["coverage"] == pytest.approx(((truth >= low) & (truth <= high)).mean())
    assert found["interval"] == pytest.approx((high - low).mean(), rel=1e-5)


def test_intervals_are_fitted_to_val(run):
    task = run.task
    assert isinstance(task, Forecasting)
    task.dataset = run.dataset
    fitted = task.decision
    assert len(fitted.margins) == 3 and fitted.covered_before is not None
    # On val the share is what was asked for, as far as a few examples allow it.
    assert task.measure("val")["coverage"] == pytest.approx(0.8, abs=0.08)
    again = gradlab.load(run.path).task
    assert again.decision == fitted


def test_an_autoregression_that_is_exact_is_found():
    generator = np.random.default_rng(0)
    window = generator.normal(size=(200, 4))
    future = np.stack([window @ [0.1, 0, -0.3, 1.2] + 2, window[:, 0]], 1)
    weights = autoregression(window, future)
    assert np.allclose(weights[:, 0], [0.1, 0, -0.3, 1.2, 2], atol=1e-4)


def test_the_season_is_looked_up_at_the_same_hour(run):
    task = run.task
    assert isinstance(task, Forecasting)
    task.dataset = run.dataset
    examples = task.dataset.split("val")
    levels = pl.read_csv(TIDES)["level"].to_numpy()
    future: Windowed = examples["level"]
    expected = levels[future.starts[:, None] + np.arange(3) - 24]
    assert np.allclose(task.guesses(examples)["24 steps ago"], expected, atol=1e-5)


def test_a_class_can_be_forecast(tmp_path):
    run = trained(tmp_path, **{"data.target": "wind", "data.horizon": 1, "plan.updates": 50})
    assert run.recipe.task.name == "classification"
    baselines = run.summary["baselines"]["test"]
    assert "majority class" in baselines and "last class" in baselines
    winds = pl.read_csv(TIDES)["wind"].to_list()
    share = np.mean([a == b for a, b in pairwise(winds[319:])])
    assert baselines["last class"]["accuracy"] == pytest.approx(share)


def test_several_series_of_other_levels_are_forecast_each_in_its_own(tmp_path):
    generator = np.random.default_rng(0)
    rows = []
    for name, level in (("a", 5.0), ("b", 5000.0)):
        values = level * (1 + 0.3 * np.sin(np.arange(300) / 3) + generator.normal(0, 0.02, 300))
        rows += [(name, n, value) for n, value in enumerate(values)]
    path = tmp_path / "two.csv"
    pl.DataFrame(rows, schema=["unique_id", "ds", "y"], orient="row").write_csv(path)
    run = trained(tmp_path, path, **{"data.time": None, "data.target": None, "data.window": 20})
    assert run.recipe.model.options["instance"] is True
    table = gradlab.backtest(run, 8).table
    for name, level in (("a", 5.0), ("b", 5000.0)):
        own = table.filter(pl.col("unique_id") == name)
        error = (own["yhat"] - own["y"]).to_numpy() / level
        assert np.sqrt((error**2).mean()) < 0.15


def test_a_backtest_knows_nothing_of_what_comes(run, tmp_path, capsys):
    found = gradlab.backtest(run, 5)
    table = found.table
    assert table.columns == ["unique_id", "ds", "cutoff", "y", "yhat", "yhat_0.1", "yhat_0.9"]
    assert len(table) == 15 and (table["ds"] > table["cutoff"]).all()
    levels = dict(pl.read_csv(TIDES, try_parse_dates=True).select("hour", "level").iter_rows())
    assert np.allclose(table["y"], [levels[stamp] for stamp in table["ds"]], atol=1e-5)
    # What comes after the last cutoff does not change what was said before it.
    frame = pl.read_csv(TIDES)
    late = pl.int_range(pl.len()) >= len(frame) - 3
    frame = frame.with_columns(level=pl.when(late).then(99.0).otherwise("level"))
    changed = tmp_path / "changed.csv"
    frame.write_csv(changed)
    code, out, _ = command(
        capsys, "backtest", run.path, "--windows", 5, "--data", changed, "--json",
        "--out", tmp_path / "b.csv",
    )  # fmt: skip
    rows = json.loads(out)["forecasts"]
    assert code == 0 and np.allclose([row["yhat"] for row in rows], table["yhat"], atol=1e-4)
    assert rows[-1]["y"] == 99.0
    assert pl.read_csv(tmp_path / "b.csv").height == 15
    assert set(found.errors) == {
        "network", "last value", "24 steps ago", "linear autoregression",
    }  # fmt: skip
    refused(capsys, "backtest", run.path, "--windows", "0")


def test_predict_goes_on_where_a_table_ends(run, tmp_path, capsys):
    code, out, _ = command(capsys, "predict", run.path, TIDES, "--json")
    [answer] = json.loads(out)["predictions"]
    assert code == 0 and len(answer["answer"]) == 3 and "2024-03-17 15:00:00" in answer["input"]
    short = tmp_path / "short.csv"
    pl.read_csv(TIDES)[:20].write_csv(short)
    code, _, said = command(capsys, "predict", run.path, short)
    assert code and "it has 20 steps, expected the last 30 or more" in said
    assert "gradlab backtest RUN" in refused(capsys, "eval", run.path, "--data", TIDES)
    other = tmp_path / "other.csv"
    pl.read_csv(TIDES).drop("wind").write_csv(other)
    assert "lacks wind" in refused(capsys, "predict", run.path, other)


def test_a_network_begins_as_the_last_value():
    torch.manual_seed(0)
    model = create("forecaster", inputs=(1, 9, 4), outputs=6).eval()
    x = torch.randn(5, 1, 9, 4)
    with torch.no_grad():
        assert (model(x) - x[:, 0, -1, :1]).abs().max() < 0.05


@pytest.mark.parametrize("instance", [False, True])
def test_least_squares_finds_a_linear_rule_and_its_quantiles(instance):
    torch.manual_seed(0)
    model: Any = create("forecaster", inputs=(1, 6, 3), outputs=6, instance=instance).eval()
    x = torch.randn(2000, 1, 6, 3)
    inside, level, spread = model.normalised(x)
    steps = torch.stack([inside[:, 0, -3, 0] + inside[:, 0, -1, 2], inside[:, 0, 0, 0]], 1)
    noise = torch.randn(2000, 2) * 0.1
    y = (steps + noise) * spread + level
    model.begin_with_least_squares(lambda: zip(x.split(300), y.split(300), strict=True), (0.1, 0.9))
    torch.nn.init.zeros_(model.head.weight)
    with torch.no_grad():
        found = (model(x) - level) / spread
    assert (found[:, :2] - steps).square().mean().sqrt() < 0.02
    inner = (steps + noise > found[:, 2:4]) & (steps + noise < found[:, 4:6])
    assert inner.double().mean().item() == pytest.approx(0.8, abs=0.02)


def test_quantiles_can_be_left_out_or_be_many(tmp_path):
    run = trained(tmp_path, **{"task.quantiles": (), "epochs": 1, "plan.updates": 0})
    assert "coverage" not in run.summary["metrics"]["test"]
    assert gradlab.backtest(run, 2).table.columns[-1] == "yhat"
    run = trained(tmp_path, **{"task.quantiles": (0.9, 0.5, 0.1), "epochs": 1, "plan.updates": 0})
    assert gradlab.backtest(run, 2).table.columns[-3:] == ["yhat_0.1", "yhat_0.5", "yhat_0.9"]


def test_other_runs_have_no_backtest(tmp_path):
    run = gradlab.train("softmax_regression", data="digits", epochs=1, out=tmp_path, progress=False)
    with pytest.raises(UserError, match="forecasts nothing"):
        gradlab.backtest(run)
