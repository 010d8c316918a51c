"""Published weights as if they were a run: a network that others have trained, ready to answer."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from gradlab.config import Choice, DataConfig, Recipe, Runtime, Transfer
from gradlab.data import Schema
from gradlab.data.fields.image import Image
from gradlab.data.fields.label import Label
from gradlab.engine import RunFolder
from gradlab.engine.record import FORMAT, Record
from gradlab.errors import UserError
from gradlab.runs.run import Run
from gradlab.tasks import published, transfer
from gradlab.tasks.base import Task
from gradlab.version import __version__

CLASSES = 1000
"""Of ImageNet; the files hold no names of them."""


class Pretrained(Run):
    """A network with published weights, under their name. There is no folder behind it.

    It reads colour images of the size that it was trained on, and answers with the numbers of
    ImageNet's classes: what it is good for are its features. UserError when the weights are not
    here.
    """

    def __init__(self, name: str, runtime: Runtime | None = None) -> None:
        published.located(name)
        super().__init__(RunFolder(Path(name)), runtime=runtime)
        self.name = name

    @cached_property
    def recipe(self) -> Recipe:
        """The network, classifying ImageNet."""
        return Recipe(
            name=self.name,
            model=Choice(name=published.network_of(self.name)),
            task=Choice(name="classification"),
            data=DataConfig(name="ImageNet"),
            transfer=Transfer(weights=self.name),
        )

    @cached_property
    def schema(self) -> Schema:
        """Images as the weights know them, and a label."""
        found = published.PUBLISHED[self.name]
        image = Image(
            height=found.size, width=found.size, channels=3, mean=found.mean, std=found.std
        )
        label = Label(classes=tuple(f"class {number}" for number in range(CLASSES)))
        return Schema(inputs={"image": image}, targets={"label": label})

    @cached_property
    def record(self) -> Record:
        """What a run would have recorded."""
        return cast(
            Record,
            {
                "format": FORMAT,
                "created": "",
                "gradlab": __version__,
                "seed": 0,
                "recipe": self.recipe.model_dump(mode="json"),
                "schema": self.schema.model_dump(mode="json"),
                "dataset": {"name": "ImageNet", "fingerprint": "", "counts": {}},
                "notes": [],
                "machine": {},
                "runtime": {"device": "auto", "precision": "auto", "threads": 0},
            },
        )

    @cached_property
    def dataset(self) -> Any:
        """There is none here."""
        raise UserError(
            f"{self.name} are published weights, whose training images are not here: say which "
            "images are meant with --data"
        )

    @cached_property
    def task(self) -> Task:
        """The task with the published weights."""
        task = self.new_task(self.runtime)
        task.load_weights({"model": transfer.read_weights(self.name)[0]})
        return task

    @property
    def history(self) -> list[dict[str, Any]]:
        """Nothing was recorded."""
        return []


def names_weights(given: str | os.PathLike[str]) -> bool:
    """Whether published weights are meant: a name of some, and no path that exists."""
    return str(given) in published.PUBLISHED and not Path(given).exists()
