from __future__ import annotations

import os

import pytest

from gradlab import machine


@pytest.mark.parametrize(("given", "threads"), [("3", 3), (" 5 ", 5), ("4,2", 4)])
def test_threads_are_those_that_openmp_is_given(
    monkeypatch: pytest.MonkeyPatch, given: str, threads: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert machine.threads() == threads


@pytest.mark.parametrize("given", ["", "0", "-2", "many", "1.5", ",", "9" * 5000])
def test_what_is_no_number_of_threads_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert machine.threads() == machine.cores() >= 1


def test_cores_are_those_that_may_be_used() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("no affinity on this system")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert machine.cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_memory_is_a_share_of_what_there_is() -> None:
    found = machine.memory()
    if not hasattr(os, "sysconf"):
        assert found is None
    else:
        assert found is not None
        assert 0 < found <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
