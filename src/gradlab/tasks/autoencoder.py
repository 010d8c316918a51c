"""The input itself as the answer: a network reconstructs it from a short latent vector."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gradlab.config import Recipe, Runtime
from gradlab.data import Schema, Split
from gradlab.data.fields.image import Image
from gradlab.data.loader import Batch
from gradlab.engine.updater import evaluating
from gradlab.errors import UserError
from gradlab.tasks import tasks
from gradlab.tasks.answers import Answer, ImageAnswer
from gradlab.tasks.base import Own, Task
from gradlab.tasks.baselines import Baselines, Guess, measured
from gradlab.tasks.evaluation import Card, Collector, Part, Table
from gradlab.tasks.findings import WORST
from gradlab.tasks.metrics import Loss, Mean
from gradlab.tasks.pictures import grid
from gradlab.tasks.supervised import Supervised

SHOWN = 16
"""Examples whose reconstructions are drawn after each epoch."""
ACROSS = 8
FITTED = 20_000
"""Training examples that the principal components are fitted to, at most."""
EXACT = 2_500
"""Values of an example up to which the principal components are exact."""
CHEAP = 1_024
"""Values of an example up to which they are a baseline of every training."""


class ReconstructionError(Mean):
    """The mean squared error of a value, in the units that a split keeps (pixels from 0 to 1)."""

    name = "mse"

    def value(self, output: Tensor, batch: Batch) -> Tensor:
        """Of the batch."""
        errors: Tensor = self.task.errors(output, batch)
        return errors.mean()


@dataclass(frozen=True)
class Reconstruction:
    """An example and what is wrong with its reconstruction; `seen` is a picture or a text."""

    id: str
    mse: float
    seen: Any = field(repr=False)


@dataclass(frozen=True)
class Reconstructions(Part):
    """The worst reconstructions of a split, worst first."""

    items: tuple[Reconstruction, ...]
    title = "Worst reconstructions"
    caption = "Pictures: the input on the left, what the network makes of it on the right."

    def to_dict(self) -> dict[str, Any]:
        """Without the pictures."""
        return {"worst": [{"id": item.id, "mse": item.mse} for item in self.items]}

    def tables(self) -> Sequence[Table]:
        """A row for each, where there are no pictures."""
        if self.cards():
            return ()
        rows = tuple((item.id, f"{item.mse:.4g}", str(item.seen)) for item in self.items)
        return (Table(("example", "mse", "input"), rows),)

    def cards(self) -> Sequence[Card]:
        """A picture for each."""
        return [
            Card(item.seen, (f"mse {item.mse:.4g}", item.id))
            for item in self.items
            if isinstance(item.seen, np.ndarray)
        ]


class ReconstructionCollector(Collector):
    """Keeps the examples that are reconstructed worst."""

    def __init__(self, task: Any, split: Split) -> None:
        super().__init__(task, split)
        self.heap: list[tuple[float, int, Tensor]] = []

    def update(self, output: Tensor, batch: Batch) -> None:
        """Keep the worst so far; of equal ones the first."""
        assert batch.rows is not None
        errors = self.task.errors(output, batch).cpu()
        for place in errors.argsort(descending=True, stable=True)[:WORST].tolist():
            value = float(errors[place])
            if len(self.heap) == WORST and value <= self.heap[0][0]:
                break
            heapq.heappush(self.heap, (value, -(batch.rows.start + place), output[place].clone()))
            if len(self.heap) > WORST:
                heapq.heappop(self.heap)

    def compute(self) -> Part | None:
        """With names, and the input beside its reconstruction."""
        worst = sorted(self.heap, key=lambda item: item[:2], reverse=True)
        if not worst:
            return None
        made = self.task.drawn(torch.stack([output for _, _, output in worst]))
        items = []
        for index, (value, number, _) in enumerate(worst):
            seen = self.task.field.show(self.split[self.task.target][-number])
            if made is not None:
                seen = grid(np.stack([seen, made[index]]), 2)
            items.append(Reconstruction(self.split.name_of(-number), value, seen))
        return Reconstructions(tuple(items))


@tasks.register("autoencoder")
class Autoencoder(Supervised):
    """Mean squared error between input and output; targets, where there are any, are not read."""

    serves = frozenset({"init", "weights", "augment", "updates", "accumulate", "dataset"})
    monitor = "mse"
    metrics = (Loss, ReconstructionError)
    collectors = (ReconstructionCollector,)
    findings = ()
    feature_layer = "encoder"

    def __init__(
        self, recipe: Recipe, schema: Schema, runtime: Runtime, own: Own | None = None
    ) -> None:
        (self.target, self.field), *others = schema.inputs.items()
        if others:
            raise UserError(
                f"an autoencoder reconstructs one input, found {', '.join(schema.inputs)}"
            )
        super().__init__(recipe, schema, runtime, own)

    @property
    def outputs(self) -> int:
        """As many as inputs."""
        return int(np.prod(self.field.shape))

    def build(self, recipe: Recipe) -> nn.Module:
        """The recipe's autoencoder for inputs of this schema."""
        model = super().build(recipe)
        if not all(hasattr(model, part) for part in ("encoder", "decoder", "code")):
            raise UserError(
                f"the network {recipe.model.name!r} is no autoencoder: expected one with .encoder, "
                ".decoder and .code, such as --model.name dense_autoencoder"
            )
        return model

    def initialise(self) -> None:
        """Initial values, or pretrained weights with their normalisation."""
        super().initialise()
        self.field = self.schema.inputs[self.target]

    def load_pretrained(self, weights: str) -> tuple[str, ...]:
        """Begin with pretrained weights; all of them must fit, whatever the classes were."""
        return Task.load_pretrained(self, weights)

    def score(self, output: Tensor, y: Tensor) -> Tensor:
        """The mean over all values, in units of the training split's standard deviation."""
        return functional.mse_loss(output.float(), y)

    def interpreted(self, output: Tensor) -> Tensor:
        """The output is the reconstruction."""
        return output

    def as_output(self, answers: Tensor) -> Tensor:
        """The same."""
        return answers

    def pooled(self, outputs: Sequence[Tensor]) -> Tensor:
        """The mean of several networks' reconstructions."""
        return torch.stack([output.float() for output in outputs]).mean(0)

    def wrong(self, output: Tensor, batch: Batch) -> tuple[Tensor, Any]:
        """The error of each example; there is no truth beside the input itself."""
        return self.errors(output, batch).cpu(), lambda place: ("", "")

    def errors(self, output: Tensor, batch: Batch) -> Tensor:
        """The mean squared error of each example in the units that a split keeps, float64 N."""
        apart = (output.float() - batch[self.target]).double() * self.scale.to(output.device)
        found: Tensor = apart.square().flatten(1).mean(1)
        return found

    @property
    def scale(self) -> Tensor:
        """What 1 of an input is in the units that a split keeps: it spreads over an example.

        Inputs that are kept standardised, such as a table's, know no other units.
        """
        scale = torch.tensor(getattr(self.field, "std", ()) or (1.0,)).double()
        return scale.view(-1, 1, 1) if isinstance(self.field, Image) else scale

    def answer(self, output: Tensor, batch: Batch) -> Sequence[Answer]:
        """The error (large for what is unlike the training examples) and the reconstruction."""
        errors, pictures = self.errors(output, batch).tolist(), self.drawn(output)
        return [
            ImageAnswer(error, None if pictures is None else pictures[number])
            for number, error in enumerate(errors)
        ]

    def drawn(self, x: Tensor) -> np.ndarray | None:
        """Inputs or outputs as pictures (uint8 N H W C), where they are pictures."""
        return self.field.pixels(x) if isinstance(self.field, Image) else None

    def pictures(self) -> dict[str, np.ndarray]:
        """Rows of images, and under each row their reconstructions."""
        if self.dataset is None or not isinstance(self.field, Image):
            return {}
        split = next(name for name in ("val", "test", "train") if self.has(name))
        loader = self.in_order(split)
        batch = next(loader.in_order(min(SHOWN, len(loader))))
        with evaluating(self.model), self.setup.autocast():
            reconstructed = self.field.pixels(self.forward(batch))
        given = self.field.pixels(batch[self.target])
        rows = [
            part[start : start + ACROSS]
            for start in range(0, len(given), ACROSS)
            for part in (given, reconstructed)
        ]
        return {"reconstructed": grid(np.concatenate(rows), min(ACROSS, len(given)))}

    # what else could stand in the network's place

    def baselines(self, splits: Iterable[str]) -> Baselines:
        """The mean of the training split, and its principal components where they are cheap."""
        train = self.in_order("train")
        total = sum(batch[self.target].double().sum(0) for batch in train.in_order())
        mean = total / len(train)
        named = "mean image" if isinstance(self.field, Image) else "mean example"
        guesses: dict[str, Guess] = {named: lambda batch: mean.expand(len(batch), *mean.shape)}
        size = int(getattr(self.model, "code", 0))
        if size and self.outputs <= CHEAP:
            pca, scale = self.principal_components(size), self.scale

            def projected(batch: Batch) -> Tensor:
                x = batch[self.target]
                found = pca.inverse_transform(pca.transform(self._values(batch)))
                return (torch.from_numpy(found).view(x.shape) / scale).to(x.device)

            guesses["PCA"] = projected
        return {
            split: {name: measured(self, split, guess) for name, guess in guesses.items()}
            for split in splits
        }

    def principal_components(self, count: int) -> Any:
        """scikit-learn's PCA of at most `FITTED` training examples, spread over all of them.

        It is of `values`. There are at most as many components as the data have numbers.
        """
        from sklearn.decomposition import PCA

        train = self.dataset.split("train")
        spread = np.linspace(0, len(train) - 1, min(len(train), FITTED)).astype(int)
        x = self.values(train.take(spread))
        # The exact solver holds a square matrix of the values of an example.
        solver = "covariance_eigh" if x.shape[1] <= EXACT else "randomized"
        return PCA(min(count, *x.shape), svd_solver=solver, random_state=0).fit(x)

    def values(self, examples: Split) -> np.ndarray:
        """Inputs as float64 N D, in the units that a split keeps, less the training mean."""
        loader = self.loader_of(examples, [self.target])
        return np.concatenate([self._values(batch) for batch in loader.in_order()])

    def _values(self, batch: Batch) -> np.ndarray:
        x = batch[self.target].double().cpu() * self.scale
        found: np.ndarray = x.flatten(1).numpy()
        return found
