"""What columns of text are taken for, and how they are then read."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from gradlab.data.columns import Frame, Placement
from gradlab.data.fields.table import Table
from gradlab.data.tabular import TableColumn, surprises, unreadable
from gradlab.data.tabular.words import MOST_WORDS

RNG = np.random.default_rng(0)


def raw(**columns: Any) -> Frame:
    return Frame(pl.DataFrame(columns))


def column(field: Table, name: str) -> TableColumn:
    return next(column for column in field.columns if column.name == name)


def values(field: Table, name: str, rows: Frame) -> list[float | None]:
    """A column of numbers as it is read."""
    start = 0
    for each in field.columns:
        if each.name == name:
            break
        start += each.kept
    kept = field.encode(rows)[:, start : start + each.kept].astype(np.float64)
    return [
        None if each.missing and row[-1] else float(row[0] * each.std + each.mean) for row in kept
    ]


def inputs(field: Table, rows: Frame) -> np.ndarray:
    placed = field.encode(rows).place(Placement(torch.device("cpu")))
    found: np.ndarray = field.batch(placed, slice(0, len(rows)), None).numpy()
    return found


def note(field: Table, name: str) -> str:
    found = [note for note in field.notes if note.startswith(f"{name}: ")]
    assert len(found) == 1, field.notes
    return found[0]


# numbers


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["1,054.30", "950", "12.5"], [1054.3, 950, 12.5]),
        (["1.054,30", "950", "12,5"], [1054.3, 950, 12.5]),
        (["1,054", "950", "2,300,000"], [1054, 950, 2_300_000]),
        (["1.054", "950", "2.300.000"], [1054, 950, 2_300_000]),
        (["1,054", "0,5", "950"], [1.054, 0.5, 950]),
        (["1 054,5", "1\u00a0054", "7"], [1054.5, 1054, 7]),
        (["1'054.5", "12'345'678", "7"], [1054.5, 12_345_678, 7]),
        (["1,05,430", "12,00,000", "7"], [105_430, 1_200_000, 7]),
        (["$1,054.30", "$ 950", "-$12.5"], [1054.3, 950, -12.5]),
        (["1.054,30 €", "950 €", "12,5€"], [1054.3, 950, 12.5]),
        (["USD 5", "USD 1,200", "USD 0.5"], [5, 1200, 0.5]),
        (["5 %", "12.5%", "100%"], [5, 12.5, 100]),
        (["(1,054.30)", "950", "\u22125"], [-1054.3, 950, -5]),
        (["14:30", "0:15", "23:59:30"], [14.5, 0.25, 23.991667]),
        (["1,5e3", "2,5e-1", "7"], [1500, 0.25, 7]),
    ],
)
def test_numbers_as_people_write_them(texts: list[str], numbers: list[float]) -> None:
    rows = raw(n=texts)
    field = Table().fit(rows)
    assert column(field, "n").kind == "number"
    assert values(field, "n", rows) == pytest.approx(numbers, abs=1e-6 * max(numbers))
    assert "read as numbers, such as" in note(field, "n")


def test_what_is_said_of_them() -> None:
    field = Table().fit(raw(n=["1.054,30", "950", "-", "-", None]))
    assert note(field, "n") == (
        "n: read as numbers, such as '1.054,30', which is 1,054.3; 2 missing, written as '-'"
    )


@pytest.mark.parametrize(
    "marker", ["-", "--", ".", "...", "missing", "Unknown", "n.a.", "#DIV/0!", "none", "\u2014"]
)
def test_markers_of_missing_values_among_numbers(marker: str) -> None:
    rows = raw(n=["1", "2.5", marker, "4"])
    field = Table().fit(rows)
    assert column(field, "n").missing and column(field, "n").mean == 2.5
    found = values(field, "n", rows)
    assert found[2] is None and found[:2] + found[3:] == pytest.approx([1, 2.5, 4])
    # In new rows they are missing too, where training had none.
    field = Table().fit(raw(n=["1", "4"]))
    kept = field.encode(raw(n=["4", marker]))
    assert kept[:].tolist() == [[1], [0]] and kept.notes == ()


def test_texts_that_are_no_numbers_stay_categories() -> None:
    texts = {
        "codes": ["A1", "1", "2", "A1"],
        "sizes": ["S", "M", "-", "M"],
        "money": ["$5", "€5", "$7", "€7"],
        "zip": ["12345-678", "9", "10", "9"],
        "hosts": ["10.0.0.1", "192.168.1.7", "10.0.0.2", "10.0.0.1"],
    }
    field = Table().fit(raw(**texts))
    assert {each.kind for each in field.columns} == {"category"} and len(field.columns) == 5


def test_a_mistake_among_many_numbers_is_missing_and_said() -> None:
    texts = [f"{n / 7:.2f}" for n in range(100)]
    texts[30] = "12.O"
    rows = raw(n=texts, few=["1", "x"] * 50)
    field = Table().fit(rows)
    assert column(field, "few").kind == "category" and column(field, "n").missing
    assert values(field, "n", rows)[30] is None
    assert values(field, "n", rows)[29:32:2] == pytest.approx([4.14, 4.43])
    assert (
        note(field, "n") == "n: read as numbers; 1 other texts, such as '12.O', are read as missing"
    )


def test_a_value_that_hides_all_others_is_said() -> None:
    texts = [f"{n / 7:.2f}" for n in range(100)]
    assert note(Table().fit(raw(n=[*texts, "1e9"])), "n") == (
        "n: 1e+09 is 1,000 times farther from the middle than most are, which it hides: correct "
        "it, or empty that cell"
    )
    assert Table().fit(raw(n=[*texts, "900"])).notes == ("1 columns become 1 inputs",)


def test_the_file_decides_where_a_column_does_not() -> None:
    unclear = ["1,054", "2,300", "950"]
    points = ["1.054", "2.300", "950"]
    alone = Table().fit(raw(n=unclear, p=points))
    assert values(alone, "n", raw(n=unclear, p=points)) == pytest.approx(
        [1054, 2300, 950], abs=1e-3
    )
    assert values(alone, "p", raw(n=unclear, p=points)) == pytest.approx(
        [1.054, 2.3, 950], abs=1e-3
    )
    rows = raw(n=unclear, p=points, other=["12,50", "3,75", "0,25"])
    field = Table().fit(rows)
    assert values(field, "n", rows) == pytest.approx([1.054, 2.3, 950], abs=1e-3)
    assert values(field, "p", rows) == pytest.approx([1054, 2300, 950], abs=1e-3)
    assert "as other columns are written" in note(field, "p")
    # As many columns the other way: nothing is decided.
    rows = raw(n=unclear, p=points, other=["12,50", "3,75", "0,25"], plain=["12.50", "3.75", "1"])
    assert values(Table().fit(rows), "n", rows) == pytest.approx([1054, 2300, 950], abs=1e-3)


def test_new_rows_are_read_as_the_column_is_written() -> None:
    field = Table().fit(raw(a=["1.054,30", "12,5"], b=["€1,054.30", "€12.50"]))
    assert (column(field, "a").decimal, column(field, "b").sign) == (",", "€")
    # What is unclear goes by the column; what is not is what it says; another currency is none.
    rows = raw(a=["1.054", "2.5", "1,054.5"], b=["1,054", "12,5", "$3"])
    assert values(field, "a", rows) == pytest.approx([1054, 2.5, 1054.5], abs=1e-3)
    assert values(field, "b", rows)[:2] == pytest.approx([1054, 12.5], abs=1e-3)
    assert unreadable(field.columns, rows).tolist() == [[False] * 2, [False] * 2, [False, True]]
    assert field.encode(rows).notes == ("b: 1 values are no numbers, read as missing",)
    given = field.read([{"a": 1.054, "b": 1054}, {"a": "1.054", "b": "1,054"}]).column
    first = column(field, "a").mean + given[:, 0].astype(float) * column(field, "a").std
    assert first == pytest.approx([1.054, 1054], abs=1e-3) and given[0, 1] == given[1, 1]
    typed = raw(a=[1054.0, 2.5], b=[3, 4])
    assert values(field, "a", typed) == pytest.approx([1054, 2.5], abs=1e-3)


# dates


def parts(field: Table, rows: Frame, name: str) -> dict[str, list[float]]:
    """The numbers that dates become, in their own units."""
    one = column(field, name)
    assert field.columns == (one,)
    x = field.encode(rows)[:].astype(np.float64)
    return {
        part.name: (x[:, n] * part.std + part.mean).round(4).tolist()
        for n, part in enumerate(one.parts)
    }


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("%Y-%m-%d", ""),
        ("%Y/%m/%d", ""),
        ("%d.%m.%Y", ", day first"),
        ("%d/%m/%Y", ", day first"),
        ("%m/%d/%Y", ", month first"),
        ("%d-%m-%y", ", day first"),
        ("%d %B %Y", ""),
        ("%b %d, %Y", ""),
    ],
)
def test_dates_become_numbers(written: str, said: str) -> None:
    days = [datetime.date(2020, 3, 1) + datetime.timedelta(n * 17) for n in range(30)]
    rows = raw(when=[day.strftime(written) for day in days])
    field = Table().fit(rows)
    found = parts(field, rows, "when")
    assert list(found) == ["year", "month", "day", "weekday", "days"]
    assert found["year"] == [day.year for day in days]
    assert found["month"] == [day.month for day in days]
    assert found["day"] == [day.day for day in days]
    assert found["weekday"] == [day.isoweekday() for day in days]
    assert found["days"] == pytest.approx([(day - days[-1]).days for day in days], abs=1e-3)
    example = rows.base["when"].sort()[0]
    assert note(field, "when") == (
        f"when: dates such as {example!r}{said}, become year, month, day, weekday, days since the "
        "last in train"
    )


@pytest.mark.parametrize(
    "written", ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M", "%m/%d/%Y %I:%M %p"]
)
def test_times_have_an_hour(written: str) -> None:
    times = [datetime.datetime(2020, 3, 1) + datetime.timedelta(hours=31.5 * n) for n in range(40)]
    for rows in (raw(when=[time.strftime(written) for time in times]), raw(when=times)):
        found = parts(Table().fit(rows), rows, "when")
        assert found["hour"] == pytest.approx([t.hour + t.minute / 60 for t in times], abs=1e-3)
        assert found["days"][0] == pytest.approx(-31.5 * 39 / 24, abs=1e-3)


def test_what_is_the_same_in_all_dates_is_left_out() -> None:
    rows = raw(when=["2020-01-06", "2020-01-20", None])
    assert list(parts(Table().fit(rows), rows, "when")) == ["day", "days"]
    assert Table().fit(raw(n=["1", "2"], when=["2020-01-06"] * 2)).left_out == (
        ("when", "it is constant"),
    )


def test_day_or_month_first() -> None:
    unclear = ["01/02/2020", "03/04/2020", "05/06/2021"]
    field = Table().fit(raw(a=unclear))
    assert column(field, "a").format == "%m/%d/%Y"
    assert "month first (no value tells; nor does another column)" in note(field, "a")
    field = Table().fit(raw(a=unclear, b=["31.01.2020", "01.02.2020", "02.02.2020"]))
    assert column(field, "a").format == "%d/%m/%Y"
    assert "day first as in the other columns" in note(field, "a")


def test_dates_of_new_rows() -> None:
    field = Table().fit(raw(when=["31/12/2020", "15/11/2020", "missing"]))
    rows = raw(when=["02/01/2021", "2021-01-02", "-", "02/30/2021", None])
    kept = field.encode(rows)
    names = [part.name for part in column(field, "when").parts]
    days = kept[:, names.index("days")] * column(field, "when").parts[-1].std
    assert (days + column(field, "when").parts[-1].mean)[:2] == pytest.approx([2, 2], abs=1e-4)
    assert kept[2:, -1].tolist() == [1, 1, 1] and kept[2:, 0].tolist() == [0, 0, 0]
    assert kept.notes == ("when: 1 values are no dates, read as missing",)
    assert unreadable(field.columns, rows)[:, 0].tolist() == [False, False, False, True, False]


# categories


def test_of_many_categories_each_has_an_input_and_rare_ones_share_one() -> None:
    shops = [f"shop {n}" for n in range(100)] * 5 + [f"rare {n}" for n in range(30)]
    rows = raw(shop=shops)
    field = Table().fit(rows)
    assert len(column(field, "shop").categories) == 100 and column(field, "shop").others == 1
    assert field.shape == (101,) and field.encode(rows).shape == (530, 1)
    x = inputs(field, rows)
    assert (x.sum(axis=1) == 1).all() and (x[500:, 100] == 1).all()
    assert note(field, "shop") == (
        "shop: 100 categories; 30 that stand in fewer than 3 rows share an input"
    )
    assert inputs(field, raw(shop=["shop 999", None])).tolist() == [[0.0] * 100 + [1], [0.0] * 101]


def test_few_categories_have_an_input_each_however_rare() -> None:
    field = Table().fit(raw(k=["a"] * 9 + ["b"]))
    assert column(field, "k").categories == ("a", "b") and column(field, "k").others == 0
    assert inputs(field, raw(k=["b", "c"])).tolist() == [[0, 1], [0, 0]]


def test_beyond_a_thousand_the_others_share_by_a_hash() -> None:
    often = [f"o{n}" for n in range(1000) for _ in range(4)]
    rows = raw(k=often + [f"r{n}" for n in range(200) for _ in range(3)])
    field = Table().fit(rows)
    assert field.shape == (1256,)
    assert note(field, "k") == "k: 1000 categories; the 200 less frequent share 256 inputs"
    places = inputs(field, rows)[4000::3].argmax(axis=1)
    assert places.min() >= 1000 and len(set(places.tolist())) > 100
    assert inputs(field, raw(k=["r7"])).argmax() == 1132  # the same on every machine


def test_what_is_kept_is_small() -> None:
    rows = raw(**{f"k{n}": [f"c{i % 150}" for i in range(900)] for n in range(4)})
    field = Table().fit(rows)
    assert field.shape == (600,) and field.encode(rows).base.nbytes == 900 * 4 * 4


# free text


def test_free_text_becomes_its_frequent_words() -> None:
    words = np.array(
        ["the", "film", "was", "good", "bad", "long", "short", "and", "we", "saw", "it", "twice"]
    )
    texts = [" ".join(RNG.choice(words, 6)) + f" x{n}, y{n}!" for n in range(60)]
    rows = raw(review=[*texts, None], n=[str(n) for n in range(61)])
    field = Table().fit(rows)
    review = column(field, "review")
    assert review.kind == "text" and set(review.categories) == set(words) and review.missing
    x = inputs(field, rows)
    assert np.allclose(np.linalg.norm(x[:60, :12], axis=1), 1) and x[60, :13].tolist() == [
        0.0
    ] * 12 + [1]
    assert "free text, becomes 12 inputs" in note(field, "review")
    new = inputs(field, raw(review=["GOOD, good; long?"], n=["1"]))[0]
    good, long = review.categories.index("good"), review.categories.index("long")
    assert new[[good, long]] == pytest.approx(np.array([2, 1]) / np.sqrt(5))
    assert field.show(field.encode(rows.take(np.array([60])))[0]).startswith("review missing, n 60")


def test_of_many_words_the_most_frequent_are_kept() -> None:
    texts = [" ".join(f"w{(n * 7 + k) % 400:03}" for k in range(12)) for n in range(400)]
    field = Table().fit(raw(text=texts))
    assert len(column(field, "text").categories) == MOST_WORDS
    assert field.shape == (MOST_WORDS,)


# ids


@pytest.mark.parametrize("name", ["id", "customer_id", "CustomerId", "rowID", "uuid", "Unnamed: 0"])
def test_whole_numbers_that_name_the_rows_are_no_input(name: str) -> None:
    ids = [str(n) for n in RNG.permutation(10_000)[:50]]
    field = Table().fit(raw(n=[str(n) for n in range(50)], **{name: ids}))
    assert [each.name for each in field.columns] == ["n"]
    assert note(field, name).endswith(
        "left out (50 different whole numbers in 50 rows: it names them)"
    )


@pytest.mark.parametrize("name", ["height", "paid", "grid", "acid", "humid"])
def test_other_whole_numbers_are(name: str) -> None:
    field = Table().fit(raw(**{name: [str(n * n) for n in range(50)]}))
    assert column(field, name).kind == "number"


# what is unlike training


def test_surprises() -> None:
    field = Table().fit(
        raw(
            age=[str(n) for n in range(1, 81)],
            shop=[f"s{n % 25}" for n in range(79)] + ["once"],
            hue=["red", "blue"] * 40,
        )
    )
    new = raw(
        age=["150", "100", None, "-70", "5"],
        shop=["s1", "new", "new", None, "other"],
        hue=["red", "green", "blue", "green", "red"],
    )
    assert surprises(field.columns, new) == (
        "age: 2 values far outside the training range (1 to 80), such as -70",
        "shop: 3 values not among its 25 categories of training ('new', 'other'), read as the "
        "input that rare ones share",
        "hue: 2 values not among its 2 categories of training ('green'), read as none of its "
        "categories",
    )
    assert surprises(field.columns, raw(age=["5"], shop=["s1"], hue=["red"])) == ()
