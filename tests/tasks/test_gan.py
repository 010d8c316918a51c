import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from gradlab.config import Runtime
from gradlab.data import load as load_data
from gradlab.engine import Interrupted, Observer, seeded
from gradlab.errors import UserError
from gradlab.recipes import find
from gradlab.runs.make import make
from gradlab.runs.run import open_run
from gradlab.tasks.base import Own
from gradlab.tasks.extractor import FeatureExtractor
from gradlab.tasks.generating import latent_vectors, slerp
from gradlab.workflows.train import RunOptions, resume_run, train

SMALL = {
    "data": "digits", "data.image_size": 28, "data.limit": 330, "model.width": 4,
    "model.latent": 8, "batch_size": 64, "epochs": 3,
}  # fmt: skip
CPU = Runtime(device="cpu", precision="float32", threads=1)
QUIET = {"progress": False, "test": False, "runtime": CPU}
MNIST = Path(os.environ.get("GRADLAB_DATA", "absent")) / "mnist"


def task_of(own=None, **fields):
    recipe = find("dcgan", SMALL | fields)
    dataset = load_data(recipe.data)
    with seeded(recipe.seed):
        task = make(recipe, dataset.schema, CPU, own)
        task.prepare(dataset)
    return task


def weights(network):
    return {name: value.detach().clone() for name, value in network.named_parameters()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Killer(Observer):
    """Stops the training from outside at a step, as a signal would."""

    def __init__(self, step):
        self.step = step

    def stepped(self, progress, line):
        if progress.step >= self.step:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    "fields",
    [{}, {"precision": "bfloat16", "model.spectral_norm": True, "task.label_smoothing": 0.1}],
    ids=["plain", "bfloat16-spectral-smoothed"],
)
def test_a_resumed_training_ends_bit_for_bit_the_same(tmp_path, fields):
    given = {**SMALL, **QUIET, **fields, "out": tmp_path, "plan.log_steps": 1}
    whole = train("dcgan", name="whole", **given)
    with pytest.raises(Interrupted):
        train("dcgan", name="cut", observers=[Killer(7)], **given)  # mid epoch: 5 a piece
    cut = open_run(tmp_path / "cut")
    progress, state = cut.folder.load("last")
    assert (progress.epoch, progress.step) == (1, 7)
    assert set(state) == {"model", "random", "loader", "generator", "discriminator"}
    for name in ("generator", "discriminator"):
        assert state[name]["step"] == 7
        assert all(slot["exp_avg"].any() for slot in state[name]["slots"].values())
    resume_run(tmp_path / "cut", RunOptions(progress=False, test=False))
    (progress, first), (_, second) = whole.folder.load("last"), cut.folder.load("last")
    assert progress.step == 15 and equal(first["model"], second["model"])
    for name in ("generator", "discriminator"):
        for index, slot in first[name]["slots"].items():
            assert equal(slot, second[name]["slots"][index])
    assert torch.equal(first["random"]["cpu"], second["random"]["cpu"])


def test_each_half_of_a_step_changes_its_own_network_alone():
    task = task_of()
    batch = next(iter(task.batches(0)))
    maker, critic = weights(task.generator), weights(task.discriminator)
    task.updaters["discriminator"].update(task.discriminator_loss, batch)
    assert equal(maker, weights(task.generator))
    assert all(parameter.grad is None for parameter in task.generator.parameters())
    assert not equal(critic, weights(task.discriminator))
    critic = weights(task.discriminator)
    task.updaters["generator"].update(task.generator_loss, batch)
    assert equal(critic, weights(task.discriminator))
    assert not equal(maker, weights(task.generator))
    asked = []
    generator_loss = task.generator_loss

    def watched(batch):
        asked.extend(parameter.requires_grad for parameter in task.discriminator.parameters())
        return generator_loss(batch)

    task.generator_loss = watched
    found = task.step(batch)
    assert asked and not any(asked)  # no time is lost on gradients that nobody reads
    assert {"loss", "generator_loss", "score_real", "score_generated"} <= set(found)
    assert not equal(critic, weights(task.discriminator))
    assert all(parameter.requires_grad for parameter in task.model.parameters())


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_losses_are_those_of_the_paper(smoothing):
    task = task_of(**{"task.label_smoothing": smoothing})
    task.model.train()
    batch = next(iter(task.batches(0)))
    real, fake = torch.linspace(-1, 2, 64), torch.linspace(-1, 3, 64)
    task.discriminator.forward = lambda x: real if x is batch["image"] else fake
    target = 1 - smoothing
    said = -(target * F.logsigmoid(real) + (1 - target) * F.logsigmoid(-real)).mean()
    said -= F.logsigmoid(-fake).mean()  # generated ones are never smoothed
    assert task.discriminator_loss(batch).item() == pytest.approx(said.item(), rel=1e-5)
    assert task.scores["score_real"].item() == pytest.approx(real.sigmoid().mean().item())
    assert task.scores["score_generated"].item() == pytest.approx(fake.sigmoid().mean().item())
    expected = -F.logsigmoid(fake).mean()  # it does not saturate: not the log of 1 - D
    assert task.generator_loss(batch).item() == pytest.approx(expected.item(), rel=1e-5)


