from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlab.config import DataConfig
from gradlab.data import Dataset, load
from gradlab.data.dataset import Parts, Schema, Split, finish
from gradlab.data.sources.tables import encode, groups, read_rows, table_source
from gradlab.errors import UserError

TITANIC = Path(os.environ.get("GRADLAB_DATA", "")) / "titanic" / "titanic.csv"
with_titanic = pytest.mark.skipif(
    not ("GRADLAB_DATA" in os.environ and TITANIC.is_file()),
    reason="GRADLAB_DATA holds no titanic/titanic.csv",
)


def table(folder: Path, text: str | bytes, name: str = "table.csv", **config: Any) -> Dataset:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    given = DataConfig(name=str(path), **{"target": "y", "test": 0, "val": 0, **config})
    return finish(table_source(path, given), given)


def column(dataset: Dataset, name: str) -> Any:
    return next(column for column in dataset.schema.columns if column.name == name)


def rows(*lines: str, header: str) -> str:
    return "\n".join([header, *lines]) + "\n"


# What a column becomes


def test_numbers_categories_and_missing_values(tmp_path: Path) -> None:
    text = rows("1,red,a", "NA,blue,b", "3,red,a", "5,,b", "?,red,a", header="size,colour,y")
    dataset = table(tmp_path, text)
    size, colour = dataset.schema.columns
    assert (size.kind, size.mean, size.missing) == ("number", 3.0, True)
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
    x = dataset.splits["train"].x
    assert x.dtype == np.float32 and x.flags.c_contiguous
    assert np.allclose(x, expected)
    assert dataset.schema.shape == (5,) and dataset.schema.mean == ()


def test_booleans_are_numbers(tmp_path: Path) -> None:
    dataset = table(tmp_path, rows("True,a", "False,b", "True,a", header="flag,y"))
    assert column(dataset, "flag").kind == "number"
    assert column(dataset, "flag").mean == pytest.approx(2 / 3)


def test_none_is_a_category_but_a_missing_number(tmp_path: Path) -> None:
    text = rows("None,None,a", "1,oak,b", "2,ash,a", header="size,tree,y")
    dataset = table(tmp_path, text)
    assert column(dataset, "size").missing and column(dataset, "size").mean == 1.5
    assert column(dataset, "tree").categories == ("None", "ash", "oak")


def test_the_most_frequent_categories_are_kept(tmp_path: Path) -> None:
    # Place n stands n times, so places 11 to 30 are the 20 most frequent.
    lines = [f"p{n:02},{'ab'[n % 2]}" for n in range(1, 31) for _ in range(n)]
    dataset = table(tmp_path, rows(*lines, header="place,y"))
    assert column(dataset, "place").categories == tuple(f"p{n}" for n in range(11, 31))
    x = dataset.splits["train"].x
    assert x[0].sum() == 0 and x[-1].sum() == 1


def test_columns_that_are_left_out_are_named_with_the_reason(tmp_path: Path) -> None:
    lines = [f"{n},word{n},7,2020-01-{n + 1:02},,{n * n},{'ab'[n % 2]}" for n in range(25)]
    dataset = table(tmp_path, rows(*lines, header="id,name,same,day,empty,size,y"))
    assert [column.name for column in dataset.schema.columns] == ["size"]
    notes = "\n".join(dataset.notes)
    assert "id: left out (it counts the rows)" in notes
    assert "name: left out (25 different texts in 25 rows: it names them)" in notes
    assert "same: left out (it is constant)" in notes
    assert "day: left out (a date;" in notes
    assert "empty: left out (it has no value)" in notes


def test_a_year_is_no_count_of_rows(tmp_path: Path) -> None:
    lines = [f"{1990 + n},{'ab'[n % 2]}" for n in range(30)]
    assert column(table(tmp_path, rows(*lines, header="year,y")), "year").kind == "number"


