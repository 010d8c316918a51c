from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from gradlab.config import DataConfig
from gradlab.data.dataset import Dataset, Source
from gradlab.data.fields.label import Label
from gradlab.data.fields.number import Number
from gradlab.data.fields.table import Table
from gradlab.data.sources.embedded import breast_cancer, diabetes, digits, iris, wine
from gradlab.data.sources.tables import data_frame_source, table_source, titanic
from gradlab.data.splits import finish
from gradlab.errors import UnknownName, UserError

TITANIC = Path(os.environ.get("GRADLAB_DATA", "")) / "titanic" / "titanic.csv"
with_titanic = pytest.mark.skipif(
    not ("GRADLAB_DATA" in os.environ and TITANIC.is_file()),
    reason="GRADLAB_DATA holds no titanic/titanic.csv",
)
NAMED = {"iris": iris, "wine": wine, "breast_cancer": breast_cancer, "diabetes": diabetes}


def table(folder: Path, text: str | bytes, name: str = "table.csv", **config: Any) -> Dataset:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    given = DataConfig(name=str(path), **{"target": "y", "test": 0, "val": 0, **config})
    return finish(table_source(path, given), given)


def named(name: str, **config: Any) -> Dataset:
    given = DataConfig(name=name, **config)
    return finish(NAMED[name](given), given)


def inputs(dataset: Dataset) -> Table:
    field = dataset.schema.inputs["table"]
    assert isinstance(field, Table)
    return field


def column(dataset: Dataset, name: str) -> Any:
    return next(column for column in inputs(dataset).columns if column.name == name)


def label(dataset: Dataset) -> Label:
    field = dataset.schema.targets["label"]
    assert isinstance(field, Label)
    return field


def rows(*lines: str, header: str) -> str:
    return "\n".join([header, *lines]) + "\n"


def numbers(dataset: Dataset) -> dict[str, list[int]]:
    return {name: [int(number) for number in split.ids] for name, split in dataset.splits.items()}


# Inputs


def test_a_table_becomes_inputs_and_a_target(tmp_path: Path) -> None:
    dataset = table(tmp_path, rows("1,red,a", "NA,blue,b", "3,red,a", header="size,colour,y"))
    assert dataset.schema.words() == "table -> label"
    assert inputs(dataset).shape == (2 + 2,)
    train = dataset.splits["train"]
    assert train["table"][:].tolist() == [[-1, 0, 1], [0, 1, 0], [1, 0, 1]]  # blue, red
    assert train["label"][:].tolist() == [0, 1, 0] and train["label"].dtype == np.int64
    assert tuple(train.ids) == ("1", "2", "3") and train.name_of(2) == "3"


def test_a_column_that_counts_the_rows_is_no_input(tmp_path: Path) -> None:
    lines = [f"{n},{n + 1},{n + 2},{n * n},{n % 2},{'ab'[n % 2]}" for n in range(25)]
    dataset = table(tmp_path, rows(*lines, header="zero,one,two,square,flag,y"))
    assert [each.name for each in inputs(dataset).columns] == ["two", "square", "flag"]
    assert dataset.notes[:2] == tuple(
        f"{c}: left out (it counts the rows)" for c in ("zero", "one")
    )
    # What only begins so does not count them.
    lines[-1] = lines[-1].replace("24,", "99,", 1)
    dataset = table(tmp_path, rows(*lines, header="zero,one,two,square,flag,y"))
    assert [each.name for each in inputs(dataset).columns] == ["zero", "two", "square", "flag"]


def test_a_year_is_no_count_of_rows(tmp_path: Path) -> None:
    lines = [f"{1990 + n},{'ab'[n % 2]}" for n in range(30)]
    assert column(table(tmp_path, rows(*lines, header="year,y")), "year").kind == "number"


