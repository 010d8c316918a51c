from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gradlab.config import DataConfig
from gradlab.data.columns import Dense, numbered
from gradlab.data.dataset import Dataset, Schema, Source, Split, fingerprint
from gradlab.data.fields.image import statistics
from gradlab.data.fields.label import Label
from gradlab.data.fields.number import Number
from gradlab.data.fields.values import Values
from gradlab.data.splits import finish, held_out, latest
from gradlab.errors import UserError

ARRAYS = Schema(
    inputs={"values": Values(size=(2,))}, targets={"label": Label(classes=("a", "b", "c"))}
)


def split_of(x: np.ndarray, y: np.ndarray, ids: tuple[str, ...] = ()) -> Split:
    return Split({"values": Dense(x), "label": Dense(y)}, ids)


def made(x: np.ndarray, y: np.ndarray, keys: Any = None, **others: Split) -> Source:
    ids = tuple(str(n) for n in range(len(y)))
    parts: Any = {"train": split_of(x, y, ids), **others}
    return Source("made", ARRAYS, parts, stratify="label", keys=keys or {})


def examples(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 2)).astype(np.float32), np.arange(count) % 3


def same(one: Dataset, two: Dataset) -> bool:
    return one.fingerprint == two.fingerprint and all(
        one.splits[name].ids == two.splits[name].ids for name in one.splits
    )


# Splits


def test_the_split_is_a_function_of_seed_and_content() -> None:
    source = made(*examples(90))
    first = finish(source, DataConfig())
    assert same(first, finish(made(*examples(90)), DataConfig()))
    other = finish(source, DataConfig(split_seed=1))
    assert other.counts == first.counts
    assert other.splits["test"].ids != first.splits["test"].ids


def test_the_sizes_of_splits() -> None:
    dataset = finish(made(*examples(300)), DataConfig(test=0.2, val=0.1))
    assert dataset.counts == {"train": 216, "val": 24, "test": 60}
    assert [note.split(":")[0] for note in dataset.notes] == ["test", "val"]
    assert finish(made(*examples(30)), DataConfig(test=0, val=0)).counts == {"train": 30}
    assert list(finish(made(*examples(30)), DataConfig(test=0)).counts) == ["train", "val"]


@settings(max_examples=50, deadline=None)
@given(
    values=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), min_size=12, max_size=80),
    share=st.sampled_from([0.1, 0.15, 0.5, 0.9]),
    seed=st.integers(0, 99),
)
def test_equal_examples_stay_on_one_side(
    values: list[tuple[int, int]], share: float, seed: int
) -> None:
    x = np.array([[value, 0] for value, _ in values], np.float32)
    y = np.array([label for _, label in values])
    assume(len(np.unique(x[:, 0])) > 6)
    dataset = finish(made(x, y), DataConfig(test=share, val=0, split_seed=seed))
    train, test = dataset.splits["train"], dataset.splits["test"]
    assert not set(train["values"][:, 0]) & set(test["values"][:, 0])
    assert sorted(map(int, train.ids + test.ids)) == list(range(len(y)))
    for split in (train, test):
        index = np.array(split.ids, int)
        assert np.array_equal(split["values"], x[index])
        assert np.array_equal(split["label"], y[index])


@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=2, max_size=5),
    share=st.floats(0.05, 0.95),
    seed=st.integers(0, 99),
)
def test_classes_keep_their_shares(sizes: list[int], share: float, seed: int) -> None:
    label = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng(seed)
    held = held_out(np.arange(len(label)), label, share, rng)
    for value, size in enumerate(sizes):
        count = int(held[label == value].sum())
        assert abs(count - share * size) < 1
        assert size == 1 or 0 < count < size


def test_given_splits_are_left_as_they_are() -> None:
    x, y = examples(90)
    test = split_of(x[:9] + 1, y[:9])
    dataset = finish(made(x, y, test=test), DataConfig())
    assert np.array_equal(dataset.splits["test"]["values"], test["values"])
    assert dataset.counts == {"train": 81, "val": 9, "test": 9}
    assert [note.split(":")[0] for note in dataset.notes] == ["val"]


def test_a_limit_keeps_the_held_out_splits() -> None:
    source = made(*examples(300))
    whole, part = finish(source, DataConfig()), finish(source, DataConfig(limit=30))
    assert part.splits["test"].ids == whole.splits["test"].ids
    assert part.splits["val"].ids == whole.splits["val"].ids
    assert len(part.splits["train"]) == 30
    assert set(part.splits["train"].ids) < set(whole.splits["train"].ids)
    assert np.bincount(part.splits["train"]["label"]).tolist() == [10, 10, 10]
    assert same(finish(source, DataConfig(limit=10**6)), whole)


def test_too_few_to_hold_out() -> None:
    x, y = np.ones((5, 2), np.float32), np.zeros(5, np.int64)
    expected = r"5 training examples \(1 different\) are too few to hold out 15% for test"
    with pytest.raises(UserError, match=expected):
        finish(made(x, y), DataConfig())


