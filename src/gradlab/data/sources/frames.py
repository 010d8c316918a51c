"""Table files as polars frames: what is in a CSV or Parquet file, before anything is learnt."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from gradlab.errors import UserError

if TYPE_CHECKING:
    import polars as pl

MISSING = ("", "?", "NA", "na", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "Null")
"""What people write for a missing value."""


def read_frame(path: Path) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """A table as it is in the file, missing values as nulls, and notes on how it was read.

    A CSV's columns are all text. UserError when the file is no table or has no rows.
    """
    import polars as pl

    notes: tuple[str, ...] = ()
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            frame = pl.read_parquet(path)
        else:
            frame, notes = _read_csv(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except pl.exceptions.NoDataError:
        raise UserError(f"{path} is empty: expected a line of column names, then rows") from None
    except pl.exceptions.PolarsError as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise UserError(f"{path} is no readable table: {reason}") from None
    frame = clean(frame)
    if frame.is_empty():
        raise UserError(f"{path} holds no rows: expected a line of column names, then rows")
    return frame, notes


def _read_csv(path: Path) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """A CSV as text: its encoding, separator and decimal sign looked for."""
    import polars as pl

    data, notes = _utf8(path)
    header = re.sub(rb'"[^"]*"', b"", data.lstrip().split(b"\n", 1)[0]).decode("utf-8")
    separator = max(",;\t|", key=header.count)  # the first of equals, so a comma when in doubt
    try:
        frame = pl.read_csv(data, infer_schema=False, separator=separator)
    except pl.exceptions.ComputeError:
        _check_widths(path, data, separator)
        raise
    frame = frame.rename({name: name.strip() for name in frame.columns})
    if frame.width > 1:  # a blank line is read as a row without any value
        frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
    if separator == ";":  # where it separates, a comma often is the decimal sign
        frame = frame.with_columns(pl.all().str.replace(r"^\s*(-?\d+),(\d+)\s*$", "$1.$2"))
    if separator != ",":
        word = "a tab" if separator == "\t" else repr(separator)
        notes += (f"the columns are separated by {word}",)
    return frame, notes


def _utf8(path: Path) -> tuple[bytes, tuple[str, ...]]:
    """A text file's bytes in UTF-8 with newlines, and a note when they were something else."""
    data = path.read_bytes()
    notes: tuple[str, ...] = ()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        data = data.decode("utf-16", errors="replace").encode("utf-8")
    if b"\0" in data:
        raise UserError(f"{path} is no text file: expected CSV (or Parquet named .parquet)")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        data = data.decode("cp1252", errors="replace").encode("utf-8")
        notes = ("the file is not UTF-8; it was read as Latin-1 (Windows-1252)",)
    return (data if b"\n" in data else data.replace(b"\r", b"\n")), notes


def _check_widths(path: Path, data: bytes, separator: str) -> None:
    """UserError names the first line that has more values than there are columns."""
    lines = csv.reader(io.StringIO(data.decode("utf-8"), newline=""), delimiter=separator)
    width = 0
    with contextlib.suppress(csv.Error):  # then polars' own words must do
        for row in lines:
            width = width or len(row)
            if len(row) > width:
                raise UserError(
                    f"{path}: line {lines.line_num} has {len(row)} values, the line of column "
                    f"names has {width}: quote values that hold the separator ({separator!r})"
                )


def clean(frame: pl.DataFrame) -> pl.DataFrame:
    """Text stripped, and null where it says that the value is missing; so are NaNs."""
    import polars as pl
    import polars.selectors as cs

    texts = frame.with_columns(cs.by_dtype(pl.Categorical, pl.Enum).cast(pl.String))
    text = cs.string().str.strip_chars()
    return texts.with_columns(
        pl.when(~text.is_in(MISSING)).then(text).name.keep(),
        cs.float().fill_nan(None),
    )