def test_real_images_lie_in_the_range_of_the_generator_and_back():
    task = task_of()
    x = next(iter(task.batches(0)))["image"]
    assert x.aminmax() == pytest.approx((-1, 1))
    assert task.schema.inputs["image"].mean == task.schema.inputs["image"].std == (0.5,)
    task.generator.forward = lambda z: x[: len(z)]
    made = task.generate(torch.zeros(5, 8))
    np.testing.assert_array_equal(made[..., 0], ((x[:5, 0] + 1) * 127.5).round().numpy())


def test_all_batches_are_whole_and_no_label_is_loaded():
    task = task_of()
    assert len(task.train_loader) == 329 and task.steps == 5
    batches = list(task.batches(0))
    assert [len(batch) for batch in batches] == [64] * 5
    assert list(batches[0].values) == ["image"]


def test_pictures_change_nothing_of_the_training():
    task = task_of()
    list(map(task.step, task.batches(0)))
    before, state = (
        torch.get_rng_state(),
        {k: v.clone() for k, v in task.model.state_dict().items()},
    )
    pictures = task.pictures()
    assert {name: picture.shape for name, picture in pictures.items()} == {
        "samples": (238, 238, 1), "interpolation": (238, 238, 1)
    }  # fmt: skip
    assert torch.equal(before, torch.get_rng_state()) and task.model.training
    assert equal(state, task.model.state_dict())
    assert all(np.array_equal(task.pictures()[name], pictures[name]) for name in pictures)


def test_the_way_between_two_points_keeps_their_length():
    a, b = torch.randn(2, 3, 100, generator=torch.Generator().manual_seed(0))
    ways = slerp(a, b, 5).view(3, 5, 100)
    torch.testing.assert_close(ways[:, 0], a)
    torch.testing.assert_close(ways[:, -1], b, atol=1e-5, rtol=1e-5)
    assert (ways.norm(dim=-1) > 8).all()  # the middle of the straight lines: about 7
    same = slerp(a, a, 3).view(3, 3, 100)
    torch.testing.assert_close(same[:, 1], a, atol=1e-2, rtol=1e-2)


def test_a_grid_for_each_epoch_and_no_figures_without_a_classifier(tmp_path):
    run = train("dcgan", out=tmp_path, **{**QUIET, **SMALL, "epochs": 2, "test": True})
    names = sorted(path.name for path in (run.path / "samples").iterdir())
    assert names == [f"epoch-00{n}-{what}.png" for n in (1, 2) for what in
                     ("interpolation", "samples")]  # fmt: skip
    assert run.metrics == {} and run.summary["best_epoch"] == 2 and run.baselines == {}
    assert run.recipe.plan.monitor is None  # nothing decides, and the record says so
    with pytest.raises(UserError, match="gradlab judge RUN --by CLASSIFIER"):
        run.evaluate("test")
    with pytest.raises(UserError, match=r"nothing to predict.* gradlab generate RUN"):
        run.predict(np.zeros((28, 28), np.uint8))


