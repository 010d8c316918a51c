"""How numbers are written in text: thousands separators, decimal signs, currencies, percent.

`1,054.30` and `1.054,30` are the same number; of `1,054` only other values say which. A column is
read by what all of its values say, and where these say nothing by what the file's other columns do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from gradlab.data.tabular.column import LARGEST, TableColumn, long

if TYPE_CHECKING:
    import polars as pl

Decimal = Literal[".", ","]

MISSING = (
    "-", "--", "---", "\u2013", "\u2014", ".", "..", "...", "*", "none", "missing", "unknown",
    "n.a.", "n/d", "nd", "nil", "void", "no data", "not available", "not applicable",
    "#ref!", "#value!", "#div/0!", "#num!", "#name?",
)  # fmt: skip
"""What says, among numbers, that one is missing, in small letters; `NA` and blanks are nulls."""
ENOUGH = 0.95
"""Of more than `MANY` different values so many must be numbers (or dates) for the others to be
taken for mistakes."""
MANY = 20

_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
_WORDS = (*_TRUE, *_FALSE, "None", "none")
"""Texts that may stand among plain numbers; the last two are missing ones, but a category."""

_SIGN = (
    r"(?:US\$|CA\$|AU\$|NZ\$|R\$|[$€£¥₹₽₩₺₴₪฿₫₱]|USD|EUR|GBP|CHF|JPY|CNY|INR|SEK|NOK|DKK|PLN|CZK|HUF"
    r"|CAD|AUD|NZD|BRL|MXN|ZAR|TRY|RUB|KRW|kr\.?|Rs\.?|zł|%)"
)
_FORM = (
    rf"^(\(?)\s*([-+\u2212]?)\s*({_SIGN}?)\s*([-+\u2212]?)\s*"
    rf"((?:\d[\d.,'\u2019\s]*|[.,]\d+)(?:[eE][-+]?\d+)?)\s*({_SIGN}?)\s*\)?$"
)
_CLOCK = r"^([0-9]{1,2}):([0-5][0-9])(?::([0-5][0-9](?:\.[0-9]+)?))?$"
"""A time of day, or how long something took: as hours."""
_THOUSANDS = r"^[-+]?[1-9]\d{0,2}(?:\.\d{3})*$"
"""A whole number as one that groups by points writes it."""


GROUPED = "read as numbers with points between thousands, as other columns are written"


class Written(NamedTuple):
    """What the different texts of a column say of it; counts are of rows."""

    known: int
    numbers: int
    missing: int
    different: int
    """Different texts that are numbers."""
    point: int
    """Values that are numbers only where the decimal sign is a point."""
    comma: int
    unclear: int
    """Values that are another number where the decimal sign is another."""
    signs: list[str]
    example: str
    """One that is not as Python writes numbers; then what it is with each of the decimal signs."""
    as_point: float | None
    as_comma: float | None
    marker: str
    other: str

    @property
    def are_numbers(self) -> bool:
        """Whether a column of these texts holds numbers."""
        rest = self.known - self.missing
        mostly = self.different > MANY and self.numbers >= ENOUGH * rest
        return rest > 0 and (self.numbers == rest or mostly) and len(self.signs) < 2


def looked(counts: pl.DataFrame) -> dict[str, Written]:
    """What the texts of each column say; `counts` has a row for each column, value and count."""
    import polars as pl

    rows = pl.col("count")
    point, comma = pl.col("point"), pl.col("comma")
    read = texts_read(counts).with_columns(
        number=point.is_not_null() | comma.is_not_null(),
        unclear=(point != comma).fill_null(False),
    )
    number, marker = pl.col("number"), pl.col("marker")
    facts = read.group_by("column").agg(
        rows.sum(),
        rows.filter(number).sum().alias("numbers"),
        rows.filter(marker).sum().alias("missing"),
        number.sum().alias("different"),
        rows.filter(number & comma.is_null()).sum().alias("only_point"),
        rows.filter(number & point.is_null()).sum().alias("only_comma"),
        rows.filter("unclear").sum().alias("unclear_rows"),
        pl.col("sign").filter(number & (pl.col("sign") != "")).unique().sort().alias("signs"),
        _longest(number & pl.col("odd")).fill_null("").alias("example"),
        _longest(number & pl.col("odd"), "point").alias("as_point"),
        _longest(number & pl.col("odd"), "comma").alias("as_comma"),
        _longest(marker).fill_null("").alias("missing_one"),
        _longest(~number & ~marker).fill_null("").alias("other"),
    )
    return {row[0]: Written(*row[1:]) for row in facts.iter_rows()}


def _longest(chosen: pl.Expr, what: str = "value") -> pl.Expr:
    """Of some texts the longest, which says most of how they are written, or what it is."""
    import polars as pl

    lengths = pl.col("value").str.len_chars()
    by = [key.filter(chosen) for key in (lengths, pl.col("value"))]
    return pl.col(what).filter(chosen).sort_by(*by, descending=[True, False]).first()


def texts_read(texts: pl.DataFrame) -> pl.DataFrame:
    """With what each `value` is: `marker` (of a missing one), `point` and `comma` (the number, with
    that decimal sign), the `sign` beside it, and `odd` where it is not as Python writes numbers.

    >>> import polars as pl
    >>> found = texts_read(pl.DataFrame({"value": ["$1,054.30", "1.054", "(7 %)", "-", "x"]}))
    >>> found["point"].to_list(), found["comma"].to_list()
    ([1054.3, 1.054, -7.0, None, None], [None, 1054.0, -7.0, None, None])
    >>> found["sign"].to_list(), found["marker"].to_list()
    (['$', '', '%', '', ''], [False, False, False, True, False])
    """
    import polars as pl

    value = pl.col("value")
    parts = texts.select(value.str.extract_groups(_FORM).alias("form")).unnest("form")
    opened, first, before, second, body, after = (pl.col(str(n)) for n in range(1, 7))
    minus = (opened == "(") | first.is_in(["-", "\u2212"]) | second.is_in(["-", "\u2212"])
    factor = pl.when(minus).then(-1.0).otherwise(1.0)
    hours, minutes, seconds = (
        texts["value"].str.extract(_CLOCK, n).cast(pl.Float64) for n in (1, 2, 3)
    )
    clock = hours + minutes / 60 + seconds.fill_null(0) / 3600
    found = parts.select(
        (factor * _number(body, ".")).fill_null(clock).alias("point"),
        (factor * _number(body, ",")).fill_null(clock).alias("comma"),
        pl.when(before != "").then(before).otherwise(after).fill_null("").alias("sign"),
    )
    return texts.hstack(found).with_columns(
        marker=value.str.to_lowercase().is_in(MISSING),
        odd=value.cast(pl.Float64, strict=False).is_null(),
    )


def _number(body: pl.Expr, decimal: Decimal) -> pl.Expr:
    """Digits with separators as a number; null where they are none."""
    import polars as pl

    sign, other = ("\\.", ",") if decimal == "." else (",", ".")
    between = rf"[{other}'\u2019\s]"
    grouped = rf"^[1-9]\d{{0,2}}(?:{between}\d{{2,3}})*{between}\d{{3}}(?:{sign}\d*)?\s*$"
    simple = rf"^(?:\d+(?:{sign}\d*)?|{sign}\d+)(?:[eE][-+]?\d+)?\s*$"
    plain = body.str.replace_all(between, "").str.replace(decimal, ".", literal=True)
    return pl.when(body.str.contains(f"{grouped}|{simple}")).then(
        plain.cast(pl.Float64, strict=False)
    )


def decimal_of(found: Written, file: Decimal) -> Decimal:
    """The decimal sign of a column, by its own values or else by the file's."""
    if found.point != found.comma:
        return "." if found.point > found.comma else ","
    return file if found.unclear else "."


