from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradlab import machine
from gradlab.config import DataConfig
from gradlab.data import sources
from gradlab.data.sources import datasets, get, load, source
from gradlab.errors import UserError


def test_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(UserError) as error:
        source(DataConfig(name="mnits"))
    message = str(error.value)
    assert "'mnits' is neither a named dataset nor a path" in message
    assert "Did you mean 'mnist'?" in message and "cifar10" in message
    with pytest.raises(UserError, match="unknown dataset 'mnits'"):
        get("mnits")


def test_a_name_goes_before_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert source(DataConfig(name="digits")).name == "digits"
    with pytest.raises(UserError, match="no image"):
        source(DataConfig(name="./digits"))


def test_digits_are_those_of_scikit_learn_without_its_import() -> None:
    from sklearn.datasets import load_digits

    known, made = load_digits(), load(DataConfig(name="digits"))
    train = datasets["digits"](DataConfig()).parts["train"]
    assert np.array_equal(train["image"][:][..., 0], np.round(known.images * (255 / 16)))
    assert np.array_equal(train["label"][:], known.target)
    assert sum(map(len, made.splits.values())) == 1797
    program = "import sys, gradlab; from gradlab.data import load; from gradlab.config import *\n"
    program += "load(DataConfig(name='digits')); assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("name", ["a.pdf", "a.txt", "a.tar.zst", "a"])
def test_kind_that_is_not_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match=r"not read\. Expected a folder of images"):
        source(DataConfig(name=str(tmp_path / name)))


@pytest.mark.parametrize("name", ["a.csv", "A.CSV", "a.parquet"])
def test_tables_go_to_their_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from gradlab.data.sources import tables

    seen: list[Path] = []
    monkeypatch.setattr(
        tables, "table_source", lambda path, config: seen.append(path) or datasets["digits"](config)
    )
    (tmp_path / name).write_bytes(b"x")
    source(DataConfig(name=str(tmp_path / name)))
    assert seen == [tmp_path / name]


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 3)), y=np.array([0, 1, 0, 1]))
    assert source(DataConfig(name="~/a.npz")).schema.inputs["values"].shape == (3,)


def test_named_images_in_another_form() -> None:
    plain = source(DataConfig(name="digits"))
    made = source(DataConfig(name="digits", image_size=16, channels=3))
    assert made.schema.inputs["image"].shape == (3, 16, 16)
    assert made.schema.targets == plain.schema.targets
    x = made.parts["train"]["image"]
    assert x.shape == (1797, 16, 16, 3) and np.array_equal(x[..., 0], x[..., 2])
    assert made.notes == ("images: all 8x8, brought to 16x16, colour",)
    assert np.array_equal(made.parts["train"]["label"], plain.parts["train"]["label"])
    assert source(DataConfig(name="digits", image_size=8)).parts["train"]["image"].shape[1:] == (
        8,
        8,
        1,
    )
    assert source(DataConfig(name="digits", image_size="12x9")).schema.inputs["image"].shape == (
        1,
        9,
        12,
    )


def test_images_that_do_not_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory", lambda: 20 * 10**9)
    with pytest.raises(UserError, match=r"1,797 images of 4000x4000 .* 28\.8 GB .* 20\.0 GB"):
        source(DataConfig(name="digits", image_size=4000))


def test_load_completes_the_splits() -> None:
    dataset = load(DataConfig(name="digits"))
    assert set(dataset.counts) == {"train", "val", "test"} and sum(dataset.counts.values()) == 1797
    assert len(dataset.schema.inputs["image"].mean) == 1


def test_get_of_an_embedded_set() -> None:
    assert sources.get("digits") == []


@pytest.mark.parametrize("key", ["group", "time"])
def test_a_split_by_a_column_needs_a_table(key: str) -> None:
    with pytest.raises(UserError, match=rf"data\.{key}: expected a column of a table"):
        source(DataConfig(name="digits", **{key: "patient"}))
