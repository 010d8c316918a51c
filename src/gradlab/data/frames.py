"""Table files as polars frames: what is in a CSV or Parquet file, before anything is learnt."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gradlab import paths
from gradlab.data.columns import CELLS
from gradlab.data.tabular import batches
from gradlab.errors import UserError
from gradlab.wording import counted, some

if TYPE_CHECKING:
    import polars as pl

Header = Literal["first", "none"]
"""Whether the first line of a CSV holds the names of its columns."""

MISSING = ("", "?", "NA", "na", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "Null")
"""What people write for a missing value."""
PARQUET = (".parquet", ".pq")


def read_rows(
    path: Path, header: Header = "first"
) -> tuple[pl.DataFrame, tuple[str, ...], dict[int, str]]:
    """As `read_frame`, but rows with too few or too many values are no error.

    They are named by their places (from 0), with how many values they have.
    """
    frame, notes = read_frame(path, header, ragged=True)
    is_csv = path.suffix.lower() not in PARQUET
    return frame, notes, _uneven(path, frame, header) if is_csv else {}


def read_frame(
    path: Path, header: Header = "first", ragged: bool = False
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """A table as it is in the file, missing values as nulls, and notes on how it was read.

    A CSV's columns are all text; without a header they are called column_1, column_2, ...
    UserError when the file is no table or has no rows, or a row has more values than there are
    columns; of `ragged` ones what is too much is left out.
    """
    import polars as pl

    notes: tuple[str, ...] = ()
    try:
        paths.regular(path)
        if path.suffix.lower() in PARQUET:
            frame = _read_parquet(path)
        else:
            frame, notes = _read_csv(path, header == "first", ragged)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except pl.exceptions.NoDataError:
        raise UserError(f"{path} is empty: expected {_expected(header)}") from None
    except pl.exceptions.PolarsError as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise UserError(f"{path} is no readable table: {reason}") from None
    if frame.is_empty():
        raise UserError(f"{path} holds no rows: expected {_expected(header)}")
    columns = frame.get_columns()
    del frame  # of its columns, too, not all are to be in memory twice
    return clean(columns), notes


def _expected(header: Header) -> str:
    return "a line of column names, then rows" if header == "first" else "rows"


def _read_parquet(path: Path) -> pl.DataFrame:
    import polars as pl

    try:
        return pl.read_parquet(path)
    except pl.exceptions.PanicException:  # no Exception: what polars' own code did not expect
        raise UserError(f"{path} is no readable table: the Parquet file is damaged") from None


def _read_csv(path: Path, has_header: bool, ragged: bool) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """A CSV as text: its encoding and separator looked for."""
    import polars as pl

    data, notes = _utf8(path)
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    separator = usual if usual == "\t" else _separator(data)
    try:
        frame = pl.read_csv(
            data,
            has_header=has_header,
            infer_schema=False,
            separator=separator,
            truncate_ragged_lines=ragged,
        )
    except pl.exceptions.ComputeError:
        _check_widths(path, data, separator)
        raise
    if has_header:
        frame = frame.rename({name: name.strip() for name in frame.columns})
    else:
        frame.columns = [f"column_{number}" for number in range(1, frame.width + 1)]
    if frame.width > 1:  # a blank line is read as a row without any value
        blank = frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
        frame = frame.filter(~blank) if blank.any() else frame
    if separator != usual:
        word = "a tab" if separator == "\t" else repr(separator)
        notes += (f"the columns are separated by {word}",)
    return frame, notes


def _uneven(path: Path, frame: pl.DataFrame, header: Header) -> dict[int, str]:
    """The rows of a CSV whose values are not as many as its columns, by their places in `frame`.

    Empty where its rows cannot be told apart as polars does: nothing is guessed then.
    """
    data, _ = _utf8(path)
    separator = "\t" if path.suffix.lower() == ".tsv" else _separator(data)
    lines = csv.reader(io.StringIO(data.decode("utf-8"), newline=""), delimiter=separator)
    found: dict[int, str] = {}
    width, place, is_header = frame.width, 0, header == "first"
    try:
        for row in lines:
            if is_header:
                is_header = not row
            elif width == 1 or any(row):  # else it is blank, and no row
                if len(row) != width and row:
                    found[place] = f"it has {counted(len(row), 'value')}, expected {width}"
                place += 1
    except csv.Error:
        return {}
    return found if place == frame.height else {}


def _separator(data: bytes) -> str:
    """What stands most often in the first line; a comma when in doubt."""
    start = re.search(rb"\S", data)
    line = data[start.start() : data.find(b"\n", start.start()) % (len(data) + 1)] if start else b""
    header = re.sub(rb'"[^"]*"', b"", line).decode("utf-8")
    return max(",;\t|", key=header.count)  # the first of equals


def _utf8(path: Path) -> tuple[bytes, tuple[str, ...]]:
    """A text file's bytes in UTF-8 with newlines, and a note when they were something else."""
    data = path.read_bytes()
    notes: tuple[str, ...] = ()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        data = data.decode("utf-16", errors="replace").encode("utf-8")
    if b"\0" in data:
        raise UserError(f"{path} is no text file: expected CSV (or Parquet named .parquet)")
    if not _is_utf8(data):
        data = data.decode("cp1252", errors="replace").encode("utf-8")
        notes = ("the file is not UTF-8; it was read as Latin-1 (Windows-1252)",)
    return (data if b"\n" in data else data.replace(b"\r", b"\n")), notes


