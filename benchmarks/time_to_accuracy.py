"""Seconds until 99.0 % of MNIST's test images are right: gradlab's recipe and two examples'.

    python benchmarks/time_to_accuracy.py [--parties gradlab pytorch keras] [--seeds 5]
                                          [--peer-seeds 1]

The clock starts when everything is imported, and so includes reading and preparing the data and
building the network. Each party evaluates all test images after each epoch, and stops after the
first one with at least 99.0 %. Two cores; every measurement in a fresh process.

The peers are trained as their own examples say, which is far slower: minutes each.
- pytorch/examples, mnist/main.py: convolutions of 32 and 64 maps, dropout, 128 units, Adadelta at
  1.0 that falls by 0.7 each epoch, batches of 64 from a DataLoader without workers (what the
  example does on a CPU), the loss printed every 10 batches, at most 14 epochs.
- keras.io, vision/mnist_convnet: convolutions of 32 and 64 maps with pooling, dropout of one half,
  Adam, batches of 128, 10 % held out and evaluated each epoch, at most 15 epochs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo
from common import begin, in_turn, medians, spread, table, verdict
from peers import Pictures, import_keras, loader
from torch import Tensor, nn
from torch.nn import functional as F

from gradlab.config import Runtime
from gradlab.data.here import cache_folder
from gradlab.data.sources.published import read_idx
from gradlab.engine import RunFolder, fit
from gradlab.recipes import find
from gradlab.runs.make import learnt_from
from gradlab.workflows.train import training

ACCURACY = 0.99
TARGET = 15
CHANGES: dict[str, Any] = {
    "data": "mnist", "data.val": 0, "data.augment.shift": 1, "epochs": 3,
}  # fmt: skip
"""gradlab's `lenet5`, with these fields in place of its own."""

Result = tuple[float | None, int, float]
"""Seconds to the accuracy (None: not reached), epochs, and the last accuracy."""


class Watch:
    """Times a training; `epoch` after each evaluation says whether it has got there."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.epochs, self.accuracy, self.seconds = 0, 0.0, None

    def epoch(self, accuracy: float) -> bool:
        self.epochs, self.accuracy = self.epochs + 1, accuracy
        if accuracy >= ACCURACY:
            self.seconds = time.perf_counter() - self.began
        return self.seconds is not None

    @property
    def result(self) -> Result:
        return self.seconds, self.epochs, self.accuracy


class Reached(Exception):
    """The accuracy is reached: leave the training."""


class OnTest:
    """A task as the engine sees it, evaluated on the test split, as the peers' examples are."""

    def __init__(self, task: Any, watch: Watch) -> None:
        self.task, self.watch = task, watch
        self.batches, self.step = task.batches, task.step
        self.state, self.load_state = task.state, task.load_state

    def evaluate(self, split: str) -> dict[str, float]:
        metrics: dict[str, float] = self.task.evaluate("test")
        if self.watch.epoch(metrics["accuracy"]):
            raise Reached
        return metrics


def by_gradlab(seed: int) -> Result:
    watch = Watch()
    recipe = find("lenet5", {**CHANGES, "seed": seed})
    dataset = learnt_from(recipe)
    with tempfile.TemporaryDirectory() as out, training(recipe, dataset, Runtime(), None) as task:
        run = RunFolder.create(Path(out), None, "lenet5", {"recipe": {}})
        with contextlib.suppress(Reached):
            fit(OnTest(task, watch), task.plan, run)
    return watch.result


