"""Images from a run, and how good they are."""

import json

import numpy as np
import pytest
from PIL import Image

from gradlab.cli import main
from gradlab.config import DataConfig, Runtime
from gradlab.data import load as load_data
from gradlab.errors import UserError
from gradlab.explore.generate import generate, save_images
from gradlab.explore.judge import judge
from gradlab.tasks.generating import latent_vectors
from gradlab.workflows.train import train

QUIET = {"progress": False, "test": False, "threads": 1}
DIGITS = {"data": "digits", "data.image_size": 28}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A DCGAN, trained until its images differ."""
    out = tmp_path_factory.mktemp("runs")
    fields = {"epochs": 6, "model.width": 8, "optimizer.lr": 2e-3, "batch_size": 128}
    return train("dcgan", out=out, name="gan", **DIGITS, **fields, **QUIET)


@pytest.fixture(scope="module")
def classifier(run):
    return train("lenet5", out=run.path.parent, name="c", epochs=4, **DIGITS, **QUIET)


def test_images_are_a_function_of_the_seed(run):
    found = generate(run, 300)
    images = found.images
    assert images.shape == (300, 28, 28, 1) and images.dtype == np.uint8 and images.std() > 10
    again = generate(run.path, 300, runtime=Runtime(device="cpu", threads=1))
    np.testing.assert_array_equal(again.images, images)
    assert not np.array_equal(generate(run, 300, seed=1).images, images)
    made = run.task.generate(latent_vectors(run.task, 64, 0))
    np.testing.assert_array_equal(generate(run, 64).images, made)
    assert found.to_dict() == {
        "run": str(run.path), "count": 300, "seed": 0, "width": 28, "height": 28, "channels": 1
    }  # fmt: skip
    (table,) = found.tables()
    assert dict(zip(table.header, table.rows[0], strict=True))["images"] == "300"


def test_an_interpolation_goes_in_small_steps_between_its_ends(run):
    ways = generate(run, 24, interpolate=True).images.astype(int)
    steps = np.abs(np.diff(ways.reshape(3, 8, -1), axis=1)).mean(-1)  # 3 7
    apart = np.abs(ways[::8] - ways[7::8]).reshape(3, -1).mean(-1)
    assert (steps.max(1) < 0.6 * apart).all()
    assert len(generate(run, 5, interpolate=True).images) == 5


def test_a_grid_a_folder_and_arrays(run, tmp_path, capsys):
    main(["generate", str(run.path), "--count", "10", "--out", str(tmp_path / "g.png"), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert (said["count"], said["width"], said["height"], said["channels"]) == (10, 28, 28, 1)
    images = generate(run, 10).images
    sheet = np.asarray(Image.open(tmp_path / "g.png"))
    assert sheet.shape == (88, 118)  # 3 rows of 4
    np.testing.assert_array_equal(sheet[30:58, 60:88], images[6, ..., 0])
    main(["generate", str(run.path), "--count", "10", "--out", str(tmp_path / "folder")])
    names = [f"{i:02}.png" for i in range(1, 11)]
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == names
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "folder/07.png")), images[6, ..., 0]
    )
    main(["generate", str(run.path), "--count", "10", "--out", str(tmp_path / "x.npz")])
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["x"], images)
    main(["generate", str(run.path), "--count", "16", "--interpolate", "--out",
          str(tmp_path / "i.png")])  # fmt: skip
    assert Image.open(tmp_path / "i.png").size == (238, 58)  # a row for each way


def test_colour_images_are_written_too(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    save_images(images, tmp_path / "f")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "f" / "3.png")), images[2])
    found = load_data(DataConfig(name=str(tmp_path / "f"), target_kind="none", val=0, test=0))
    assert found.counts == {"train": 4}  # what was made can be learnt from


def test_what_cannot_be_made_is_refused(run, classifier, tmp_path, capsys):
    for tokens, message in (
        ([classifier.path, "--out", tmp_path / "g.png"], "makes no images (lenet5)"),
        ([run.path, "--out", tmp_path / "g.jpg"], "a grid (.png), arrays (.npz) or a folder"),
        ([run.path, "--out", tmp_path / "g.png", "--count", "0"], "expected at least 1, found 0"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["generate", *map(str, tokens)])
        assert stopped.value.code == 2 and message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_finished_run_is_judged(run, classifier, tmp_path, capsys):
    given = ["judge", str(run.path), "--by", str(classifier.path)]
    main([*given, "--count", "100", "--json"])
    said = json.loads(capsys.readouterr().out)
    found = judge(run, classifier.path, count=100)
    figures = found.quality.metrics
    assert {name: said[name] for name in figures} == pytest.approx(figures)
    assert (said["run"], said["by"], said["split"]) == (str(run.path), str(classifier.path), "test")
    assert said["count"] == 100 and len(said["shares"]) == 10
    assert sum(share["generated"] for share in said["shares"].values()) == pytest.approx(1)
    assert figures["frechet"] > figures["frechet_floor"]
    found.save(tmp_path / "j.json")
    assert json.loads((tmp_path / "j.json").read_text("utf-8")) == found.to_dict()
    with pytest.raises(UserError, match=r"written as \.json"):
        found.save(tmp_path / "j.csv")
    reads = [line for line in run.history if line.get("event") == "test read"]
    assert [line["by"] for line in reads] == ["judge", "judge"]
    assert reads[-1]["metrics"] == pytest.approx(figures)
    main([*given, "--split", "val"])
    shown = capsys.readouterr().out
    assert "frechet_floor" in shown and "covered" in shown
    assert len([line for line in run.history if line.get("event") == "test read"]) == 2


def test_what_cannot_be_judged_is_refused(run, classifier):
    with pytest.raises(UserError, match="expected the run of a gan"):
        judge(classifier, run.path)
    with pytest.raises(UserError, match="expected at least 1, found 0"):
        judge(run, classifier.path, count=0)
    with pytest.raises(UserError, match="cannot judge images"):
        judge(run, run.path)
