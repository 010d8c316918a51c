"""A generator and a discriminator that learn from each other.

Goodfellow et al. (2014), "Generative adversarial nets", https://arxiv.org/abs/1406.2661: algorithm
1 with one step of the discriminator, and the loss of section 3 that does not saturate. One-sided
label smoothing: Salimans et al. (2016), https://arxiv.org/abs/1606.03498, section 3.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from gradlab.config import Plan, Recipe, Transfer
from gradlab.data import Dataset, Schema
from gradlab.data.feed import Batch, Feed
from gradlab.engine import Updater, resolve
from gradlab.engine.updater import evaluating
from gradlab.errors import UserError
from gradlab.insight.generated import Judgement, frechet_distance
from gradlab.models import gans, initial
from gradlab.tasks import tasks, transfer
from gradlab.tasks.base import Details, Own, Task
from gradlab.tasks.generating import blend, latents
from gradlab.tasks.judge import MOST, Judge
from gradlab.tasks.pictures import grid, to_pixels
from gradlab.tasks.supervised import check_weights

SHOWN = 8
"""Rows and columns of the pictures that are drawn after each epoch."""
_BLOCK = 256  # images that are made at a time


@tasks.register("gan")
class Gan(Task):
    """Images like those of the dataset, out of latent numbers; classes are not looked at."""

    monitor = ("frechet", "min")

    def __init__(
        self,
        recipe: Recipe,
        source: Dataset | Schema,
        own: Own | None = None,
        *,
        label_smoothing: Annotated[
            float, Field(ge=0, lt=1, description="real images are to score 1 minus this")
        ] = 0.0,
        judge: Annotated[
            str, Field(description="a classifier's run, in whose features the images are measured")
        ] = "",
    ) -> None:
        _check(recipe, own)
        self.dataset = source if isinstance(source, Dataset) else None
        self.schema = _symmetric(source.schema if isinstance(source, Dataset) else source)
        self.smoothing = label_smoothing
        # One seed owns the initial values, the latent numbers, the order of batches, augmentation.
        torch.manual_seed(recipe.seed)
        self.model: nn.Module = self.build(recipe)
        self.generator = self.model.get_submodule("generator")
        self.discriminator = self.model.get_submodule("discriminator")
        self.latent = cast("int", self.model.latent)
        if self.dataset is not None:
            initial.apply(self.model, recipe.transfer.init)
            if recipe.transfer.weights:
                weights, _ = transfer.read_weights(recipe.transfer.weights)
                check_weights(self.model, weights)
                self.model.load_state_dict(weights)
        self.setup = resolve(recipe, self.model, torch.zeros(1, self.latent))
        self.setup.apply()
        self.model.to(self.setup.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.by = str(Path(judge).resolve()) if judge else ""  # a resume may start elsewhere
        self.recipe = recipe.model_copy(
            update={
                "device": str(self.setup.device),
                "precision": self.setup.precision,
                "threads": self.setup.threads,
                "task": recipe.task.model_copy(update={"judge": self.by}),
            }
        )
        if self.dataset is not None:
            self._prepare(self.dataset)

    def build(self, recipe: Recipe) -> nn.Module:
        """The recipe's pair of networks for images of this schema."""
        channels, height, width = self.schema.shape
        if height != width:
            raise UserError(
                f"a generator makes square images, found {width}x{height} (width x height): "
                "cut them square with --data.image_size 32"
            )
        name = recipe.model.name
        options = gans.check(name, recipe.model.options)
        return gans[name](channels, height, **options)

    def _prepare(self, dataset: Dataset) -> None:
        """What only a training needs."""
        recipe, train = self.recipe, dataset.splits["train"]
        if len(train) < recipe.plan.batch_size:
            raise UserError(
                f"{dataset.name}: {len(train)} training images are fewer than a batch of "
                f"{recipe.plan.batch_size}: add images, or choose a smaller --batch_size"
            )
        self.feed = Feed(
            train,
            self.schema,
            batch_size=recipe.plan.batch_size,
            device=self.setup.device,
            seed=recipe.seed,
            changes=recipe.data.augment,
        )
        plan = self.plan(recipe.plan)
        self.recipe = recipe.model_copy(update={"plan": plan})
        networks = {"discriminator": self.discriminator, "generator": self.generator}
        self.updaters = {
            name: Updater(
                [(1.0, list(network.named_parameters()))],
                recipe.optimizer,
                recipe.schedule,
                plan,
                self.setup,
                self.steps,
            )
            for name, network in networks.items()
        }
        if self.by:
            _ = self.judge  # one that does not fit is refused before the training, not after it

    def plan(self, plan: Plan) -> Plan:
        """The plan with its epochs written out; a judge decides which epoch was the best."""
        epochs = max(plan.epochs, -(-plan.updates // self.steps))
        changes: dict[str, Any] = {"epochs": epochs, "updates": 0}
        if self.by:
            changes.update(monitor=self.monitor[0], goal=self.monitor[1])
        elif plan.monitor or plan.patience:
            raise UserError(
                "plan.monitor and plan.patience need figures of the generated images: name a "
                "classifier's run with --task.judge RUN"
            )
        return plan.model_copy(update=changes)

    # what the engine asks for

    @property
    def steps(self) -> int:
        """Batches in an epoch. All are whole: batch norm describes the whole of its batch."""
        return len(self.feed) // self.feed.batch_size

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The shuffled batches of an epoch that are still to come."""
        self.model.train()
        for batch in self.feed.batches(epoch):
            if len(batch) == self.feed.batch_size:
                yield batch

    def step(self, batch: Batch) -> dict[str, Any]:
        """A step of the discriminator, then a step of the generator."""
        found = self.updaters["discriminator"].update(self.telling_apart, batch)
        with _frozen(self.discriminator):
            made = self.updaters["generator"].update(self.deceiving, batch)
        return {**found, "generator_loss": made["loss"], **self.scores}

    def telling_apart(self, batch: Batch) -> Tensor:
        """The discriminator's loss: real images are to score 1, generated ones 0."""
        with torch.no_grad():
            images = self.generator(self.draw(len(batch)))
        real = self.discriminator(batch.x).float()  # N
        fake = self.discriminator(images).float()  # N
        self.scores = {
            "score_real": real.detach().sigmoid().mean(),
            "score_generated": fake.detach().sigmoid().mean(),
        }
        return _cross_entropy(real, 1 - self.smoothing) + _cross_entropy(fake, 0)

    def deceiving(self, batch: Batch) -> Tensor:
        """The generator's loss: its images are to score 1."""
        return _cross_entropy(self.model(self.draw(len(batch))).float(), 1)

    def draw(self, count: int) -> Tensor:
        """Latent numbers from the run's own generator, on the device: N L."""
        return torch.randn(count, self.latent).to(self.setup.device)

    def evaluate(self, split: str) -> dict[str, float]:
        """The Frechet distance to a split; nothing without a judge."""
        if not self.has(split):
            return {}
        real = self.images(split)[:MOST]
        made = self.make(latents(self, len(real), self.recipe.seed))
        seen = (self.judge.look(images).features for images in (real, made))
        return {"frechet": frechet_distance(*seen)}

    def state(self) -> dict[str, Any]:
        """Both networks, both optimizers, the place in the epoch, the generator of random numbers.

        Latent numbers are drawn on the processor, so there is one generator on any device.
        """
        return {
            "model": self.model.state_dict(),
            "updaters": {name: updater.state() for name, updater in self.updaters.items()},
            "feed": self.feed.state(),
            "random": torch.get_rng_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.load_weights(state)
        for name, updater in self.updaters.items():
            updater.load_state(state["updaters"][name])
        self.feed.load_state(state["feed"])
        torch.set_rng_state(state["random"])

    def load_weights(self, state: dict[str, Any]) -> None:
        """Take only the weights of both networks; UserError names what does not fit."""
        check_weights(self.model, state["model"])
        self.model.load_state_dict(state["model"])

    # beside training: nothing here draws from the run's generator

    def has(self, split: str) -> bool:
        """Whether images can be judged against a split: one they were not learnt from."""
        return bool(self.by) and split != "train" and super().has(split)

    @cached_property
    def judge(self) -> Judge:
        """The classifier that the task names."""
        return Judge.open(self.by, self.setup)

    def details(self, split: str) -> Details:
        """All figures of the generated images against a split."""
        if not self.by:
            raise UserError(
                "this run names no judge of its images: gradlab judge RUN --by CLASSIFIER, where "
                "CLASSIFIER is the run of a classifier of such images"
            )
        return Details(self.judged(self.judge, split).metrics)

    def judged(self, judge: Judge, split: str = "test", count: int = MOST) -> Judgement:
        """All figures of `count` generated images (at most as many as the split has)."""
        if split == "train":
            raise UserError("generated images are judged against val or test, not against train")
        real = self.images(split)[:count]
        made = self.make(latents(self, len(real), self.recipe.seed))
        return judge.compare(self.images("train"), real, made)

    def images(self, split: str) -> np.ndarray:
        """The real images of a split: uint8 N H W C."""
        if self.dataset is None:
            raise UserError("this run was opened without its dataset")
        if split not in self.dataset.splits:
            known = ", ".join(self.dataset.splits)
            raise UserError(f"{self.dataset.name} has no split {split!r}; it has {known}")
        return self.dataset.splits[split].x

    def make(self, z: Tensor) -> np.ndarray:
        """Images of latent numbers, each by itself: N L -> uint8 N H W C.

        In float32 and with stored batch statistics.
        """
        with evaluating(self.generator):
            made = [
                to_pixels(self.generator(part.to(self.setup.device)), self.schema)
                for part in torch.split(z, _BLOCK)
            ]
        return np.concatenate(made)

    def pictures(self) -> dict[str, np.ndarray]:
        """Images of the same latent numbers each time, and the ways between pairs of them."""
        z = latents(self, SHOWN * SHOWN, self.recipe.seed)
        between = blend(z[:SHOWN], z[SHOWN : 2 * SHOWN], SHOWN)
        return {
            "samples": grid(self.make(z), SHOWN),
            "interpolation": grid(self.make(between), SHOWN),
        }


def _check(recipe: Recipe, own: Own | None) -> None:
    """UserError for what a pair of networks cannot do."""
    if own is not None:
        raise UserError(
            "a gan trains two networks: register a builder of both with "
            "@gradlab.models.gans.register('name') and name it in the recipe"
        )
    plain = Transfer(init=recipe.transfer.init, weights=recipe.transfer.weights)
    if recipe.transfer != plain:
        raise UserError(
            "a gan trains all of its layers alike: leave transfer.freeze, transfer.unfreeze_after "
            "and transfer.backbone_lr as they are"
        )
    if recipe.data.augment.mixup:
        raise UserError("a gan would learn to make mixed images: leave data.augment.mixup at 0")
    if recipe.schedule.name == "plateau":
        raise UserError("a gan has no val loss for the schedule 'plateau': choose another")


def _symmetric(schema: Schema) -> Schema:
    """The schema with pixels in -1..1, the range of the generator's tanh."""
    if schema.kind != "image":
        raise UserError(
            f"a gan learns from images, but these data are of the kind {schema.kind!r}: give a "
            "folder of images, or a named set such as mnist"
        )
    half = (0.5,) * schema.shape[0]
    return schema.model_copy(update={"mean": half, "std": half})


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
