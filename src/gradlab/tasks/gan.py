"""A generator and a discriminator that learn from each other.

Goodfellow et al. (2014), "Generative adversarial nets", https://arxiv.org/abs/1406.2661: algorithm
1 with one step of the discriminator, and the loss of section 3 that does not saturate. One-sided
label smoothing: Salimans et al. (2016), https://arxiv.org/abs/1606.03498, section 3.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from gradlab.config import Choice, Recipe, Runtime
from gradlab.data import Schema, Split
from gradlab.data.fields.image import Image
from gradlab.data.loader import Batch
from gradlab.engine.updater import evaluating
from gradlab.errors import UserError
from gradlab.insight.generated import ImageQuality, frechet_distance
from gradlab.tasks import tasks
from gradlab.tasks.answers import Answer
from gradlab.tasks.base import Own, Task, TrainingPart
from gradlab.tasks.evaluation import Collector, Evaluation, Part, Table
from gradlab.tasks.extractor import MOST, FeatureExtractor
from gradlab.tasks.generating import latent_vectors, slerp
from gradlab.tasks.pictures import grid

SHOWN = 8
"""Rows and columns of the pictures that are drawn after each epoch."""
_BLOCK = 256  # images that are made at a time


@tasks.register("gan")
class Gan(Task):
    """Images like those of the dataset, made from latent vectors; classes are not looked at."""

    serves = frozenset({"init", "weights", "augment", "updates", "accumulate", "dataset"})
    monitor = "frechet"

    def __init__(
        self,
        recipe: Recipe,
        schema: Schema,
        runtime: Runtime,
        own: Own | None = None,
        *,
        label_smoothing: Annotated[
            float, Field(ge=0, lt=1, description="real images are to score 1 minus this")
        ] = 0.0,
        judge: Annotated[
            str, Field(description="a classifier's run, in whose features the images are measured")
        ] = "",
    ) -> None:
        _refuse(recipe)
        if own is not None:
            _refuse_own(own)
        self.smoothing = label_smoothing
        self.classifier = str(Path(judge).resolve()) if judge else ""  # as seen from anywhere
        self.input, field = schema.input(Image, "a gan")
        self.field = _symmetric(field)
        schema = schema.model_copy(update={"inputs": {self.input: self.field}})
        super().__init__(recipe, schema, runtime, own)
        options = {**self.recipe.task.options, "judge": self.classifier}
        chosen = Choice(name=self.recipe.task.name, **options)
        self.recipe = self.recipe.model_copy(update={"task": chosen})
        self.generator = self.model.get_submodule("generator")
        self.discriminator = self.model.get_submodule("discriminator")

    def build(self, recipe: Recipe) -> nn.Module:
        """The recipe's pair of networks for images of this schema."""
        return _pair(super().build(recipe), recipe.model.name)

    def example(self) -> tuple[Any, ...]:
        """A latent vector, 1 L, on the processor."""
        return (torch.zeros(1, self.latent_size),)

    @property
    def latent_size(self) -> int:
        """How many numbers a latent vector has."""
        return int(self.model.latent)  # type: ignore[arg-type]

    # what only a training needs

    def training_parts(self, fresh: bool) -> dict[str, TrainingPart]:
        """The loader's place, and an optimizer for each network."""
        self.train_loader = self.loader("train", [self.input])
        if not self.steps:
            plan = self.recipe.plan
            raise UserError(
                f"{self.dataset.name}: {len(self.train_loader)} training images are fewer than a "
                f"batch of {plan.batch_size}: add images, or choose a smaller --batch_size"
            )
        if self.classifier:
            _ = self.extractor  # one that does not fit is refused before the training
        self.settle(self.steps)
        self.updaters = {
            name: self.updater([(1.0, list(network.named_parameters()))], self.steps)
            for name, network in (
                ("discriminator", self.discriminator),
                ("generator", self.generator),
            )
        }
        return {"loader": self.train_loader, **self.updaters}

    def settle(self, steps: int) -> None:
        """Write out the plan; without a classifier nothing decides, and the last epoch is kept."""
        super().settle(steps)
        if not self.classifier:
            plan = self.recipe.plan.model_copy(update={"monitor": None, "goal": None})
            self.recipe = self.recipe.model_copy(update={"plan": plan})

    @property
    def steps(self) -> int:
        """Batches in an epoch. All are whole: batch norm describes the whole of its batch."""
        return len(self.train_loader) // self.train_loader.batch_size

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The shuffled batches of an epoch that are still to come."""
        self.model.train()
        for batch in self.train_loader.batches(epoch):
            if len(batch) == self.train_loader.batch_size:
                yield batch

    def step(self, batch: Batch) -> dict[str, Any]:
        """A step of the discriminator, then a step of the generator."""
        found = self.updaters["discriminator"].update(self.discriminator_loss, batch)
        with _frozen(self.discriminator):
            made = self.updaters["generator"].update(self.generator_loss, batch)
        return {**found, "generator_loss": made["loss"], **self.scores}

    def discriminator_loss(self, batch: Batch) -> Tensor:
        """Real images are to score 1, generated ones 0."""
        with torch.no_grad():
            images = self.generator(self.draw(len(batch)))
        real = self.discriminator(batch[self.input]).float()  # N
        fake = self.discriminator(images).float()  # N
        self.scores = {
            "score_real": real.detach().sigmoid().mean(),
            "score_generated": fake.detach().sigmoid().mean(),
        }
        return _cross_entropy(real, 1 - self.smoothing) + _cross_entropy(fake, 0)

    def generator_loss(self, batch: Batch) -> Tensor:
        """Generated images are to score 1."""
        return _cross_entropy(self.model(self.draw(len(batch))).float(), 1)

    def draw(self, count: int) -> Tensor:
        """Latent vectors from the training's own generator, on the device: N L.

        They are drawn on the processor, so that they are the same on any device.
        """
        return torch.randn(count, self.latent_size).to(self.setup.device)

    # evaluation: nothing here draws from the training's generator

    def has(self, split: str) -> bool:
        """Whether images can be compared with a split: one they were not learnt from."""
        return bool(self.classifier) and split != "train" and super().has(split)

    def measure(self, split: str, watching: Sequence[Collector] = ()) -> dict[str, float]:
        """The Frechet distance to a split, as after each epoch."""
        real = self.images(split)[:MOST]
        features = (self.extractor.extract(x).features for x in (real, self.samples(len(real))))
        return {"frechet": frechet_distance(*features)}

    @cached_property
    def extractor(self) -> FeatureExtractor:
        """The classifier that the task names."""
        return FeatureExtractor.open(self.classifier, self.setup)

    def details(self, split: str) -> Evaluation:
        """All figures of the generated images against a split."""
        if not self.classifier:
            raise UserError(
                "this run names no judge of its images: gradlab judge RUN --by CLASSIFIER, where "
                "CLASSIFIER is the run of a classifier of such images"
            )
        quality = self.quality(self.extractor, split)
        return Evaluation(quality.metrics, (ClassShares(quality),))

    def quality(
        self, extractor: FeatureExtractor, split: str = "test", count: int = MOST
    ) -> ImageQuality:
        """All figures of `count` generated images (at most as many as the split has)."""
        if split == "train":
            raise UserError("generated images are judged against val or test, not against train")
        real = self.images(split)[:count]
        return extractor.compare(self.images("train"), real, self.samples(len(real)))

    def images(self, split: str) -> Any:
        """The real images of a split: a column of uint8 N H W C."""
        if self.dataset is None:
            raise UserError("this run was opened without its dataset")
        return self.dataset.split(split)[self.input]

    def samples(self, count: int) -> np.ndarray:
        """The images that are measured, the same each time: uint8 N H W C."""
        return self.generate(latent_vectors(self, count, self.recipe.seed))

    def generate(self, z: Tensor) -> np.ndarray:
        """Images of latent vectors, each by itself: N L -> uint8 N H W C.

        In float32 and with stored batch statistics.
        """
        with evaluating(self.generator):
            made = [
                self.field.pixels(self.generator(part.to(self.setup.device)))
                for part in torch.split(z, _BLOCK)
            ]
        return np.concatenate(made)

    def predict(self, inputs: Split) -> list[Answer]:
        """UserError: it answers nothing."""
        raise UserError("a gan has nothing to predict; it makes images: gradlab generate RUN")

    def pictures(self) -> dict[str, np.ndarray]:
        """Images of the same latent vectors each time, and the ways between pairs of them."""
        z = latent_vectors(self, SHOWN * SHOWN, self.recipe.seed)
        between = slerp(z[:SHOWN], z[SHOWN : 2 * SHOWN], SHOWN)
        return {
            "samples": grid(self.generate(z), SHOWN),
            "interpolation": grid(self.generate(between), SHOWN),
        }


@dataclass(frozen=True)
class ClassShares(Part):
    """The share of each class among real and generated images."""

    quality: ImageQuality
    title = "Classes of the generated images"
    caption = (
        "As the classifier sees them; covered: at least a tenth of its share of the real ones."
    )

    def to_dict(self) -> dict[str, Any]:
        """How many images, and the shares."""
        found = self.quality.to_dict()
        return {"count": found["count"], "shares": found["shares"]}

    def tables(self) -> Sequence[Table]:
        """A row for each class."""
        rows = tuple(
            (name, f"{share.real:.2%}", f"{share.generated:.2%}", "yes" if share.covered else "no")
            for name, share in self.quality.shares.items()
        )
        return (Table(("class", "real", "generated", "covered"), rows),)


def _refuse(recipe: Recipe) -> None:
    """UserError for what a pair of networks cannot do."""
    if recipe.data.augment.mixup:
        raise UserError("a gan would learn to make mixed images: leave data.augment.mixup at 0")
    if recipe.schedule.name == "plateau":
        raise UserError("a gan has no val loss for the schedule 'plateau': choose another")
    plan = recipe.plan
    if (plan.monitor or plan.patience) and not recipe.task.options.get("judge"):
        raise UserError(
            "plan.monitor and plan.patience need figures of the generated images: name a "
            "classifier's run with --task.judge RUN"
        )


def _refuse_own(own: Own) -> None:
    """UserError for a network of one's own that is no pair, or a loss for it."""
    _pair(own.model, "own")
    if own.loss is not None:
        raise UserError("a gan has a loss for each of its networks: leave out your own loss")


def _pair(model: nn.Module, name: str) -> nn.Module:
    """The model; UserError when it is no generator with its discriminator."""
    if not all(hasattr(model, part) for part in ("generator", "discriminator", "latent")):
        raise UserError(
            f"a gan trains two networks: expected one with .generator, .discriminator and .latent "
            f"(the size of a latent vector), such as --model.name dcgan, found {name!r}"
        )
    return model


def _symmetric(field: Image) -> Image:
    """The field with pixels in -1..1, the range of the generator's tanh."""
    half = (0.5,) * field.channels
    return field.model_copy(update={"mean": half, "std": half})


def _cross_entropy(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """While it is entered no gradient is computed for the network's own parameters."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
