from __future__ import annotations

import datetime
import decimal
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlab.data import columns as column_module
from gradlab.data import tabular
from gradlab.data.columns import Frame, Placement, numbered
from gradlab.data.dataset import Schema
from gradlab.data.fields.table import Table
from gradlab.errors import UserError


def raw(**columns: Any) -> Frame:
    return Frame(pl.DataFrame(columns))


def column(field: Table, name: str) -> Any:
    return next(column for column in field.columns if column.name == name)


def encoded(field: Table, rows: Frame) -> np.ndarray:
    """The inputs of all rows."""
    kept = field.encode(rows)
    x = kept[:]
    assert x.dtype == np.float32 and x.flags.c_contiguous
    assert x.shape[1:] == (sum(each.kept for each in field.columns),)
    return inputs(field, kept)


def inputs(field: Table, kept: Any) -> np.ndarray:
    """What a network gets of what is kept."""
    placed = kept.place(Placement(torch.device("cpu")))
    x = field.batch(placed, slice(0, len(kept)), None)
    assert x.dtype == torch.float32 and x.shape[1:] == field.shape
    found: np.ndarray = x.numpy()
    return found


def written(folder: Path, text: str, name: str = "new.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


# What a column becomes


def test_numbers_categories_and_missing_values() -> None:
    rows = raw(size=["1", None, "3", "5", None], colour=["red", "blue", "red", None, "red"])
    field = Table().fit(rows)
    size, colour = field.columns
    assert (size.kind, size.mean, size.missing, size.width) == ("number", 3.0, True, 2)
    assert size.std == pytest.approx(np.std([1, 3, 5]))
    assert (colour.kind, colour.categories, colour.missing) == ("category", ("blue", "red"), True)
    high = 2 / np.std([1, 3, 5])
    expected = [
        [-high, 0, 0, 1, 0],
        [0, 1, 1, 0, 0],
        [0, 0, 0, 1, 0],
        [high, 0, 0, 0, 1],
        [0, 1, 0, 1, 0],
    ]
    assert np.allclose(encoded(field, rows), expected)
    assert field.shape == (5,) and field.example().shape == (1, 5)
    assert field.notes == ("2 columns become 5 inputs",)


def test_it_is_kept_as_json_and_gathered_as_inputs() -> None:
    rows = raw(size=["1", "3"], same=["7", "7"], colour=["red", "blue"])
    field = Table().fit(rows)
    schema = Schema(inputs={"table": field})
    assert Schema.model_validate_json(schema.model_dump_json()) == schema
    placed = field.encode(rows).place(Placement(torch.device("cpu")))
    batch = field.batch(placed, torch.tensor([1, 0, 1]), None)
    assert batch.tolist() == [[1, 1, 0], [-1, 0, 1], [1, 1, 0]]


def test_a_row_is_shown_in_its_own_units() -> None:
    rows = raw(size=["1.5", None, "3"], colour=["red", "blue", None])
    field = Table().fit(rows)
    x = field.encode(rows)[:]
    assert [field.show(row) for row in x] == [
        "size 1.5, colour red",
        "size missing, colour blue",
        "size 3, colour missing",
    ]
    new = field.encode(raw(size=["2"], colour=["green"]))
    assert field.show(new[0]) == "size 2, colour other"


def test_booleans_are_numbers() -> None:
    field = Table().fit(raw(flag=["True", "False", "true"], other=[True, False, False]))
    assert [c.kind for c in field.columns] == ["number", "number"]
    assert [c.mean for c in field.columns] == pytest.approx([2 / 3, 1 / 3])


def test_none_is_a_category_but_a_missing_number() -> None:
    field = Table().fit(raw(size=["None", "1", "2"], tree=["None", "oak", "ash"]))
    assert column(field, "size").missing and column(field, "size").mean == 1.5
    assert column(field, "tree").categories == ("None", "ash", "oak")
    assert not column(field, "tree").missing


def test_columns_that_are_left_out_are_named_with_the_reason() -> None:
    n = 25
    rows = raw(
        name=[f"word{i}" for i in range(n)],
        same=["7"] * n,
        word=["x"] * n,
        empty=[None] * n,
        lost=["None"] * n,
        size=[str(i * i) for i in range(n)],
        CustomerId=[str(i * i) for i in range(n)],
        poem=[" ".join(f"w{i}{k}" for k in range(5)) for i in range(n)],
    )
    field = Table().fit(rows)
    assert [c.name for c in field.columns] == ["size"]
    assert field.left_out == (
        ("name", "25 different texts in 25 rows: it names them"),
        ("same", "it is constant"),
        ("word", "it is constant"),
        ("empty", "it has no value"),
        ("lost", "it has no value"),
        ("CustomerId", "25 different whole numbers in 25 rows: it names them"),
        ("poem", "free text in which no word stands in 3 rows"),
    )
    assert field.notes[-2:] == (
        "poem: left out (free text in which no word stands in 3 rows)",
        "1 columns become 1 inputs",
    )


def test_of_thousands_of_columns_not_each_has_a_note() -> None:
    field = Table().fit(raw(size=["1", "2"], **{f"c{n}": ["7", "7"] for n in range(2000)}))
    assert len(field.left_out) == 2000 and len(field.notes) == 22
    assert field.notes[-2:] == ("1980 more columns left out", "1 columns become 1 inputs")


def test_constant_but_sometimes_missing_is_no_constant() -> None:
    field = Table().fit(raw(n=["7", None], k=["x", None]))
    assert column(field, "n").std == 1.0 and column(field, "n").missing
    assert column(field, "k").categories == ("x",)


def test_no_column_that_can_be_used() -> None:
    with pytest.raises(UserError, match=r"no column that can be an input: k: left out .*constant"):
        Table().fit(raw(k=["1", "1"]))


def test_types_that_cannot_be_inputs_are_left_out() -> None:
    n = 6
    day = datetime.datetime(2020, 1, 1)
    rows = raw(
        list=[[i] for i in range(n)],
        struct=[{"a": i} for i in range(n)],
        bytes=[bytes([i]) for i in range(n)],
        object=pl.Series([object() for _ in range(n)], dtype=pl.Object),
        when=[day + datetime.timedelta(i) for i in range(n)],
        length=[datetime.timedelta(i) for i in range(n)],
        decimal=[decimal.Decimal(i) / 4 for i in range(n)],
        large=pl.Series([2**63 + (i << 20) for i in range(n)], dtype=pl.UInt64),
        single=pl.Series([i / 3 for i in range(n)], dtype=pl.Float32),
        nothing=pl.Series([None] * n, dtype=pl.Null),
    )
    field = Table().fit(rows)
    assert [(c.name, c.kind) for c in field.columns] == [
        ("when", "date"),
        ("length", "number"),
        ("decimal", "number"),
        ("large", "number"),
        ("single", "number"),
    ]
    reasons = dict(field.left_out)
    assert reasons["list"] == "List(Int64) values cannot be inputs"
    assert reasons["bytes"] == "Binary values cannot be inputs"
    assert "Struct" in reasons["struct"] and "Object" in reasons["object"]
    assert column(field, "length").mean == 2.5 * 86_400  # seconds
    assert reasons["nothing"] == "it has no value"
    assert np.isfinite(encoded(field, rows)).all()
    # They do not hinder the other things that are asked of a table.
    assert len(set(rows.marks().tolist())) == n
    assert field.issues({"train": rows}).facts["missing"] == {"nothing": 1.0}


def test_names_that_polars_takes_for_patterns() -> None:
    rows = raw(**{"*": ["1", "2"], "^n.*$": ["4", "3"], "count": ["u", "v"], "row": ["2", "1"]})
    field = Table().fit(rows)
    assert [c.name for c in field.columns] == ["*", "^n.*$", "count", "row"]
    assert encoded(field, rows).tolist() == [[-1, 1, 1, 0, 1], [1, -1, 0, 1, -1]]


def test_values_beyond_float32_are_missing() -> None:
    rows = raw(n=["1", "inf", "3", "1e300"], m=[1.0, float("inf"), 3.0, -1e300])
    field = Table().fit(rows)
    for each in field.columns:
        assert (each.mean, each.missing) == (2.0, True)
    assert encoded(field, rows)[:, 1].tolist() == [0, 1, 0, 1]


# What is learnt, and from which rows

CELL = st.sampled_from([None, "0", "1", "2.5", "-3", "1e30", "red", "blue", "true", "None"])
FRAMES = st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=12)