def test_no_column_beside_the_target(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no column beside 'y'"):
        table(tmp_path, rows("a", "b", header="y"))
    lines = [f"{n},{'ab'[n % 2]}" for n in range(30)]
    with pytest.raises(UserError, match=r"beside 'y' to learn from \(n: counts the rows\)"):
        table(tmp_path, rows(*lines, header="n,y"))


# The target


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ("no yes no yes", ("no", "yes")),
        ("10 9 10 9", ("9", "10")),
        ("1.0 0.0 1 0", ("0", "1")),
        ("True False True True", ("False", "True")),
        ("None apnea None apnea", ("None", "apnea")),
        ("1 2 x 1", ("1", "2", "x")),
        ("0.5 1.5 2.5 0.5", ()),
        (" ".join(map(str, range(21))), ()),
        (" ".join(map(str, range(20))), tuple(map(str, range(20)))),
    ],
)
def test_classes_or_numbers(tmp_path: Path, values: str, classes: tuple[str, ...]) -> None:
    text = rows(*(f"{n * n},{v}" for n, v in enumerate(values.split())), header="n,y")
    dataset = table(tmp_path, text)
    said = "classification" if classes else "regression"
    assert any(note.startswith("y: ") and said in note for note in dataset.notes)
    if classes:
        assert dataset.schema.targets == {"label": Label(classes=classes, column="y")}
        y = dataset.splits["train"]["label"]
        assert [classes[number] for number in y[:]] == [
            value.removesuffix(".0") for value in values.split()
        ]
    else:
        y = dataset.splits["train"]["number"]
        assert y.dtype == np.float32 and y[:].tolist() == [float(v) for v in values.split()]
        field = dataset.schema.targets["number"]
        assert isinstance(field, Number) and field.column == "y"
        assert field.mean == pytest.approx(y[:].mean())


def test_whole_numbers_are_classes_and_how_to_estimate_them_is_said(tmp_path: Path) -> None:
    text = rows(*(f"{n * n},{n % 5}" for n in range(40)), header="n,y")
    hint = "choose --data.target_kind number to estimate it"
    dataset = table(tmp_path, text)
    assert f"y: 5 different whole numbers, so classes (classification); {hint}" in dataset.notes
    dataset = table(tmp_path, text, target_kind="number")
    assert dataset.schema.words() == "table -> number"
    words = rows(*(f"{n * n},{'ab'[n % 2]}" for n in range(40)), header="n,y")
    assert not any("target_kind" in note for note in table(tmp_path, words).notes)


def test_the_kind_of_target_can_be_forced(tmp_path: Path) -> None:
    text = "x,y,word\n" + "".join(f"{i},{i % 5},{'ab'[i % 2]}\n" for i in range(60))

    def words(**config: Any) -> str:
        return table(tmp_path, text, **config).schema.words()

    assert words() == words(target_kind="class") == "table -> label"
    assert words(target_kind="number") == "table -> number"
    assert len(label(table(tmp_path, text, target="x", target_kind="class")).classes) == 60
    with pytest.raises(UserError, match="no numbers to predict"):
        words(target_kind="number", target="word")


def test_nothing_is_asked_for(tmp_path: Path) -> None:
    text = rows(*(f"{n},{n * n % 7},{'ab'[n % 2]}" for n in range(4)), header="n,m,y")
    dataset = table(tmp_path, text, target=None, target_kind="none")
    assert dataset.schema.targets == {} and set(dataset.splits["train"].columns) == {"table"}
    assert [each.name for each in inputs(dataset).columns] == ["n", "m", "y"]
    # A target is no input, even where it is not asked for; a named set's neither.
    dataset = table(tmp_path, text, target_kind="none")
    assert dataset.schema.targets == {}
    assert [each.name for each in inputs(dataset).columns] == ["n", "m"]
    assert "y: left out (nothing is asked for)" in dataset.notes
    dataset = named("iris", target_kind="none")
    assert dataset.schema.targets == {} and inputs(dataset).shape == (4,)


