"""What the engine adds to a step: `fit` against a bare loop on the same tensors.

    python benchmarks/overhead.py [--rounds 15] [--steps 200]

LeNet-5, batches of 64 that are prepared beforehand, fused Adam. The gradlab side is the real
`fit` with the real `Updater`; its step is timed by the engine's own record, which holds everything
but evaluations and checkpoints. The two alternate in one process.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from common import begin, spread, table, verdict
from torch.nn import functional as F

from gradlab import data, models
from gradlab.config import DataConfig, OptimizerConfig, Plan, ScheduleConfig
from gradlab.data.columns import Placement
from gradlab.data.loader import Batch, Loader
from gradlab.engine import RunFolder, Setup, Updater, fit

TARGET = 0.05
SETUP = Setup(torch.device("cpu"), "float32", torch.get_num_threads())
ADAM = OptimizerConfig(name="adam")


class Prepared:
    """A task whose batches are already made."""

    def __init__(self, batches: list[Batch]) -> None:
        self.prepared = batches
        self.model = network()
        self.updater = Updater(
            [(1.0, list(self.model.named_parameters()))], ADAM, ScheduleConfig(), Plan(epochs=1),
            SETUP, len(batches),
        )  # fmt: skip

    def loss(self, batch: Batch) -> torch.Tensor:
        return F.cross_entropy(self.model(batch["image"]), batch["label"])

    def batches(self, epoch: int) -> Iterator[Batch]:
        return iter(self.prepared)

    def step(self, batch: Batch) -> dict[str, Any]:
        return self.updater.update(self.loss, batch)

    def evaluate(self, split: str) -> dict[str, float]:
        return {}

    def state(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "updater": self.updater.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.updater.load_state(state["updater"])


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    model = models.create("lenet5", inputs=(1, 28, 28), outputs=10)
    return model.to(memory_format=torch.channels_last)


def engine(batches: list[Batch]) -> float:
    """Microseconds of a step in `fit`."""
    with tempfile.TemporaryDirectory() as out:
        run = RunFolder.create(Path(out), None, "overhead", {"recipe": {}})
        progress = fit(Prepared(batches), Plan(epochs=1), run)
    return progress.step_seconds / progress.step * 1e6


def bare(batches: list[Batch]) -> float:
    """Microseconds of the same step in a loop of its own."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=ADAM.lr, fused=True)
    began = time.perf_counter()
    for batch in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch["image"]), batch["label"])
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - began) / len(batches) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    begin()
    dataset = data.load(DataConfig(name="mnist", val=0, limit=options.steps * 64))
    loader = Loader(
        dataset.split("train"), dataset.schema.fields, batch_size=64,
        placement=Placement(SETUP.device),
    )  # fmt: skip
    batches = list(loader.batches(0))
    engine(batches), bare(batches)  # warm both up
    times: dict[str, list[float]] = {"bare loop": [], "fit": []}
    for number in range(options.rounds):
        pair = [("bare loop", bare), ("fit", engine)]
        for name, function in pair if number % 2 else reversed(pair):
            times[name].append(function(batches))
    overhead = median(
        mine / its - 1 for mine, its in zip(times["fit"], times["bare loop"], strict=True)
    )
    print(
        table(
            ("loop", "microseconds a step (median)", "range", "more than the bare loop"),
            [
                (name, f"{median(values):,.0f}", spread(values),
                 f"{overhead:+.1%}" if name == "fit" else "")
                for name, values in times.items()
            ],
        )
    )  # fmt: skip
    print("\n" + verdict(overhead, TARGET, "max", "more time (median of the pairs)"))


if __name__ == "__main__":
    main()
