"""Findings of tables: coefficients, importance, groups, residuals, reliability, mistakes."""

import numpy as np
import polars as pl
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import mean_absolute_error
from support import task_of

import gradlab
from gradlab.errors import UserError
from gradlab.tasks import findings

QUIET = {"progress": False, "threads": 1, "epochs": 30}


def part(run, kind, split="test"):
    """The part of a kind in a run's evaluation."""
    return next(one for one in run.details(split).parts if isinstance(one, kind))


@pytest.fixture(scope="module")
def houses(tmp_path_factory):
    """Prices by size, by region and by a column that says nothing; some sizes are missing."""
    rng = np.random.default_rng(0)
    n = 600
    size = rng.normal(100, 20, n)
    region = rng.choice(["north", "south", "west"], n)
    noise = rng.normal(size=n)
    worth = {"north": 0.0, "south": 30.0, "west": -30.0}
    price = 2 * size + np.array([worth[r] for r in region]) + 5 * rng.normal(size=n)
    price += np.where(region == "west", 40 * rng.normal(size=n), 0)  # hard to tell there
    sizes = [None if k % 29 == 0 else float(v) for k, v in enumerate(size)]
    path = tmp_path_factory.mktemp("data") / "houses.csv"
    columns = {"size": sizes, "region": region, "noise": noise, "price": price}
    pl.DataFrame(columns).write_csv(path)
    return str(path)


