"""The input itself as the answer: a network learns to restore what went through a narrow code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gradlab.config import Recipe
from gradlab.data import Split
from gradlab.data.feed import Batch, Feed
from gradlab.engine.updater import evaluating
from gradlab.errors import UserError
from gradlab.insight import preflight
from gradlab.models import autoencoders
from gradlab.tasks import tasks, transfer
from gradlab.tasks.base import Details, Prediction
from gradlab.tasks.pictures import grid, to_pixels
from gradlab.tasks.supervised import Supervised, check_weights

SHOWN = 16
"""Examples whose restored pictures are drawn."""
ACROSS = 8


@tasks.register("autoencoder")
class AutoencoderTask(Supervised):
    """Mean squared error between input and output; answers, where there are any, are not read."""

    monitor = ("mse", "min")
    feature_layer = "encoder"

    @property
    def outputs(self) -> int:
        """As many as inputs."""
        return math.prod(self.schema.shape)

    def build(self, recipe: Recipe) -> nn.Module:
        """The recipe's autoencoder for inputs of this schema."""
        if recipe.transfer.freeze != "nothing" or recipe.transfer.backbone_lr != 1:
            raise UserError(
                "an autoencoder has no last layer that is for other classes: leave "
                "transfer.freeze and transfer.backbone_lr as they are"
            )
        size = self.schema.shape[1] if self.schema.kind == "image" else 0
        name = recipe.model.name
        options = autoencoders.check(name, recipe.model.options)
        return autoencoders[name](self.schema.shape[0], size, **options)

    def borrow(self, weights: str) -> tuple[str, ...]:
        """Begin with weights learnt before; all of them must fit, whatever the classes were."""
        found, _ = transfer.read_weights(weights)
        check_weights(self.model, found)
        self.model.load_state_dict(found)
        return (f"weights: begun with {weights}",)

    def score(self, output: Tensor, y: Tensor) -> Tensor:
        """The mean over all values, in units of the training split's deviation."""
        return functional.mse_loss(output.float(), y)

    def loss(self, batch: Batch) -> Tensor:
        """How far the output is from the input."""
        return self.criterion(self.model(batch.x), batch.x)

    def metrics(self, output: Tensor, y: Tensor) -> dict[str, float]:
        """Of restored inputs and the inputs: `loss`, and `mse` (of pixels from 0 to 1)."""
        errors = (output.float() - y).double() ** 2
        return {"loss": float(errors.mean()), "mse": float((errors * self._units()).mean())}

    def _units(self) -> Tensor:
        """What a squared error is in the units that a split keeps, by channel or value."""
        if self.schema.kind == "table":  # its columns are kept standardised
            return torch.ones(())
        units = torch.tensor(self.schema.std).double() ** 2
        return units.view(-1, 1, 1) if self.schema.kind == "image" else units

    def evaluate(self, split: str) -> dict[str, float]:
        """Metrics on a split; empty when the dataset has no such split."""
        if not self.has(split):
            return {}
        metrics = self.measure(self.feed_of(split))
        if split == "val":
            self.updater.observe(self.feed.epoch, metrics["loss"])
        return metrics

    def measure(self, feed: Feed) -> dict[str, float]:
        """Metrics of all examples of a feed; no more than a batch of outputs is held."""
        sums: dict[str, float] = {}
        with evaluating(self.model), self.setup.autocast():
            for batch in feed.in_order(feed.batch_size):
                for name, value in self.metrics(self.model(batch.x), batch.x).items():
                    sums[name] = sums.get(name, 0.0) + value * len(batch)
        return {name: value / len(feed) for name, value in sums.items()}

    def details(self, split: str) -> Details:
        """The metrics of a split."""
        return Details(self.measure(self.feed_of(split)))

    def predict(self, x: np.ndarray, names: Sequence[str]) -> list[Prediction]:
        """The error of each input (`mse`): large for what is unlike the training examples."""
        feed = self.plain_feed(Split(x, np.zeros(len(x), np.int64)))
        answers: list[float] = []
        with evaluating(self.model), self.setup.autocast():
            for batch in feed.in_order(feed.batch_size):
                errors = (self.model(batch.x).float() - batch.x).double() ** 2 * self._units()
                answers += errors.flatten(1).mean(1).tolist()
        return [Prediction(name, value) for name, value in zip(names, answers, strict=True)]

    def pictures(self) -> dict[str, np.ndarray]:
        """Rows of images, and under each row what is left of them."""
        if self.dataset is None or self.schema.kind != "image":
            return {}
        split = next(name for name in ("val", "test", "train") if self.has(name))
        feed = self.feed_of(split)
        x = next(feed.in_order(min(SHOWN, len(feed)))).x
        with evaluating(self.model), self.setup.autocast():
            restored = to_pixels(self.model(x), self.schema)
        given = to_pixels(x, self.schema)
        rows = [
            part[start : start + ACROSS]
            for start in range(0, len(given), ACROSS)
            for part in (given, restored)
        ]
        return {"restored": grid(np.concatenate(rows), min(ACROSS, len(given)))}

    def preflight(self) -> list[Any]:
        """Pass one batch through and say what would not learn."""
        transfer.freeze(self.model, self.recipe.transfer, 0)
        x = self.spread(self.feed.batch_size).x
        return preflight(self.model, self.criterion, x, x, self.updater.optimizer, classes=None)
