"""Bad input and faults of the machine, as a person meets them: on the command line."""

import json
import os
import resource
import shutil
import subprocess
import sys
import zlib

import numpy as np
import pytest
from command import run as command
from PIL import Image

import gradlab
from gradlab import files
from gradlab.cli import main

TRAIN = ["train", "mlp", "--epochs", "2", "--no-test"]


@pytest.fixture
def refused(capsys, tmp_path, monkeypatch):
    """Runs a command that must be refused; returns the message."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as leave:
            main([str(a) for a in arguments])
        said = capsys.readouterr()
        assert leave.value.code == 2, said.err
        assert said.out == "" and "Traceback" not in said.err
        return " ".join(said.err.split())

    return run


def photos(folder, classes=("ant", "bee"), count=12, size=16):
    rng = np.random.default_rng(0)
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 100, (size, size, 3), dtype=np.uint8) + 100 * number
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{i}.png")
    return folder


def test_good_photos_are_learnt(tmp_path):
    run = gradlab.train(
        "mlp", data=str(photos(tmp_path / "p")), out=tmp_path, epochs=20, progress=False
    )
    assert run.metrics["test"]["accuracy"] == 1.0


def test_a_missing_and_an_empty_data_folder(refused, tmp_path):
    assert "nowhere" in refused(*TRAIN, "--data", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(*TRAIN, "--data", tmp_path / "empty")


def test_one_class(refused, tmp_path):
    message = refused(*TRAIN, "--data", photos(tmp_path / "p", classes=("ant",)))
    assert "class" in message and "ant" in message


def test_a_truncated_image_and_a_file_that_is_no_image_are_named(refused, tmp_path):
    folder = photos(tmp_path / "p")
    whole = (folder / "ant" / "3.png").read_bytes()
    (folder / "ant" / "3.png").write_bytes(whole[: len(whole) // 2])
    (folder / "bee" / "4.png").write_text("no image at all")
    message = refused(*TRAIN, "--data", folder, "--data.unreadable", "refuse")
    assert "3.png" in message and "4.png" in message


def test_a_table_without_the_target_column(refused, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("height,weight,kind\n" + "".join(f"{i},{i * 2},{i % 2}\n" for i in range(40)))
    assert "kind" in refused(*TRAIN, "--data", table, "--data.target", "kimd")
    assert "--data.target" in refused(*TRAIN, "--data", table)


def test_a_target_of_missing_values_alone(refused, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("height,kind\n" + "".join(f"{i},\n" for i in range(40)))
    assert "missing" in refused(*TRAIN, "--data", table, "--data.target", "kind")


def bomb(path):
    """A PNG whose header promises 40,000 x 40,000 pixels."""
    path.parent.mkdir(exist_ok=True)
    Image.new("L", (1, 1)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = (40_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)
    return path


def test_a_decompression_bomb_is_refused(refused, finished, tmp_path, capsys):
    path = bomb(photos(tmp_path / "p") / "ant" / "large.png")
    message = refused(*TRAIN, "--data", tmp_path / "p", "--data.unreadable", "refuse")
    assert "large.png" in message and "decompression bomb" in message
    code, _, message = command(capsys, "predict", finished, path)
    assert code == 1 and "large.png skipped: " in message and "decompression bomb" in message


def test_four_images_are_too_few(refused, tmp_path):
    assert "2 images each" in refused(*TRAIN, "--data", photos(tmp_path / "q", count=1))
    message = refused(*TRAIN, "--data", photos(tmp_path / "p", count=2))
    assert "too few to hold out" in message and "--data.val" in message


def test_weights_of_another_network(refused, finished, tmp_path):
    message = refused("train", "lenet5", "--weights", finished, "--out", tmp_path)
    assert "weights of another network: conv1.weight: expected (6, 1, 5, 5)" in message
    assert "more" in message and not list(tmp_path.glob("lenet5*"))


def test_weights_of_other_classes_get_a_new_last_layer(capsys, finished, tmp_path):
    small = photos(tmp_path / "p", size=8)
    fields = ["--data.channels", "1", "--data.image_size", "8", "--out", str(tmp_path / "runs")]
    main([*TRAIN, "--data", str(small), "--weights", str(finished), *fields])
    said = " ".join(capsys.readouterr().err.split())
    assert "the last layer" in said and 'is new (it was for 10 classes: ["0", "1", "2"]' in said


def test_published_weights_that_are_not_there(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADLAB_DATA", str(tmp_path / "cache"))
    message = refused(*TRAIN, "--weights", "resnet18")
    assert "gradlab weights get resnet18" in message and str(tmp_path / "cache") in message
    message = refused(*TRAIN, "--weights", "resnet19")
    assert "resnet19" in message and "gradlab weights list" in message


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    return gradlab.train("mlp", out=out, epochs=2, name="a", progress=False, test=False).path


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


def test_a_run_that_is_absent_half_written_or_edited(refused, copied):
    assert "there is no run" in refused("eval", "absent")
    recipe = copied / "recipe.json"
    text = recipe.read_text()
    recipe.write_text(text[: len(text) // 2])
    assert "edited or cut short" in refused("eval", copied)
    recipe.write_text(text.replace('"batch_size"', '"batch_sise"'))
    assert "did you mean 'plan.batch_size'" in refused("eval", copied)
    recipe.write_text(text.replace('"dropout": 0.25', '"dropout": 0.5'))
    assert "edited after this checkpoint" in refused("eval", copied)
    recipe.unlink()
    assert "no recipe.json" in refused("resume", copied)


def test_a_checkpoint_of_another_shape(refused, copied):
    """A recipe and a checkpoint that agree in their hashes, but not in their shapes."""
    import torch

    from gradlab.engine import RunFolder

    run = RunFolder.open(copied)
    progress, state = run.load("best")
    state["model"]["1.weight"] = torch.zeros(3, 3)
    run.save("best", progress, state)
    message = refused("eval", copied)
    assert "1.weight: expected (800, 64), found (3, 3)" in message


def test_changed_data_is_refused(refused, tmp_path):
    folder = photos(tmp_path / "p")
    run = gradlab.train("mlp", data=str(folder), out=tmp_path, epochs=1, progress=False)
    (folder / "ant" / "0.png").unlink()
    assert "has changed since this run" in refused("eval", run.path)


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path):
    """The system refuses files beyond a size, as a full disk does: here in mid-training."""
    program = (
        "import resource, signal, sys, gradlab\n"
        "from gradlab.cli import main\n"
        "from gradlab.engine import Observer\n"
        "import gradlab.workflows.train as training\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "class Fill(training.Console):\n"
        "    def evaluated(self, progress, line):\n"
        "        if progress.epoch == 3:\n"
        "            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, -1))\n"
        "training.Console = Fill\n"
        f"main(['train', 'mlp', '--out', {str(tmp_path)!r}, '--name', 'a', '--epochs', '9',"
        " '--model.widths=200,'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "disk (or your quota) is full" in done.stderr and "Traceback" not in done.stderr
    again = gradlab.resume(tmp_path / "a", progress=False)
    straight = gradlab.train(
        "mlp", out=tmp_path, epochs=9, name="b", progress=False, **{"model.widths": "200,"}
    )
    assert again.metrics == straight.metrics
    assert not list((tmp_path / "a" / "checkpoints").glob(".*"))


def test_no_write_permission(refused, tmp_path, monkeypatch):
    """Root may write anywhere, so the refusal is what the system would say to others."""
    real = files.os.replace

    def denied(a, b):
        if "checkpoints" in str(b):
            raise PermissionError(13, "Permission denied", str(b))
        return real(a, b)

    monkeypatch.setattr(files.os, "replace", denied)
    message = refused(*TRAIN, "--out", tmp_path / "runs")
    assert "no permission to write there" in message and "--out" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only(refused, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    assert "no permission" in refused(*TRAIN, "--out", tmp_path / "closed" / "runs")


def test_a_training_that_diverges_says_where_and_keeps_its_run(refused, tmp_path):
    message = refused(
        "train",
        "linear_regression",
        "--optimizer.lr",
        "1e20",
        "--plan.log_steps",
        "3",
        "--out",
        tmp_path,
        "--name",
        "a",
        "--schedule",
        "constant",
    )
    assert "diverged at step" in message and "learning rate 1e+20" in message
    assert "layer" in message and "--lr 1e+19" in message
    state = json.loads((tmp_path / "a" / "checkpoints" / "last" / "state.json").read_text())
    assert state["progress"]["step"] >= 0


def test_the_limit_of_file_sizes_is_as_it_was():
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