def test_no_column_that_can_be_used(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no column to predict 'y' from: k: left out .*constant"):
        table(tmp_path, rows("1,a", "1,b", header="k,y"))
    with pytest.raises(UserError, match="no column beside 'y'"):
        table(tmp_path, rows("a", "b", header="y"))


def test_names_that_polars_takes_for_patterns(tmp_path: Path) -> None:
    dataset = table(tmp_path, rows("1,4,u,a", "2,3,v,b", header="*,^n.*$,count,y"))
    assert [column.name for column in dataset.schema.columns] == ["*", "^n.*$", "count"]
    assert np.allclose(dataset.splits["train"].x, [[-1, 1, 1, 0], [1, -1, 0, 1]])


def test_values_beyond_float32_are_missing(tmp_path: Path) -> None:
    dataset = table(tmp_path, rows("1,a", "inf,b", "3,a", "1e300,b", header="n,y"))
    assert column(dataset, "n").mean == 2.0 and column(dataset, "n").missing
    assert np.isfinite(dataset.splits["train"].x).all()


# The target


@pytest.mark.parametrize(
    ("values", "target", "classes"),
    [
        ("no yes no yes", "class", ("no", "yes")),
        ("10 9 10 9", "class", ("9", "10")),
        ("1.0 0.0 1 0", "class", ("0", "1")),
        ("True False True True", "class", ("False", "True")),
        ("None apnea None apnea", "class", ("None", "apnea")),
        ("1 2 x 1", "class", ("1", "2", "x")),
        ("0.5 1.5 2.5 0.5", "number", ()),
        (" ".join(map(str, range(21))), "number", ()),
        (" ".join(map(str, range(20))), "class", tuple(map(str, range(20)))),
    ],
)
def test_classes_or_numbers(
    tmp_path: Path, values: str, target: str, classes: tuple[str, ...]
) -> None:
    text = rows(*(f"{n * n},{v}" for n, v in enumerate(values.split())), header="n,y")
    dataset = table(tmp_path, text)
    assert (dataset.schema.target, dataset.schema.classes) == (target, classes)
    said = "regression" if target == "number" else "classification"
    assert any(note.startswith("y: ") and said in note for note in dataset.notes)
    y = dataset.splits["train"].y
    if classes:
        assert y.dtype == np.int64
        named = [classes[number] for number in y]
        assert named == [v.removesuffix(".0") for v in values.split()]
    else:
        assert y.dtype == np.float32 and y.tolist() == [float(v) for v in values.split()]
        assert dataset.schema.target_mean == pytest.approx(y.mean())


def test_rows_without_a_target_are_left_out(tmp_path: Path) -> None:
    dataset = table(tmp_path, rows("1,a", "2,", "3,?", "4,b", header="n,y"))
    assert dataset.splits["train"].ids == ("1", "4")
    assert "2 rows without y left out" in dataset.notes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (rows("1,", "2,NA", "3,", header="n,y"), "no value in any of the 3 rows"),
        (rows("1,a", "2,a", "3,a", header="n,y"), "'a' in every row"),
        (rows("1,4", "2,4", header="n,y"), "4.0 in every row"),
        (rows(*(f"{n},name{n}" for n in range(30)), header="n,y"), "30 different texts in 30"),
    ],
)
def test_targets_from_which_nothing_can_be_learnt(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        table(tmp_path, text)


def test_a_target_that_is_no_column(tmp_path: Path) -> None:
    text = rows("1,2,a", "3,4,b", header="width,height,label")
    with pytest.raises(UserError, match=r"--data\.target\. Columns: width, height, label"):
        table(tmp_path, text, target=None)
    with pytest.raises(UserError, match="did you mean 'label'"):
        table(tmp_path, text, target="lable")
    with pytest.raises(UserError, match="If the first line holds values"):
        table(tmp_path, "6,148,33.6,1\n1,85,26.6,0\n", target="class")


def test_parquet(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "n": [1.0, float("nan"), 3.0, None],
            "i": [4, 5, 6, 7],
            "flag": [True, False, True, False],
            "kind": pl.Series(["u", "v", None, "u"], dtype=pl.Categorical),
            "day": pl.Series(["2020-01-01"] * 3 + [None]).str.to_date(),
            "list": [[1], [2], [3], [4]],
            "y": [True, False, True, False],
        }
    )
    path = tmp_path / "table.parquet"
    frame.write_parquet(path)
    config = DataConfig(name=str(path), target="y", test=0, val=0)
    dataset = load(config)
    assert [(c.name, c.kind, c.missing) for c in dataset.schema.columns] == [
        ("n", "number", True),
        ("i", "number", False),
        ("flag", "number", False),
        ("kind", "category", True),
    ]
    assert column(dataset, "n").mean == 2.0
    assert dataset.schema.classes == ("false", "true")
    assert dataset.splits["train"].y.tolist() == [1, 0, 1, 0]
    # The same rows as text are read alike.
    text = frame.drop("list").write_csv()
    x, _ = read_rows(dataset.schema, _written(tmp_path, text))
    assert np.array_equal(x, dataset.splits["train"].x)


def _written(folder: Path, text: str) -> Path:
    path = folder / "new.csv"
    path.write_text(text, encoding="utf-8")
    return path


