import math

import pytest

from gradlab import measures
from gradlab.measures import Measure, measure


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("accuracy", 0.9876, "98.76 %"),
        ("accuracy", 1.0, "100.00 %"),
        ("loss", 0.04321, "0.04321"),
        ("mse", 123456.0, "1.235e+05"),
        ("length", 15.0, "15 steps"),
        ("anything", 2.0, "2"),
        ("accuracy", math.nan, "nan"),
        ("loss", -math.inf, "-inf"),
        ("loss", None, "nan"),
    ],
)
def test_a_value_is_written_in_its_unit(name, value, text):
    assert measure(name).text(value) == text


def test_every_metric_of_the_program_has_its_direction():
    goals = {name: measure(name).goal for name in measures.known()}
    falling = {
        "loss", "mse", "mae", "ece", "perplexity", "bits_per_token", "frechet", "copies", "rmse",
        "rmse_last", "interval",
    }  # fmt: skip
    rising = {
        "accuracy", "balanced_accuracy", "f1", "macro_f1", "roc_auc", "average_precision", "r2",
        "return", "precision", "recall", "classes_covered",
    }  # fmt: skip
    assert {name for name, goal in goals.items() if goal == "min"} == falling
    assert {name for name, goal in goals.items() if goal == "max"} == rising
    assert {name for name, goal in goals.items() if goal is None} == {
        "return_std", "length", "frechet_floor", "precision_real", "recall_real", "nearest_ratio",
        "coverage",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "goal"),
    [("f1", "max"), ("top5_error", "min"), ("aux_loss", "min"), ("rmse", "min"), ("bleu", "max")],
)
def test_of_an_unknown_metric_the_name_tells_the_direction(name, goal):
    assert measure(name).goal == goal


def test_what_is_not_finite_is_worse_than_anything():
    for name in ("loss", "accuracy"):
        for bad in (math.nan, math.inf, -math.inf):
            assert not measure(name).improves(bad, None)
            assert not measure(name).improves(bad, 0.5)
        assert measure(name).improves(0.5, None) and not measure(name).improves(0.5, 0.5)
    assert measure("loss").improves(0.4, 0.5) and not measure("loss").improves(0.6, 0.5)
    assert measure("accuracy").improves(0.6, 0.5) and not measure("accuracy").improves(0.4, 0.5)


def test_a_task_registers_a_metric_of_its_own_once(monkeypatch):
    monkeypatch.setattr(measures, "_KNOWN", dict(measures._KNOWN))
    wer = measures.register(Measure("wer", "min", unit="%", scale=100, form=".1f"))
    assert measure("wer") is wer and wer.text(0.125) == "12.5 %"
    with pytest.raises(ValueError, match="'loss' is registered twice"):
        measures.register(Measure("loss", "max"))
