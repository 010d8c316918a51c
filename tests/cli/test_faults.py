"""Mistakes and hostile input at the command line: one message, never a traceback."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from command import refused, run
from PIL import Image

import gradlab
from gradlab.cli import printing

LONG = "a" * 5000
DIGITS = "9" * 5000


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes of small images; names that a terminal would obey, and Chinese ones."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for shade, name in enumerate(("a\x1b[31mred", "猫")):
        (folder / name).mkdir()
        for number in range(20):
            pixels = generator.integers(0, 100, (8, 8)) + 150 * shade
            file = folder / name / f"{number}\x1b[2J.png"
            Image.fromarray(pixels.astype(np.uint8)).save(file)
    return folder


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    """A short run on them."""
    return gradlab.train(
        "softmax_regression",
        data=photos,
        epochs=1,
        out=tmp_path_factory.mktemp("runs"),
        name="photos",
        progress=False,
    )


def command(*arguments, **environment):
    """A command in a process of its own."""
    program = [sys.executable, "-m", "gradlab.cli", *map(str, arguments)]
    variables = {**os.environ, **environment}
    return subprocess.run(program, capture_output=True, env=variables, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="such file names cannot be")
def test_nothing_that_a_terminal_obeys_reaches_it(capsys, photos, trained, tmp_path):
    for arguments in (
        ["data", "check", photos],
        ["train", "softmax_regression", "--data", photos, "--epochs", 1, "--out", tmp_path],
        ["eval", trained.path],
        ["predict", trained.path, photos],
        ["runs", "--out", trained.path.parent],
    ):
        code, out, err = run(capsys, *arguments)
        assert code == 0 and "\x1b" not in out + err
    assert "\\x1b[31mred" in run(capsys, "eval", trained.path)[1]


@pytest.mark.skipif(sys.platform == "win32", reason="such file names cannot be")
def test_an_ascii_terminal_gets_numbers_for_what_it_cannot_show(trained, photos):
    for arguments in (["eval", trained.path], ["predict", trained.path, photos / "猫"]):
        done = command(*arguments, LC_ALL="C", PYTHONIOENCODING="ascii")
        assert done.returncode == 0, done.stderr
        assert b"\\u732b" in done.stdout and b"Traceback" not in done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs bytes as file names")
def test_a_class_name_that_is_not_utf8_is_refused(capsys, tmp_path):
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")  # noqa: PTH102
    (tmp_path / "b").mkdir()
    for name in (b"/caf\xe9", b"/b"):
        with open(os.fsencode(tmp_path) + name + b"/1.png", "wb") as file:  # noqa: PTH123
            Image.fromarray(np.zeros((8, 8), np.uint8)).save(file, "PNG")
    error = refused(capsys, "train", "mlp", "--data", tmp_path, "--out", tmp_path / "runs")
    assert "caf\\xe9" in error and "UTF-8" in error


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"], ["data", "list"]])
def test_a_full_disk_behind_the_output_is_said(arguments):
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "gradlab.cli", *arguments], stdout=full,
            stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    assert done.returncode == 2 and done.stderr.startswith(b"gradlab: the output cannot be written")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes differ")
def test_a_reader_that_has_gone_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "gradlab.cli", "list"], stdout=writing,
        stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(writing)
    assert done.returncode == 1 and done.stderr == b""


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors differ")
def test_streams_that_the_caller_has_closed_are_no_error(tmp_path):
    program = (
        "import os, sys; [os.close(n) for n in range(3)]; os.execv(sys.executable, "
        "[sys.executable, '-m', 'gradlab.cli', *sys.argv[1:]])"
    )
    for arguments in (
        ["list"],
        ["train", "softmax_regression", "--epochs", "1", "--out", str(tmp_path), "--name", "a"],
    ):
        assert (
            subprocess.run([sys.executable, "-c", program, *arguments], check=False).returncode == 0
        )
    run = gradlab.load(tmp_path / "a")
    assert run.finished and run.model and run.history[-1]["event"] == "end"


def test_a_metric_that_is_not_finite_is_null_in_json(capsys):
    printing.emit({"metrics": {"r2": float("nan")}}, True, print)
    assert json.loads(capsys.readouterr().out) == {"metrics": {"r2": None}}


def test_no_cell_of_a_table_is_cut_in_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, for the table
    monkeypatch.setenv("TERM", "dumb")
    name = "name" * 12
    printing.table(("a", "b"), [(name, name)])
    lines = capsys.readouterr().out.split("\n")
    assert max(map(len, lines)) <= 80 and "…" not in "".join(lines)
    assert "".join(lines).count("m") == 24


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "net.py", "--data", "iris"], "name the function that makes the network too"),
        (["train", "mlp", "--recipe", "x"], "unknown field 'recipe'"),
        (["train", "mlp", "--observers", "x"], "unknown field 'observers'"),
        (["train", "mlp", "--lrr", "1"], "did you mean 'lr' or 'optimizer.lr'"),
        (["train", "mlp", "--widhts", "1"], "did you mean 'model.widths'"),
        (["train", "lenet5", "--dropout", "0.1"], "'lenet5' has no option 'dropout'"),
        (["show", "mlp", "--wieght_decay", "1"], "did you mean 'optimizer.weight_decay'"),
        (["train", "mlp", "--smoothing", "1"], "did you mean 'task.label_smoothing'"),
        (["train", "mlp", "--optimizer.betas", "2,3"], "less than 1, found '2'"),
        (["train", "mlp", "--optimizer.lr", "inf"], "a finite number"),
        (["train", "mlp", "--data.augment.shift", "1000000"], "less than or equal to 4096"),
        (["train", "mlp", "--data.augment.shift", "8"], "8 pixels are more than images of 8"),
        (["train", "mlp", "--model.widths", "100000000"], "less than or equal to 65536"),
        (["train", "mlp", "--batch-size", DIGITS[:30]], "plan.batch_size"),
        (["train", "mlp", "--epochs", DIGITS], "--epochs"),
        (["train", "mlp", "--optimizer.lr", DIGITS], "optimizer.lr"),
        (["train", "mlp", "--data.limit", DIGITS], "data.limit"),
        (["train", LONG], "unknown recipe"),
        (["train", f"{LONG}.toml"], "cannot be read"),
        (["train", "mlp", f"--{LONG}", "1"], "unknown field"),
        (["train", "mlp", "--data", LONG], "is no path"),
        (["train", "mlp", "--name", LONG], "--name"),
        (["eval", LONG], "is no path"),
        (["runs", "--out", LONG], "is no path"),
        (["runs", "remove", LONG], "is no path"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_hostile_value_gets_a_short_answer(capsys, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    error = refused(capsys, *arguments)
    assert expected in error and len(error) < 1500
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_a_value_of_openmp_that_is_none_is_passed_over(tmp_path):
    done = command(
        "train", "softmax_regression", "--epochs", 1, "--out", tmp_path, OMP_NUM_THREADS="0"
    )
    assert done.returncode == 0 and b"Traceback" not in done.stderr


def test_list_does_not_load_torch():
    program = (
        "import sys; from gradlab.cli import main; main(['list'])\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)


def test_it_is_known_which_sets_are_downloaded():
    from gradlab.data import datasets
    from gradlab.data.here import DOWNLOADED

    shipped = {name for name in datasets if datasets[name].__module__.endswith(".embedded")}
    assert set(datasets) - shipped == set(DOWNLOADED)
