"""What the benchmarks share: a fresh process for each measurement, medians, and the table."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

CORES = 2
"""The processor cores that every party may use."""

Call = tuple[Any, ...]
"""A function and its arguments."""


class Clock:
    """Times the steps after a warm-up: `tick` after each step.

    >>> clock = Clock(warm_up=1, steps=2)
    >>> [clock.tick() for _ in range(3)] and clock.seconds > 0
    True
    """

    def __init__(self, warm_up: int, steps: int) -> None:
        self.warm_up, self.last = warm_up, warm_up + steps
        self.count = 0
        self.began = self.seconds = 0.0

    def tick(self) -> None:
        """A step has ended."""
        self.count += 1
        if self.count == self.warm_up:
            self.began = time.perf_counter()
        elif self.count == self.last:
            self.seconds = time.perf_counter() - self.began


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments) in a fresh process, so that no measurement warms another one up."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def in_turn(parties: Mapping[str, Call], rounds: int) -> dict[str, list[Any]]:
    """What each party's call returns, once in each round, each in a fresh process.

    The parties alternate, every second round backwards, so that a machine that grows slower or
    faster meanwhile favours nobody.
    """
    samples: dict[str, list[Any]] = {name: [] for name in parties}
    for number in range(rounds):
        for name in list(parties) if number % 2 == 0 else reversed(parties):
            samples[name].append(apart(*parties[name]))
            say(f"round {number + 1}/{rounds}: {name}: {samples[name][-1]}")
    return samples


def medians(samples: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each party's samples.

    >>> medians({"a": [3, 1, 2]})
    {'a': 2}
    """
    return {name: statistics.median(values) for name, values in samples.items()}


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """The least and the greatest of some samples.

    >>> spread([1200.0, 900.0])
    '900 to 1,200'
    """
    return f"{min(values):{form}} to {max(values):{form}}"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown; all columns but the first are aligned to the right.

    >>> print(table(("party", "s"), [("gradlab", 12)]))
    | party | s |
    | --- | ---: |
    | gradlab | 12 |
    """
    rule = ["---", *["---:"] * (len(header) - 1)]
    lines = [header, rule, *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def verdict(value: float, target: float, goal: str, what: str) -> str:
    """A figure beside its target, in a sentence.

    >>> verdict(2.71, 2.5, "min", "times the fastest peer")
    'reached: 2.71 times the fastest peer (target: at least 2.5)'
    """
    least = goal == "min"
    reached = value >= target if least else value <= target
    return (
        f"{'reached' if reached else 'MISSED'}: {value:.3g} {what} "
        f"(target: {'at least' if least else 'at most'} {target:g})"
    )


def begin() -> None:
    """Bind this process to `CORES` cores, and print date, machine and command.

    Exits with a message when the cache of datasets is not named.
    """
    if not os.environ.get("GRADLAB_DATA"):
        raise SystemExit("set GRADLAB_DATA to the folder that holds mnist/ and fashion_mnist/")
    os.environ["OMP_NUM_THREADS"] = str(CORES)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    print(f"{date.today()}, {apart(machine)}\n{command}\n", flush=True)


def machine() -> str:
    """The processor and the versions, in words."""
    from gradlab.engine.runtime import machine as facts

    found = facts()
    return (
        f"{found['processor']}, {found['cores']} cores, Python {found['python']}, "
        f"torch {found['torch']}"
    )


def say(text: str) -> None:
    """Progress, to stderr: stdout holds what can be pasted."""
    print(text, file=sys.stderr, flush=True)