def test_rows_without_a_target_are_left_out(tmp_path: Path) -> None:
    dataset = table(tmp_path, rows("1,a", "2,", "3,?", "4,b", header="n,y"))
    assert tuple(dataset.splits["train"].ids) == ("1", "4")
    assert "2 rows without y left out" in dataset.notes
    assert column(dataset, "n").mean == 2.5


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
    with pytest.raises(UnknownName, match="did you mean 'label'"):
        table(tmp_path, text, target="lable")
    with pytest.raises(UserError, match="If the first line holds values"):
        table(tmp_path, "6,148,33.6,1\n1,85,26.6,0\n", target="class")


# Splits


def test_classes_keep_their_shares(tmp_path: Path) -> None:
    lines = [f"{n * n},{'aaab'[n % 4]}" for n in range(200)]
    dataset = table(tmp_path, rows(*lines, header="n,y"), test=0.2, val=0.25)
    assert dataset.counts == {"train": 120, "val": 40, "test": 40}
    for split in dataset.splits.values():
        assert np.mean(split["label"][:]) == 0.25


def test_equal_rows_stay_on_one_side(tmp_path: Path) -> None:
    lines = [f"{n % 10},{'uv'[n % 2]},{'ab'[n % 2]}" for n in range(200)]
    dataset = table(tmp_path, rows(*lines, header="n,k,y"), test=0.3, val=0.3)
    seen = [{row.tobytes() for row in split["table"]} for split in dataset.splits.values()]
    assert all(seen) and sum(map(len, seen)) == 10


def test_equal_rows_are_too_few_and_it_is_said_why(tmp_path: Path) -> None:
    text = rows(*(f"1,{'ab'[n % 2]}" for n in range(1200)), header="n,y")
    with pytest.raises(UserError, match=r"1200 training examples \(1 different\) are too few"):
        table(tmp_path, text, test=0.15)


def test_held_out_rows_change_nothing_that_is_learnt(tmp_path: Path) -> None:
    lines = [f"{n % 17},{'uvw'[n % 3]},{'ab'[n % 2]}" for n in range(300)]
    first = table(tmp_path, rows(*lines, header="n,k,y"), time=None, test=0.2)
    held = set(numbers(first)["test"])
    outlier = [
        f"{line}" if n + 1 not in held else f"1e9,z,{line[-1]}" for n, line in enumerate(lines)
    ]
    config = DataConfig(name="t", target="y", val=0)
    frame = pl.read_csv(rows(*outlier, header="n,k,y").encode(), infer_schema=False)
    source = data_frame_source(frame, config)
    train = source.parts["train"].take(np.array([n for n in range(300) if n + 1 not in held]))
    assert Table().fit(train["table"]) == inputs(first)


# By groups and by time

PATIENTS = [f"{n % 20},{n * n},{n * n % 13},{'ab'[n % 2]}" for n in range(100)]


def test_a_group_stays_in_one_split(tmp_path: Path) -> None:
    text = rows(*PATIENTS, header="patient,n,m,y")
    dataset = table(tmp_path, text, group="patient", test=0.2, val=0.25)
    assert dataset.counts == {"train": 60, "val": 20, "test": 20}
    groups = [{n % 20 for n in held} for held in numbers(dataset).values()]
    assert [len(group) for group in groups] == [12, 4, 4] and len(set.union(*groups)) == 20
    assert [each.name for each in inputs(dataset).columns] == ["n", "m"]
    assert "patient: no input; each of its 20 values stays in one split" in dataset.notes
    assert any("whole groups" in note for note in dataset.notes)


def test_rows_without_a_group_are_left_out(tmp_path: Path) -> None:
    text = rows("1,1,a", ",2,b", "2,3,a", "1,4,b", "3,5,", header="g,n,y")
    dataset = table(tmp_path, text, group="g")
    assert tuple(dataset.splits["train"].ids) == ("1", "3", "4")
    assert {"1 rows without g left out", "1 rows without y left out"} <= set(dataset.notes)
    with pytest.raises(UserError, match="'g' has no value in any row"):
        table(tmp_path, rows(",1,a", ",2,b", header="g,n,y"), group="g")


