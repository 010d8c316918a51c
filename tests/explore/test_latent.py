"""The latent map: an autoencoder beside PCA of the same size."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from sklearn.decomposition import PCA

from gradlab.cli import main
from gradlab.config import Runtime
from gradlab.data.columns import Dense
from gradlab.data.dataset import Schema, Source, Split
from gradlab.data.fields.image import Image
from gradlab.data.fields.label import Label
from gradlab.data.splits import finish
from gradlab.errors import UserError
from gradlab.explore.latent import colours, latent
from gradlab.recipes import find
from gradlab.runs import load
from gradlab.workflows.train import RunOptions, begin, train

SMALL = {"model.widths": "64", "model.code": 8}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    fields = {**SMALL, "data": "digits", "epochs": 8}
    out = tmp_path_factory.mktemp("runs")
    return train("autoencoder", out=out, progress=False, threads=1, **fields)


def of_dataset(targets, tmp_path, count=150):
    """A run on random images with these targets."""
    rng = np.random.default_rng(0)
    columns = {"image": Dense(rng.integers(0, 256, (count, 6, 6, 1), np.uint8))}
    columns |= {n: Dense(np.arange(count) % len(f.classes)) for n, f in targets.items()}
    schema = Schema(inputs={"image": Image(height=6, width=6, channels=1)}, targets=targets)
    source = Source("bare", schema, {"train": Split(columns)})
    recipe = find("autoencoder", {**SMALL, "epochs": 1, "batch_size": 32})
    run_options = RunOptions(
        tmp_path, progress=False, test=False, runtime=Runtime(device="cpu", threads=1)
    )
    return begin(recipe, finish(source, recipe.data), None, run_options)


def test_the_comparison_with_pca_is_that_of_a_hand(run):
    found = latent(run, "test")
    train_x, test = (run.dataset.splits[n]["image"][:].reshape(-1, 64) / 255
                     for n in ("train", "test"))  # fmt: skip
    pca = PCA(8).fit(train_x)
    error = np.mean((pca.inverse_transform(pca.transform(test)) - test) ** 2)
    assert found.pca_mse == pytest.approx(error, rel=1e-5)
    assert found.mse == pytest.approx(run.metrics["test"]["mse"], rel=1e-4)
    assert found.pca_mse == pytest.approx(run.baselines["test"]["PCA"]["mse"], rel=1e-4)
    assert found.code == 8 and found.examples == len(test)
    points = pca.transform(test)[:, :2]
    np.testing.assert_allclose(np.abs(found.components), np.abs(points), atol=1e-4)
    x = torch.from_numpy(run.dataset.splits["test"]["image"][:]).permute(0, 3, 1, 2).float() / 255
    field = run.schema.inputs["image"]
    with torch.no_grad():
        latents = run.model.eval().encoder((x - field.mean[0]) / field.std[0]).numpy()
    expected = PCA(2).fit_transform(latents)
    np.testing.assert_allclose(np.abs(found.latents), np.abs(expected), atol=1e-2)
    np.testing.assert_array_equal(found.labels, run.dataset.splits["test"]["label"][:])
    (table,) = found.tables()
    assert table.header == ("8 numbers for an example", "mse on test")
    assert table.rows[1] == ("PCA", f"{found.pca_mse:.5f}")


def test_reading_test_is_recorded_and_val_is_free(run):
    def reads():
        return [line["by"] for line in run.history if line.get("event") == "test read"]

    before = reads()
    latent(run.path, "val", runtime=Runtime(threads=1))
    assert reads() == before
    latent(run.path, "test")
    assert reads() == [*before, "latent"]
    with pytest.raises(UserError, match="has no split 'tset'"):
        latent(run, "tset")


def test_from_the_command_line(run, tmp_path, capsys):
    given = ["latent", str(run.path), "--split", "val"]
    main([*given, "--out", str(tmp_path / "l.png"), "--json"])
    record = json.loads(capsys.readouterr().out)
    assert record == {**latent(run, "val").to_dict(), "out": str(tmp_path / "l.png")}
    with Picture.open(tmp_path / "l.png") as picture:
        assert picture.width > 800
    main(given)
    assert "autoencoder" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*given, "--out", str(tmp_path / "l.jpg")])
    assert "the maps are written as .png" in capsys.readouterr().err


def drawn_colours(found):
    """The colours of the clouds of the first map."""
    return [tuple(c.get_facecolor()[0][:3]) for c in found.figure().axes[0].collections]


def test_without_labels_there_is_one_cloud(tmp_path):
    found = latent(of_dataset({}, tmp_path))
    assert found.labels is None and found.to_dict()["classes"] == []
    assert len(drawn_colours(found)) == 1 and found.figure().legends == []


@pytest.mark.parametrize("count", [3, 13, 25])
def test_no_two_classes_have_one_colour(tmp_path, count):
    label = Label(classes=tuple(f"$class {n}" for n in range(count)))
    found = latent(of_dataset({"label": label}, tmp_path), "train")
    seen = drawn_colours(found)
    assert len(seen) == len(set(seen)) == count
    assert len(found.figure().legends) == (count <= 20)
    found.save(tmp_path / "map.png")  # a name with a $ is no formula
    assert len({tuple(colour) for colour in colours(count)}) == count


def test_a_latent_vector_of_one_number_and_a_wide_one_have_maps(tmp_path):
    for code in (1, 2, 50):
        fields = {**SMALL, "data": "digits", "epochs": 1, "model.code": code}
        made = train("autoencoder", out=tmp_path, progress=False, test=False, threads=1, **fields)
        found = latent(made)
        assert found.latents.shape == found.components.shape == (found.examples, 2)
        assert found.pca_mse > 0


def test_only_an_autoencoder_has_a_latent_map(tmp_path):
    made = train("softmax_regression", out=tmp_path, epochs=1, progress=False, test=False)
    with pytest.raises(UserError, match="expected that of an autoencoder"):
        latent(load(made.path))