def test_weights_of_another_run_are_begun_with(tmp_path):
    run = train("dcgan", out=tmp_path, **QUIET, **{**SMALL, "epochs": 1})
    task = task_of(weights=str(run.path), seed=5)
    assert equal(task.model.state_dict(), run.model.state_dict())
    assert task.notes == (f"weights: begun with {run.path}",)
    with pytest.raises(UserError, match="another network"):
        task_of(weights=str(run.path), **{"model.width": 5})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data.limit": 50}, r"digits: 50 training images are fewer than a batch of 64"),
        ({"data.image_size": 0}, r"found .*8.*: bring them to one of these with --data.image_size"),
        ({"data": "iris"}, r"a gan needs one image as its input, found .*table"),
        ({"schedule.name": "plateau"}, "no val loss for the schedule 'plateau'"),
        ({"freeze": "features"}, r"transfer\.freeze: the task 'gan' has no use for it"),
        ({"unfreeze_after": 2}, r"transfer\.unfreeze_after: the task 'gan' has no use for it"),
        ({"backbone_lr": 0.1}, r"transfer\.backbone_lr: the task 'gan' has no use for it"),
        ({"plan.patience": 2}, r"name a classifier's run with --task.judge RUN"),
        ({"plan.monitor": "frechet"}, r"name a classifier's run with --task.judge RUN"),
        ({"data.augment.mixup": 0.2}, "mixed images"),
        ({"task.judge": "nowhere"}, "there is no run .*nowhere"),
        ({"model": "lenet5"}, r"a gan trains two networks: .* found 'lenet5'"),
    ],
)
def test_what_cannot_be_trained_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        task_of(**fields)


def test_a_pair_of_ones_own_is_trained_and_a_single_network_is_refused():
    pair = task_of().model
    task = task_of(Own(pair))
    assert torch.isfinite(task.step(next(task.batches(0)))["generator_loss"])
    with pytest.raises(UserError, match=r"a gan trains two networks: .* found 'own'"):
        task_of(Own(nn.Linear(2, 2)))
    with pytest.raises(UserError, match="leave out your own loss"):
        task_of(Own(pair, loss=F.mse_loss))