def test_one_group_cannot_be_split(tmp_path: Path) -> None:
    text = rows(*(f"x,{n * n},{'ab'[n % 2]}" for n in range(50)), header="g,n,y")
    with pytest.raises(UserError, match=r"50 training examples \(1 different groups\) are too few"):
        table(tmp_path, text, group="g", test=0.2)


@pytest.mark.parametrize(
    "written",
    [
        lambda n: str(n - 5),
        lambda n: f"{n / 3:.3f}",
        lambda n: str(datetime.date(2019, 12, 25) + datetime.timedelta(n)),
        lambda n: (datetime.datetime(2020, 1, 1) + datetime.timedelta(hours=n)).isoformat(),
        lambda n: f"{2020 + n // 12}-{n % 12 + 1:02}",
        lambda n: f"2020-01-01T{n:02}:00+00:00" if n < 24 else f"2020-01-02 {n - 24:02}:30",
        lambda n: str(10**18 + n),
    ],
)
def test_the_last_rows_in_time_are_held_out(tmp_path: Path, written: Any) -> None:
    order = np.random.default_rng(0).permutation(40).tolist()
    text = rows(*(f'"{written(n)}",{n * n % 11},{"ab"[n % 2]}' for n in order), header="when,n,y")
    dataset = table(tmp_path, text, time="when", test=0.25, val=0.2)
    times = {name: sorted(order[n - 1] for n in held) for name, held in numbers(dataset).items()}
    assert times == {
        "train": list(range(24)),
        "val": list(range(24, 30)),
        "test": list(range(30, 40)),
    }
    assert [each.name for each in inputs(dataset).columns] == ["n"]
    assert "when: no input; the rows that are last by it are held out" in dataset.notes


def test_times_with_types_of_their_own(tmp_path: Path) -> None:
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(n) for n in range(10)]
    frame = pl.DataFrame({"when": days[::-1], "n": range(10), "y": ["a", "b"] * 5})
    for when in (
        frame["when"],
        frame["when"].cast(pl.Datetime("ms", "UTC")),
        pl.Series("when", np.arange(10, 0, -1, dtype=np.uint64)),
        pl.Series("when", np.arange(10, 0, -1) / 3),
    ):
        config = DataConfig(name="t", target="y", time="when", test=0.2, val=0)
        dataset = finish(data_frame_source(frame.with_columns(when), config), config)
        assert numbers(dataset)["test"] == [1, 2]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("2020-01-02", "2020-01-01", "tomorrow", "x"), "'tomorrow' in row 3: expected a number"),
        (("5", "4", "soon", "2020-01-01"), "'soon' in row 3"),
        (("31/12/2020", "1/13/2021"), "'31/12/2020' in row 1"),
        (("2020-01-02", "7"), "'7' in row 2: expected a number in every row, or a date in every"),
    ],
)
def test_what_is_neither_number_nor_date(
    tmp_path: Path, values: tuple[str, ...], words: str
) -> None:
    text = rows(*(f"{v},{n},{'ab'[n % 2]}" for n, v in enumerate(values)), header="when,n,y")
    with pytest.raises(UserError, match=rf"table\.csv: when is {words}"):
        table(tmp_path, text, time="when")


def test_a_row_is_named_by_its_number_where_others_were_left_out(tmp_path: Path) -> None:
    text = rows("1,1,a", ",2,b", "3,3,", "soon,4,b", "5,5,a", header="when,n,y")
    with pytest.raises(UserError, match="'soon' in row 4"):
        table(tmp_path, text, time="when")


def test_group_and_time_that_cannot_be(tmp_path: Path) -> None:
    text = rows(*PATIENTS, header="patient,n,m,y")
    for key in ("group", "time"):
        with pytest.raises(UnknownName, match="'patint': did you mean 'patient'"):
            table(tmp_path, text, **{key: "patint"})
        with pytest.raises(
            UserError, match=r"'y' is to be predicted, so the split cannot go by it"
        ):
            table(tmp_path, text, **{key: "y"})
    with pytest.raises(UserError, match="no column beside 'y', 'g' to learn from"):
        table(tmp_path, rows("1,a", "2,b", header="g,y"), group="g")
    with pytest.raises(UserError, match=r"found two: --data\.group patient and --data\.time n"):
        table(tmp_path, text, group="patient", time="n")


