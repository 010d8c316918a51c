"""What each column of a table becomes, learnt from some rows of it.

Many columns are looked at together and rows in stretches: time goes with the size of the table, and
little memory is taken beside what is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gradlab.data.columns import Frame
from gradlab.data.tabular import dates, words, written
from gradlab.data.tabular.column import TableColumn, batches, is_plain, long
from gradlab.data.tabular.dates import Dated
from gradlab.data.tabular.words import FEW, SEVERAL
from gradlab.data.tabular.written import MANY, Decimal, Written, numbers, plain

MOST_CATEGORIES = 1000
"""Categories of a column that have an input of their own."""
SHARED = 256
"""Inputs that the categories beyond these share, by a hash of their text."""

FAR = 1000
"""A value is a mistake, most likely, so many times farther from the middle than most are."""

Learnt = TableColumn | str
"""How a column becomes inputs, or the reason why it cannot."""

_ID = re.compile(r"(?:^|[\W_])(?i:id|ids|uuid|guid|index)$|[a-z](?:Id|ID)$|^$|^Unnamed: 0$")
"""A name that says of a column that it names the rows."""


class _Texts(NamedTuple):
    """What is known of a column of text."""

    known: int
    different: int
    words: float
    """In a value, on the mean of the different ones."""
    are_dates: bool
    top: list[str]
    counts: list[int]
    """Rows of the top ones, the most frequent first."""
    written: Written


def learn(raw: Frame) -> list[Learnt]:
    """How each column becomes inputs, or the reason why it cannot."""
    import polars as pl

    found: dict[int, Learnt] = {}
    texts, strings, times = [], [], []
    names, dtypes = raw.base.columns, raw.base.dtypes  # asked once: each time looks at all
    for places in batches(range(len(names)), len(raw)):
        nulls = raw.part(places).null_count().row(0)
        simple = []
        for place, count in zip(places, nulls, strict=True):
            dtype = dtypes[place]
            if count == len(raw):
                found[place] = "it has no value"
            elif not is_plain(dtype):
                found[place] = f"{dtype} values cannot be inputs"
            elif dtype in (pl.Date, pl.Datetime):
                times.append(place)
            else:
                simple.append(place)
        values, bad = plain(raw.part(simple))
        for place, column, is_text in zip(simple, values.T, bad > 0, strict=True):
            if is_text:
                texts.append(place)
            else:
                found[place] = _number(TableColumn(name=names[place], kind="number"), column)
                strings += [place] if dtypes[place] == pl.String else []
    known: dict[int, _Texts] = {}
    for places in batches(texts):
        known |= _looked(raw, places)
    found |= _written_numbers(raw, names, known, strings)
    left = {place: facts for place, facts in known.items() if place not in found}
    found |= _dates(raw, names, times, left)
    for place, facts in left.items():
        if place not in found:
            found[place] = _category(raw, place, names[place], facts)
    return [found[place] for place in range(len(names))]


# numbers


def _number(column: TableColumn, values: np.ndarray) -> Learnt:
    """A column of numbers, float64 N, NaN where one is missing."""
    known = values[~np.isnan(values)]
    missing = len(known) < len(values)
    if not len(known):
        return "it has no value"
    low, high = float(known.min()), float(known.max())
    if low == high and not missing:
        return "it is constant"
    if _ID.search(column.name) and not missing and _names(known):
        return f"{len(known)} different whole numbers in {len(known)} rows: it names them"
    mean, std = float(known.mean()), (0.0 if low == high else float(known.std())) or 1.0
    note = column.note
    if high - low > 6 * std and (far := _far(known)):
        said = f"{far:.4g} is {FAR:,} times farther from the middle than most are, which it hides"
        note += f"{'; ' if note else ''}{said}: correct it, or empty that cell"
    return column.model_copy(
        update={
            "mean": mean,
            "std": std,
            "note": note,
            "low": low,
            "high": high,
            "missing": missing,
        }
    )


def _far(values: np.ndarray) -> float | None:
    """The value beside which all others are as one; None where there is none."""
    low, middle, high = np.percentile(values, (5, 50, 95))
    farthest = float(values[np.abs(values - middle).argmax()])
    return farthest if high > low and abs(farthest - middle) > FAR * (high - low) else None


def _names(values: np.ndarray) -> bool:
    """Whether numbers are whole, and a different one for each of many rows."""
    whole = bool((values == np.floor(values)).all())
    return whole and len(values) > MANY and len(np.unique(values)) == len(values)


def _written_numbers(
    raw: Frame, names: Sequence[str], known: Mapping[int, _Texts], strings: Sequence[int]
) -> dict[int, Learnt]:
    """The columns of text that hold numbers, in whichever way they are written."""
    facts = {place: one.written for place, one in known.items() if one.written.are_numbers}
    file = _file_decimal(raw, facts.values(), strings)
    found: dict[int, Learnt] = {}
    chosen = {}
    for place, one in facts.items():
        decimal = written.decimal_of(one, file)
        note = written.said(one, decimal)
        sign = one.signs[0] if one.signs else ""
        chosen[place] = TableColumn(
            name=names[place], kind="number", decimal=decimal, sign=sign, note=note
        )
    if file == ",":  # then what looks like parts may be thousands
        for places in batches(strings, len(raw)):
            for place, grouped in zip(
                places, written.groups_by_points(raw.part(places)), strict=True
            ):
                if grouped:
                    chosen[place] = TableColumn(
                        name=names[place], kind="number", decimal=",", note=written.GROUPED
                    )
    for places in batches(list(chosen), len(raw)):
        columns = [chosen[place] for place in places]
        values, _ = numbers(raw.part(places), columns)
        for place, column, one in zip(places, columns, values.T, strict=True):
            found[place] = _number(column, one)
    return found


def decimal_sign(raw: Frame) -> Decimal:
    """The decimal sign of a table, a point where nothing tells."""
    import polars as pl

    columns = [n for n, dtype in enumerate(raw.base.dtypes) if dtype == pl.String]
    strings, facts = [], []
    for places in batches(columns, len(raw)):
        bad = plain(raw.part(places))[1]
        strings += [place for place, lost in zip(places, bad, strict=True) if not lost]
        texts = [place for place, lost in zip(places, bad, strict=True) if lost]
        facts += [one.written for one in (_looked(raw, texts) if texts else {}).values()]
    return _file_decimal(raw, [one for one in facts if one.are_numbers], strings)


def _file_decimal(raw: Frame, facts: Iterable[Written], strings: Sequence[int]) -> Decimal:
    """The decimal sign of a file, by those of its columns where only one is possible."""
    comma = sum(one.comma > one.point for one in facts)
    if not comma:
        return "."
    point = sum(one.point > one.comma for one in facts)
    for places in batches(strings, len(raw)):
        point += sum(written.has_points(raw.part(places)))
    return "," if comma > point else "."


# text


def _looked(raw: Frame, places: list[int]) -> dict[int, _Texts]:
    """What is known of columns of text."""
    import polars as pl

    counts = pl.concat(
        [
            long(part).drop_nulls("value").group_by("column", "value").len("count")
            for _, part in raw.stretches(places)
        ]
    )
    value, count = pl.col("value"), pl.col("count")
    counts = counts.group_by("column", "value").agg(count.sum())
    ranked = counts.sort("column", "count", "value", descending=[False, True, False])
    facts = ranked.group_by("column", maintain_order=True).agg(
        count.sum().alias("known"),
        pl.len().alias("different"),
        words.count(value).mean().alias("words"),
        value.str.contains(dates.LOOK).mean().alias("dates"),
        value.head(MOST_CATEGORIES + 1).alias("top"),
        count.head(MOST_CATEGORIES + 1).alias("counts"),
    )
    ways = written.looked(counts)
    return {
        places[int(column)]: _Texts(known, different, length, share > 0.5, top, rows, ways[column])
        for column, known, different, length, share, top, rows in facts.iter_rows()
    }


def _category(raw: Frame, place: int, name: str, facts: _Texts) -> Learnt:
    """A column of text as categories or as words; a reason where it is neither."""
    missing = facts.known < len(raw)
    if facts.different == 1 and not missing:
        return "it is constant"
    if names_rows(facts.different, facts.known):
        if facts.words >= SEVERAL:
            return words.learn(raw, place, name, missing)
        return f"{facts.different} different texts in {facts.known} rows: it names them"
    if facts.different <= MANY:
        kept, rare, note = facts.top, 0, ""
    else:
        enough = [text for text, rows in zip(facts.top, facts.counts, strict=True) if rows >= FEW]
        kept = enough[:MOST_CATEGORIES]
        rare = facts.different - len(kept)
        if not kept:
            return f"each of its {facts.different} texts stands in fewer than {FEW} rows"
        note = f"{len(kept)} categories"
        if len(enough) > MOST_CATEGORIES:
            note += f"; the {rare} less frequent share {SHARED} inputs"
        elif rare:
            note += f"; {rare} that stand in fewer than {FEW} rows share an input"
    others = 0 if not rare else SHARED if len(enough) > MOST_CATEGORIES else 1
    return TableColumn(
        name=name,
        kind="category",
        categories=tuple(sorted(kept)),
        others=others,
        missing=missing,
        note=note,
    )


def names_rows(different: int, count: int) -> bool:
    """Whether so many different texts rather are names than categories."""
    return different > MANY and different > count / 2


# dates


def _dates(
    raw: Frame, names: Sequence[str], times: Sequence[int], texts: Mapping[int, _Texts]
) -> dict[int, Learnt]:
    """The columns of dates, those of text and those that have a type of their own."""
    ways: dict[int, Dated] = {}
    for place, facts in texts.items():
        if facts.are_dates:
            different = raw.part([place])["0"].drop_nulls().value_counts()
            ways[place] = dates.looked(different["0"], different["count"])
    day_first = dates.day_first(ways.values())
    found: dict[int, Learnt] = {}
    chosen = dict.fromkeys(times, ("", "dates"))
    for place, dated in ways.items():
        if dated.formats:
            chosen[place] = dates.choose(dated, day_first)
    for place, (way, note) in chosen.items():
        column = TableColumn(name=names[place], kind="date", format=way)
        days, _ = dates.moments(raw.part([place]), [column])
        found[place] = dates.learn(names[place], days[:, 0], way, note)
    return found
