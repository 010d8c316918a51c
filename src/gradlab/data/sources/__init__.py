"""Where examples come from: named sets by registry, one's own data by path."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gradlab import paths
from gradlab.config import DataConfig
from gradlab.data.columns import Dense
from gradlab.data.dataset import Dataset, Schema, Source, Split
from gradlab.data.fields.image import Image
from gradlab.data.fields.table import Table
from gradlab.data.here import folder_of
from gradlab.data.kinds import ARRAYS, TABLES, TEXTS, archive_format, kind_of, table_files
from gradlab.data.splits import finish
from gradlab.errors import UnknownName, UserError
from gradlab.registry import Registry
from gradlab.text import quoted

datasets: Registry[Callable[[DataConfig], Source]] = Registry(
    "dataset",
    (
        "gradlab.data.sources.embedded",
        "gradlab.data.sources.published",
        "gradlab.data.sources.tables",
        "gradlab.data.sources.texts",
        "gradlab.data.sources.labelled_texts",
        "gradlab.data.sources.series",
    ),
)
"""The named sets; each entry reads its set as a `Source`."""


def load(config: DataConfig) -> Dataset:
    """The dataset that a configuration names: a named set, or one's own data at a path."""
    return finish(source(config), config)


def source(config: DataConfig) -> Source:
    """The examples as decoded, before the splits are complete.

    UserError when the name is neither a named set nor a path, or what is there cannot be used, or
    a split by group or time is asked for where there is no column to split by.
    """
    found = _read(config)
    for key in ("group", "time"):
        column = getattr(config, key)
        if column is not None and key not in found.keys and not _is_series(found):
            raise UserError(
                f"data.{key}: expected a column of a table, but {found.name} has none called "
                f"{column!r} ({found.schema.words()}): leave --data.{key} out"
            )
    beside = ("drop", "val_file", "test_file")
    for key in [key for key in beside if getattr(config, key)]:
        if key == "drop" and _is_series(found):
            continue
        if not any(isinstance(field, Table) for field in found.schema.inputs.values()):
            raise UserError(
                f"data.{key}: expected a table, but {found.name} is none ({found.schema.words()}): "
                f"leave --data.{key} out"
            )
    return found


def _is_series(found: Source) -> bool:
    return any(field.type == "series" for field in found.schema.inputs.values())


def _read(config: DataConfig) -> Source:
    """The named set or the data at a path."""
    from gradlab.data.sources.labelled_texts import (
        holds_texts,
        text_folder_source,
        text_table_source,
    )

    if config.name in datasets:
        return _fitted(datasets[config.name](config), config)
    path = _path(config)
    kind = "table" if table_files(path) else kind_of(path)
    if kind is None and holds_texts(path):
        return text_folder_source(path, config)
    if kind == "table" and config.horizon:
        from gradlab.data.sources.series import series_source

        return series_source(path, config)
    if kind == "table" and config.text is not None:
        return text_table_source(path, config)
    if kind != "table" and _holds_images(path):
        from gradlab.data.sources.folders import image_source

        return image_source(path, config)
    if kind == "arrays":
        from gradlab.data.sources.arrays import array_source

        return _fitted(array_source(path, config), config)
    if kind == "table":
        from gradlab.data.sources.tables import table_source

        return table_source(path, config)
    if kind == "text":
        from gradlab.data.sources.texts import stream_source

        return stream_source(path, config)
    packed = archive_format(path)
    hint = f" Its content is that of a .{packed} archive: rename it so" if packed else ""
    raise UserError(
        f"{path} is of a kind that is not read. Expected a folder of images, an archive of one "
        f"(.zip, .tar, .tar.gz, .tar.xz), a table ({', '.join(TABLES)}), arrays "
        f"({', '.join(ARRAYS)}) or a text ({', '.join(TEXTS)}).{hint}"
    )


def get(name: str) -> list[Path]:
    """Put a named set into the cache; its files there, none for a set that is embedded.

    The set is read once, so that what is there is known to be good.
    """
    datasets[name](DataConfig(name=name))
    folder = folder_of(name)
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def _path(config: DataConfig) -> Path:
    path = paths.given(config.name, "data")
    if not path.exists():
        near = difflib.get_close_matches(config.name, datasets, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UnknownName(
            f"{quoted(config.name)} is neither a named dataset nor a path that exists.{hint} "
            f"Named: {', '.join(datasets)}"
        )
    if not path.is_dir():
        paths.regular(path)
    return path


def _holds_images(path: Path) -> bool:
    return path.is_dir() or kind_of(path) == "archive"


def _fitted(made: Source, config: DataConfig) -> Source:
    """The source with its images in the size and channels that are asked for."""
    from gradlab.data.decode import refit

    fields = dict(made.schema.inputs)
    columns = {split: dict(part.columns) for split, part in made.parts.items()}
    notes = list(made.notes)
    for name, field in fields.items():
        if not isinstance(field, Image):
            continue
        height, width = config.size or (field.height, field.width)
        channels = config.channels or field.channels
        if (channels, height, width) == field.shape:
            continue
        for split, part in made.parts.items():
            columns[split][name] = Dense(refit(part[name][:], (height, width), channels))
        fields[name] = Image(height=height, width=width, channels=channels)
        colour = "grey" if channels == 1 else "colour"
        said = "" if channels == field.channels else f", {colour}"
        notes.append(f"images: all {field.width}x{field.height}, brought to {width}x{height}{said}")
    schema = Schema(inputs=fields, targets=made.schema.targets)
    parts = {split: Split(columns[split], part.ids) for split, part in made.parts.items()}
    return replace(made, schema=schema, parts=parts, notes=tuple(notes))
