"""The pure helpers of benchmarks/common.py."""

import importlib.util
import time
from pathlib import Path

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
