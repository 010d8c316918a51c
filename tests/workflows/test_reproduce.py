"""Recipes against their targets: several seeds, one row each."""

import json
import statistics

import pytest

import gradlab
from gradlab.config import Target
from gradlab.errors import UserError
from gradlab.workflows.reproduce import COLUMNS, HEADER, Row, reproduce


def test_a_row_is_the_mean_over_seeds_and_repeating_it_trains_nothing_again(tmp_path):
    results = tmp_path / "docs" / "results.md"
    options = {"seeds": 2, "out": tmp_path / "runs", "results": results}
    (row,) = reproduce("linear_regression", **options)
    runs = [
        gradlab.load(tmp_path / "runs" / f"reproduce-linear_regression-diabetes-{seed}")
        for seed in (0, 1)
    ]
    values = [run.metrics["test"]["r2"] for run in runs]
    assert row.values == tuple(values) and values[0] != values[1]
    assert row.mean == statistics.fmean(values)
    assert row.std == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert row.reached is (row.mean >= 0.51)
    assert len(row.cells()) == len(HEADER) and row.machine.endswith(", 1 cores, float32")
    assert json.loads(json.dumps(row.to_dict()))["std"] == row.std
    text = results.read_text(encoding="utf-8")
    assert text.count("| linear_regression | diabetes | r2 |") == 1
    before = [run.history for run in runs]
    reproduce("linear_regression", **options)
    assert [run.history for run in runs] == before
    assert results.read_text(encoding="utf-8").count("| linear_regression |") == 1


def test_rows_of_other_recipes_stay(tmp_path):
    results = tmp_path / "results.md"
    options = {"seeds": 1, "out": tmp_path / "runs", "results": results}
    reproduce("linear_regression", **options)
    reproduce("logistic_regression", data="breast_cancer", **options)
    lines = [line for line in results.read_text(encoding="utf-8").splitlines() if "| yes" in line]
    assert [line.split(" | ")[0] for line in lines] == [
        "| linear_regression",
        "| logistic_regression",
    ]


def test_a_run_that_was_stopped_is_taken_up_again(tmp_path):
    options = {"seeds": 1, "out": tmp_path / "runs", "results": tmp_path / "results.md"}
    (row,) = reproduce("linear_regression", **options)
    run = gradlab.load(tmp_path / "runs" / "reproduce-linear_regression-diabetes-0")
    lines = [line for line in run.history if not line.get("final") and line.get("event") != "end"]
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (again,) = reproduce("linear_regression", **options)
    assert again.values == row.values
    trained = [line for line in run.history if line.get("split") == "train" and "final" not in line]
    assert trained == [line for line in lines if line.get("split") == "train"]  # none anew


@pytest.mark.parametrize(
    ("metric", "goal", "value", "reached"),
    [
        ("accuracy", None, 0.5, True), ("accuracy", None, 0.7, False),
        ("mse", None, 0.7, True), ("mse", None, 0.5, False),
        ("mse", "max", 0.5, True), ("length", "min", 0.5, False),
    ],
)  # fmt: skip
def test_which_way_is_better_is_the_metrics_own_unless_a_target_says(metric, goal, value, reached):
    target = Target(dataset="d", metric=metric, value=value, goal=goal, source="s")
    row = Row("r", target, (0.55, 0.65), 1.0, "m")
    assert row.reached is reached and row.cells()[-1] == ("yes" if reached else "no")
    assert row.markdown("2020-01-01").count(" | ") == len(COLUMNS) - 1


def test_what_cannot_be_reproduced_is_refused(tmp_path):
    options = {"out": tmp_path, "results": tmp_path / "results.md"}
    with pytest.raises(UserError, match="no target on 'iris'; datasets with one: diabetes"):
        reproduce("linear_regression", data="iris", **options)
    with pytest.raises(UserError, match="--seeds: expected at least 1, found 0"):
        reproduce("linear_regression", seeds=0, **options)
    assert not list(tmp_path.iterdir())
