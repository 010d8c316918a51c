"""Which named sets are trained on without a download; importing this is cheap."""

from __future__ import annotations

import os
from pathlib import Path

from gradlab import paths

DOWNLOADED = (
    "cifar10", "daily_min_temperatures", "fashion_mnist", "imdb", "mnist", "pollution", "ptb",
    "rt_polarity", "seattle_weather", "tiny_shakespeare", "titanic",
)  # fmt: skip
"""The named sets that are downloaded; the others are shipped with a package."""
_FOLDERS = {
    "daily_min_temperatures": "timeseries",
    "pollution": "timeseries",
    "seattle_weather": "timeseries",
    "tiny_shakespeare": "tinyshakespeare",
}


def is_here(name: str) -> bool:
    """Whether a set needs no download: it is shipped, a path, or in the cache."""
    if name not in DOWNLOADED:
        return True
    folder = folder_of(name)
    return folder.is_dir() and any(path.is_file() for path in folder.iterdir())


def folder_of(name: str) -> Path:
    """Where the published files of a named set are kept."""
    return cache_folder() / _FOLDERS.get(name, name)


def cache_folder() -> Path:
    """Where published files are kept: GRADLAB_DATA, else the platform's cache folder.

    The layout is `<dataset>/<file name as published>`.
    """
    told = os.environ.get("GRADLAB_DATA")
    if told:
        return paths.given(told, "GRADLAB_DATA")
    import pooch

    return Path(pooch.os_cache("gradlab"))
