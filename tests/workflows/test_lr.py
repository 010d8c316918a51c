"""The learning rate range test: a rate that trains, figures, and no trace."""

import json

import pytest
import torch
from command import refused, run
from PIL import Image
from sklearn.datasets import load_iris
from torch import nn

import gradlab

QUIET = {"threads": 1}


@pytest.fixture(scope="module")
def found():
    return gradlab.find_lr("softmax_regression", data="iris", **QUIET)


def test_the_suggested_rate_lies_on_the_way_down(found):
    losses = torch.tensor(found.losses)
    place = found.rates.index(min(found.rates, key=lambda rate: abs(rate - found.suggested)))
    assert 1e-7 < found.suggested < found.rates[int(losses.argmin())]
    assert losses[place] < 0.8 * losses[0] and len(found.rates) == len(found.losses) <= 100
    assert found.tuned == 3e-3


def test_it_trains_about_as_well_as_the_recipes_own(found, tmp_path):
    options = {"data": "iris", "epochs": 60, "test": False, "progress": False, **QUIET}
    own = gradlab.train("softmax_regression", out=tmp_path, **options)
    run = gradlab.train("softmax_regression", out=tmp_path, lr=found.suggested, **options)
    assert run.metrics["train"]["loss"] < own.metrics["train"]["loss"] + 0.05


def test_it_is_the_same_again_and_leaves_the_generator_alone(found):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again = gradlab.find_lr("softmax_regression", data="iris", **QUIET)
    assert again == found and torch.equal(torch.get_rng_state(), before)


def test_a_network_of_ones_own_has_its_weights_back():
    x, y = load_iris(return_X_y=True)
    network = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = gradlab.find_lr(
        network, data=(x.astype("float32"), y), loss=nn.CrossEntropyLoss(), batch_size=32, **QUIET
    )
    assert 1e-4 < found.suggested < 1
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_the_command_writes_figure_and_json_and_leaves_no_run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = [part for name in ("a.png", "a.svg", "a.json") for part in ("--out", name)]
    code, out, _ = run(capsys, "lr", "linear_regression", "--threads", 1, *files)
    assert code == 0 and "suggested" in out and "written: a.svg" in out
    record = json.loads((tmp_path / "a.json").read_text())
    assert f"--lr {record['suggested_lr']:.2g}" in out and record["data"] == "diabetes"
    with Image.open(tmp_path / "a.png") as figure:
        assert figure.format == "PNG"
    assert "var(--" not in (tmp_path / "a.svg").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.png", "a.svg"]


def test_what_has_no_rate_is_refused(capsys):
    assert "a.gif" in refused(capsys, "lr", "mlp", "--out", "a.gif")
    assert "did you mean 'lr'" in refused(capsys, "lr", "mlp", "--lrr", "1")
    assert "'gan' (dcgan) has none" in refused(
        capsys, "lr", "dcgan", "--data", "digits", "--image-size", 28, "--model.width", 4
    )
