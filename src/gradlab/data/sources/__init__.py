"""Where examples come from: named sets by registry, one's own data by path."""

from __future__ import annotations

from collections.abc import Callable

from gradlab.config import DataConfig
from gradlab.data.dataset import Dataset, Source, finish
from gradlab.registry import Registry

datasets: Registry[Callable[[DataConfig], Source]] = Registry(
    "dataset", ("gradlab.data.sources.embedded",)
)
"""The named sets; each entry reads its set as a `Source`."""


def load(config: DataConfig) -> Dataset:
    """The dataset that a configuration names: a named set, or one's own data at a path."""
    return finish(datasets[config.name](config), config)