def table(rows: list[Any]) -> Frame:
    schema = dict.fromkeys(("a", "b", "c"), pl.String)
    return Frame(pl.DataFrame(rows, schema=schema, orient="row"))


def read_one_by_one(field: Table, rows: list[Any]) -> list[list[float]]:
    """The inputs as the docstring has them, value by value."""
    found = []
    names = ("a", "b", "c")
    for row in rows:
        inputs: list[float] = []
        for each in field.columns:
            text = row[names.index(each.name)]
            if each.kind == "category":
                inputs += [float(text == category) for category in each.categories]
                absent = text is None
            else:
                try:
                    value = (
                        {"true": 1.0, None: None}.get(text)
                        if text in ("true", None)
                        else float(text)
                    )
                except ValueError:
                    value = None
                absent = value is None
                inputs.append(0.0 if value is None else (value - each.mean) / each.std)
            inputs += [float(absent)] * each.missing
        found.append(inputs)
    return found


@settings(max_examples=60, deadline=None)
@given(FRAMES, FRAMES)
def test_what_it_does_to_any_table(train: list[Any], other: list[Any]) -> None:
    try:
        field = Table().fit(table(train))
    except UserError:
        return
    for rows in (train, other):
        x = encoded(field, table(rows))
        assert np.isfinite(x).all()
        expected = np.clip(read_one_by_one(field, rows), -tabular.LARGEST, tabular.LARGEST)
        assert np.array_equal(x, expected.astype(np.float32))
    start = 0
    for each in field.columns:
        values = encoded(field, table(train))[:, start].astype(np.float64)
        if each.kind == "number" and not each.missing:
            assert values.mean() == pytest.approx(0, abs=1e-5)
            assert values.std() == pytest.approx(1, abs=1e-5)
        start += each.width


