"""Tables of several files, without column names, with columns left out, with targets as text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from support import task_of

from gradlab.config import DataConfig
from gradlab.data.dataset import Dataset
from gradlab.data.fields.table import Table
from gradlab.data.sources import load
from gradlab.errors import UnknownName, UserError

DATA = Path(os.environ.get("GRADLAB_DATA", "absent"))


def written(path: Path, *lines: str, header: str = "n,k,y") -> Path:
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def rows(start: int, count: int) -> list[str]:
    return [f"{n * n},{'uvw'[n % 3]},{'ab'[n % 2]}" for n in range(start, start + count)]


def loaded(path: Path, **config: Any) -> Dataset:
    return load(DataConfig(name=str(path), **{"target": "y", **config}))


def names(dataset: Dataset) -> list[str]:
    field = dataset.schema.inputs["table"]
    assert isinstance(field, Table)
    return [column.name for column in field.columns]


def test_a_file_for_each_split(tmp_path: Path) -> None:
    train, val = (
        written(tmp_path / "a.csv", *rows(0, 40)),
        written(tmp_path / "b.csv", *rows(40, 9)),
    )
    test = tmp_path / "c.parquet"  # of another kind, with types, in another order and with more
    pl.DataFrame({"y": ["a", "b"], "more": [1, 2], "k": ["u", None], "n": [9, 16]}).write_parquet(
        test
    )
    dataset = loaded(train, val_file=str(val), test_file=str(test))
    assert dataset.counts == {"train": 40, "val": 9, "test": 2}
    assert tuple(dataset.splits["test"].ids) == ("1", "2")
    assert f"val: the 9 rows of {val}" in dataset.notes
    assert f"{test}: columns left out, which {train} lacks: more" in dataset.notes
    alone = loaded(train, val=0, test=0)  # what is learnt comes of train alone
    assert dataset.schema.inputs == alone.schema.inputs
    assert np.array_equal(dataset.splits["train"]["table"][:], alone.splits["train"]["table"][:])
    # What has no file of its own is cut off.
    dataset = loaded(train, test_file=str(test))
    assert dataset.counts == {"train": 36, "val": 4, "test": 2}


def test_a_file_that_lacks_columns(tmp_path: Path) -> None:
    train = written(
        tmp_path / "a.csv",
        *(f"{n},{line}" for n, line in enumerate(rows(0, 40))),
        header="id,n,k,y",
    )
    test = written(tmp_path / "b.csv", "1,a", header="N,y")
    with pytest.raises(
        UserError, match=r"b\.csv lacks the columns n, k, which .*a\.csv has; it has N, y"
    ):
        loaded(train, test_file=str(test))
    with pytest.raises(UserError, match=r"b\.csv lacks the columns y"):
        loaded(train, test_file=str(written(tmp_path / "b.csv", "1,u", header="n,k")))
    with pytest.raises(UserError, match=r"absent\.csv cannot be read"):
        loaded(train, test_file=str(tmp_path / "absent.csv"))
    # What counts the rows, or is left out, may be lacking.
    test = written(tmp_path / "b.csv", "1,a", "2,b", header="n,y")
    assert loaded(train, test_file=str(test), drop=("k",)).counts["test"] == 2


def test_a_folder_of_files(tmp_path: Path) -> None:
    written(tmp_path / "train.csv", *rows(0, 40))
    written(tmp_path / "test.csv", *rows(40, 9))
    assert loaded(tmp_path).counts == {"train": 36, "val": 4, "test": 9}
    written(tmp_path / "valid.csv", *rows(49, 5))
    assert loaded(tmp_path).counts == {"train": 40, "val": 5, "test": 9}
    # A test without answers is one to predict.
    written(tmp_path / "test.csv", "1,u", header="n,k")
    dataset = loaded(tmp_path)
    assert dataset.counts == {"train": 34, "val": 5, "test": 6}
    assert (
        "test.csv: it has no y, so it is no test split; answer it with gradlab predict"
        in dataset.notes
    )


def test_files_go_together_with_groups_and_time(tmp_path: Path) -> None:
    lines = [f"2020-01-{n % 28 + 1:02},{n * n},{n % 10},{'ab'[n % 2]}" for n in range(100)]
    train = written(tmp_path / "a.csv", *lines, header="day,n,g,y")
    test = written(tmp_path / "b.csv", "9,a", "16,b", header="n,y")
    dataset = loaded(train, test_file=str(test), group="g", drop=("day",), val=0.2)
    assert dataset.counts == {"train": 80, "val": 20, "test": 2} and names(dataset) == ["n"]
    dataset = loaded(train, test_file=str(test), time="day", drop=("g",), val=0.2)
    assert dataset.counts["test"] == 2 and names(dataset) == ["n"]
    held = {(int(n) - 1) % 28 for n in dataset.splits["val"].ids}
    assert min(held) > max((int(n) - 1) % 28 for n in dataset.splits["train"].ids)
    # The test split is not cut off a group or time, so it needs no such column.
    with pytest.raises(UserError, match=r"b\.csv lacks the columns day"):
        loaded(train, test_file=str(test), group="g")


def test_a_split_by_time_in_days_first(tmp_path: Path) -> None:
    lines = [f"{n % 28 + 1:02}/{n // 28 + 1:02}/2020,{n * n},{'ab'[n % 2]}" for n in range(56)]
    dataset = loaded(written(tmp_path / "a.csv", *lines, header="day,n,y"), time="day", test=0.25)
    assert min(int(n) for n in dataset.splits["test"].ids) == 43
    assert any("the last by it" in note or "day first" in note for note in dataset.notes)


def test_files_are_for_tables_alone(tmp_path: Path) -> None:
    for key in ("test_file", "val_file"):
        with pytest.raises(UserError, match=rf"data\.{key}: expected a table, but digits is none"):
            load(DataConfig(name="digits", **{key: "x.csv"}))


def test_no_header(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n".join(rows(0, 40)) + "\n", encoding="utf-8")
    with pytest.raises(UnknownName, match="did you mean"):
        loaded(path, target="column_33", header="none")
    dataset = loaded(path, target="column_3", header="none")
    assert sum(dataset.counts.values()) == 40 and names(dataset) == ["column_1", "column_2"]
    new = dataset.schema.inputs["table"].read([path])
    assert len(new.column) == 40


def test_numbers_as_column_names_are_told_of_it(tmp_path: Path) -> None:
    path = written(
        tmp_path / "t.csv", *(f"{n * n},{n * n % 7},{n % 2}" for n in range(40)), header="6,148,1"
    )
    said = (
        "If the first line holds values, add --data.header none: the columns are then column_1, "
        "column_2, ..., column_3"
    )
    with pytest.raises(UserError, match=said):
        loaded(path, target="class")
    assert any(said in note for note in loaded(path, target="1").notes)
    assert not any(said in note for note in loaded(path, target="column_3", header="none").notes)


def test_columns_left_out_on_request(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", *rows(0, 40))
    dataset = loaded(path, drop=("k",))
    assert names(dataset) == ["n"] and "k: left out (as asked for)" in dataset.notes
    with pytest.raises(UnknownName, match=r"'m'\. Known: k, n, y"):
        loaded(path, drop=("m",))
    with pytest.raises(
        UserError, match=r"--data\.drop leaves 'y' out, which the target or the split"
    ):
        loaded(path, drop=("y",))


# targets


@pytest.mark.parametrize(
    ("written_as", "said"),
    [
        (lambda v: f"${v:,.2f}", "read as numbers, such as"),
        (lambda v: f"{v:.2f}".replace(".", ","), "read as numbers, such as"),
        (lambda v: f"{v:.1f} %", "read as numbers, such as"),
    ],
)
def test_a_target_written_as_people_do(tmp_path: Path, written_as: Any, said: str) -> None:
    truth = [1000.5 + 37 * n for n in range(60)]
    lines = [f'{n * n},"{written_as(v)}"' for n, v in enumerate(truth)]
    lines[3], lines[7] = "9,-", "49,n/a"
    dataset = loaded(written(tmp_path / "t.csv", *lines, header="n,y"), val=0, test=0)
    assert dataset.schema.words() == "table -> number"
    kept = [v for n, v in enumerate(truth) if n not in (3, 7)]
    assert dataset.splits["train"]["number"][:].tolist() == pytest.approx(kept)
    assert any(note.startswith(f"y: {said}") for note in dataset.notes)
    assert "2 rows without y left out" in dataset.notes


def test_an_unclear_target_goes_by_the_file(tmp_path: Path) -> None:
    lines = [f'"{n},5";{n * 13 % 7},25;1.{n:03}' for n in range(40)]
    path = written(tmp_path / "t.csv", *lines, header="n;m;y")
    dataset = loaded(path, val=0, test=0)
    assert dataset.splits["train"]["number"][:3].tolist() == [1000, 1001, 1002]


# real data, and what is learnt


def test_a_real_series_by_time() -> None:
    path = DATA / "timeseries" / "seattle-weather.csv"
    if not path.is_file():
        pytest.skip("GRADLAB_DATA holds no timeseries/seattle-weather.csv")
    dataset = loaded(path, target="weather", time="date")
    assert sum(dataset.counts.values()) == 1461 and names(dataset)[0] == "precipitation"
    assert "date" not in names(dataset)
    assert min(int(n) for n in dataset.splits["test"].ids) == 1461 - dataset.counts["test"] + 1
    at_random = loaded(path, target="weather")
    assert names(at_random)[0] == "date" and at_random.schema.inputs["table"].shape == (9,)


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred shops, each with a level of its own, decide y."""
    rng = np.random.default_rng(0)
    shop = rng.integers(0, 100, 2000)
    y = 10 * rng.normal(size=100)[shop] + rng.normal(size=2000)
    path = tmp_path_factory.mktemp("shops") / "shops.csv"
    frame = pl.DataFrame({"shop": [f"shop {n}" for n in shop], "x": rng.normal(size=2000), "y": y})
    frame.write_csv(path)
    return path


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("linear_regression", {"epochs": 12, "optimizer.lr": 0.2}),
        ("mlp", {"epochs": 14, "optimizer.lr": 0.005, "plan.updates": 0}),
    ],
)
def test_a_table_that_categories_decide(shops: Path, recipe: str, options: dict[str, Any]) -> None:
    task = task_of(recipe, data=str(shops), target="y", **options)
    for epoch in range(options["epochs"]):
        for batch in task.batches(epoch):
            task.step(batch)
    assert task.evaluate("test")["r2"] > 0.985  # ridge regression: 0.988