def test_photos_of_one_class_or_of_none(tmp_path):
    rng = np.random.default_rng(0)
    for folder in (tmp_path / "flat", tmp_path / "one" / "cat"):
        folder.mkdir(parents=True)
        for i in range(40):
            pixels = rng.integers(0, 256, (40, 36, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    for name in ("flat", "one"):
        fields = {"data": str(tmp_path / name), "data.image_size": 32, "batch_size": 16}
        task = task_of(**fields, **{"data.limit": 0})
        for batch in task.batches(0):
            found = task.step(batch)
        assert batch["image"].shape == (16, 3, 32, 32) and torch.isfinite(found["loss"])
        assert task.pictures()["samples"].shape[-1] == 3


def test_changes_of_the_images_are_served_and_learnt_from():
    plain = next(task_of().batches(0))["image"]
    shifted = next(task_of(**{"data.augment.shift": 3}).batches(0))["image"]
    assert shifted.shape == plain.shape and not torch.equal(shifted, plain)
    task = task_of(**{"plan.accumulate": 4})
    assert torch.isfinite(task.step(next(task.batches(0)))["loss"])


# figures in the features of a classifier


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """LeNet-5 that knows the digits of 28 pixels."""
    fields = {"data": "digits", "data.image_size": 28, "epochs": 8}
    return train("lenet5", out=tmp_path_factory.mktemp("r"), name="c", **QUIET, **fields)


def test_a_classifier_decides_the_best_epoch_and_gives_the_figures(
    tmp_path, classifier, monkeypatch
):
    monkeypatch.chdir(classifier.path.parent)
    given = {**SMALL, **QUIET, "out": tmp_path}
    plain = train("dcgan", **given)
    run = train("dcgan", **{**given, "test": True}, **{"task.judge": "c"})
    # It changes nothing of the training, and is found from anywhere.
    assert equal(plain.folder.load("last")[1]["model"], run.folder.load("last")[1]["model"])
    assert run.record["recipe"]["task"]["judge"] == str(classifier.path.resolve())
    assert (run.recipe.plan.monitor, run.recipe.plan.goal) == ("frechet", "min")
    vals = [line["frechet"] for line in run.history if "frechet" in line]
    assert len(vals) == 3 and run.summary["best_epoch"] == 1 + int(np.argmin(vals))
    assert set(run.metrics) == {"val", "test"}
    found = run.metrics["test"]
    assert found["frechet"] > 10 * found["frechet_floor"] and found["precision"] < 0.5
    assert 0 <= found["classes_covered"] <= 10 and found["copies"] == 0
    assert run.metrics["val"]["frechet"] == pytest.approx(min(vals), rel=1e-4)
    opened = open_run(run.path)
    details = opened.details("test")
    assert details.metrics == pytest.approx(found, rel=1e-4)
    (part,) = details.parts
    assert details.to_dict()["count"] == len(opened.dataset.splits["test"])
    assert sum(share["real"] for share in part.to_dict()["shares"].values()) == pytest.approx(1)
    assert [row[0] for row in part.tables()[0].rows] == [str(n) for n in range(10)]
    with pytest.raises(UserError, match=r"cannot judge images: expected .* found 'dcgan'"):
        FeatureExtractor.open(str(run.path), run.task.setup)
    with pytest.raises(UserError, match="val or test, not against train"):
        run.details("train")


def test_a_monitor_that_is_named_is_kept_or_refused(classifier):
    given = {"task.judge": str(classifier.path)}
    task = task_of(**given, **{"plan.monitor": "frechet", "plan.goal": "max", "plan.patience": 2})
    plan = task.recipe.plan
    assert (plan.monitor, plan.goal, plan.patience) == ("frechet", "max", 2)
    with pytest.raises(UserError, match=r"plan.monitor: no metric 'loss'; found frechet"):
        task_of(**given, **{"plan.monitor": "loss"})


def test_the_figures_of_real_collapsed_and_copied_images(classifier):
    task = task_of(**{"data.limit": 0})
    before = torch.get_rng_state(), torch.get_num_threads()
    extractor = FeatureExtractor.open(str(classifier.path), task.setup)
    assert torch.equal(torch.get_rng_state(), before[0]) and torch.get_num_threads() == before[1]
    splits = load_data(task.recipe.data).splits
    train_images, test, val = (splits[name]["image"][:] for name in ("train", "test", "val"))
    real = extractor.compare(splits["train"]["image"], test, val)  # a column will do
    assert real.to_dict() == extractor.compare(train_images, test, val).to_dict()
    assert real.classes_covered == 10 and real.frechet < 8 * real.frechet_floor
    assert real.precision > 0.7 and real.recall > 0.7
    assert 0.8 < real.nearest_ratio < 1.2 and real.copies < 0.1
    three = test[splits["test"]["label"][:] == 3][:1]
    threes = extractor.compare(train_images, test, np.repeat(three, 269, 0))
    assert threes.classes_covered == 1 and threes.recall < 0.05
    assert threes.frechet > 10 * real.frechet
    copies = extractor.compare(train_images, test, train_images[:269])
    assert copies.copies == 1 and copies.nearest_ratio == 0
    assert copies.frechet < 8 * real.frechet_floor  # this figure alone would not tell
    colour = np.repeat(test.repeat(2, 1).repeat(2, 2), 3, 3)  # brought to the classifier's form
    assert extractor.extract(colour).features.shape == (269, 84)
    assert (extractor.extract(colour).classes == extractor.extract(test).classes).mean() > 0.9


@pytest.mark.skipif(not MNIST.is_dir(), reason="GRADLAB_DATA holds no mnist")
def test_real_against_real_on_mnist(tmp_path):
    fields = {"data": "mnist", "data.limit": 3000, "epochs": 3, "data.val": 0.02}
    run = train("lenet5", out=tmp_path, **QUIET, **fields)
    extractor = FeatureExtractor.open(str(run.path), run.task.setup)
    images = {name: split["image"] for name, split in run.dataset.splits.items()}
    test, val = images["test"][:1000], images["val"][:1000]
    noise = np.random.default_rng(0).integers(0, 256, (1000, 28, 28, 1), np.uint8)
    found = extractor.compare(images["train"], test, val)
    worse = extractor.compare(images["train"], test, noise)
    assert found.classes_covered == 10 and found.precision > 0.8 and found.recall > 0.8
    assert worse.frechet > 50 * found.frechet and worse.recall < 0.1
    assert worse.classes_covered < 10 and worse.nearest_ratio > 1.5


def test_latent_vectors_are_a_function_of_the_seed():
    task = task_of()
    before = torch.get_rng_state()
    assert torch.equal(latent_vectors(task, 4, 1), latent_vectors(task, 4, 1))
    assert not torch.equal(latent_vectors(task, 4, 1), latent_vectors(task, 4, 2))
    assert torch.equal(before, torch.get_rng_state())