def test_text_among_held_out_numbers_is_missing_and_said() -> None:
    field = Table().fit(table([("1", "1", "1"), ("3", "3", "3")]))
    column = field.encode(table([("x", "1", "3"), ("None", None, "y"), ("z", "3", "3")]))
    assert column[:].tolist() == [[0, -1, 1], [0, 0, 0], [0, 1, 1]]
    assert column.notes == (
        "a: 2 values are no numbers, read as missing",
        "c: 1 values are no numbers, read as missing",
    )


def test_held_out_numbers_beyond_all_measure_stay_finite() -> None:
    field = Table().fit(raw(n=["0", "1e-30"]))
    x = encoded(field, raw(n=["1e30", "-1e30"]))
    assert np.isfinite(x).all() and abs(x).min() > 1e38


# Size


def wide(columns: int, rows: int = 12) -> Frame:
    """Numbers, categories, and numbers of which some are missing or are words."""
    rng = np.random.default_rng(0)
    kinds: list[Callable[[], list[Any]]] = [
        lambda: rng.normal(size=rows).astype(str).tolist(),
        lambda: rng.choice(["red", "green", "blue"], rows).tolist(),
        lambda: [None, "None", *rng.integers(0, 9, rows - 2).astype(str)],
    ]
    return raw(**{f"c{n}": kinds[n % 3]() for n in range(columns)})


def work(function: Callable[[], Any]) -> int:
    """Columns that polars' own code is handed, over all calls into it."""
    total = 0
    constant = {"to_series", "width", "height", "get_column_index"}

    def count(frame: Any, event: str, called: Any) -> None:
        nonlocal total
        if event == "c_call" and called.__name__ not in constant:
            owner = getattr(called, "__self__", None)
            if type(owner).__name__ == "PyDataFrame":
                total += owner.width()
            elif type(owner).__module__.startswith("builtins") and "Py" in type(owner).__name__:
                total += 1

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return total