# Statistics


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 1.0, 1e6]))
def test_statistics_never_depend_on_held_out_examples(seed: int, scale: float) -> None:
    x, y = examples(60)
    rng = np.random.default_rng(seed)

    def held() -> Split:
        return split_of((rng.normal(size=(9, 2)) * scale).astype(np.float32), y[:9])

    one = finish(made(x, y, val=held(), test=held()), DataConfig())
    two = finish(made(x, y, val=held(), test=held()), DataConfig())
    assert one.schema == two.schema and one.fingerprint != two.fingerprint
    field: Any = one.schema.inputs["values"]
    assert np.allclose(field.mean, x.mean(axis=0)) and np.allclose(field.std, x.std(axis=0))


def test_statistics_are_those_of_what_is_left_in_train() -> None:
    dataset = finish(made(*examples(90)), DataConfig())
    field: Any = dataset.schema.inputs["values"]
    assert np.allclose(field.mean, dataset.splits["train"]["values"][:].mean(axis=0), atol=1e-7)


def test_statistics_of_images() -> None:
    x = np.random.default_rng(0).integers(0, 256, (7, 5, 4, 3), np.uint8)
    mean, std = statistics(Dense(x))
    assert np.allclose(mean, (x / 255).mean(axis=(0, 1, 2)))
    assert np.allclose(std, (x / 255).std(axis=(0, 1, 2)))
    assert statistics(Dense(np.full((2, 3, 3, 1), 9, np.uint8))) == ((9 / 255,), (1.0,))


def test_statistics_of_a_number_to_predict() -> None:
    x, _ = examples(40)
    schema = Schema(inputs={"values": Values(size=(2,))}, targets={"number": Number()})

    def of(y: np.ndarray) -> Dataset:
        part = Split({"values": Dense(x), "number": Dense(y.astype(np.float32))})
        return finish(Source("made", schema, {"train": part}), DataConfig())

    dataset = of(np.linspace(0, 10, 40))
    train = dataset.splits["train"]["number"][:]
    field: Any = dataset.schema.targets["number"]
    assert field.mean == pytest.approx(train.mean()) and field.std == pytest.approx(train.std())
    flat: Any = of(np.ones(40)).schema.targets["number"]
    assert flat.std == 1.0


# Groups and time


def test_groups_stay_on_one_side() -> None:
    x, y = examples(300)
    patient = np.array([f"p{n % 40}" for n in range(300)])
    dataset = finish(made(x, y, keys={"group": patient}), DataConfig())
    seen = [{patient[int(i)] for i in split.ids} for split in dataset.splits.values()]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]
    assert len(seen[2]) == 6 and "whole groups" in dataset.notes[0]


def test_the_last_in_time_are_held_out() -> None:
    x, y = examples(100)
    day = np.random.default_rng(0).permutation(100)
    dataset = finish(made(x, y, keys={"time": day}), DataConfig(test=0.2, val=0.1))
    days = {name: day[np.array(split.ids, int)] for name, split in dataset.splits.items()}
    assert days["train"].max() < days["val"].min() <= days["val"].max() < days["test"].min()
    assert dataset.counts == {"train": 72, "val": 8, "test": 20}


def test_equal_times_are_not_torn_apart() -> None:
    assert latest(np.array([1, 2, 3, 3, 3, 3]), 0.2).tolist() == [False] * 2 + [True] * 4


# Content


def test_groups_are_counted_by_content() -> None:
    x = np.array([[3, 1], [0, 2], [3, 1], [1, 3]], np.float32)
    assert numbered(Dense(x).marks()).tolist() == [0, 1, 0, 2]


def test_the_fingerprint_is_of_the_content() -> None:
    x, y = examples(12)

    def of(x: np.ndarray, y: np.ndarray, ids: Any = (), **schema: Any) -> str:
        parts: Any = {"train": split_of(x[:6], y[:6], ids), "test": split_of(x[6:], y[6:])}
        return fingerprint(parts, ARRAYS.model_copy(update=schema))

    first = of(x, y)
    assert first == of(x.copy(), y.copy(), ids=tuple("abcdef"))
    assert first == of(np.asfortranarray(x), y)
    changed = x.copy()
    changed[11, 1] += 1e-6 * abs(changed[11, 1]) + 1e-6
    other = y.copy()
    other[0] = 2
    variants = {
        of(changed, y),
        of(x, other),
        of(x[::-1], y[::-1]),
        of(x, y, targets={"label": Label(classes=("a", "b", "d"))}),
        of(x.astype(np.float64), y),
    }
    assert first not in variants and len(variants) == 5
    renamed: Any = {"train": split_of(x[:6], y[:6]), "val": split_of(x[6:], y[6:])}
    assert fingerprint(renamed, ARRAYS) != first


def test_what_a_run_records() -> None:
    dataset = finish(made(*examples(90)), DataConfig())
    assert dataset.describe() == {
        "name": "made",
        "fingerprint": dataset.fingerprint,
        "counts": dataset.counts,
    }
    assert len(dataset.fingerprint) == 32


def test_large_examples_are_looked_at_in_smaller_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradlab.data import columns
    from gradlab.data.fields import image

    x = Dense(np.random.default_rng(0).integers(0, 256, (20, 6, 5, 3), np.uint8))
    marks, found = x.marks(), image.statistics(x)
    monkeypatch.setattr(columns, "BLOCK_BYTES", 300)
    monkeypatch.setattr(image, "_COUNTED", 7)
    assert [len(block) for block in x.blocks()] == [3] * 6 + [2]
    assert np.array_equal(x.marks(), marks) and image.statistics(x) == found
