"""Autoencoders: what is learnt, measured, drawn, and what else could stand in their place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from sklearn.decomposition import PCA
from support import task_of
from torch import nn

from gradlab.config import DataConfig, Runtime
from gradlab.data.columns import Dense
from gradlab.data.dataset import Schema, Source, Split
from gradlab.data.fields.image import Image
from gradlab.data.fields.values import Values
from gradlab.data.splits import finish
from gradlab.engine import RunFolder, fit, seeded
from gradlab.errors import UserError
from gradlab.models import create, initial
from gradlab.recipes import find
from gradlab.runs.make import make
from gradlab.tasks.base import Own
from gradlab.workflows.train import train

SMALL = {"data": "digits", "model.widths": "64", "model.code": 8}


def recipe(**changes):
    return find("autoencoder", {**SMALL, "epochs": 4, **changes})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(recipe(epochs=20), out=tmp_path_factory.mktemp("runs"), progress=False, threads=1)


def unlabelled(field, x):
    """A dataset of one field and nothing else."""
    schema = Schema(inputs={field.type: field})
    source = Source("bare", schema, {"train": Split({field.type: Dense(x)})})
    return finish(source, DataConfig())


def ready(dataset, **changes):
    chosen = find("autoencoder", {"model.widths": "16", "model.code": 3, **changes})
    with seeded(0):
        task = make(chosen, dataset.schema, Runtime(device="cpu", threads=1))
        task.prepare(dataset)
    return task


def test_it_learns_and_its_figures_are_those_of_the_pixels(run):
    x = run.dataset.splits["test"]["image"][:]
    given = torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255
    field = run.schema.inputs["image"]
    mean, std = field.mean[0], field.std[0]
    with torch.no_grad():
        made = run.model.eval()((given - mean) / std) * std + mean
    expected = float(((made - given) ** 2).mean())
    assert run.metrics["test"]["mse"] == pytest.approx(expected, rel=1e-4)
    assert run.evaluate("val")["mse"] < 0.3 * float(given.var())
    assert run.recipe.plan.monitor == "mse" and run.recipe.plan.goal == "min"


def test_each_epoch_is_drawn(run):
    assert (run.path / "samples" / "epoch-001-reconstructed.png").is_file()
    with Picture.open(run.path / "samples" / "epoch-020-reconstructed.png") as picture:
        assert picture.size == (8 * 10 - 2, 4 * 10 - 2)


def test_an_answer_is_the_error_and_the_reconstruction(run):
    x = run.dataset.splits["test"]["image"][:20]
    noise = np.random.default_rng(0).integers(0, 256, x[0].shape, dtype=np.uint8)
    usual = [found.answer for found in run.predict(list(x))]
    (odd,) = run.predict([noise])
    assert odd.answer.error > 3 * np.median([answer.error for answer in usual])
    assert odd.to_dict()["mse"] == odd.answer.error
    drawn = usual[0].draw()
    assert drawn.shape == (8, 8, 1) and drawn.dtype == np.uint8
    # Of whole grey values, but for the rounding, it is the error that is stated.
    apart = (drawn.astype(float) - x[0]) / 255
    assert np.mean(apart**2) == pytest.approx(usual[0].error, rel=0.1)


def test_the_worst_reconstructions_are_shown_beside_the_input(run):
    details = run.details("val")
    (part,) = details.parts
    val = run.dataset.splits["val"]
    errors = [found.answer.error for found in run.predict(list(val["image"][:]))]
    worst = int(np.argmax(errors))
    first = details.to_dict()["worst"][0]
    assert first["mse"] == pytest.approx(errors[worst]) and first["id"] == val.name_of(worst)
    found = [item["mse"] for item in details.to_dict()["worst"]]
    assert len(found) == 24 and found == sorted(found, reverse=True)
    card = part.cards()[0]
    assert card.picture.shape == (8, 18, 1)  # the input, a line, the reconstruction
    np.testing.assert_array_equal(card.picture[:, :8], val["image"][worst])
    reconstruction = run.predict([val["image"][worst]])[0].answer.draw()
    np.testing.assert_array_equal(card.picture[:, 10:], reconstruction)
    assert not part.tables()


def test_the_baselines_are_the_mean_image_and_pca(run):
    train_x, test = (run.dataset.splits[n]["image"][:] / 255 for n in ("train", "test"))
    found = run.baselines["test"]
    assert set(found) == {"mean image", "PCA"}
    mean = np.mean((test - train_x.mean(0)) ** 2)
    assert found["mean image"]["mse"] == pytest.approx(mean, rel=1e-5)
    flat, held = train_x.reshape(len(train_x), -1), test.reshape(len(test), -1)
    pca = PCA(8).fit(flat)
    error = np.mean((pca.inverse_transform(pca.transform(held)) - held) ** 2)
    assert found["PCA"]["mse"] == pytest.approx(error, rel=1e-4)
    std = run.schema.inputs["image"].std[0]
    assert found["PCA"]["loss"] == pytest.approx(error / std**2, rel=1e-4)


def test_an_untrained_one_is_told_that_it_is_no_better(tmp_path):
    made = train(recipe(epochs=1, lr=1e-6), out=tmp_path, progress=False, test=False, threads=1)
    codes = [found["code"] for found in made.summary["verdict"]]
    assert codes == ["rate-too-low", "no-better-than-baseline"]
    said = made.summary["verdict"][1]["evidence"]
    assert "no better than the baseline 'mean image' (" in said and "'PCA' (" in said


def test_a_linear_autoencoder_is_at_best_pca(tmp_path):
    """Baldi and Hornik (1989): the optimum of a linear one is the principal subspace."""
    fields = {"model.widths": "", "model.code": 4, "optimizer.lr": 0.01, "epochs": 150}
    made = train(recipe(**fields), out=tmp_path, progress=False, test=False, threads=1)
    mse, pca = made.metrics["train"]["mse"], made.baselines["train"]["PCA"]["mse"]
    assert pca <= mse < 1.1 * pca


def test_a_resumed_training_is_bit_for_bit_the_same(tmp_path):
    def trained(folder):
        task = task_of(recipe())
        fit(task, task.plan, folder)
        return task.model.state_dict()

    record = {"recipe": recipe().model_dump(mode="json")}
    whole = trained(RunFolder.create(tmp_path, "whole", "a", record))
    parts = RunFolder.create(tmp_path, "parts", "a", record)
    task = task_of(recipe())
    steps = iter(range(20))
    plain = task.step

    def stopped(batch):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return plain(batch)

    task.step = stopped
    plan = task.plan.model_copy(update={"checkpoint_seconds": 0})
    with pytest.raises(KeyboardInterrupt):
        fit(task, plan, parts)
    resumed = trained(parts)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_images_without_any_label_will_do():
    x = np.random.default_rng(0).integers(0, 256, (60, 6, 9, 1), np.uint8)  # not square
    task = ready(unlabelled(Image(height=6, width=9, channels=1), x), epochs=1)
    for batch in task.batches(0):
        assert list(batch.values) == ["image"] and torch.isfinite(task.step(batch)["loss"])
    count = len(task.dataset.splits["val"])  # under each row of up to 8 its reconstructions
    assert 1 < count <= 8
    assert task.pictures()["reconstructed"].shape == (2 * 8 - 2, 11 * count - 2, 1)
    assert task.evaluate("val")["mse"] > 0


def test_values_are_measured_in_their_own_units():
    x = np.random.default_rng(0).normal(size=(300, 3)) * (1, 10, 100)
    task = ready(unlabelled(Values(size=(3,)), x.astype(np.float32)), epochs=1)
    held = np.asarray(task.dataset.splits["val"]["values"])
    with torch.no_grad():
        field = task.schema.inputs["values"]
        mean, std = torch.tensor(field.mean), torch.tensor(field.std)
        made = task.model.eval()((torch.from_numpy(held) - mean) / std) * std + mean
    expected = float(np.mean((made.numpy() - held) ** 2))
    assert task.evaluate("val")["mse"] == pytest.approx(expected, rel=1e-4)
    (part,) = task.details("val").parts
    assert part.tables()[0].header == ("example", "mse", "input") and not part.cards()
    assert set(task.baselines(["val"])["val"]) == {"mean example", "PCA"}
    assert task.pictures() == {}
    (answer, *_) = task.predict(task.dataset.splits["val"])
    assert answer.draw() is None


def test_a_table_is_reconstructed_in_standard_deviations(tmp_path):
    fields = {"model.widths": "", "model.code": 2, "data": "iris", "epochs": 30, "lr": 0.02}
    made = train("autoencoder", out=tmp_path, progress=False, threads=1, **fields)
    val = made.metrics["val"]
    assert val["mse"] == pytest.approx(val["loss"], rel=1e-5)
    assert val["mse"] < 0.4 * made.baselines["val"]["mean example"]["mse"]
    (part,) = made.details("val").parts
    assert part.tables()[0].rows[0][2] and not list(made.path.glob("samples/*"))


def test_initial_values_do_not_depend_on_how_the_memory_lies():
    """Filters lie channels last while they are trained, and are drawn before."""
    fields = {**SMALL, "model.widths": "8,16", "init": "he", "model.code": 4}
    task = task_of("conv_autoencoder", **fields)
    torch.manual_seed(0)
    widths = {"code": 4, "widths": (8, 16)}
    expected = create("conv_autoencoder", inputs=(1, 8, 8), outputs=64, **widths)
    initial.apply(expected, "he")
    found = task.model.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in expected.state_dict().items())


def test_flat_folders_and_one_class_will_do(tmp_path):
    for n in range(12):
        Picture.new("RGB", (16, 16), (20 * n, 0, 0)).save(tmp_path / f"{n}.png")
    made = train(
        "conv_autoencoder", data=str(tmp_path), out=tmp_path / "runs", epochs=1, progress=False
    )
    assert "mse" in made.metrics["test"]


def test_weights_of_other_classes_fit_whole_with_their_normalisation(tmp_path, run):
    folder = tmp_path / "photos"
    for n in range(40):
        (folder / "ab"[n % 2]).mkdir(parents=True, exist_ok=True)
        Picture.new("L", (8, 8), 6 * n).save(folder / "ab"[n % 2] / f"{n}.png")
    task = task_of(recipe(data=str(folder), weights=str(run.path)))
    assert all(
        torch.equal(v, run.model.state_dict()[k]) for k, v in task.model.state_dict().items()
    )
    field = next(iter(task.schema.inputs.values()))
    assert field == task.field and field.mean == run.schema.inputs["image"].mean
    with pytest.raises(UserError, match="another network"):
        task_of(recipe(data=str(folder), weights=str(run.path), **{"model.code": 9}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"freeze": "features"}, r"transfer\.freeze: the task 'autoencoder' has no use for it"),
        ({"backbone_lr": 0.5}, r"transfer\.backbone_lr: the task 'autoencoder' has no use for it"),
        ({"plan.monitor": "accuracy"}, r"no metric 'accuracy'; found mse, loss"),
        ({"model": "lenet5"}, r"'lenet5' is no autoencoder: expected one with .encoder"),
    ],
)
def test_what_it_has_no_use_for_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        task_of(recipe(**fields))


def test_several_inputs_are_refused():
    two = Schema(inputs={"a": Values(size=(3,)), "b": Values(size=(3,))})
    with pytest.raises(UserError, match="an autoencoder reconstructs one input, found a, b"):
        make(recipe(), two, Runtime())


def test_a_network_of_ones_own_with_a_loss_of_its_own():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Unflatten(1, (1, 8, 8)))
    task = task_of(recipe(), Own(network, loss=nn.L1Loss()))
    batch = next(task.batches(0))
    expected = (network(batch["image"]) - batch["image"]).abs().mean().item()
    assert task.loss(batch).item() == pytest.approx(expected)
    assert set(task.baselines(["val"])["val"]) == {"mean image"}  # no .code to compare with
