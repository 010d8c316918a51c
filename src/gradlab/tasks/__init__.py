"""What is asked of a model: one class for each kind of problem."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradlab.registry import Registry

if TYPE_CHECKING:
    from gradlab.tasks.base import Task

tasks: Registry[type[Task]] = Registry(
    "task",
    (
        "gradlab.tasks.classification",
        "gradlab.tasks.binary",
        "gradlab.tasks.regression",
        "gradlab.tasks.dqn",
        "gradlab.tasks.autoencoder",
        "gradlab.tasks.gan",
    ),
)
"""The kinds of problem; each entry is a `Task`."""