# What is learnt, and from which rows

CELL = st.sampled_from(["", "NA", "0", "1", "2.5", "-3", "1e30", "red", "blue", "true", "None"])
FRAMES = st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=12)


def parts(**frames: list[tuple[str, ...]]) -> Parts:
    made: Parts = {}
    for name in ("train", "val", "test"):
        frame: Any = pl.DataFrame(frames[name], schema=["a", "b", "c"], orient="row")
        frame = frame.with_columns(pl.all().replace(["", "NA"], None))
        made[name] = Split(frame, np.zeros(frame.height, np.int64))  # type: ignore[literal-required]
    return made


SCHEMA = Schema(kind="table", shape=(0,), target="class", classes=("a", "b"), target_name="y")


@settings(max_examples=60, deadline=None)
@given(FRAMES, FRAMES, FRAMES, FRAMES)
def test_held_out_rows_change_nothing_that_is_learnt(
    train: list[Any], one: list[Any], two: list[Any], three: list[Any]
) -> None:
    try:
        schema, first, _ = encode(SCHEMA, parts(train=train, val=one, test=two))
    except UserError:  # no column of train can be used, whatever the others hold
        with pytest.raises(UserError):
            encode(SCHEMA, parts(train=train, val=three, test=one))
        return
    again, second, _ = encode(SCHEMA, parts(train=train, val=three, test=one))
    assert schema == again
    assert np.array_equal(first["train"].x, second["train"].x)
    assert np.array_equal(first["val"].x, second["test"].x)
    for split in first.values():
        assert split.x.dtype == np.float32 and split.x.shape[1:] == schema.shape
        assert np.isfinite(split.x).all()
    start = 0
    for column in schema.columns:
        values = first["train"].x[:, start].astype(np.float64)
        if column.kind == "number" and not column.missing:
            assert values.mean() == pytest.approx(0, abs=1e-5)
            assert values.std() == pytest.approx(1, abs=1e-5)
        start += column.width


def test_text_among_held_out_numbers_is_missing_and_said() -> None:
    cells = {"train": ["1", "3"], "val": ["x", "3"], "test": ["None", ""]}
    made = parts(**{name: [(v, v, v) for v in values] for name, values in cells.items()})
    _, encoded, notes = encode(SCHEMA, made)
    assert encoded["val"].x.tolist() == [[0, 0, 0], [1, 1, 1]]
    assert encoded["test"].x.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert "b: 1 values of val are no numbers, read as missing" in notes


def test_held_out_numbers_beyond_all_measure_stay_finite() -> None:
    cells = {"train": ["0", "1e-30"], "val": ["1e30"], "test": ["-1e30"]}
    made = parts(**{name: [(v, v, v) for v in values] for name, values in cells.items()})
    _, encoded, _ = encode(SCHEMA, made)
    assert np.isfinite(encoded["val"].x).all() and (encoded["val"].x > 1e38).all()
    assert np.isfinite(encoded["test"].x).all() and (encoded["test"].x < -1e38).all()


def test_equal_rows_have_one_group() -> None:
    frame = pl.DataFrame({"a": ["2", "1", "2", None, None], "b": ["x", "x", "x", "y", "y"]})
    assert groups(frame).tolist() == [0, 1, 0, 2, 2]
    assert groups(frame.select("b")).tolist() == [0, 0, 0, 1, 1]


def test_equal_rows_stay_on_one_side(tmp_path: Path) -> None:
    lines = [f"{n % 10},{'uv'[n % 2]},{'ab'[n % 2]}" for n in range(200)]
    dataset = table(tmp_path, rows(*lines, header="n,k,y"), test=0.3, val=0.3)
    seen = [{row.tobytes() for row in split.x} for split in dataset.splits.values()]
    assert all(seen) and sum(map(len, seen)) == 10


# New rows


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    text = rows("1,red,a", "3,blue,b", ",red,a", header="size,colour,y")
    return table(tmp_path, text)


def test_new_rows_are_read_like_the_old(dataset: Dataset, tmp_path: Path) -> None:
    x, ids = read_rows(dataset.schema, tmp_path / "table.csv")
    assert np.array_equal(x, dataset.splits["train"].x) and x.dtype == np.float32
    assert ids == ("1", "2", "3")
    given = [
        {"colour": "red", "size": 1, "more": []},
        {"colour": "blue", "size": np.float32(3)},
        {"colour": "red", "size": None},
    ]
    assert np.array_equal(read_rows(dataset.schema, given)[0], x)
    path = _written(tmp_path, "colour,size\ngreen,\n")
    assert read_rows(dataset.schema, str(path))[0].tolist() == [[0, 1, 0, 0]]


