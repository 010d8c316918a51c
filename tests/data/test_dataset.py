from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gradlab.config import DataConfig
from gradlab.data.dataset import (
    Column,
    Dataset,
    Schema,
    Source,
    Split,
    channel_statistics,
    content_groups,
    fingerprint,
    finish,
    held_out,
)
from gradlab.errors import UserError

ARRAYS = Schema(kind="array", shape=(2,), target="class", classes=("a", "b", "c"))


def made(x: np.ndarray, y: np.ndarray, **others: Split) -> Source:
    ids = tuple(str(n) for n in range(len(y)))
    return Source("made", ARRAYS, {"train": Split(x, y, ids), **others})  # type: ignore[dict-item]


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
    assert not set(train.x[:, 0]) & set(test.x[:, 0])
    assert sorted(map(int, train.ids + test.ids)) == list(range(len(y)))
    for split in (train, test):
        index = np.array(split.ids, int)
        assert np.array_equal(split.x, x[index]) and np.array_equal(split.y, y[index])


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
    test = Split(x[:9] + 1, y[:9])
    dataset = finish(made(x, y, test=test), DataConfig())
    assert np.array_equal(dataset.splits["test"].x, test.x)
    assert dataset.counts == {"train": 81, "val": 9, "test": 9}
    assert [note.split(":")[0] for note in dataset.notes] == ["val"]


def test_a_limit_keeps_the_held_out_splits() -> None:
    source = made(*examples(300))
    whole, part = finish(source, DataConfig()), finish(source, DataConfig(limit=30))
    assert part.splits["test"].ids == whole.splits["test"].ids
    assert part.splits["val"].ids == whole.splits["val"].ids
    assert len(part.splits["train"]) == 30
    assert set(part.splits["train"].ids) < set(whole.splits["train"].ids)
    assert np.bincount(part.splits["train"].y).tolist() == [10, 10, 10]
    assert same(finish(source, DataConfig(limit=10**6)), whole)


def test_too_few_to_hold_out() -> None:
    x, y = np.ones((5, 2), np.float32), np.zeros(5, np.int64)
    with pytest.raises(
        UserError, match=r"5 training examples are too few to hold out 15% for test"
    ):
        finish(made(x, y), DataConfig())


# Statistics


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 1.0, 1e6]))
def test_statistics_never_depend_on_held_out_examples(seed: int, scale: float) -> None:
    x, y = examples(60)
    rng = np.random.default_rng(seed)

    def held() -> Split:
        return Split((rng.normal(size=(9, 2)) * scale).astype(np.float32), y[:9])

    one = finish(made(x, y, val=held(), test=held()), DataConfig())
    two = finish(made(x, y, val=held(), test=held()), DataConfig())
    assert one.schema == two.schema and one.fingerprint != two.fingerprint
    assert np.allclose(one.schema.mean, x.mean(axis=0)) and np.allclose(
        one.schema.std, x.std(axis=0)
    )


def test_statistics_are_those_of_what_is_left_in_train() -> None:
    dataset = finish(made(*examples(90)), DataConfig())
    assert np.allclose(dataset.schema.mean, dataset.splits["train"].x.mean(axis=0), atol=1e-7)


def test_statistics_of_images() -> None:
    x = np.random.default_rng(0).integers(0, 256, (7, 5, 4, 3), np.uint8)
    mean, std = channel_statistics(x)
    assert np.allclose(mean, (x / 255).mean(axis=(0, 1, 2)))
    assert np.allclose(std, (x / 255).std(axis=(0, 1, 2)))
    assert channel_statistics(np.full((2, 3, 3, 1), 9, np.uint8)) == ((9 / 255,), (1.0,))


def test_statistics_of_a_number_to_predict() -> None:
    x, _ = examples(40)
    schema = Schema(kind="array", shape=(2,), target="number")
    y = np.linspace(0, 10, 40, dtype=np.float32)
    dataset = finish(Source("made", schema, {"train": Split(x, y)}), DataConfig())
    train = dataset.splits["train"].y
    assert dataset.schema.target_mean == pytest.approx(train.mean())
    assert dataset.schema.target_std == pytest.approx(train.std())
    flat = Source("made", schema, {"train": Split(x, np.ones(40, np.float32))})
    assert finish(flat, DataConfig()).schema.target_std == 1.0


# Content


def test_groups_are_counted_by_content() -> None:
    x = np.array([[3, 1], [0, 2], [3, 1], [1, 3]], np.float32)
    assert content_groups(x).tolist() == [0, 1, 0, 2]


def test_the_fingerprint_is_of_the_content() -> None:
    x, y = examples(12)

    def of(x: np.ndarray, y: np.ndarray, ids: Any = (), **schema: Any) -> str:
        half = Split(x[:6], y[:6], ids)
        parts: Any = {"train": half, "test": Split(x[6:], y[6:])}
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
        of(x, y, classes=("a", "b", "d")),
        of(x.astype(np.float64), y),
    }
    assert first not in variants and len(variants) == 5
    renamed: Any = {"train": Split(x[:6], y[:6]), "val": Split(x[6:], y[6:])}
    assert fingerprint(renamed, ARRAYS) != first


def test_what_a_run_records() -> None:
    dataset = finish(made(*examples(90)), DataConfig())
    assert dataset.describe() == {
        "name": "made",
        "fingerprint": dataset.fingerprint,
        "counts": dataset.counts,
    }
    assert len(dataset.fingerprint) == 32


def test_the_width_of_a_column() -> None:
    assert Column(name="n", kind="number").width == 1
    assert Column(name="n", kind="number", missing=True).width == 2
    assert Column(name="k", kind="category", categories=("u", "v"), missing=True).width == 3
