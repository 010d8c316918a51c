"""The command line: one clear message and exit code 2 for a mistake, one JSON object on request."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import refused, run
from PIL import Image

import gradlab
from gradlab import machine
from gradlab.cli import main
from gradlab.cli.options import joined

QUICK = ["--epochs", "2", "--no-test"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short run of softmax regression on the digits."""
    out = tmp_path_factory.mktemp("runs")
    return gradlab.train("softmax_regression", out=out, name="a", epochs=6, progress=False)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "lenet"], "unknown recipe 'lenet': did you mean 'lenet5'"),
        (["train", "mlp", "--optimizer.lrr", "1"], "did you mean 'optimizer.lr'"),
        (["train", "mlp", "--optimiser", "adam"], "did you mean 'optimizer"),
        (
            ["train", "mlp", "--optimizer.lr", "fast"],
            "optimizer.lr: input should be a valid number",
        ),
        (["train", "mlp", "--optimizer.lr", "-1"], "greater than 0, found '-1'"),
        (["train", "mlp", "--optimizer", "adamm"], "optimizer.name: input should be 'sgd'"),
        (["train", "mlp", "--model", "lenet6"], "unknown model 'lenet6': did you mean 'lenet5'"),
        (["train", "mlp", "--model.width", "3"], "did you mean 'widths'"),
        (["train", "mlp", "--task.smooth", "3"], "label_smoothing"),
        (["train", "mlp", "--epochs", "0"], "plan.epochs: input should be greater than or equal"),
        (["train", "mlp", "--epochs", "many"], "many"),
        (["train", "mlp", "--data", "minst"], "mnist"),
        (["train", "mlp", "--device", "tpu"], "expected auto, cpu, cuda"),
        (["train", "mlp", "--task", "regression"], "regression needs a number"),
        (["train", "mlp", "--data", "diabetes", "--task", "classification"], "needs classes"),
        (["train", "mlp", "--data", "iris", "--task", "binary"], "two classes, found 3"),
        (["train", "linear_regression", "--data", "digits"], "regression needs a number"),
        (["resume", "nowhere"], "there is no run nowhere"),
        (["eval", "nowhere"], "there is no run nowhere"),
        (["predict", "nowhere", "x.png"], "there is no run nowhere"),
        (["show", "nothing"], "unknown recipe 'nothing'"),
        (["data", "get", "mnst"], "did you mean 'mnist'"),
        (["reproduce", "mlp", "--data", "iris"], "datasets with one: mnist"),
        (["trian", "mlp"], 'Did you mean "train"'),
        (["train", "--recipe", "mlp"], "--recipe is no option, it comes first: gradlab train mlp"),
        (["train", "--recipe=mlp", "--epochs", "1"], "it comes first: gradlab train mlp"),
        (["train"], "nothing says what to train"),
    ],
)
def test_a_mistake_gives_one_message_and_code_2(capsys, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    assert expected in refused(capsys, *arguments)


def test_json_of_train_is_one_object_and_progress_goes_to_stderr(capsys, tmp_path):
    code, out, err = run(capsys, "train", "mlp", "--out", tmp_path, "--json", *QUICK)
    record = json.loads(out)
    assert code == 0
    assert list(record) == [
        "run",
        "recipe",
        "data",
        "seed",
        "metrics",
        "baselines",
        "left_out",
        "verdict",
        "decision",
        "notes",
        "seconds",
        "examples_per_second",
        "best_epoch",
    ]
    assert set(record["metrics"]) == {"train", "val"} and record["data"] == "digits"
    assert "epoch   2/2" in err


def test_the_table_shows_every_split_and_the_report_is_there(capsys, tmp_path):
    code, out, _ = run(capsys, "train", "softmax_regression", "--out", tmp_path, "--epochs", 2)
    assert code == 0
    assert all(word in out for word in ("train", "val", "test", "accuracy", "examples/s"))
    path = Path(out.rsplit("report: ", 1)[1].strip())
    page = path.read_text(encoding="utf-8")
    assert "<html" in page and "http://" not in page.replace("http://www.w3.org", "")


def test_dotted_fields_short_names_and_flags_reach_the_recipe(capsys):
    code, out, _ = run(
        capsys,
        "show",
        "mlp",
        "--model.widths",
        "32,16",
        "--model.batch-norm",
        "--data.augment.flip",
        "--optimizer",
        "momentum",
        "--optimizer.momentum=0.5",
        "--json",
    )
    recipe = json.loads(out)
    assert code == 0
    assert recipe["model"] == {
        "name": "mlp",
        "widths": [32, 16],
        "dropout": 0.25,
        "batch_norm": True,
    }
    assert recipe["data"]["augment"]["flip"] is True
    assert (recipe["optimizer"]["name"], recipe["optimizer"]["momentum"]) == ("momentum", 0.5)


def test_options_of_a_model_are_read_with_their_types(tmp_path):
    run = gradlab.train(
        "mlp",
        out=tmp_path,
        epochs=1,
        test=False,
        progress=False,
        **{"model.widths": "32,16", "model.batch_norm": "true", "model.activation": "tanh"},
    )
    kinds = [type(layer).__name__ for layer in run.model]
    assert kinds == [
        "Flatten",
        "Linear",
        "BatchNorm1d",
        "Tanh",
        "Dropout",
        "Linear",
        "BatchNorm1d",
        "Tanh",
        "Dropout",
        "Linear",
    ]
    assert [layer.out_features for layer in run.model if hasattr(layer, "out_features")] == [
        32,
        16,
        10,
    ]


def test_negative_values_and_values_with_equal_signs_are_values():
    assert joined(["--a.b", "-1", "--c.d=x=y"]) == ["--a:b=-1", "--c:d=x=y"]


def test_eval_prints_per_class_figures_and_records_the_reading_of_test(capsys, trained):
    code, out, _ = run(capsys, "eval", trained.path, "--json")
    record = json.loads(out)
    assert code == 0
    assert record["metrics"]["accuracy"] == trained.metrics["test"]["accuracy"]
    assert np.sum(record["confusion"]) == 269
    assert record["per_class"]["0"]["recall"] > 0.8
    reads = [
        line for line in gradlab.load(trained.path).history if line.get("event") == "test read"
    ]
    assert reads


def test_predict_answers_for_files_folders_and_names_what_it_cannot_read(capsys, trained, tmp_path):
    digit = trained.dataset.splits["test"]
    for i in range(3):
        Image.fromarray(digit["image"][i][..., 0]).save(tmp_path / f"{i}.png")
    code, out, _ = run(capsys, "predict", trained.path, tmp_path, "--json")
    found = json.loads(out)["predictions"]
    assert code == 0 and len(found) == 3
    assert sum(p["answer"] == str(t) for p, t in zip(found, digit["label"][:], strict=False)) >= 2
    assert found[0]["probability"] == found[0]["top"][0][1]
    (tmp_path / "broken.png").write_bytes(b"no image")
    code, out, err = run(capsys, "predict", trained.path, tmp_path / "broken.png", "--json")
    assert code == 1 and "broken.png skipped: it is no image" in err
    assert json.loads(out)["skipped"]["count"] == 1 and json.loads(out)["predictions"] == []
    assert "missing.png" in refused(capsys, "predict", trained.path, tmp_path / "missing.png")


def test_resume_of_a_finished_run_says_so_and_exits_0(capsys, trained):
    code, out, err = run(capsys, "resume", trained.path, "--json")
    assert code == 0 and "finished already" in err
    assert json.loads(out)["metrics"]["test"] == trained.metrics["test"]


def test_the_test_split_is_left_alone_until_the_end(tmp_path):
    run = gradlab.train("mlp", out=tmp_path, epochs=3, progress=False, test=False)
    assert "test" not in run.metrics
    assert not [line for line in run.history if line.get("split") == "test"]


@pytest.mark.parametrize("arguments", [["list"], ["show", "lenet5"], ["data", "list"]])
def test_lists_are_tables_and_json(capsys, arguments):
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    assert "lenet5" in out or "mnist" in out
    code, out, _ = run(capsys, *arguments, "--json")
    assert json.loads(out)


def test_help_and_import_load_neither_torch_nor_numpy():
    program = (
        "import sys; import gradlab; from gradlab.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("[]")
    assert "train" in done.stdout


def test_a_folder_without_permission_is_said(capsys, tmp_path):
    (tmp_path / "file").write_text("x")
    err = refused(capsys, "train", "mlp", "--out", tmp_path / "file" / "runs", *QUICK)
    assert "cannot write" in err and "--out" in err


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory):
    """Two members of softmax regression."""
    out = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(out)
        main(["train", "softmax_regression", "--ensemble", "2", "--epochs", "2", "--name", "two"])
    return out / "runs" / "two"


def test_an_ensemble_is_trained_evaluated_predicted_with_and_resumed(
    capsys, ensemble, trained, tmp_path
):
    loaded = gradlab.load(ensemble)
    assert len(loaded.members) == 2 and set(loaded.metrics) == {"val", "test"}
    code, out, _ = run(capsys, "eval", ensemble, "--json")
    whole = json.loads(out)
    assert code == 0 and whole["metrics"] == loaded.metrics["test"]
    members = [ensemble / f"member-{i}" for i in range(2)]
    code, out, _ = run(capsys, "eval", *members, "--json")
    assert json.loads(out)["gain"] == whole["gain"]
    code, out, _ = run(capsys, "eval", *members)
    assert code == 0 and "gain over mean" in out and "best member" in out
    Image.fromarray(loaded.dataset.splits["test"]["image"][0][..., 0]).save(tmp_path / "0.png")
    code, out, _ = run(capsys, "predict", ensemble, tmp_path / "0.png", "--json")
    assert code == 0 and len(json.loads(out)["predictions"][0]["top"]) == 5
    code, out, err = run(capsys, "resume", ensemble)
    assert code == 0 and "finished already" in err and str(ensemble) in out
    assert "is an ensemble itself" in refused(capsys, "eval", ensemble, trained.path)
    assert "at least 2" in refused(capsys, "train", "mlp", "--ensemble", "1", "--out", tmp_path)


def test_features_are_written_and_said(capsys, trained, tmp_path):
    path = tmp_path / "f.npz"
    code, out, _ = run(capsys, "features", trained.path, "--split", "val", "--out", path, "--json")
    record = json.loads(out)
    assert code == 0 and record["examples"] == {"val": 153} and record["features"] == 64
    with np.load(path) as arrays:
        assert arrays["x"].shape == (153, 64)
    assert ".parquet or .npz" in refused(capsys, "features", trained.path, "--out", "f.csv")
    refusal = refused(capsys, "features", trained.path, "--layer", "x1", "--out", path)
    assert "unknown layer 'x1'" in refusal


def test_similar_images_are_listed_and_drawn(capsys, trained, tmp_path):
    Image.fromarray(trained.dataset.splits["test"]["image"][0][..., 0]).save(tmp_path / "q.png")
    code, out, _ = run(
        capsys,
        "similar",
        trained.path,
        tmp_path / "q.png",
        "--count",
        3,
        "--out",
        tmp_path / "grid.png",
        "--json",
    )
    assert code == 0 and len(json.loads(out)["neighbours"]) == 3
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.format == "PNG"
    code, out, _ = run(capsys, "similar", trained.path, tmp_path / "q.png")
    assert code == 0 and "similarity" in out
    assert ".png" in refused(
        capsys, "similar", trained.path, tmp_path / "q.png", "--out", tmp_path / "grid.gif"
    )


def test_the_same_run_twice_is_no_ensemble(capsys, trained):
    other = trained.path / ".." / trained.path.name
    assert "is named more than once" in refused(capsys, "eval", trained.path, other)


def test_images_that_are_too_large_for_a_network_are_refused(capsys, tmp_path, monkeypatch):
    for name in (
        "ants/0.png",
        "ants/1.png",
        "bees/0.png",
        "bees/1.png",
        "bees/2.png",
        "ants/2.png",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (8, 8), len(name) + ord(name[0]) + int(name[5])).save(tmp_path / name)
    arguments = ["--data", tmp_path, "--out", tmp_path / "runs", *QUICK]
    said = refused(capsys, "train", "mlp", *arguments, "--data.image_size", "4000")
    assert "more than 1,000,000,000 parameters" in said and "--data.image_size" in said
    monkeypatch.setattr(machine, "memory", lambda: 1_000_000)
    said = refused(capsys, "train", "mlp", *arguments)
    assert (
        "takes at least" in said and "0.0 GB are free: choose a smaller --data.image_size" in said
    )
    assert not (tmp_path / "runs").exists()
