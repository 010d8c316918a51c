"""Features of frozen layers: computed once, the same as asked for anew, and resumed exactly."""

from __future__ import annotations

import pytest
import torch
from support import same_weights, task_of
from torch import nn

import gradlab
from gradlab.config import Transfer
from gradlab.engine import Observer
from gradlab.models import create
from gradlab.tasks import frozen, transfer
from gradlab.tasks.frozen import FEATURES

FIELDS = {
    "data.limit": 60, "epochs": 4, "batch_size": 16, "freeze": "features", "unfreeze_after": 2,
    "transfer.keep_batch_norm": True, "unfrozen_lr": 0.1, "views": 2, "data": "digits",
    "data.augment.crop": 1, "data.augment.flip": True, "plan.log_steps": 1,
    "plan.checkpoint_seconds": 0, "threads": 1, "progress": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A ResNet-20 that has seen a few digits."""
    out = tmp_path_factory.mktemp("learnt")
    fields = {"data": "digits", "data.limit": 100, "epochs": 1, "threads": 1, "progress": False}
    return str(gradlab.train("resnet20", out=out, test=False, **fields).path)


@pytest.fixture(scope="module")
def whole(weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    return gradlab.train("resnet20", weights=weights, out=out, name="whole", **FIELDS)


class Stopped(Exception):
    pass


class Stop(Observer):
    """Ends the process's training at a step, as a kill would: nothing is tidied up."""

    def __init__(self, step):
        self.step = step

    def stepped(self, progress, line):
        if progress.step == self.step:
            raise Stopped


@pytest.mark.parametrize("step", [5, 10])
def test_a_training_stopped_in_either_phase_goes_on_bit_for_bit(weights, whole, tmp_path, step):
    with pytest.raises(Stopped):
        gradlab.train(
            "resnet20", weights=weights, out=tmp_path, name="stopped", observers=[Stop(step)],
            **FIELDS,
        )  # fmt: skip
    again = gradlab.resume(tmp_path / "stopped", progress=False)
    assert same_weights(whole.model, again.model)
    assert whole.metrics == again.metrics


def test_the_notes_say_what_is_trained_when(whole):
    (said,) = [note for note in whole.record["notes"] if note.startswith("transfer:")]
    assert said == (
        "transfer: 2 epochs train the last layer on features of 2 views of each example, computed "
        "once; then 2 train everything, at 0.1 of the rate"
    )


def test_batch_norm_keeps_its_figures_and_the_second_phase_trains_all(weights, whole):
    before = transfer.read_weights(weights)[0]
    last = whole.folder.load("last")[1]["model"]
    for name, value in before.items():
        if "running" in name:
            assert torch.equal(value, last[name]), name
    assert not torch.equal(before["conv1.weight"], last["conv1.weight"])


def prepared(weights, **fields):
    given = {k: v for k, v in FIELDS.items() if k not in ("threads", "progress")}
    return task_of("resnet20", weights=weights, **{**given, **fields})


def test_each_example_passes_the_frozen_layers_once_for_each_view(weights):
    task = prepared(weights)
    seen = []
    task.model.conv1.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    for epoch in (0, 1):
        for batch in task.batches(epoch):
            assert set(batch.values) == {FEATURES, "label"}
            task.step(batch)
        task.evaluate("val")
    count, val = (len(task.dataset.split(split)) for split in ("train", "val"))
    assert sum(seen) == 2 * count + val
    batch = next(task.batches(2))
    assert set(batch.values) == {"image", "label"}


def test_a_feature_is_what_the_network_makes_of_its_example(weights):
    task = prepared(weights, views=1)
    loader = task.train_loader
    next(task.batches(0))
    kept = task.frozen.views[0][FEATURES].gather(slice(0, 5))
    assert loader.columns[FEATURES] is task.frozen.views[0][FEATURES]
    task.model.eval()
    loader.read(*task.plain)
    with torch.no_grad():
        batch = next(loader.in_order(5))
        expected, found = task.forward(batch), task.frozen.head(kept)
    assert torch.allclose(found, expected, atol=1e-5)


def test_views_after_the_first_are_augmented_and_differ(weights):
    task = prepared(weights, views=3)
    next(task.batches(0))
    first, second, third = (view[FEATURES].gather(slice(0, 60)) for view in task.frozen.views)
    assert not torch.equal(first, second) and not torch.equal(second, third)
    next(task.batches(1))
    assert task.train_loader.columns[FEATURES] is task.frozen.views[1][FEATURES]


def test_what_is_not_augmented_has_one_view(weights):
    task = prepared(weights, **{"data.augment.crop": 0, "data.augment.flip": False})
    next(task.batches(0))
    assert len(task.frozen.views) == 1


def test_with_no_views_or_too_many_features_all_is_computed_anew(weights, monkeypatch):
    task = prepared(weights, views=0)
    assert set(next(task.batches(0)).values) == {"image", "label"}
    monkeypatch.setattr(frozen, "MOST", 100)
    task = prepared(weights)
    assert set(next(task.batches(0)).values) == {"image", "label"}
    task.step(next(task.batches(0)))


def test_a_network_that_goes_on_after_its_last_layer_is_asked_anew(weights):
    task = prepared(weights)
    inner = task.model.forward
    task.model.forward = lambda x: inner(x).log_softmax(1)
    assert set(next(task.batches(0)).values) == {"image", "label"}


def test_frozen_layers_are_thawed_at_their_step():
    given = Transfer(freeze="features", unfreeze_after=3, unfrozen_lr=0.5)
    assert transfer.thaw(given, steps=7) == (21, 0.5)
    assert [transfer.is_frozen(given, epoch) for epoch in (0, 2, 3)] == [True, True, False]
    never = given.model_copy(update={"unfreeze_after": 0})
    assert transfer.thaw(never, steps=7) == (0, 1.0) and transfer.is_frozen(never, 99)


def test_batch_norm_is_kept_without_freezing_too():
    model = create("resnet20", inputs=(1, 8, 8), outputs=3).train()
    transfer.freeze(model, Transfer(keep_batch_norm=True), 0)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and not any(m.training for m in norms) and model.conv1.training
