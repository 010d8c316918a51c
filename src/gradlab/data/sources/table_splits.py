"""How a table is split: by a column, a group or a time, or by files of their own."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradlab.config import DataConfig
from gradlab.data.columns import Frame, numbered
from gradlab.data.dataset import SplitName
from gradlab.data.tabular import dates
from gradlab.errors import UserError
from gradlab.wording import SHOWN, some

if TYPE_CHECKING:
    import polars as pl

# by a column


def keys_of(
    name: str, frame: pl.DataFrame, rows: np.ndarray, config: DataConfig, said: list[str]
) -> dict[str, np.ndarray]:
    """A value of each row by which it is split."""
    import polars as pl

    keys: dict[str, np.ndarray] = {}
    if config.group is not None:
        keys["group"] = numbered(Frame(pl.DataFrame([frame[config.group]]), rows).marks())
        count = len(np.unique(keys["group"]))
        said.append(f"{config.group}: no input; each of its {count} values stays in one split")
    if config.time is not None:
        where, moments = f"{name}: {config.time}", frame[config.time].gather(rows)
        keys["time"], how = _times(where, moments, rows + 1)
        said.append(f"{config.time}: no input; the rows that are last by it are held out{how}")
    return keys


def _times(where: str, column: pl.Series, numbers: np.ndarray) -> tuple[np.ndarray, str]:
    """Numbers or dates as numbers that can be sorted, and how they are read.

    UserError names the first that is neither.
    """
    import polars as pl

    if column.dtype.is_temporal():
        return np.asarray(column.to_physical()), ""
    if not (column.dtype.is_numeric() or column.dtype == pl.String):
        raise UserError(f"{where} holds {column.dtype} values: expected numbers or dates")
    whole = column.dtype.is_integer() or column.dtype == pl.String
    for kind in (pl.Int64, pl.Float64)[not whole :]:
        parsed = column.cast(kind, strict=False)
        parsed = parsed.fill_nan(None) if kind == pl.Float64 else parsed
        if not parsed.null_count():
            return np.asarray(parsed), ""
    moments = [_moment(text) for text in column]
    absent = [place for place, moment in enumerate(moments) if moment is None]
    if not absent:
        return np.array(moments, np.int64), ""
    different = column.value_counts()
    dated = dates.looked(different.to_series(0), different["count"])
    if dated.formats:
        way, how = dates.choose(dated, None)
        days = dates.read(column, way)
        if not np.isnan(days).any():
            return days, f" ({how})"
    first = next((place for place in absent if parsed[place] is None), absent[0])
    raise UserError(
        f"{where} is {column[first]!r} in row {numbers[first]}: expected a number in every row, or "
        "a date in every row, written alike, such as 2020-01-31 or 2020-01-31T14:30"
    )


def _moment(text: str) -> int | None:
    """Microseconds since 1970 of an ISO date, with a time or without; None if it is none.

    >>> _moment("1970-01-02"), _moment("1970-01"), _moment("1970-01-01T01:00+01:00"), _moment("2/1")
    (86400000000, 0, 0, None)
    """
    try:
        moment = datetime.fromisoformat(f"{text}-01" if re.fullmatch(r"\d{4}-\d\d", text) else text)
    except ValueError:
        return None
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - _EPOCH) // timedelta(microseconds=1)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# by files


class Joined(NamedTuple):
    """Tables of one kind, one after the other."""

    frame: pl.DataFrame
    split: np.ndarray
    """The split of each row, as a number of `names`; `number`: its number in its file, from 1."""
    number: np.ndarray
    names: tuple[SplitName, ...]


def joined(
    name: str,
    train: pl.DataFrame,
    beside: Mapping[SplitName, tuple[str, pl.DataFrame]],
    needed: Container[str],
    said: list[str],
) -> Joined:
    """The training table and those of other splits, by the names of its columns.

    UserError names the `needed` columns that another table lacks; other ones are then null.
    """
    import polars as pl

    frames = [train]
    for split, (file, frame) in beside.items():
        known = set(frame.columns)
        absent = [column for column in train.columns if column not in known]
        if lacking := [column for column in absent if column in needed]:
            raise UserError(
                f"{file} lacks the columns {some(lacking, SHOWN)}, which {name} has; it has "
                f"{some(frame.columns, SHOWN)}: name them alike, or leave them out with "
                "--data.drop"
            )
        more = [column for column in frame.columns if column not in train.columns]
        if more:
            said.append(f"{file}: columns left out, which {name} lacks: {some(more, SHOWN)}")
        said.append(f"{split}: the {frame.height} rows of {file}")
        columns = [
            pl.Series(column.name, [None] * frame.height, column.dtype)
            if column.name not in known
            else frame[column.name]
            for column in train
        ]
        frames.append(pl.DataFrame(columns))
    heights = [frame.height for frame in frames]
    return Joined(
        train if len(frames) == 1 else pl.concat(_alike(frames), how="vertical_relaxed"),
        np.repeat(np.arange(len(frames)), heights),
        np.concatenate([np.arange(1, height + 1) for height in heights]),
        ("train", *beside),
    )


def _alike(frames: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """Columns that are text in one table and something else in another as text in both."""
    import polars as pl

    mixed = [
        place
        for place, dtypes in enumerate(zip(*(frame.dtypes for frame in frames), strict=True))
        if pl.String in dtypes and len(set(dtypes)) > 1
    ]
    if not mixed:
        return frames
    return [
        pl.DataFrame([c.cast(pl.String) if n in mixed else c for n, c in enumerate(frame)])
        for frame in frames
    ]
