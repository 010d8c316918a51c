import statistics

import pytest

import gradlab
from gradlab.recipes.reproduce import reproduce


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
    assert row.deviation == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert row.reached is (row.mean >= 0.51)
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
