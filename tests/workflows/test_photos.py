"""The recipe `photos`: what it chooses, with and without pretrained weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import gradlab
from gradlab.config import Augment
from gradlab.errors import UserError
from gradlab.recipes import find
from gradlab.tasks.published import PUBLISHED
from gradlab.workflows.photos import FEW, look, settled

LITE = [name for name, entry in PUBLISHED.items() if entry.package]
QUIET = {"progress": False, "threads": 1}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes of twenty small photos: reddish and greenish noise, 40 to 48 pixels."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for channel, name in enumerate(("red", "green")):
        (folder / name).mkdir()
        for i in range(20):
            values = rng.integers(0, 120, (40 + i % 3, 48, 3), dtype=np.uint8)
            values[..., channel] += 120
            Image.fromarray(values).save(folder / name / f"{i}.png")
    return str(folder)


@pytest.fixture
def bare(monkeypatch):
    """No package of pretrained weights is installed."""
    for name in LITE:
        monkeypatch.setitem(PUBLISHED, name, replace(PUBLISHED[name], package="no_such_package"))


@pytest.fixture
def brought(monkeypatch, tmp_path):
    """Weights seem to be here; nothing of them is read."""
    for name in LITE:
        file = tmp_path / PUBLISHED[name].file
        file.touch()
        monkeypatch.setattr(type(PUBLISHED[name]), "here", property(lambda entry: True))


def many(monkeypatch, count, side=300.0):
    from gradlab.workflows import photos as module

    monkeypatch.setattr(module, "look", lambda name: module.Photos(count, side))


def test_photos_are_counted_and_measured(photos):
    found = look(photos)
    assert (found.count, found.side) == (40, 41.0)
    assert look("cifar10") is None and look("no/such/path") is None


def test_few_photos_get_a_larger_network_whose_last_layer_alone_learns(brought, monkeypatch):
    many(monkeypatch, FEW)
    chosen, (said,) = settled(find("photos"))
    assert chosen.model.name == chosen.transfer.weights == "efficientnet_lite2"
    assert (chosen.data.image_size, chosen.data.channels) == (260, 3)
    assert (chosen.transfer.freeze, chosen.transfer.unfreeze_after) == ("features", 0)
    assert chosen.plan.epochs == chosen.plan.min_epochs == 30
    assert "500 photos" in said and "260 pixels" in said
    # what it says to do does what it says
    assert "--unfreeze_after 25" in said
    chosen, _ = settled(find("photos", {"unfreeze_after": 25}))
    assert (chosen.transfer.unfreeze_after, chosen.plan.epochs) == (25, 38)


@pytest.mark.parametrize(("count", "thawed"), [(501, 8), (1680, 6), (2500, 4), (50_000, 2)])
def test_more_photos_train_everything_in_the_fewer_epochs_the_more_there_are(
    brought, monkeypatch, count, thawed
):
    many(monkeypatch, count)
    chosen, _ = settled(find("photos"))
    assert chosen.model.name == "efficientnet_lite0" and chosen.data.image_size == 224
    assert (chosen.transfer.unfreeze_after, chosen.plan.epochs) == (30, 30 + thawed)
    assert chosen.plan.min_epochs == 30 + min(thawed, chosen.plan.patience)


def test_small_photos_stay_smaller(brought, monkeypatch):
    many(monkeypatch, 5000, side=64.0)
    assert settled(find("photos"))[0].data.image_size == 128


def test_what_a_person_names_is_kept(brought, monkeypatch):
    many(monkeypatch, 5000)
    given = {
        "model": "resnet18", "weights": "efficientnet_lite1", "data.image_size": 96, "lr": 0.5,
        "data.augment.flip": False, "epochs": 10,
    }  # fmt: skip
    chosen, _ = settled(find("photos", given))
    assert (chosen.model.name, chosen.transfer.weights) == ("resnet18", "efficientnet_lite1")
    assert settled(find("photos", given)) == (find("photos", given), ())
    del given["model"]
    chosen, _ = settled(find("photos", given))
    assert chosen.model.name == "efficientnet_lite1" and chosen.data.image_size == 96
    assert chosen.optimizer.lr == 0.5 and chosen.data.augment == Augment(resized_crop=0.5)
    assert (chosen.transfer.unfreeze_after, chosen.plan.epochs) == (8, 10)


def test_a_run_as_weights_brings_its_network_and_its_images(photos, tmp_path):
    learnt = gradlab.train(
        "resnet20", data=photos, out=tmp_path, epochs=1, test=False, **QUIET,
        **{"data.image_size": "24x16", "plan.updates": 1, "model.block": "full_preactivation"},
    )  # fmt: skip
    chosen, (said,) = settled(find("photos", {"weights": str(learnt.path), "data": photos}))
    assert chosen.model == learnt.recipe.model and chosen.data.image_size == "24x16"
    assert str(learnt.path) in said
    with pytest.raises(UserError, match="--model"):
        settled(find("photos", {"weights": "mine.pth"}))


def test_weights_auto_of_another_recipe_are_those_of_its_network_where_they_are_here(bare):
    chosen, (said,) = settled(find("resnet18", {"weights": "auto"}))
    assert chosen.transfer.weights == "" and "gradlab weights get resnet18" in said
    assert chosen.model.name == "resnet18"
    assert settled(find("lenet5")) == (find("lenet5"), ())
    assert settled(find("dqn")) == (find("dqn"), ())


def test_without_the_extra_a_small_network_learns_and_the_extra_is_named(bare, photos, tmp_path):
    run = gradlab.train(
        "photos", data=photos, out=tmp_path, **QUIET, **{"plan.updates": 1, "plan.epochs": 1}
    )
    assert run.recipe.model.name == "resnet20" and run.recipe.data.image_size == 64
    assert run.recipe.transfer.weights == "" and run.recipe.transfer.freeze == "nothing"
    (said,) = [note for note in run.record["notes"] if note.startswith("photos:")]
    assert "40 photos" in said and "pip install 'gradlab[pretrained]'" in said
    assert run.recipe.plan.min_epochs == 0 and run.recipe.optimizer == find("resnet20").optimizer


@pytest.mark.skipif(not PUBLISHED[LITE[-1]].here, reason="pip install 'gradlab[pretrained]'")
def test_with_the_extra_it_learns_in_two_phases_and_answers(photos, tmp_path):
    run = gradlab.train(
        "photos", data=photos, out=tmp_path, unfreeze_after=6, epochs=7, **QUIET,
        **{"data.image_size": 48},
    )  # fmt: skip
    assert run.recipe.model.name == "efficientnet_lite2"
    assert run.metrics["test"]["accuracy"] == 1.0
    notes = " ".join(run.record["notes"])
    assert "chosen efficientnet_lite2" in notes and "then 1 train everything" in notes
    (answer,) = gradlab.load(run.path).predict([f"{photos}/red/0.png"])
    assert answer.answer.label == "red"
    assert gradlab.resume(run.path, progress=False).metrics == run.metrics
