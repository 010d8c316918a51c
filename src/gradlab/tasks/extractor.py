"""A trained classifier as the space of features in which generated images are measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gradlab.config import Recipe, Runtime
from gradlab.data import Schema, Split
from gradlab.data.columns import Dense
from gradlab.data.decode import refit
from gradlab.data.fields.image import Image
from gradlab.dotted import validate
from gradlab.engine import RunFolder, Setup, seeded
from gradlab.errors import UserError
from gradlab.insight import generated
from gradlab.insight.generated import ImageQuality
from gradlab.tasks import tasks
from gradlab.tasks.activations import activations
from gradlab.tasks.classification import Classification

MOST = 10_000
"""Images that are compared, at most."""
NEAREST = 1_000
"""Images whose nearest training image is looked for, at most."""


@dataclass(frozen=True)
class Extracted:
    """What the classifier makes of N images. features: float32 N D. classes: int64 N."""

    features: np.ndarray
    classes: np.ndarray


@dataclass(frozen=True)
class FeatureExtractor:
    """A classifier of images, taken from its run."""

    task: Classification
    input: str
    """The name of the field that it reads."""
    field: Image

    @classmethod
    def open(cls, path: str, setup: Setup) -> FeatureExtractor:
        """The classifier of a run, in float32; UserError when the run is no image classifier.

        Neither the process's generators of random numbers nor its threads are changed.
        """
        folder = RunFolder.open(Path(path))
        where = f"run {path}: recipe.json"
        recipe = validate(Recipe, folder.record.get("recipe", {}), where)
        schema = validate(Schema, folder.record.get("schema", {}), where)
        name, kind = next(iter(schema.inputs)), recipe.task.name
        field = schema.inputs[name]
        own, several = recipe.model.name == "own", len(schema.inputs) > 1
        if kind != "classification" or not isinstance(field, Image) or own or several:
            raise UserError(
                f"{path} cannot judge images: expected the run of a recipe that classifies images, "
                f"found {recipe.name!r} (task {kind}, {schema.words()}). Train one on the same "
                "data: gradlab train lenet5 --data mnist"
            )
        runtime = Runtime(device=str(setup.device), precision="float32", threads=setup.threads)
        options = tasks.check(kind, recipe.task.options)
        with seeded(recipe.seed):
            task = Classification(recipe, schema, runtime, **options)
        task.load_weights(folder.load("best")[1])
        return cls(task, name, field)

    def extract(self, images: np.ndarray) -> Extracted:
        """What the classifier makes of images (uint8 N H W C, of any form: they are fitted)."""
        x = refit(images, (self.field.height, self.field.width), self.field.channels)
        examples = Split({self.input: Dense(x)})
        features, _ = activations(self.task, examples, None)
        loader = self.task.loader_of(examples, [self.input])
        classes = [self.task.chosen(output).cpu() for _, output in self.task.outputs_of(loader)]
        return Extracted(features, np.concatenate(classes))

    def compare(self, train: Any, held_out: np.ndarray, fake: np.ndarray) -> ImageQuality:
        """All figures of generated images. All are uint8 N H W C; train: what was learnt from.

        `train` may be a column, which is read some rows at a time. The floor is the Frechet
        distance of as many training images in place of the generated ones.
        """
        rng = np.random.default_rng(0)
        chosen = np.sort(rng.permutation(len(train))[: len(fake)])
        real, sample, made = (self.extract(x) for x in (held_out, train[chosen], fake))
        quality = generated.precision_recall(real.features, made.features)
        ceiling = generated.precision_recall(real.features, sample.features)
        return ImageQuality(
            count=len(fake),
            frechet=generated.frechet_distance(real.features, made.features),
            frechet_floor=generated.frechet_distance(real.features, sample.features),
            precision=quality[0],
            recall=quality[1],
            precision_real=ceiling[0],
            recall_real=ceiling[1],
            shares=generated.class_shares(real.classes, made.classes, self.task.field.classes),
            nearest=generated.nearest(fake[:NEAREST], train).distance,
            nearest_real=generated.nearest(held_out[:NEAREST], train).distance,
        )
