"""Autoencoders: what is learnt, measured, drawn, and how it goes beside PCA."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA

import gradlab
from gradlab.cli import main
from gradlab.data import load
from gradlab.engine import RunFolder, fit
from gradlab.errors import UserError
from gradlab.recipes import find
from gradlab.recipes.latent import latent
from gradlab.recipes.run import make

SMALL = {"data": "digits", "threads": 1, "model.widths": "64", "model.code": 8}


def recipe(**changes):
    return find("autoencoder", {**SMALL, "epochs": 4, **changes})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return gradlab.train(recipe(epochs=20), out=tmp_path_factory.mktemp("runs"), progress=False)


def test_it_learns_and_its_figures_are_those_of_the_pixels(run):
    x = run.dataset.splits["test"].x
    given = torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255
    mean, std = run.schema.mean[0], run.schema.std[0]
    with torch.no_grad():
        restored = run.model.eval()((given - mean) / std) * std + mean
    expected = float(((restored - given) ** 2).mean())
    assert run.metrics["test"]["mse"] == pytest.approx(expected, rel=1e-4)
    assert run.evaluate("val")["mse"] < 0.3 * float(given.var())


def test_each_epoch_is_drawn(run):
    assert (run.path / "samples" / "epoch-001-restored.png").is_file()
    with Image.open(run.path / "samples" / "epoch-020-restored.png") as picture:
        assert picture.size == (8 * 10 - 2, 4 * 10 - 2)
    assert "What the network makes" in (run.path / "report.html").read_text(encoding="utf-8")


def test_features_are_the_code(run):
    found = gradlab.features(run, split="test")
    assert found.layer == "encoder" and found.values.shape == (len(found), 8)
    x = torch.from_numpy(run.dataset.splits["test"].x[:2]).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        codes = run.model.encoder((x - run.schema.mean[0]) / run.schema.std[0])
    assert np.allclose(found.values[:2], codes.numpy(), atol=1e-4)
    assert found.labels is not None  # of the digits, though they were not learnt


def test_an_unlike_input_has_the_larger_error(run):
    x = run.dataset.splits["test"].x
    noise = np.random.default_rng(0).integers(0, 256, x[0].shape, dtype=np.uint8)
    usual = [answer.answer for answer in run.predict(list(x[:20]))]
    (odd,) = run.predict([noise])
    assert odd.answer > 3 * np.median(usual)


def test_the_comparison_with_pca_is_that_of_a_hand(run, tmp_path, capsys):
    main(["latent", str(run.path), "--split", "test", "--out", str(tmp_path / "l.png"), "--json"])
    record = json.loads(capsys.readouterr().out)
    train, test = (run.dataset.splits[name].x.reshape(-1, 64) / 255 for name in ("train", "test"))
    pca = PCA(8).fit(train)
    error = np.mean((pca.inverse_transform(pca.transform(test)) - test) ** 2)
    assert record["pca_mse"] == pytest.approx(error, rel=1e-6)
    assert record["mse"] == pytest.approx(run.metrics["test"]["mse"], rel=1e-4)
    assert record["code"] == 8 and record["examples"] == len(test)
    with Image.open(tmp_path / "l.png") as picture:
        assert picture.width > 800


def test_a_linear_autoencoder_is_at_best_pca(tmp_path):
    """Baldi and Hornik (1989): the optimum of a linear one is the principal subspace."""
    made = gradlab.train(
        "autoencoder",
        out=tmp_path,
        progress=False,
        test=False,
        epochs=150,
        **{**SMALL, "model.widths": "", "model.code": 4, "optimizer.lr": 0.01},
    )
    found = latent(made, "train")
    assert found.pca_mse <= found.mse < 1.1 * found.pca_mse


def test_a_resumed_training_is_bit_for_bit_the_same(tmp_path):
    def trained(folder, epochs):
        task = make(recipe(epochs=epochs), load(recipe().data))
        fit(task, task.recipe.plan, folder)
        return task.model.state_dict()

    whole = trained(RunFolder.create(tmp_path, "whole", "a", {"recipe": {}}), 4)
    parts = RunFolder.create(tmp_path, "parts", "a", {"recipe": {}})
    task = make(recipe(), load(recipe().data))
    steps = iter(range(20))
    plain = task.step

    def stopped(batch):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return plain(batch)

    task.step = stopped
    plan = task.recipe.plan.model_copy(update={"checkpoint_seconds": 0})
    with pytest.raises(KeyboardInterrupt):
        fit(task, plan, parts)
    resumed = trained(parts, 4)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_flat_folders_and_one_class_will_do(tmp_path):
    for n in range(12):
        Image.new("RGB", (16, 16), (20 * n, 0, 0)).save(tmp_path / f"{n}.png")
    made = gradlab.train(
        "conv_autoencoder", data=str(tmp_path), out=tmp_path / "runs", epochs=1, progress=False
    )
    assert made.schema.target == "none" and "mse" in made.metrics["test"]


def test_only_an_autoencoder_has_a_latent_map(tmp_path):
    made = gradlab.train("softmax_regression", out=tmp_path, epochs=1, progress=False)
    with pytest.raises(UserError, match="expected that of an autoencoder"):
        latent(made)


def test_arrays_are_compared_in_their_own_units(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)) * (1, 10, 100)
    path = tmp_path / "a.npz"
    np.savez(path, x=x.astype(np.float32), y=rng.integers(2, size=400))
    made = gradlab.train(
        "autoencoder", data=str(path), out=tmp_path, epochs=60, progress=False, test=False,
        **{"model.widths": "", "model.code": 2, "optimizer.lr": 0.01, "threads": 1},
    )  # fmt: skip
    found = latent(made, "train")
    assert found.mse >= found.pca_mse > 0


def test_weights_of_other_classes_fit_whole(tmp_path, run):
    folder = tmp_path / "photos"
    for n in range(40):
        (folder / "ab"[n % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 6 * n).save(folder / "ab"[n % 2] / f"{n}.png")
    task = make(
        recipe(data=str(folder), weights=str(run.path)), load(recipe(data=str(folder)).data)
    )
    assert all(
        torch.equal(v, run.model.state_dict()[k]) for k, v in task.model.state_dict().items()
    )
    with pytest.raises(UserError, match=r"transfer\.freeze"):
        make(recipe(freeze="features"), load(recipe().data))