def test_the_work_is_in_proportion_to_the_columns() -> None:
    def all_of_it(rows: Frame) -> Callable[[], Any]:
        def run() -> None:
            field = Table().fit(rows.take(np.arange(9)))
            field.encode(rows)
            field.issues({"train": rows})
            numbered(rows.marks())

        return run

    few, many = work(all_of_it(wide(300))), work(all_of_it(wide(1800)))
    assert few > 300  # something was counted
    assert many < 6 * few * 1.25
    assert many < 1800 * 100


def test_stretches_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = wide(40, rows=30)
    held = rows.take(np.arange(29, 3, -2))
    whole = Table().fit(held)
    expected, groups = encoded(whole, rows), numbered(rows.marks())
    for cells, batch in ((1, 1), (7, 3), (50, 256)):
        monkeypatch.setattr(column_module, "CELLS", cells)
        monkeypatch.setattr(tabular.column, "CELLS", cells)
        monkeypatch.setattr(tabular.column, "BATCH", batch)
        field = Table().fit(held)
        assert field == whole
        assert np.array_equal(encoded(field, rows), expected)
        assert np.array_equal(numbered(rows.marks()), groups)


def test_little_memory_is_taken_beside_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_module, "CELLS", 1 << 14)
    rng = np.random.default_rng(0)
    rows = raw(**{name: rng.normal(size=100_000).astype(str) for name in "abcde"})
    index = rng.permutation(100_000)
    field = Table().fit(rows)
    tracemalloc.start()  # counts what numpy takes, not polars
    try:
        column = field.encode(rows.take(index))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert column.base.nbytes == 100_000 * 5 * 4
    assert peak < 1.8 * column.base.nbytes


def test_chosen_rows_are_only_noted() -> None:
    rows = wide(6, rows=40)
    part = rows.take(np.arange(39, 9, -1)).take(np.array([0, 5, 9]))
    assert part.base is rows.base and len(part) == 3
    assert part.frame.equals(rows.base[[39, 34, 30]])
    field = Table().fit(rows)
    assert np.array_equal(field.encode(part)[:], field.encode(rows)[[39, 34, 30]])


def test_equal_rows_have_one_group() -> None:
    rows = raw(a=["2", "1", "2", None, None], b=["x", "x", "x", "y", "y"])
    assert numbered(rows.marks()).tolist() == [0, 1, 0, 2, 2]
    assert numbered(raw(b=["x", "x", "x", "y", "y"]).marks()).tolist() == [0, 0, 0, 1, 1]
    assert numbered(rows.take(np.array([4, 2, 0])).marks()).tolist() == [0, 1, 1]


@settings(max_examples=60, deadline=None)
@given(FRAMES)
def test_groups_are_counted_in_order_of_appearance(rows: list[Any]) -> None:
    seen: dict[Any, int] = {}
    assert numbered(table(rows).marks()).tolist() == [
        seen.setdefault(row, len(seen)) for row in rows
    ]


# New rows


@pytest.fixture
def field() -> Table:
    return Table().fit(raw(size=["1", "3", None], colour=["red", "blue", "red"]))


ROWS = [[-1, 0, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]]


def test_new_rows_are_read_like_the_old(field: Table, tmp_path: Path) -> None:
    path = written(tmp_path, "size,colour,y\n1,red,a\n 3 ,blue,b\nNA,red,a\n")
    found = field.read([path])
    assert inputs(field, found.column).tolist() == ROWS and found.names == ("1", "2", "3")
    given = [
        {"colour": "red", "size": 1, "more": []},
        {"colour": "blue", "size": np.float32(3)},
        {"colour": "red", "size": None},
    ]
    found = field.read(given)
    assert inputs(field, found.column).tolist() == ROWS and found.names == ("1", "2", "3")
    path = written(tmp_path, "colour,size\ngreen,\n")
    assert inputs(field, field.read([str(path)]).column).tolist() == [[0, 1, 0, 0]]
    frame = pl.DataFrame({"colour": ["red", "blue"], "size": [1, 3]})
    assert inputs(field, field.read([frame]).column).tolist() == ROWS[:2]


