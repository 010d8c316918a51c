"""Examples/s of one network: gradlab, PyTorch's usual loop, Lightning and Keras.

    python benchmarks/throughput.py [--model lenet5|resnet18] [--rounds 5]

Every party trains the same network on the same images with Adam, batches of 64 and two cores, in
a fresh process, in turn. The clock runs from the end of the warm-up to the end of the last step:
batches, steps, and whatever the party does between them. Progress bars, loggers and validation are
off everywhere; the images are in memory before the clock starts.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from common import Clock, begin, in_turn, medians, spread, table, verdict
from peers import Pictures, import_keras, keras_lenet5, keras_resnet18, loader
from torch.nn import functional as F

from gradlab import data, models
from gradlab.config import Choice, DataConfig, OptimizerConfig, Plan, Recipe, Runtime
from gradlab.data import Dataset, Schema
from gradlab.data.columns import Dense
from gradlab.data.dataset import Source, Split, encode
from gradlab.data.fields.image import Image
from gradlab.data.fields.label import Label
from gradlab.engine import RunFolder, fit
from gradlab.workflows.train import training

BATCH = 64
LR = 1e-3


class Work(NamedTuple):
    """What is trained on, and for how long; `steps` are those of an epoch."""

    model: str
    data: str
    steps: int
    epochs: int
    warm_up: int
    target: float

    @property
    def measured(self) -> int:
        """Steps that the clock sees."""
        return self.epochs * self.steps - self.warm_up

    def clock(self) -> Clock:
        """The clock of one measurement."""
        return Clock(self.warm_up, self.measured)

    def rate(self, clock: Clock) -> float:
        """Examples/s."""
        return round(self.measured * BATCH / clock.seconds, 1)


WORKS = {
    # All of MNIST that fills whole batches; the first epoch warms up.
    "lenet5": Work("lenet5", "mnist", steps=937, epochs=3, warm_up=937, target=2.5),
    "resnet18": Work("resnet18", "fashion_mnist", steps=45, epochs=1, warm_up=5, target=1.8),
}
RESNET18_FLOAT32_TARGET = 1.0


def images(work: Work) -> Dataset:
    """The training images; for ResNet-18 with a black edge to 32 pixels, in three channels."""
    given = data.load(DataConfig(name=work.data, val=0)).split("train")
    count = work.steps * BATCH
    x, y = given["image"][:count], given["label"][:count]
    if work.model == "resnet18":
        x = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0))).repeat(3, axis=3)
    _, height, width, channels = x.shape
    image = Image(height=height, width=width, channels=channels)
    schema = Schema(inputs={"image": image}, targets={"label": Label(classes=tuple("0123456789"))})
    split = Split({"image": Dense(x), "label": Dense(y)})
    return encode(Source(work.data, schema, {"train": split}), {"train": split})


def pictures(dataset: Dataset) -> Pictures:
    split, image = dataset.split("train"), dataset.schema.inputs["image"]
    return Pictures(split["image"][:], split["label"][:], image.mean, image.std)


def network(work: Work, dataset: Dataset) -> torch.nn.Module:
    return models.create(work.model, inputs=dataset.schema.inputs["image"].shape, outputs=10)


# the parties


def by_gradlab(work: Work, precision: str) -> float:
    """The engine's own loop, `fit`: loader, updater, log and checkpoints."""
    recipe = Recipe(
        name=work.model,
        model=Choice(name=work.model),
        task=Choice(name="classification"),
        optimizer=OptimizerConfig(name="adam", lr=LR),
        plan=Plan(epochs=work.epochs, batch_size=BATCH),
    )
    clock = work.clock()

    runtime = Runtime(precision=precision)
    with (
        tempfile.TemporaryDirectory() as out,
        training(recipe, images(work), runtime, None) as task,
    ):
        step = task.step

        def timed(batch: Any) -> dict[str, Any]:
            scalars = step(batch)
            clock.tick()
            return scalars

        task.step = timed
        run = RunFolder.create(Path(out), None, work.model, {"recipe": {}})
        fit(task, task.plan, run)
    return work.rate(clock)


def by_pytorch(work: Work, workers: int) -> float:
    """The loop of the tutorials; the loss is looked at every 100 steps."""
    dataset = images(work)
    batches = loader(pictures(dataset), workers)
    model = network(work, dataset)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    clock, log = work.clock(), []
    for _ in range(work.epochs):
        for index, (x, y) in enumerate(batches):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            if index % 100 == 0:
                log.append(loss.item())
            clock.tick()
    return work.rate(clock)


def by_lightning(work: Work, workers: int) -> float:
    """Lightning's Trainer with its defaults for a CPU."""
    from lightning import Callback, LightningModule, Trainer

    warnings.filterwarnings("ignore", module="lightning")
    dataset = images(work)
    clock = work.clock()

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = network(work, dataset)

        def training_step(self, batch: Any, index: int) -> Any:
            x, y = batch
            return F.cross_entropy(self.model(x), y)

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=LR)

    class Ticks(Callback):
        def on_train_batch_end(self, *given: Any) -> None:
            clock.tick()

    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=work.epochs, callbacks=[Ticks()], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Module(), loader(pictures(dataset), workers))
    return work.rate(clock)


def by_keras(work: Work) -> float:
    """Keras's `fit` on arrays that are normalised beforehand."""
    keras = import_keras()
    dataset = images(work)
    split, image = dataset.split("train"), dataset.schema.inputs["image"]
    x = split["image"][:].astype(np.float32) / 255
    x = (x - np.float32(image.mean)) / np.float32(image.std)
    clock = work.clock()

    class Ticks(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            clock.tick()

    model = {"lenet5": keras_lenet5, "resnet18": keras_resnet18}[work.model](x.shape[1:])
    model.compile(
        optimizer=keras.optimizers.Adam(LR),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(
        x, split["label"][:], batch_size=BATCH, epochs=work.epochs, verbose=0, callbacks=[Ticks()]
    )  # fmt: skip
    return work.rate(clock)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=WORKS, default="lenet5")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    begin()
    work = WORKS[options.model]
    own = {"gradlab": (by_gradlab, work, "auto")}
    if options.model == "resnet18":
        own["gradlab, float32"] = (by_gradlab, work, "float32")
    peers = {
        "PyTorch loop, no workers": (by_pytorch, work, 0),
        "PyTorch loop, 2 workers": (by_pytorch, work, 2),
        "Lightning, no workers": (by_lightning, work, 0),
        "Lightning, 2 workers": (by_lightning, work, 2),
        "Keras 3 on torch": (by_keras, work),
    }
    samples = in_turn({**own, **peers}, options.rounds)
    middle = medians(samples)
    print(
        table(
            ("party", "examples/s (median)", "range", *(f"{name}: times as fast" for name in own)),
            [
                (name, f"{middle[name]:,.0f}", spread(values),
                 *(f"{middle[mine] / middle[name]:.2f}" for mine in own))
                for name, values in samples.items()
            ],
        )
    )  # fmt: skip
    fastest = max(middle[name] for name in peers)
    print("\n" + verdict(middle["gradlab"] / fastest, work.target, "min", "times the fastest peer"))
    if "gradlab, float32" in own:
        ratio = middle["gradlab, float32"] / fastest
        print(verdict(ratio, RESNET18_FLOAT32_TARGET, "min", "times the fastest peer at float32"))


if __name__ == "__main__":
    main()
