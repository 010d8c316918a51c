"""What every kind of field must satisfy, those that are to come included."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from fields_to_come import Boxes
from torch import Tensor

from gradlab.config import Augment
from gradlab.data.augment import Draws
from gradlab.data.columns import Dense, Frame, Listed, Placement
from gradlab.data.dataset import Schema, Split
from gradlab.data.fields import fields
from gradlab.data.fields.base import Checked, Field, Inputs
from gradlab.data.fields.image import Image
from gradlab.data.fields.label import Label
from gradlab.data.fields.number import Number
from gradlab.data.fields.series import Future, Series
from gradlab.data.fields.table import Table
from gradlab.data.fields.text import Stream, Text, Word
from gradlab.data.fields.values import Values
from gradlab.data.layout import Layout
from gradlab.data.loader import Loader
from gradlab.data.tokens import Tokens
from gradlab.data.windows import Timeline, Windowed
from gradlab.errors import UserError

COUNT = 24
RNG = np.random.default_rng(0)


@dataclass
class Case:
    """A field before it is fitted, a raw column of `COUNT` examples, and a person's new inputs."""

    field: Field
    raw: Any
    inputs: list[Any] | None = None


STEPS = RNG.normal(5, 2, (COUNT + 3, 2))
STARTS = np.arange(COUNT)
LINE = Timeline(np.arange(COUNT + 3), np.zeros(COUNT + 3, np.int64))


def _cases() -> dict[str, Case]:
    pixels = RNG.integers(0, 256, (COUNT, 6, 9, 3), np.uint8)
    frame = pl.DataFrame(
        {"a": [str(i % 7) for i in range(COUNT)], "b": ["xyz"[i % 3] for i in range(COUNT)]}
    )
    boxes = [[[0.1, 0.2, 0.5, 0.6]] * (i % 3) for i in range(COUNT)]
    return {
        "image": Case(Image(height=6, width=9, channels=3), Dense(pixels), [pixels[0]]),
        "values": Case(
            Values(size=(5,)),
            Dense(RNG.normal(3, 2, (COUNT, 5)).astype(np.float32)),
            [[1.0, 2, 3, 4, 5]],
        ),
        "table": Case(Table(), Frame(frame), [{"a": "3", "b": "x"}]),
        "label": Case(Label(), Dense(np.array(["cat", "dog", "eel"] * 8)), ["dog"]),
        "number": Case(Number(), Dense(RNG.normal(9, 4, COUNT).astype(np.float32)), ["3.5"]),
        "text": Case(
            Text(),
            Listed([f"w{i % 5} is w{i % 3} " * (1 + i % 4) for i in range(COUNT)]),
            ["w1 is new"],
        ),
        "word": Case(Word(), Listed([f"w{i % 5}" for i in range(COUNT)]), ["w1"]),
        "stream": Case(
            Stream(tokens=Tokens(by="character")),
            Listed(list("the rain in Spain stays.")),
            ["a rat in it"],
        ),
        "series": Case(
            Series(length=4, layout=Layout(time=("day",), target="y", numbers=("y", "x"))),
            Windowed(STEPS, STARTS, 4, LINE),
            [pl.DataFrame({"day": range(9), "y": range(9), "x": range(9)})],
        ),
        "future": Case(Future(steps=3), Windowed(STEPS[:, :1], STARTS, 3, LINE)),
        "boxes": Case(Boxes(height=6, width=9), Listed(boxes)),
    }


CASES = _cases()


@pytest.fixture(params=CASES, ids=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def fitted(case: Case) -> tuple[Field, Any]:
    field = case.field.fit(case.raw)
    return field, field.encode(case.raw)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))


def test_every_registered_field_is_swept():
    assert set(fields) == set(CASES)
    assert all(fields[name].model_fields["type"].default == name for name in fields)


def test_a_fitted_field_comes_back_out_of_json(case):
    field, _ = fitted(case)
    tree = json.loads(Schema(inputs={"x": field}).model_dump_json())
    assert Schema.model_validate(tree).inputs["x"] == field


