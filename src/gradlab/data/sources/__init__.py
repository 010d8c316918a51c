"""Where examples come from: named sets by registry, one's own data by path."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gradlab import paths
from gradlab.config import DataConfig
from gradlab.data.dataset import Dataset, Parts, Source, finish
from gradlab.data.kinds import ARRAYS, TABLES, archive_format, kind_of
from gradlab.errors import UnknownName, UserError
from gradlab.registry import Registry

if TYPE_CHECKING:
    from gradlab.data.sources.folders import Photo

datasets: Registry[Callable[[DataConfig], Source]] = Registry(
    "dataset",
    (
        "gradlab.data.sources.embedded",
        "gradlab.data.sources.published",
        "gradlab.data.sources.tables",
    ),
)
"""The named sets; each entry reads its set as a `Source`."""


def load(config: DataConfig) -> Dataset:
    """The dataset that a configuration names: a named set, or one's own data at a path."""
    return finish(source(config), config)


def source(config: DataConfig) -> Source:
    """The examples as decoded, before the splits are complete.

    UserError when the name is neither a named set nor a path, or what is there cannot be used.
    """
    if config.name in datasets:
        return _fitted(datasets[config.name](config), config)
    path = _path(config)
    kind = kind_of(path)
    if _holds_images(path):
        from gradlab.data.sources.folders import image_source

        return image_source(path, config)
    if kind == "arrays":
        from gradlab.data.sources.arrays import array_source

        return _fitted(array_source(path, config), config)
    if kind == "table":
        from gradlab.data.sources.tables import table_source

        return table_source(path, config)
    packed = archive_format(path)
    hint = f" Its content is that of a .{packed} archive: rename it so" if packed else ""
    raise UserError(
        f"{path} is of a kind that is not read. Expected a folder of images, an archive of one "
        f"(.zip, .tar, .tar.gz, .tar.xz), a table ({', '.join(TABLES)}) or arrays "
        f"({', '.join(ARRAYS)}).{hint}"
    )


def examine(config: DataConfig) -> tuple[Source, tuple[Photo, ...]]:
    """Like `source`, but images that cannot be read are left out instead of refused.

    Also a look at every image file, readable or not; none where there are no such files.
    """
    if config.name not in datasets and _holds_images(path := _path(config)):
        from gradlab.data.sources.folders import examine

        return examine(path, config)
    return source(config), ()


def get(name: str) -> list[Path]:
    """Put a named set into the cache; its files there, none for a set that is embedded.

    The set is read once, so that what is there is known to be good.
    """
    from gradlab.data.sources.download import cache_folder

    datasets[name](DataConfig(name=name))
    folder = cache_folder() / name
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def _path(config: DataConfig) -> Path:
    path = paths.given(config.name, "data")
    if not path.exists():
        near = difflib.get_close_matches(config.name, datasets, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UnknownName(
            f"{paths.quoted(config.name)} is neither a named dataset nor a path that exists.{hint} "
            f"Named: {', '.join(datasets)}"
        )
    if not path.is_dir():
        paths.regular(path)
    return path


def _holds_images(path: Path) -> bool:
    return path.is_dir() or kind_of(path) == "archive"


def _fitted(made: Source, config: DataConfig) -> Source:
    """The source with its images in the size and channels that are asked for."""
    if made.schema.kind != "image":
        return made
    from gradlab.data.decode import refit

    channels, height, width = made.schema.shape
    wanted = config.size or (height, width)
    kept = config.channels or channels
    if (height, width, channels) == (*wanted, kept):
        return made
    parts: Parts = {
        name: replace(split, x=refit(split.x, wanted, kept)) for name, split in made.parts.items()
    }
    colour = "" if kept == channels else f", {'grey' if kept == 1 else 'colour'}"
    note = f"images: all {width}x{height}, brought to {wanted[1]}x{wanted[0]}{colour}"
    schema = made.schema.model_copy(update={"shape": (kept, *wanted)})
    return replace(made, schema=schema, parts=parts, notes=(*made.notes, note))