@pytest.fixture(scope="module")
def linear(houses, tmp_path_factory):
    return gradlab.train(
        "linear_regression", data=houses, target="price", out=tmp_path_factory.mktemp("runs"),
        report=True, **QUIET, **{"task.group_errors": "region"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def logistic(tmp_path_factory):
    fields = {"task.group_errors": "mean radius"}
    out = tmp_path_factory.mktemp("logistic")
    return gradlab.train("logistic_regression", out=out, report=True, **QUIET, **fields)


def test_coefficients_say_what_is_predicted_in_the_units_of_the_target(linear):
    found = part(linear, findings.Coefficients)
    test = linear.dataset.split("test")
    task = linear.task
    (batch,) = task.loader_of(test, ["table"]).in_order(len(test))
    predicted = [answer.number for answer in task.predict(test)]
    by_hand = batch["table"].double().numpy() @ found.values[:, 0] + found.intercepts[0]
    np.testing.assert_allclose(by_hand, predicted, rtol=1e-4)
    values = found.to_dict()["coefficients"]["price"]
    assert set(list(values)[:3]) == {"intercept", "size", "region west"}  # the largest first
    assert set(values) >= {"size missing", "region north", "region south", "noise"}
    assert values["size"] == pytest.approx(40, abs=6)  # 2 a unit, of a standard deviation of 20
    assert abs(values["noise"]) < 4 and "change of price" in found.caption


def test_two_classes_have_one_column_whatever_the_network_gives():
    """Of a softmax the difference of both logits, of the rarer class in either."""
    softmax = task_of("softmax_regression", data="breast_cancer")
    logit = task_of("logistic_regression")
    softmax.model[1].weight.data[0] = logit.model[1].weight.data[0]  # malignant is the second
    softmax.model[1].weight.data[1] = 0
    one, other = (findings.coefficients(task) for task in (softmax, logit))
    assert one.results == other.results == ("malignant",)
    np.testing.assert_allclose(one.values, -other.values, atol=1e-6)
    assert findings.coefficients(task_of("mlp", data="iris")) is None
    many = findings.coefficients(task_of("softmax_regression", data="iris"))
    assert many.values.shape == (4, 3) and many.figure() is None
    assert findings.coefficients(task_of("softmax_regression")) is None  # images have no names


def test_importance_is_of_whole_columns_on_val(linear):
    found = part(linear, findings.Importance)
    by_column = {name: (mean, std) for name, mean, std in found.columns}
    assert set(by_column) == {"size", "region", "noise"}
    assert found.metric == "loss" and found.score == pytest.approx(linear.metrics["val"]["loss"])
    assert by_column["size"][0] > by_column["region"][0] > 0.1
    assert abs(by_column["noise"][0]) < 0.05 and by_column["size"][1] > 0
    assert [name for name, _, _ in found.columns] == ["size", "region", "noise"]
    assert found.subject == "val split" and "seed 0" in found.caption
    assert found == part(linear, findings.Importance, "val")  # the same, whatever is evaluated


def test_importance_is_what_a_shuffle_by_hand_takes_away(linear):
    task = linear.task
    val = linear.dataset.split("val")
    (batch,) = task.loader_of(val, task.schema.fields).in_order(len(val))
    x, y = batch["table"].numpy().copy(), batch["number"].numpy()
    generator = np.random.default_rng(0)
    places = {"size": [0, 1], "region": [2, 3, 4], "noise": [5]}
    weight, bias = (p.detach().numpy() for p in task.model[1].parameters())
    truth = (y - task.field.mean) / task.field.std

    def loss(values):
        return ((values @ weight[0] + bias[0] - truth) ** 2).mean()

    for column, own in places.items():
        falls = []
        for _ in range(5):
            order = generator.permutation(len(x))
            changed = x.copy()
            changed[:, own] = x[order][:, own]
            falls.append(loss(changed) - loss(x))
        found = {name: mean for name, mean, _ in part(linear, findings.Importance).columns}
        assert found[column] == pytest.approx(np.mean(falls), rel=1e-3, abs=1e-5)


def test_errors_by_group_add_up_to_those_of_the_split(linear):
    found = part(linear, findings.Groups)
    groups = {name: (count, metrics) for name, count, metrics in found.groups}
    assert set(groups) == {"north", "south", "west"}
    total = sum(count for count, _ in groups.values())
    assert total == len(linear.dataset.split("test"))
    mean = sum(count * metrics["mse"] for count, metrics in groups.values()) / total
    assert mean == pytest.approx(linear.metrics["test"]["mse"])
    assert groups["west"][1]["mae"] > 2 * groups["north"][1]["mae"]
    assert found.tables()[0].header == ("region", "examples", "mse", "mae", "r2")


def test_a_number_of_many_values_is_cut_into_quarters(logistic):
    found = part(logistic, findings.Groups)
    names, counts = zip(*[(name, count) for name, count, _ in found.groups], strict=True)
    assert len(names) == 4 and max(counts) - min(counts) <= 2
    assert any(name.startswith("up to ") for name in names)
    lowest = min(float(name.split()[-1]) for name in names if name.startswith("up to"))
    assert 10 < lowest < 14  # in the column's own units


def test_groups_of_missing_values_and_of_other_columns(houses):
    task = task_of(
        "linear_regression", data=houses, target="price", **{"task.group_errors": "size"}
    )
    metrics = task.details("train")
    found = next(p for p in metrics.parts if isinstance(p, findings.Groups))
    assert {name: count for name, count, _ in found.groups}["missing"] > 5
    assert len(found.groups) == 5
    with pytest.raises(UserError, match=r"input column \(task.group_errors\).*'region'"):
        task_of("linear_regression", data=houses, target="price", **{"task.group_errors": "regin"})
    with pytest.raises(UserError, match="expected a column of a table, but the inputs are image"):
        task_of("mlp", **{"task.group_errors": "x"})


def test_residuals_are_predictions_less_truths(linear):
    found = part(linear, findings.Residuals)
    test = linear.dataset.split("test")
    predicted = np.array([answer.number for answer in linear.task.predict(test)])
    y = test["number"][:]
    np.testing.assert_allclose(found.left, predicted - y, rtol=1e-4, atol=1e-3)
    record = found.to_dict()["residuals"]
    assert record["mean"] == pytest.approx((predicted - y).mean(), abs=1e-3)
    assert record["quantiles"]["0.5"] == pytest.approx(np.median(predicted - y), abs=1e-3)
    assert mean_absolute_error(y, predicted) == pytest.approx(linear.metrics["test"]["mae"])


def test_of_many_examples_some_from_all_over_are_drawn(monkeypatch, linear):
    import sys

    monkeypatch.setattr(sys.modules["gradlab.tasks.findings.residuals"], "MOST", 40)
    linear.task.dataset = linear.dataset
    found = part(linear, findings.Residuals, "train")
    y = linear.dataset.split("train")["number"][:]
    step = -(-len(y) // 40)
    np.testing.assert_allclose(found.truth, y[::step])


def test_reliability_is_the_calibration_curve_of_scikit_learn(logistic):
    found = part(logistic, findings.Reliability)
    test = logistic.dataset.split("test")
    chances = np.array([dict(a.top)["malignant"] for a in logistic.task.predict(test)])
    y = test["label"][:] == 1
    share, said = calibration_curve(y, chances, n_bins=15)
    full = found.counts > 0
    np.testing.assert_allclose(found.found[full], share, atol=1e-6)
    np.testing.assert_allclose(found.said[full], said, atol=1e-6)
    assert found.error == pytest.approx(logistic.metrics["test"]["ece"])
    assert found.of == "'malignant'" and found.counts.sum() == len(y)


def test_mistakes_say_the_values_of_their_row(linear):
    record = part(linear, findings.Mistakes).to_dict()["worst"]
    assert record[0]["error"] >= record[1]["error"]
    assert all(text in record[0]["input"] for text in ("size ", "region ", "noise "))


def test_the_page_shows_each_part_with_what_it_is_about(linear, logistic):
    page = (linear.path / "report.html").read_text("utf-8")
    for title in (
        "Predicted and true (test split)", "Worst mistakes (test split)",
        "Errors by group (test split)", "Coefficients (of the linear model)",
        "Importance of the columns (val split)",
    ):  # fmt: skip
        assert title in page, title
    assert page.count("<svg") >= 3 + 3  # curves, and figures of parts
    page = (logistic.path / "report.html").read_text("utf-8")
    assert "Calibration (test split)" in page
    assert "Reliability diagram: expected calibration error" in page
