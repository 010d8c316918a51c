"""The pure helpers of benchmarks/common.py."""

import importlib.util
import sys
import time
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "common.py"


@pytest.fixture(scope="module")
def common():
    spec = importlib.util.spec_from_file_location("benchmarks_common", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_clock_times_only_the_steps_after_the_warm_up(common, monkeypatch):
    now = iter([10.0, 25.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    clock = common.Clock(warm_up=2, steps=3)
    for _ in range(4):
        clock.tick()
    assert clock.seconds == 0.0
    clock.tick()
    assert clock.seconds == 15.0
    clock.tick()  # further steps are not seen
    assert clock.seconds == 15.0


def test_the_parties_alternate_and_every_second_round_runs_backwards(common, monkeypatch):
    order = []

    def run(function, *arguments):
        order.append(function)
        return len(order)

    monkeypatch.setattr(common, "apart", run)
    samples = common.in_turn({"a": ("fa",), "b": ("fb",)}, 2)
    assert order == ["fa", "fb", "fb", "fa"]
    assert samples == {"a": [1, 4], "b": [2, 3]}


def test_a_median_is_not_moved_by_one_slow_run(common):
    assert common.medians({"a": [3.0, 1.0, 100.0]}) == {"a": 3.0}


def test_a_table_has_a_rule_and_a_line_for_each_row(common):
    lines = common.table(("party", "s", "x"), [("gradlab", "1.0", ""), ("peer", "9.0", "9.0")])
    assert lines.split("\n") == [
        "| party | s | x |",
        "| --- | ---: | ---: |",
        "| gradlab | 1.0 |  |",
        "| peer | 9.0 | 9.0 |",
    ]


@pytest.mark.parametrize(
    ("value", "target", "goal", "word"),
    [(2.5, 2.5, "min", "reached"), (2.4, 2.5, "min", "MISSED"),
     (0.05, 0.05, "max", "reached"), (0.06, 0.05, "max", "MISSED")],
)  # fmt: skip
def test_a_verdict_names_the_target_and_whether_it_is_reached(common, value, target, goal, word):
    said = common.verdict(value, target, goal, "times")
    assert said.startswith(f"{word}: {value:g} times")
    assert f"at {'least' if goal == 'min' else 'most'} {target:g}" in said


def test_without_the_cache_of_datasets_a_benchmark_says_what_to_set(common, monkeypatch):
    monkeypatch.delenv("GRADLAB_DATA", raising=False)
    with pytest.raises(SystemExit, match="GRADLAB_DATA"):
        common.begin()


def test_a_function_runs_in_another_process(common):
    import os

    assert common.apart(os.getpid) != os.getpid()


@pytest.fixture(scope="module")
def tables():
    """benchmarks/tables.py, beside which its own modules are found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PATH.parent))
        spec = importlib.util.spec_from_file_location("tables", PATH.parent / "tables.py")
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "tables", module)
        spec.loader.exec_module(module)
        yield module


def test_equal_figures_share_the_mean_of_their_places(tables):
    assert tables.ranks([0.9, 0.8, 0.9, 0.1]).tolist() == [1.5, 3.0, 1.5, 4.0]


def test_a_split_is_a_function_of_its_number_and_leaves_nothing_out(tables):
    made = tables.TABLES["iris"]()
    train, test = made.split(3)
    assert (len(train), len(test)) == (120, 30)
    assert test["y"].value_counts()["count"].to_list() == [10, 10, 10]
    assert made.split(3)[1].equals(test) and not made.split(4)[1].equals(test)


@pytest.mark.parametrize("name", ["linear model", "boosting"])
def test_peers_read_texts_and_missing_values_that_they_have_not_seen(tables, name):
    made = tables.TABLES["shops"]()
    train = made.frame[:300].filter(tables.pl.col("shop") != "shop 3")
    test = made.frame[300:420]
    assert test["price"].null_count() and "shop 3" in test["shop"]
    found = tables.PARTIES[name](train, test, made, 0, 1)
    assert found.shape == (120,) and np.isfinite(found).all()
    assert np.corrcoef(found, test["y"])[0, 1] > 0.5


def test_figures_that_were_measured_before_are_read_again(tables, tmp_path):
    path = tmp_path / "results.jsonl"
    assert tables._read(path) == {}
    path.write_text('["iris", 3, "boosting", 0.9, 1.5]\n', encoding="utf-8")
    assert tables._read(path) == {("iris", 3, "boosting"): (0.9, 1.5)}


def test_the_ranks_of_all_tables_are_averaged(tables, capsys):
    figures = {"tabular": 0.9, "linear model": 0.5, "random forest": 0.7, "boosting": 0.8}
    known = {("iris", split, name): (v, 2.0) for name, v in figures.items() for split in (0, 1)}
    tables.show(known, ["iris"], [0, 1], tables.RANKED)
    said = capsys.readouterr().out
    assert "| mean | 1.00 | 4.00 | 3.00 | 2.00 |" in said
    assert "0.900 ± 0.000" in said and "reached: 0.5 times the mean rank of boosting" in said