class PyTorchNet(nn.Module):
    """The network of PyTorch's MNIST example."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(),
            nn.MaxPool2d(2), nn.Dropout(0.25), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.Linear(64 * 12 * 12, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.head(self.features(x)), dim=1)


def by_pytorch(seed: int) -> Result:
    watch = Watch()
    torch.manual_seed(seed)
    train_x, train_y, test_x, test_y = mnist()
    statistics = (0.1307,), (0.3081,)
    train = loader(Pictures(train_x, train_y, *statistics), 0, shuffle=False)
    test = loader(Pictures(test_x, test_y, *statistics), 0, shuffle=False, batch_size=1000)
    model = PyTorchNet()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    with Path(os.devnull).open("w", encoding="utf-8") as log:
        for epoch in range(14):
            model.train()
            for index, (x, y) in enumerate(train):
                optimizer.zero_grad()
                loss = F.nll_loss(model(x), y)
                loss.backward()
                optimizer.step()
                if index % 10 == 0:
                    print(epoch, index, loss.item(), file=log)
            if watch.epoch(_accuracy(model, test)):
                break
            schedule.step()
    return watch.result


def _accuracy(model: nn.Module, batches: Any) -> float:
    model.eval()
    right, loss, count = 0, 0.0, 0
    with torch.no_grad():
        for x, y in batches:
            output = model(x)
            loss += F.nll_loss(output, y, reduction="sum").item()
            right += int((output.argmax(1) == y).sum())
            count += len(y)
    return right / count


def by_keras(seed: int) -> Result:
    keras = import_keras()
    layers = keras.layers
    watch = Watch()
    keras.utils.set_random_seed(seed)
    train_x, train_y, test_x, test_y = mnist()
    x, test_x = (images.astype(np.float32) / 255 for images in (train_x, test_x))
    y, test_y = (keras.utils.to_categorical(labels, 10) for labels in (train_y, test_y))
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])

    class Evaluates(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            accuracy = model.evaluate(test_x, test_y, verbose=0)[1]
            model.stop_training = watch.epoch(float(accuracy))

    model.fit(
        x, y, batch_size=128, epochs=15, validation_split=0.1, verbose=0, callbacks=[Evaluates()]
    )
    return watch.result


def mnist() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training and test images (uint8 N H W C) and labels, as the published files hold them."""
    folder = cache_folder() / "mnist"
    arrays = []
    for part in ("train", "t10k"):
        arrays.append(read_idx(folder / f"{part}-images-idx3-ubyte.gz")[..., None])
        arrays.append(read_idx(folder / f"{part}-labels-idx1-ubyte.gz").astype(np.int64))
    return arrays[0], arrays[1], arrays[2], arrays[3]


PARTIES: dict[str, tuple[str, Callable[[int], Result]]] = {
    "gradlab": ("gradlab, lenet5", by_gradlab),
    "pytorch": ("PyTorch's MNIST example", by_pytorch),
    "keras": ("Keras's mnist_convnet", by_keras),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parties", nargs="+", choices=PARTIES, default=list(PARTIES))
    parser.add_argument("--seeds", type=int, default=5, help="of gradlab, from 0")
    parser.add_argument("--peer-seeds", type=int, default=1, help="of each peer, from 0")
    options = parser.parse_args()
    begin()
    results: dict[str, list[Result]] = {}
    for party in options.parties:
        name, function = PARTIES[party]
        for seed in range(options.seeds if party == "gradlab" else options.peer_seeds):
            results.setdefault(name, []).extend(in_turn({name: (function, seed)}, 1)[name])
    report(results)


def report(results: dict[str, list[Result]]) -> None:
    """The table: medians over the seeds that got there; a failure is shown, not dropped."""
    seconds = {
        name: [float("inf") if got is None else got for got, _, _ in found]
        for name, found in results.items()
    }
    middle = medians(seconds)
    own = middle.get("gradlab, lenet5")
    print(
        table(
            ("party", "seconds to 99.0 % (median)", "range", "epochs", "seeds that got there",
             "gradlab: times as fast"),
            [
                (name, f"{middle[name]:.1f}", spread(seconds[name], ".1f"),
                 ", ".join(str(epochs) for _, epochs, _ in found),
                 f"{sum(got is not None for got, _, _ in found)} of {len(found)}",
                 f"{middle[name] / own:.1f}" if own else "")
                for name, found in results.items()
            ],
        )
    )  # fmt: skip
    peers = [value for name, value in middle.items() if name != "gradlab, lenet5"]
    if own and peers:
        print("\n" + verdict(min(peers) / own, TARGET, "min", "times the faster peer"))


if __name__ == "__main__":
    main()
