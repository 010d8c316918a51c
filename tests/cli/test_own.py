"""Recipes and networks in files of one's own, and data held in Python."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch
from command import refused, run

import gradlab
from gradlab.recipes import find, recipes

NET = """
from torch import nn

def make_net(inputs, outputs, width=16, dropout: float = 0.0):
    return nn.Sequential(
        nn.Linear(inputs[0], width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, outputs)
    )
"""


@pytest.fixture
def net(tmp_path):
    """A network in a file."""
    path = tmp_path / "net.py"
    path.write_text(NET, encoding="utf-8")
    return path


def train(net, tmp_path, *more):
    return ["train", f"{net}:make_net", "--data", "iris", "--epochs", "2", "--out", tmp_path / "r",
            "--name", "a", *more]  # fmt: skip


@pytest.mark.parametrize("recipe", ["mlp", "lenet5", "dqn", "autoencoder", "dcgan"])
def test_a_recipe_shown_as_toml_is_the_same_recipe(capsys, tmp_path, recipe):
    code, out, _ = run(capsys, "show", recipe, "--toml")
    path = tmp_path / "mine.toml"
    path.write_text(out, encoding="utf-8")
    assert code == 0
    assert json.loads(run(capsys, "show", path, "--json")[1]) == json.loads(
        run(capsys, "show", recipe, "--json")[1]
    )


def test_options_are_shown_in_their_types(capsys):
    arguments = ("show", "mlp", "--model.widths", "32,16", "--model.batch_norm", "true", "--json")
    model = json.loads(run(capsys, *arguments)[1])["model"]
    assert model["widths"] == [32, 16] and model["batch_norm"] is True


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.toml", "x = = 1", "is no TOML"),
        ("a.json", "[" * 100_000, "is no JSON"),
        ("a.json", "5", "expected the fields of a recipe, found int"),
        ("a.toml", "names = 1", "did you mean 'name'"),
        ("a.toml", "", "model: field required"),
    ],
)
def test_a_file_that_is_no_recipe_is_said(capsys, tmp_path, name, text, expected):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert expected in refused(capsys, "show", tmp_path / name)


def test_a_network_in_a_file_is_trained_opened_and_resumed(capsys, tmp_path, net):
    code, out, err = run(capsys, *train(net, tmp_path, "--model.width", "8", "--json"))
    assert code == 0 and f"running {net}: the network is its make_net" in err
    opened = gradlab.load(tmp_path / "r" / "a")
    assert opened.model[0].out_features == 8
    assert opened.evaluate("test") == json.loads(out)["metrics"]["test"]
    assert run(capsys, "resume", opened.path)[0] == 0
    net.write_text(NET + "\n# changed", encoding="utf-8")
    assert "has changed since this run was made" in refused(capsys, "eval", opened.path)


def test_what_is_wrong_with_a_network_in_a_file_is_said(capsys, tmp_path, net):
    assert "did you mean 'width'" in refused(capsys, *train(net, tmp_path, "--model.widht", "8"))
    assert "valid integer" in refused(capsys, *train(net, tmp_path, "--model.width", "many"))
    assert "did you mean 'make_net'" in refused(capsys, "train", f"{net}:make_nt", "--data", "iris")
    assert "there is no file" in refused(capsys, "train", "none.py:f")
    assert not (tmp_path / "r").exists()


def test_code_that_comes_with_a_run_is_never_executed(capsys, tmp_path, net):
    run(capsys, *train(net, tmp_path))
    folder = tmp_path / "r" / "a"
    shutil.copy(net, folder / "net.py")
    record = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    for inside in (folder / "net.py", folder / ".." / "a" / "net.py"):
        record["recipe"]["model"]["name"] = f"{inside}:make_net"
        (folder / "recipe.json").write_text(json.dumps(record), encoding="utf-8")
        error = refused(capsys, "eval", folder)
        assert "never executed" in error and "running" not in error


def test_a_data_frame_is_learnt_from_and_resumed(tmp_path):
    frame = pl.DataFrame({"a": range(200), "b": [i * 7 % 13 for i in range(200)]})
    frame = frame.with_columns(
        kind=pl.when(pl.col("b") > 6).then(pl.lit("x")).otherwise(pl.lit("y"))
    )
    options = {"target": "kind", "epochs": 3, "progress": False, "keep_data": False}
    done = gradlab.train("mlp", data=frame, out=tmp_path, name="a", **options)
    assert done.record["dataset"]["name"] == "data frame" and done.schema.targets["label"]
    again = gradlab.load(done.path)
    assert again.predict([{"a": 1, "b": 12}])[0].answer
    with pytest.raises(gradlab.UserError, match=r"data=\.\.\."):
        again.evaluate("test")
    shutil.rmtree(done.path / "checkpoints")
    (done.path / "metrics.jsonl").unlink()
    resumed = gradlab.resume(done.path, data=frame, progress=False)
    before, after = done.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    (done.path / "metrics.jsonl").unlink()
    with pytest.raises(gradlab.UserError, match="has changed"):
        gradlab.resume(done.path, data=frame.head(100), progress=False)
    with pytest.raises(gradlab.UserError, match="found int"):
        gradlab.train("mlp", data=5, out=tmp_path)


def test_help_of_train_lists_the_fields_of_the_recipe(capsys):
    code, out, _ = run(capsys, "train", "mlp", "--help")
    assert code == 0 and "--batch-size" in out
    assert all(word in out for word in ("model.widths", "task.label_smoothing", "optimizer.lr"))
    for arguments in (["--help", "mlp"], ["--epochs", "3", "mlp", "-h"]):
        assert "model.widths" in run(capsys, "train", *arguments)[1]


def test_what_is_shown_fits_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for arguments in (["show", "mlp"], ["list"]):
        _, out, _ = run(capsys, *arguments)
        assert max(map(len, out.split("\n"))) <= 80


def test_recipes_are_listed_by_kind_in_families(capsys):
    _, out, _ = run(capsys, "list")
    kinds = [line for line in out.split("\n") if line and not line.startswith(" ")][:-1]
    assert len(kinds) == len(set(kinds))
    assert set(kinds) == {find(name).kind for name in recipes} and "my own" not in out
    assert "  resnet110, resnet20, resnet32, resnet44, resnet56" in out.split("\n")


def test_a_pipe_gets_whole_lines_and_every_option_with_its_short_name(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    for arguments in (["show", "mlp"], ["train", "mlp", "--help"]):
        lines = [line.strip() for line in run(capsys, *arguments)[1].split("\n")]
        place = lines.index("optimizer.weight_decay = 0.01")
        assert lines[place + 1] == "--weight-decay: strength of weight decay"
        assert "model.activation = relu" in lines and "task.loss = cross_entropy" in lines
        assert any(len(line) > 80 for line in lines)


@pytest.mark.parametrize("spelled", [str, lambda name: name.replace("-", "_")])
def test_short_names_are_guessed_in_both_spellings(capsys, spelled):
    given = {
        "lr": 0.5, "batch-size": 7, "patience": 4, "target": "x", "image-size": 16,
        "weight-decay": 0.3, "dropout": 0.1, "widths": "9,8", "activation": "tanh",
    }  # fmt: skip
    typed = [part for name, value in given.items() for part in (f"--{spelled(name)}", value)]
    code, out, _ = run(capsys, "show", "mlp", *typed, f"--{spelled('batch-norm')}", "--json")
    recipe = json.loads(out)
    assert code == 0 and recipe["model"] == {
        "name": "mlp", "widths": [9, 8], "dropout": 0.1, "activation": "tanh", "batch_norm": True,
    }  # fmt: skip
    assert (recipe["optimizer"]["lr"], recipe["optimizer"]["weight_decay"]) == (0.5, 0.3)
    assert (recipe["plan"]["batch_size"], recipe["plan"]["patience"]) == (7, 4)
    assert (recipe["data"]["target"], recipe["data"]["image_size"]) == ("x", 16)


def test_a_short_name_belongs_to_the_network_that_is_meant():
    assert find("lenet5", {"model": "mlp", "dropout": 0.1}).model.options["dropout"] == 0.1
    with pytest.raises(gradlab.UserError, match="'lenet5' has no option 'dropout'"):
        find("mlp", {"model": "lenet5", "dropout": 0.1})


def test_without_a_recipe_the_usual_one_for_the_kind_of_data_is_trained(capsys, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("a,b\n" + "".join(f"{n * 7 % 11},{n % 3}\n" for n in range(60)), "utf-8")
    common = ["--epochs", 1, "--out", tmp_path / "runs", "--threads", 1, "--json"]
    code, out, err = run(capsys, "train", "--data", table, "--target", "b", *common)
    assert code == 0 and json.loads(out)["recipe"] == "tabular" and "tabular on " in err
    for given, said in (
        ([], "nothing says what to train"),
        (["--data", "breast_cancer"], "name a recipe too"),
        (["--data", "nowhere.csv"], "neither a named dataset nor a path that exists"),
        (["--data", __file__], "name a recipe"),
    ):
        code, _, err = run(capsys, "train", *given)
        assert code == 2 and said in err


def test_what_is_said_of_a_table_or_lies_in_a_folder_decides_too():
    from gradlab.recipes.usual import usual

    here = Path(__file__).parents[1]
    assert usual(here / "series" / "tides.csv", ["data.horizon"]) == "forecaster"
    assert usual(here / "series" / "tides.csv", ["text"]) == "nbsvm"
    assert usual(here / "series" / "tides.csv") == "tabular"
    assert usual(here / "films") == "nbsvm"


def test_each_kind_of_data_has_a_recipe():
    from typing import get_args

    from gradlab.data.kinds import Kind
    from gradlab.recipes import recipes
    from gradlab.recipes.usual import USUAL

    assert set(USUAL) == set(get_args(Kind)) and set(USUAL.values()) <= set(recipes)