def test_fitting_changes_no_value_in_place_and_sees_the_training_split_alone(case):
    before = case.field.model_dump_json()
    half = case.field.fit(case.raw.take(np.arange(COUNT // 2)))
    assert case.field.model_dump_json() == before
    assert half.fit(case.raw.take(np.arange(COUNT // 2))) == half


def test_a_column_has_an_entry_for_each_example_and_rows_of_it_are_the_same(case):
    _, column = fitted(case)
    assert len(column) == COUNT == len(case.raw)
    index = np.array([5, 0, 17])
    part = column.take(index)
    assert len(part) == 3
    for place, number in enumerate(index):
        assert np.array_equal(np.asarray(part[place]), np.asarray(column[int(number)]))
    assert len(case.raw.take(index)) == 3


def test_equal_examples_have_equal_marks(case):
    doubled = case.raw.take(np.array([0, 1, 0]))
    marks = doubled.marks()
    assert marks.dtype == np.uint64 and marks[0] == marks[2]
    assert len(np.unique(fitted(case)[1].marks())) > 1


def test_a_batch_is_a_function_of_its_rows(case):
    field, column = fitted(case)
    placed = column.place(Placement(torch.device("cpu")))
    chosen = torch.tensor([3, 8, 11, 2])
    batch = field.batch(placed, chosen, None)
    assert len(batch) == 4
    assert same(batch, field.batch(placed, chosen, None))
    alone = field.batch(placed, torch.tensor([8]), None)
    size = alone[0].shape  # a batch may be filled up to its longest
    assert torch.equal(batch[1][tuple(slice(n) for n in size)], alone[0])


def test_a_stretch_in_order_equals_the_same_rows_by_number(case):
    field, column = fitted(case)
    placed = column.place(Placement(torch.device("cpu")))
    assert same(
        field.batch(placed, slice(4, 9), None), field.batch(placed, torch.arange(4, 9), None)
    )


def test_chosen_rows_of_a_column_give_the_same_batches(case):
    field, column = fitted(case)
    placement = Placement(torch.device("cpu"))
    part = column.take(np.arange(10, 20)).place(placement)
    whole = column.place(placement)
    assert same(
        field.batch(part, torch.tensor([0, 3]), None),
        field.batch(whole, torch.tensor([10, 13]), None),
    )


def test_random_changes_do_not_depend_on_who_asks_first(case):
    field, column = fitted(case)
    placed = column.place(Placement(torch.device("cpu")))
    rows = torch.arange(8)
    config = Augment(flip=True, shift=2)
    found = []
    for ask_before in (False, True):
        draws = Draws(config, 8, torch.Generator().manual_seed(3))
        if ask_before:
            draws.changes(6, 9)
        found.append(field.batch(placed, rows, draws))
    assert same(*found)


def test_new_inputs_are_read_as_the_column_keeps_them(case):
    field, column = fitted(case)
    if case.inputs is None:
        with pytest.raises(UserError):
            field.read(["x"])
        return
    found = field.read(case.inputs)
    assert isinstance(found, Inputs) and len(found.column) == len(found.names) == 1
    if isinstance(field, Stream):  # a text of one's own is one example, of many tokens
        assert [field.show(one) for one in found.column] == case.inputs
        return
    assert type(found.column) is type(column)
    batch = field.batch(found.column.place(Placement(torch.device("cpu"))), slice(0, 1), None)
    assert batch.shape[2:] == field.example().shape[2:] or batch.ndim == field.example().ndim
    assert found.skipped == ()


def test_what_is_no_input_is_refused_with_a_message(case):
    field, _ = fitted(case)
    for odd in (object(), b"", "no/such/file.xyz*"):
        if isinstance(field, Text | Stream | Word | Label | Number) and isinstance(odd, str):
            continue  # a text is what they are made of, whatever it says
        with pytest.raises(UserError):
            field.read([odd])


def test_it_is_looked_over_and_shown(case):
    field, column = fitted(case)
    found = field.issues({"train": case.raw, "val": case.raw.take(np.arange(4))})
    assert isinstance(found, Checked)
    json.dumps(found.facts)
    shown = field.show(column[0])
    assert isinstance(shown, str) or (shown.dtype == np.uint8 and shown.ndim == 3)


def test_an_example_is_a_batch_of_one(case):
    field, _ = fitted(case)
    assert len(field.example()) == 1
    assert isinstance(field.shape, tuple) and isinstance(field.notes, tuple)


def test_boxes_follow_the_mirrored_and_moved_image():
    """A white rectangle and the box around it stay together."""
    images = np.zeros((COUNT, 10, 20, 1), np.uint8)
    boxes = []
    for number in range(COUNT):
        left, top = 3 + number % 8, 3 + number % 3
        images[number, top : top + 3, left : left + 4] = 255
        boxes.append([[left / 20, top / 10, (left + 4) / 20, (top + 3) / 10]])
    image, box = Image(height=10, width=20, channels=1), Boxes(height=10, width=20)
    split = Split({"image": Dense(images), "boxes": box.encode(Listed(boxes))})
    loader = Loader(
        split,
        {"image": image, "boxes": box},
        batch_size=COUNT,
        placement=Placement(torch.device("cpu")),
        augment=Augment(flip=True, shift=2),
    )
    batch = next(loader.batches(0))
    moved = 0
    for picture, found in zip(batch["image"], batch["boxes"], strict=True):
        rows, columns = torch.nonzero(picture[0], as_tuple=True)
        expected = [
            columns.min() / 20,
            rows.min() / 10,
            (columns.max() + 1) / 20,
            (rows.max() + 1) / 10,
        ]
        assert found[0].tolist() == pytest.approx([float(value) for value in expected], abs=1e-6)
        moved += found[0].tolist() not in [pytest.approx(b[0]) for b in boxes]
    assert moved > COUNT // 3


def test_a_batch_with_boxes_is_cut_into_parts():
    box = Boxes(height=6, width=9)
    column = box.encode(CASES["boxes"].raw)
    split = Split({"boxes": column, "label": Dense(np.arange(COUNT))})
    loader = Loader(
        split, {"boxes": box, "label": Label(classes=tuple("ab"))},
        batch_size=7, placement=Placement(torch.device("cpu")),
    )  # fmt: skip
    batch = next(loader.in_order())
    parts = batch.parts(3)
    assert [len(part) for part in parts] == [3, 2, 2]
    last = parts[-1]["boxes"][-1]
    assert last.shape == batch["boxes"][6].shape