def test_new_rows_of_several_kinds(field: Table, tmp_path: Path) -> None:
    csv = written(tmp_path, "size;colour\n1;red\n3;blue\n")
    tsv = written(tmp_path, "size\tcolour\n\tred\n", "new.tsv")
    found = field.read([csv, {"size": 1, "colour": "red"}, tsv])
    assert inputs(field, found.column).tolist() == [*ROWS[:2], ROWS[0], ROWS[2]]
    assert found.names == ("1", "2", "2", "1")
    assert found.column.notes == (f"{csv}: the columns are separated by ';'",)


def test_rows_that_are_broken_are_skipped_with_their_places(field: Table, tmp_path: Path) -> None:
    path = written(
        tmp_path, 'size,colour\n1,red\nbig,red\n\n3\n3,blue\n1,red,2\n"1",\n,\n"3","a,""b"\n'
    )
    given = [{"size": 1}, {"size": 3, "colour": "blue"}, {"size": [1], "colour": "red"}]
    found = field.read([path, *given])
    assert found.names == ("1", "4", "6", "7", "3")
    rows = [ROWS[0], ROWS[1], [-1, 0, 0, 0], [1, 0, 0, 0], ROWS[1]]
    assert inputs(field, found.column).tolist() == rows
    assert found.skipped == (
        ("2", f"{path}: size is 'big', expected a number", 1),
        ("3", f"{path}: it has 1 value, expected 2", 2),
        ("5", f"{path}: it has 3 values, expected 2", 4),
        ("2", "the rows given: lacks the columns colour; it has size", 7),
        ("4", "the rows given: size is '[1]', expected a number", 9),
    )
    assert [table.height for table in found.tables] == [7, 3]
    assert found.tables[0]["size"].to_list() == ["1", "big", "3", "3", "1", "1", "3"]


def test_new_rows_that_do_not_fit(field: Table, tmp_path: Path) -> None:
    def refused(words: str, *items: Any) -> None:
        with pytest.raises(UserError, match=words):
            field.read(items)

    refused(
        r"new\.csv lacks the columns size; it has colour, y",
        written(tmp_path, "colour,y\nred,a\n"),
    )
    refused("at least one row")
    refused(r"absent\.csv cannot be read", tmp_path / "absent.csv")
    refused("input 1 is of the type int: expected a path of a CSV", 5)
    frame = pl.DataFrame({"size": [[1]], "colour": ["red"]})
    refused(r"input 1: size holds List\(Int64\) values: expected numbers", frame)


def test_numbers_where_categories_were_and_the_reverse(field: Table) -> None:
    frame = pl.DataFrame({"size": [True, None], "colour": [1, 2]})
    assert inputs(field, field.read([frame]).column).tolist() == [[-1, 0, 0, 0], [0, 1, 0, 0]]


# What is said of it


def test_issues_of_columns() -> None:
    train = raw(
        same=["7"] * 4, word=["x"] * 4, gaps=["1", None, None, None], some=["1", "2", None, "3"]
    )
    found = Table().issues({"train": train})
    assert found.facts == {"constant": ("same", "word"), "missing": {"gaps": 0.75, "some": 0.25}}
    constant, mostly = found.issues
    assert constant.what.endswith("teach nothing: 2") and constant.where == ("same", "word")
    assert mostly.what == "columns that lack more than 50% of their values: 1"
    assert mostly.where == ("gaps: 75.0%",)
    # What differs in another split is not constant, and all splits count for what is missing.
    other = raw(same=["8"], word=["x"], gaps=[None], some=[None])
    found = Table().issues({"train": train, "test": other})
    assert found.facts == {"constant": ("word",), "missing": {"gaps": 0.8, "some": 0.4}}
