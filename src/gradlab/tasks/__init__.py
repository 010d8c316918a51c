"""What is asked of a model: one class for each kind of problem."""

from __future__ import annotations

from typing import Any

from gradlab.registry import Registry

tasks: Registry[Any] = Registry(
    "task",
    (
        "gradlab.tasks.classification",
        "gradlab.tasks.binary",
        "gradlab.tasks.regression",
        "gradlab.tasks.own",
        "gradlab.tasks.dqn",
        "gradlab.tasks.autoencoder",
        "gradlab.tasks.gan",
        "gradlab.tasks.language",
        "gradlab.tasks.word2vec",
        "gradlab.tasks.forecasting",
    ),
)
"""The kinds of problem; each entry is a `gradlab.tasks.base.Task`."""
