"""What every dataset must satisfy: the named ones that are at hand, and one's own of every kind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from gradlab.config import DataConfig
from gradlab.data.columns import Placement
from gradlab.data.dataset import SPLITS, Dataset, Parts, Schema, Source, encode
from gradlab.data.fields.series import Series
from gradlab.data.fields.text import Stream
from gradlab.data.here import cache_folder, is_here
from gradlab.data.loader import Loader
from gradlab.data.sources import datasets, load, source
from gradlab.data.sources.published import CIFAR10
from gradlab.data.splits import complete, content

LIMIT = 200
BATCH = 8


class Case(NamedTuple):
    """A dataset, and the steps on the way to it."""

    config: DataConfig
    found: Source
    parts: Parts
    dataset: Dataset


# One's own data


def _folder(place: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(36):
        path = place / "photos" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (6, 9, 3), np.uint8)).save(path)
    return place / "photos"


def _archive(place: Path) -> Path:
    return Path(shutil.make_archive(str(place / "photos"), "zip", _folder(place)))


def _npz(place: Path, **arrays: Any) -> Path:
    np.savez(place / "set.npz", **arrays)
    return place / "set.npz"


def _pictures(place: Path) -> Path:
    x = np.random.default_rng(0).integers(0, 256, (40, 6, 9), np.uint8)
    return _npz(place, x=x, y=np.arange(40) % 3)


def _values(place: Path) -> Path:
    x = np.random.default_rng(0).normal(3, 2, (40, 5))
    return _npz(place, x_train=x[:30], y_train=x[:30, 0], x_test=x[30:], y_test=x[30:, 0])


def _frame() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    words = [("red", "blue", None)[n % 3] for n in range(60)]
    numbers = {name: rng.normal(3, 2, 60) for name in "ac"}
    return pl.DataFrame({**numbers, "b": words, "y": ["u", "v"] * 30})


def _csv(place: Path) -> Path:
    _frame().write_csv(place / "table.csv")
    return place / "table.csv"


def _parquet(place: Path) -> Path:
    _frame().write_parquet(place / "table.parquet")
    return place / "table.parquet"


OWN: dict[str, tuple[Callable[[Path], Path], dict[str, Any]]] = {
    "own folder": (_folder, {}),
    "own folder without classes": (_folder, {"target_kind": "none"}),
    "own archive in another form": (_archive, {"image_size": "8x6", "channels": 1}),
    "own pictures in arrays": (_pictures, {}),
    "own values in arrays": (_values, {}),
    "own csv": (_csv, {"target": "y"}),
    "own parquet for a number": (_parquet, {"target": "a", "target_kind": "number"}),
}
NAMES = [*datasets, *OWN]


@pytest.fixture(scope="module")
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    if request.param in OWN:
        write, options = OWN[request.param]
        path = write(tmp_path_factory.mktemp("own"))
        config = DataConfig(name=str(path), **options)
    elif request.param == "cifar10" and not (cache_folder() / "cifar10" / CIFAR10.name).is_file():
        pytest.skip("60,000 JPEGs take minutes to decode: test_published reads a few")
    elif request.param == "imdb":
        pytest.skip("50,000 texts take a minute: rt_polarity is read as they are")
    elif is_here(request.param):
        config = DataConfig(name=request.param, limit=LIMIT)
    else:
        pytest.skip(f"{request.param} is not in the cache (GRADLAB_DATA)")
    found = source(config)
    parts, _ = complete(found, config)
    return Case(config, found, parts, load(config))


every = pytest.mark.parametrize("case", NAMES, indirect=True)


def is_stream(case: Case) -> bool:
    """Whether each token of a text is an example: splits are what follows, batches windows."""
    return any(isinstance(field, Stream) for field in case.dataset.schema.inputs.values())


@every
def test_it_has_three_splits_of_equal_columns(case: Case) -> None:
    dataset = case.dataset
    assert list(dataset.splits) == list(SPLITS) and min(dataset.counts.values()) > 0
    if case.config.limit:
        assert abs(dataset.counts["train"] - LIMIT) <= 10 or dataset.counts["train"] < LIMIT
    for part in dataset.splits.values():
        assert list(part.columns) == list(dataset.schema.fields)
        assert {len(column) for column in part.columns.values()} == {len(part)}


@every
def test_splits_do_not_overlap_in_content(case: Case) -> None:
    """Those that were cut off; what a publisher's own splits share is the publisher's."""
    if is_stream(case):
        pytest.skip("texts are made of the same words")
    if any(isinstance(field, Series) for field in case.found.schema.inputs.values()):
        pytest.skip("its splits are of other times: tests/data/test_series.py")
    names = [name for name in SPLITS if name == "train" or name not in case.found.parts]
    assert len(names) > 1
    group = content([case.parts[name] for name in names], case.found.schema.inputs)
    ends = np.cumsum([len(case.parts[name]) for name in names])[:-1]
    for one, other in combinations(np.split(group, ends), 2):
        assert not np.intersect1d(one, other).size


@every
def test_each_example_has_one_name(case: Case) -> None:
    said = [name for part in case.dataset.splits.values() for name in part.ids]
    assert len(set(said)) == len(said)
    for part in case.dataset.splits.values():
        assert len(part.ids) in (0, len(part)) and part.name_of(len(part) - 1)


@every
def test_the_schema_goes_through_json(case: Case) -> None:
    schema = case.dataset.schema
    again = Schema.model_validate(json.loads(schema.model_dump_json()))
    assert again == schema
    assert [type(field) for field in again.fields.values()] == [
        type(field) for field in schema.fields.values()
    ]


@every
def test_two_loads_have_one_fingerprint(case: Case) -> None:
    again = load(case.config)
    assert again.fingerprint == case.dataset.fingerprint
    assert (again.notes, again.counts) == (case.dataset.notes, case.dataset.counts)
    other = load(case.config.model_copy(update={"split_seed": 1}))
    assert (other.fingerprint != case.dataset.fingerprint) is not is_stream(case)


@every
def test_fields_are_fitted_to_train_alone(case: Case) -> None:
    train = case.parts["train"]
    assert encode(case.found, {"train": train}).schema == case.dataset.schema
    inputs = case.found.schema.inputs
    fitted = {name: field.fit(case.parts["test"][name]) for name, field in inputs.items()}
    assert fitted != case.dataset.schema.inputs  # test would give other figures


@every
def test_batches_have_the_shapes_that_the_fields_say(case: Case) -> None:
    if is_stream(case):
        pytest.skip("its batches are windows: tests/tasks/test_language.py")
    place = Placement(torch.device("cpu"))
    fields = case.dataset.schema.fields
    for part in case.dataset.splits.values():
        loader = Loader(part, fields, batch_size=BATCH, placement=place)
        assert len(loader) == len(part)
        size = min(BATCH, len(part))
        for batch in (next(loader.batches(0)), next(loader.in_order())):
            for name, field in fields.items():
                expected, value = field.example(), batch[name]
                assert len(value) == size and value.dtype == expected.dtype
                assert value.isfinite().all()
                if 0 not in field.shape:  # not of any length
                    assert value.shape[1:] == expected.shape[1:]
            for name, field in case.dataset.schema.inputs.items():
                assert 0 in field.shape or tuple(batch[name].shape[1:]) == field.shape
        assert sum(map(len, loader.in_order(7))) == len(part)


@every
def test_inputs_of_train_are_normalised(case: Case) -> None:
    loader = Loader(
        case.dataset.splits["train"],
        case.dataset.schema.inputs,
        batch_size=len(case.dataset.splits["train"]),
        placement=Placement(torch.device("cpu")),
    )
    (batch,) = loader.in_order()
    for name in case.dataset.schema.inputs:
        if not batch[name].is_floating_point():
            continue
        assert batch[name].float().square().mean() < 2 and batch[name].float().std() > 0.1