def said(facts: Written, decimal: Decimal) -> str:
    """How a column of numbers is read."""
    text = "read as numbers"
    if facts.example:
        ways = (facts.as_point, facts.as_comma)[:: 1 if decimal == "." else -1]
        read = next(value for value in ways if value is not None)
        text += f", such as {facts.example!r}, which is {read:,.10g}"
    if facts.missing:
        text += f"; {facts.missing} missing, written as {facts.marker!r}"
    rest = facts.known - facts.missing - facts.numbers
    if rest:
        text += f"; {rest} other texts, such as {facts.other!r}, are read as missing"
    return text


def numbers_in(texts: pl.Series, file: Callable[[], Decimal]) -> tuple[pl.Series, str]:
    """A column of text as numbers, null where one is missing, and how they are read.

    As it is where it holds other text. `file` finds the decimal sign of the file, where the values
    do not tell.
    """
    import polars as pl

    column = TableColumn(name="", kind="number")
    parsed = texts.cast(pl.Float64, strict=False)
    if parsed.null_count() == texts.null_count():
        if not groups_by_points(texts.to_frame())[0] or file() == ".":
            return parsed, ""
        note, column = GROUPED, column.model_copy(update={"decimal": ","})
    else:
        counts = texts.drop_nulls().alias("value").value_counts(name="count")
        found = looked(counts.with_columns(column=pl.lit("0")))["0"]
        if not found.are_numbers:
            return texts, ""
        decimal = decimal_of(found, file() if found.unclear and found.point == found.comma else ".")
        sign = found.signs[0] if found.signs else ""
        column = column.model_copy(update={"decimal": decimal, "sign": sign})
        note = said(found, decimal)
    values, _ = numbers(texts.alias("0").to_frame(), [column])
    return pl.Series(values[:, 0], nan_to_null=True), note


