"""A trained classifier that says how like real images generated ones are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gradlab.config import Recipe, validate
from gradlab.data import Schema, Split
from gradlab.data.decode import refit
from gradlab.engine import RunFolder
from gradlab.engine.setup import Setup
from gradlab.errors import UserError
from gradlab.insight import generated
from gradlab.insight.generated import Judgement
from gradlab.tasks import tasks
from gradlab.tasks.activations import activations
from gradlab.tasks.classification import Classification

MOST = 10_000
"""Images that are compared, at most."""
NEAREST = 1_000
"""Images whose nearest training image is looked for, at most."""


@dataclass(frozen=True)
class Seen:
    """What the classifier makes of N images. features: float32 N D. classes: int64 N."""

    features: np.ndarray
    classes: np.ndarray


@dataclass(frozen=True)
class Judge:
    """A classifier and the name of the run that it comes from."""

    task: Classification
    name: str

    @classmethod
    def open(cls, path: str, setup: Setup) -> Judge:
        """The classifier of a run, in float32; UserError when the run is no image classifier.

        Neither the process's generator of random numbers nor its threads are changed.
        """
        folder = RunFolder.open(Path(path))
        where = f"run {path}: recipe.json"
        recipe = validate(Recipe, folder.record.get("recipe", {}), where)
        schema = validate(Schema, folder.record.get("schema", {}), where)
        kind = recipe.task.name
        if kind != "classification" or schema.kind != "image" or recipe.model.name == "own":
            raise UserError(
                f"{path} cannot judge images: expected the run of a recipe that classifies images, "
                f"found {recipe.name!r} (task {kind}, {schema.kind}). Train one on the same data: "
                "gradlab train lenet5 --data mnist"
            )
        recipe = recipe.model_copy(
            update={"device": str(setup.device), "precision": "float32", "threads": setup.threads}
        )
        with torch.random.fork_rng(devices=[]):
            options = tasks.check(kind, recipe.task.options)
            task = Classification(recipe, schema, **options)
        task.load_weights(folder.load("best")[1])
        return cls(task, str(path))

    def look(self, images: np.ndarray) -> Seen:
        """What the classifier makes of images (uint8 N H W C, of any form: they are fitted)."""
        channels, height, width = self.task.schema.shape
        x = refit(images, (height, width), channels)
        features, _ = activations(self.task, Split(x, np.zeros(len(x), np.int64)), None)
        return Seen(features, self.task.outputs_for(x).argmax(1).cpu().numpy())

    def compare(self, train: np.ndarray, held_out: np.ndarray, made: np.ndarray) -> Judgement:
        """All figures of generated images. All are uint8 N H W C; train: what was learnt from.

        The floor is the same for as many training images in place of the generated ones.
        """
        rng = np.random.default_rng(0)
        chosen = np.sort(rng.permutation(len(train))[: len(made)])
        real, sample, fake = (self.look(x) for x in (held_out, train[chosen], made))
        quality = generated.precision_recall(real.features, fake.features)
        ceiling = generated.precision_recall(real.features, sample.features)
        shares = generated.class_shares(real.classes, fake.classes, self.task.schema.classes)
        return Judgement(
            count=len(made),
            frechet=generated.frechet_distance(real.features, fake.features),
            frechet_floor=generated.frechet_distance(real.features, sample.features),
            precision=quality[0],
            recall=quality[1],
            precision_real=ceiling[0],
            recall_real=ceiling[1],
            shares=shares,
            nearest=generated.nearest(made[:NEAREST], train).distance,
            nearest_real=generated.nearest(held_out[:NEAREST], train).distance,
        )
