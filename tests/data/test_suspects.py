"""Columns that tell the target alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from gradlab.config import DataConfig
from gradlab.data.check import check
from gradlab.data.dataset import Dataset
from gradlab.data.sources import load
from gradlab.data.sources.tables import data_frame_source
from gradlab.data.splits import finish
from gradlab.data.suspects import suspects

DATA = Path(os.environ.get("GRADLAB_DATA", "absent"))


def dataset(**columns: Any) -> Dataset:
    config = DataConfig(name="t", target="y")
    return finish(data_frame_source(pl.DataFrame(columns), config), config)


def told(**columns: Any) -> tuple[str, ...]:
    """The columns that are suspected; the notes of the dataset say so."""
    made = dataset(**columns)
    found = suspects(made)
    assert [note.startswith("warning: ") for note in made.notes].count(True) == len(found)
    return found[0].where if found else ()


def test_copies_of_a_class() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    some = {"noise": rng.normal(size=300), "hint": y + rng.normal(size=300)}
    names = np.array(["no", "maybe", "yes"])
    assert told(**some, y=names[y]) == ()
    assert told(**some, y=names[y], code=y * 7.5) == ("code",)
    assert told(**some, y=names[y], text=np.array(["x", "y", "z"])[y]) == ("text",)
    # A few that differ hide nothing.
    code = y.copy()
    code[5] = 3 - code[5]
    assert told(**some, y=names[y], code=code + rng.uniform(0, 0.1, 300)) == ("code",)
    # Rows sorted by their class make no leak of a column that tells nothing.
    order = np.argsort(y)
    assert told(flag=rng.integers(0, 2, 300), **some, y=names[y][order]) == ()


def test_copies_of_a_number() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(50, 10, 300)
    some = {"noise": rng.normal(size=300), "hint": y + rng.normal(0, 2, 300)}
    assert told(**some, y=y) == ()
    assert told(**some, y=y, same=1.8 * y + 32) == ("same",)
    assert told(**some, y=y, euros=[f"€{value:,.2f}" for value in 1000 * y]) == ("euros",)
    assert told(**some, y=y, bent=np.exp(y / 10)) == ("bent",)
    assert told(**some, y=y, same=y, twice=2 * y) == ("same", "twice")


def test_what_is_no_suspicion() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    assert told(x=x, y=3 * x) == ()  # the only column
    assert told(a=x, b=-x, c=x**3, y=3 * x) == ()  # most of them: an easy problem
    few = np.arange(20) % 2
    assert told(x=few + 0.5, n=rng.normal(size=20), y=few.astype(str)) == ()  # by chance
    rare = np.zeros(300, int)
    rare[x.argsort()[-4:]] = 1
    assert told(x=x, n=rng.normal(size=300), y=rare) == ()


def test_data_check_says_so_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    path = tmp_path / "t.csv"
    pl.DataFrame({"n": rng.normal(size=200), "refund": 100 * y, "y": y}).write_csv(path)
    found = check(DataConfig(name=str(path), target="y"))
    assert [(issue.level, issue.where) for issue in found.issues] == [("warning", ("refund",))]
    assert found.issues[0].what == (
        "a column that tells y alone: 1. This is a leak where it is known only after the target, "
        "or made from it. Then leave it out: --data.drop"
    )
    assert not any("refund" in note for note in found.notes)
    # The advice works.
    config = DataConfig(name=str(path), target="y", drop=("refund",))
    assert suspects(load(config)) == () and "refund: left out (as asked for)" in load(config).notes
    assert load(config.model_copy(update={"drop": ()})).notes[-1] == (
        f"warning: {found.issues[0].what} refund"
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes"])
def test_no_false_word_on_named_tables(name: str, seed: int) -> None:
    assert suspects(load(DataConfig(name=name, split_seed=seed))) == ()


@pytest.mark.parametrize(
    ("file", "config"),
    [
        ("titanic/titanic.csv", {"target": "Survived"}),
        ("pima/pima-indians-diabetes.csv", {"target": "column_9", "header": "none"}),
        ("timeseries/seattle-weather.csv", {"target": "weather"}),
        ("timeseries/seattle-weather.csv", {"target": "temp_max", "time": "date"}),
    ],
)
def test_no_false_word_on_real_tables(file: str, config: dict[str, Any]) -> None:
    if not (DATA / file).is_file():
        pytest.skip(f"GRADLAB_DATA holds no {file}")
    for seed in range(3):
        assert suspects(load(DataConfig(name=str(DATA / file), split_seed=seed, **config))) == ()