# done


def plain(part: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Columns as float64 N D, NaN where there is none that fits into a float32.

    Also for each column how many of its texts are not numbers as Python writes them.
    """
    import polars as pl

    if not part.width:
        return np.empty((part.height, 0)), np.empty(0, int)
    parsed = part.with_columns(pl.selectors.duration().dt.total_seconds(fractional=True))
    parsed = parsed.cast(pl.Float64, strict=False)
    values = parsed.to_numpy(order="fortran")
    values = np.where(np.abs(values) <= LARGEST, values, np.nan)
    lost = np.array(parsed.null_count().row(0), int) - np.array(part.null_count().row(0), int)
    failed = np.flatnonzero(lost)
    if len(failed):
        names = part.columns
        text = pl.col([names[n] for n in failed])
        truth = pl.when(text.is_in(_TRUE)).then(1.0).when(text.is_in(_FALSE)).then(0.0)
        read = part.select(truth.name.keep()).to_numpy()
        values[:, failed] = np.where(np.isnan(values[:, failed]), read, values[:, failed])
        lost[failed] -= part.select(text.is_in(_WORDS).sum()).row(0)
    return values, lost


def numbers(part: pl.DataFrame, columns: Sequence[TableColumn]) -> tuple[np.ndarray, np.ndarray]:
    """As `plain`, each column as its own values are written; a marker of a missing one is NaN.

    The second says which texts are no numbers: bool N D.
    """
    import polars as pl

    values, lost = plain(part)
    bad = np.zeros(values.shape, bool)
    texts = [dtype == pl.String for dtype in part.dtypes]
    odd = [n for n, c in enumerate(columns) if lost[n] or (texts[n] and c.decimal == ",")]
    if not odd:
        return values, bad
    names = part.columns
    cells = long(part.select([names[n] for n in odd])).filter(pl.col("value").is_not_null())
    read = texts_read(cells.select(pl.col("value").unique()))
    known = {"column": [names[n] for n in odd]}
    ways = pl.DataFrame(
        {
            **known,
            "own": [columns[n].sign for n in odd],
            "is_comma": [columns[n].decimal == "," for n in odd],
            "place": odd,
        }
    )
    cells = cells.join(read, on="value").join(ways, on="column")
    point, comma, sign = pl.col("point"), pl.col("comma"), pl.col("sign")
    number = pl.when("is_comma").then(comma.fill_null(point)).otherwise(point.fill_null(comma))
    fits = (sign == "") | (pl.col("own") == "") | (sign == pl.col("own"))
    cells = cells.select("row", "place", "marker", "odd", number=pl.when(fits).then(number))
    # Truth values, and what only Python's own way of writing covers, were read by `plain`.
    row, place = cells["row"].to_numpy(), cells["place"].to_numpy()
    read_now = cells["number"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    read_now = np.where(np.abs(read_now) <= LARGEST, read_now, np.nan)
    values[row, place] = np.where(np.isnan(read_now), values[row, place], read_now)
    no_number = cells["number"].is_null().to_numpy() & np.isnan(values[row, place])
    bad[row, place] = no_number & (cells["odd"] & ~cells["marker"]).to_numpy()
    return values, bad


def groups_by_points(part: pl.DataFrame) -> list[bool]:
    """For each column of text whether it holds nothing but whole numbers as `1.054`."""
    import polars as pl

    text = pl.all()
    grouped = part.select(text.str.contains(r"\.").any() & text.str.contains(_THOUSANDS).all())
    return [bool(value) for value in grouped.row(0)]


def has_points(part: pl.DataFrame) -> list[bool]:
    """For each column of plain numbers whether a point in it can only be a decimal sign."""
    import polars as pl

    return [
        bool(v) for v in part.select(pl.all().str.contains(r"\.(\d{1,2}|\d{4,})$").any()).row(0)
    ]