def test_new_rows_that_do_not_fit(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"new\.csv lacks the columns size; it has colour, y"):
        read_rows(dataset.schema, _written(tmp_path, "colour,y\nred,a\n"))
    with pytest.raises(UserError, match="row 2 lacks the columns colour"):
        read_rows(dataset.schema, [{"size": 1, "colour": "red"}, {"size": 1}])
    with pytest.raises(UserError, match="size is 'big' in row 2: expected a number"):
        read_rows(dataset.schema, _written(tmp_path, "size,colour\n1,red\nbig,red\n"))
    with pytest.raises(UserError, match="no rows"):
        read_rows(dataset.schema, [])
    with pytest.raises(UserError, match=r"absent\.csv cannot be read"):
        read_rows(dataset.schema, tmp_path / "absent.csv")


# Real tables


@pytest.mark.parametrize(
    ("name", "count", "width", "classes"),
    [
        ("iris", 150, 4, ("setosa", "versicolor", "virginica")),
        ("wine", 178, 13, ("class_0", "class_1", "class_2")),
        ("breast_cancer", 569, 30, ("benign", "malignant")),
        ("diabetes", 442, 10, ()),
    ],
)
def test_embedded_tables(name: str, count: int, width: int, classes: tuple[str, ...]) -> None:
    dataset = load(DataConfig(name=name))
    assert sum(dataset.counts.values()) == count and list(dataset.counts) == [
        "train",
        "val",
        "test",
    ]
    assert dataset.schema.shape == (width,) and dataset.schema.classes == classes
    x = dataset.splits["train"].x
    assert np.allclose(x.mean(axis=0), 0, atol=1e-5) and np.allclose(x.std(axis=0), 1, atol=1e-5)


def test_embedded_figures() -> None:
    cancer = load(DataConfig(name="breast_cancer"))
    assert sum(int(split.y.sum()) for split in cancer.splits.values()) == 212  # malignant
    diabetes = load(DataConfig(name="diabetes", test=0, val=0))
    assert diabetes.schema.target == "number"
    assert diabetes.splits["train"].y.mean() == pytest.approx(152.13, abs=0.01)
    assert column(diabetes, "age").mean == pytest.approx(48.52, abs=0.01)  # years, not scaled


def test_a_named_table_by_another_column() -> None:
    dataset = load(DataConfig(name="iris", target="petal width (cm)"))
    assert dataset.schema.target == "number" and dataset.schema.shape == (3 + 3,)


@with_titanic
def test_titanic() -> None:
    dataset = load(DataConfig(name="titanic"))
    assert sum(dataset.counts.values()) == 891
    assert sum(int(split.y.sum()) for split in dataset.splits.values()) == 342
    assert dataset.schema.classes == ("0", "1")
    kinds = {column.name: (column.kind, column.missing) for column in dataset.schema.columns}
    assert kinds == {
        "Pclass": ("number", False),
        "Sex": ("category", False),
        "Age": ("number", True),
        "SibSp": ("number", False),
        "Parch": ("number", False),
        "Fare": ("number", False),
        "Embarked": ("category", True),
    }
    assert column(dataset, "Embarked").categories == ("C", "Q", "S")
    for name in ("PassengerId", "Name", "Ticket", "Cabin"):
        assert any(note.startswith(f"{name}: left out") for note in dataset.notes)
    ages = pl.read_csv(TITANIC)["Age"].to_numpy()[np.array(dataset.splits["train"].ids, int) - 1]
    assert column(dataset, "Age").mean == pytest.approx(np.nanmean(ages))
    x, ids = read_rows(dataset.schema, TITANIC)
    assert x.shape == (891, 12) and ids[-1] == "891"
    test = dataset.splits["test"]
    assert np.array_equal(x[np.array(test.ids, int) - 1], test.x)


def test_the_kind_of_target_can_be_forced(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("x,y,word\n" + "".join(f"{i},{i % 5},{'ab'[i % 2]}\n" for i in range(60)))

    def target(kind, column="y"):
        config = DataConfig(name=str(table), target=column, target_kind=kind)
        return table_source(table, config).schema

    assert target("auto").classes == ("0", "1", "2", "3", "4")
    assert target("number").target == "number"
    assert target("class", "x").target == "class" and len(target("class", "x").classes) == 60
    with pytest.raises(UserError, match="no numbers to predict"):
        target("number", "word")