def _is_utf8(data: bytes) -> bool:
    """Looked at in stretches: the whole as text may take four times the memory."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(data), CELLS):
            decoder.decode(data[start : start + CELLS])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _check_widths(path: Path, data: bytes, separator: str) -> None:
    """UserError names the first line that has more values than there are columns."""
    lines = csv.reader(io.StringIO(data.decode("utf-8"), newline=""), delimiter=separator)
    width = 0
    with contextlib.suppress(csv.Error):  # then polars' own words must do
        for row in lines:
            width = width or len(row)
            if len(row) > width:
                raise UserError(
                    f"{path}: line {lines.line_num} has {len(row)} values, the first line has "
                    f"{width}: quote values that hold the separator ({separator!r})"
                )


def given_frame(data: Any, where: str) -> pl.DataFrame:
    """A polars or pandas data frame as a table read from a file; UserError when it is none."""
    import polars as pl

    if not isinstance(data, pl.DataFrame):
        if not (hasattr(data, "iloc") and hasattr(data, "columns")):
            raise UserError(
                f"{where} is of the type {type(data).__name__}: expected a path of a CSV or "
                "Parquet file, a polars or pandas data frame, or a dictionary for each row"
            )
        data = _of_pandas(data, where)
    if data.is_empty():
        raise UserError(f"{where} holds no rows: expected some, and columns with names")
    return clean(data.get_columns())


def _of_pandas(data: Any, where: str) -> pl.DataFrame:
    """Column by column, so that no other package is needed; the index is left behind."""
    import polars as pl

    names = [str(name) for name in data.columns]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise UserError(f"{where} has several columns of one name: {some(twice)}. Rename them")
    return pl.DataFrame([_series(name, data.iloc[:, n]) for n, name in enumerate(names)])


def _series(name: str, column: Any) -> pl.Series:
    """A pandas column: numbers and times as they are, other values as text where any is text."""
    import polars as pl

    values = column.to_numpy()
    if values.dtype.kind in "biufmM":
        return pl.Series(name, values)
    absent = column.isna().to_numpy()
    known = [None if lacks else value for value, lacks in zip(values, absent, strict=True)]
    with contextlib.suppress(TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        return pl.Series(name, known)
    return pl.Series(name, [None if value is None else str(value) for value in known], pl.String)


def clean(columns: list[pl.Series]) -> pl.DataFrame:
    """Text stripped, and null where it says that the value is missing; so are NaNs.

    The columns in the list are replaced some at a time, so that their memory is free again.
    """
    import polars as pl
    import polars.selectors as cs

    text = cs.string()
    for places in batches(range(len(columns)), len(columns[0]) if columns else 0):
        chosen = slice(places[0], places[-1] + 1)
        part = pl.DataFrame(columns[chosen])
        part = part.with_columns(cs.by_dtype(pl.Categorical, pl.Enum).cast(pl.String))
        part = part.with_columns(text.str.strip_chars(), cs.float().fill_nan(None))
        part = part.with_columns(pl.when(~text.is_in(MISSING)).then(text).name.keep())
        columns[chosen] = part.get_columns()
    return pl.DataFrame(columns)