# Data frames

COLUMNS = {"size": [1.0, None, 3.0, 5.0], "hue": ["red", "blue", None, "red"], "y": [0, 1, 1, 0]}


class Pandas:
    """What is used of a pandas data frame, which is no part of gradlab."""

    class Column:
        def __init__(self, values: Any) -> None:
            self.values = values

        def to_numpy(self) -> np.ndarray:
            return np.asarray(self.values)

        def isna(self) -> Pandas.Column:
            lacks = [value is None or value != value for value in self.values]
            return Pandas.Column(np.array(lacks))

    class Places:
        def __init__(self, values: list[Any]) -> None:
            self.values = values

        def __getitem__(self, place: tuple[slice, int]) -> Pandas.Column:
            assert place[0] == slice(None)
            return Pandas.Column(self.values[place[1]])

    def __init__(self, **columns: Any) -> None:
        self.columns = list(columns)
        self.iloc = Pandas.Places(list(columns.values()))


def framed(data: Any, **config: Any) -> Source:
    return data_frame_source(data, DataConfig(name="t", **{"target": "y", **config}))


def test_data_frames_are_read_like_files(tmp_path: Path) -> None:
    config = DataConfig(name="t", target="y", test=0, val=0)
    expected = table(tmp_path, pl.DataFrame(COLUMNS).write_csv())
    of_pandas = Pandas(
        size=np.array([1, np.nan, 3, 5]),
        hue=np.array(["red", "blue", None, "red"], object),
        y=np.array([0, 1, 1, 0]),
    )
    for data in (pl.DataFrame(COLUMNS), of_pandas):
        dataset = finish(framed(data), config)
        assert dataset.schema == expected.schema
        assert dataset.fingerprint == expected.fingerprint
        assert tuple(dataset.splits["train"].ids) == ("1", "2", "3", "4")


def test_columns_of_pandas_of_any_kind() -> None:
    day = np.datetime64("2020-01-01")
    data = Pandas(
        mixed=np.array([1, "two", None], object),
        whole=np.array([1, None, 3], object),
        flag=np.array([True, False, True]),
        when=np.array([day, day, day + 1]),
        things=np.array([object(), object(), object()], object),
        y=np.array(["a", "b", "a"]),
    )
    base = framed(data).parts["train"]["table"].base
    assert base["mixed"].to_list() == ["1", "two", None]
    assert base["whole"].to_list() == [1, None, 3]
    assert base["flag"].dtype == pl.Boolean and base["when"].dtype.is_temporal()
    fitted = Table().fit(framed(data).parts["train"]["table"])
    assert [each.name for each in fitted.columns] == ["mixed", "whole", "flag", "when"]


def test_data_frames_that_are_none() -> None:
    with pytest.raises(UserError, match="the data is of the type list: expected"):
        framed([1, 2])
    with pytest.raises(UserError, match="the data holds no rows"):
        framed(pl.DataFrame({"n": [], "y": []}))
    twice = Pandas(a=np.array([1]), b=np.array([2]))
    twice.columns = ["a", "a"]
    with pytest.raises(UserError, match="several columns of one name: a"):
        framed(twice)
    with pytest.raises(UnknownName, match="column of data frame: 'hu': did you mean 'hue'"):
        framed(pl.DataFrame(COLUMNS), target="hu")


# Files of other kinds


def test_a_tab_separated_file_is_split_at_tabs(tmp_path: Path) -> None:
    text = "size, in cm, rounded, of all\ty\n1\ta\n2\tb\n"
    dataset = table(tmp_path, text, "table.tsv")
    assert [each.name for each in inputs(dataset).columns] == ["size, in cm, rounded, of all"]


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
    config = DataConfig(name=str(path), target="y", test=0.25, val=0)
    dataset = finish(table_source(path, config), config)
    assert [(c.name, c.kind) for c in inputs(dataset).columns] == [
        ("n", "number"),
        ("i", "number"),
        ("flag", "number"),
        ("kind", "category"),
        ("day", "date"),
    ]
    assert dict(inputs(dataset).left_out)["list"] == "List(Int64) values cannot be inputs"
    assert label(dataset).classes == ("false", "true")
    # The same rows as text are read alike.
    text = tmp_path / "new.csv"
    frame.drop("list").write_csv(text)
    x = inputs(dataset).read([text]).column
    for name, held in numbers(dataset).items():
        assert np.array_equal(x[np.array(held) - 1], dataset.splits[name]["table"][:])  # type: ignore[index]


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
    dataset = named(name)
    assert list(dataset.counts) == ["train", "val", "test"]
    assert sorted(n for held in numbers(dataset).values() for n in held) == list(
        range(1, count + 1)
    )
    assert inputs(dataset).shape == (width,)
    assert classes == (label(dataset).classes if classes else ())
    x = dataset.splits["train"]["table"][:]
    assert np.allclose(x.mean(axis=0), 0, atol=1e-5) and np.allclose(x.std(axis=0), 1, atol=1e-5)


def test_embedded_figures() -> None:
    cancer = named("breast_cancer")
    malignant = [int(split["label"][:].sum()) for split in cancer.splits.values()]
    assert sum(malignant) == 212
    progress = named("diabetes", test=0, val=0)
    assert progress.splits["train"]["number"][:].mean() == pytest.approx(152.13, abs=0.01)
    assert column(progress, "age").mean == pytest.approx(48.52, abs=0.01)  # years, not scaled


def test_a_named_table_by_other_columns() -> None:
    dataset = named("iris", target="petal width (cm)", group="species", test=0.34, val=0)
    assert dataset.schema.words() == "table -> number" and inputs(dataset).shape == (3,)
    assert dataset.counts == {"train": 100, "test": 50}
    dataset = named("wine", time="alcohol", test=0.2, val=0)
    assert inputs(dataset).shape == (12,)


def test_digits_are_images_counted_from_1() -> None:
    config = DataConfig()
    dataset = finish(digits(config), config)
    assert dataset.schema.words() == "image -> label" and sum(dataset.counts.values()) == 1797
    assert sorted(n for held in numbers(dataset).values() for n in held) == list(range(1, 1798))
    assert dataset.splits["train"]["image"].shape == (1375, 8, 8, 1)
    field = dataset.schema.inputs["image"]
    assert field.shape == (1, 8, 8) and len(field.mean) == 1  # type: ignore[attr-defined]
    classes = np.concatenate([split["label"][:] for split in dataset.splits.values()])
    assert np.bincount(classes).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


@with_titanic
def test_titanic() -> None:
    config = DataConfig(name="titanic")
    dataset = finish(titanic(config), config)
    assert sum(dataset.counts.values()) == 891
    assert sum(int(split["label"][:].sum()) for split in dataset.splits.values()) == 342
    assert label(dataset).classes == ("0", "1")
    kinds = {each.name: (each.kind, each.missing) for each in inputs(dataset).columns}
    assert kinds == {
        "Pclass": ("number", False),
        "Name": ("text", False),
        "Sex": ("category", False),
        "Age": ("number", True),
        "SibSp": ("number", False),
        "Parch": ("number", False),
        "Fare": ("number", False),
        "Embarked": ("category", True),
    }
    assert column(dataset, "Embarked").categories == ("C", "Q", "S")
    for name in ("PassengerId", "Ticket", "Cabin"):
        assert any(note.startswith(f"{name}: left out") for note in dataset.notes)
    held = numbers(dataset)
    ages = pl.read_csv(TITANIC)["Age"].to_numpy()[np.array(held["train"]) - 1]
    assert column(dataset, "Age").mean == pytest.approx(np.nanmean(ages))
    found = inputs(dataset).read([TITANIC])
    assert len(found.column) == 891 and found.names[-1] == "891"
    x: Any = found.column
    assert np.array_equal(x[np.array(held["test"]) - 1], dataset.splits["test"]["table"][:])
