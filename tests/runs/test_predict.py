"""Predictions on the command line: the table, the file, and what was converted."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import gradlab
from gradlab.cli import main
from gradlab.runs import Ensemble

QUIET = {"progress": False, "test": False}
EACH = [f"probability_{n}" for n in range(10)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    return [
        gradlab.train("softmax_regression", out=out, epochs=3, seed=seed, **QUIET)
        for seed in (0, 1)
    ]


@pytest.fixture
def digits(runs, tmp_path):
    folder = tmp_path / "digits"
    folder.mkdir()
    for i, image in enumerate(runs[0].dataset.splits["test"]["image"][:3]):
        Image.fromarray(image[..., 0]).save(folder / f'é, "{i}".png')
    return folder


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_answers_are_written_as_they_are(runs, digits, tmp_path, capsys):
    file = tmp_path / "new" / "answers.txt"
    main(["predict", str(runs[0].path), str(digits), "--csv", str(file)])
    said = capsys.readouterr()
    assert f"csv: {file}" in said.out and said.err == ""
    header, *rows = rows_of(file)
    assert header == ["input", "answer", "probability", *EACH]
    answers = runs[0].predict([digits])
    assert len(rows) == 3
    for row, answer in zip(rows, answers, strict=True):
        said = answer.answer
        assert row[:2] == [answer.name, said.label] and float(row[2]) == max(map(float, row[3:]))
        assert np.array_equal(np.float32(row[3:]), said.values)
        assert [(k, float(row[3 + int(k)])) for k, _ in said.top] == [
            (k, pytest.approx(p, rel=1e-8)) for k, p in said.top
        ]
    text = file.read_bytes().decode("utf-8")
    assert "\r" not in text and text.endswith("\n") and '"" ' not in text
    assert [path.name for path in file.parent.iterdir()] == ["answers.txt"]


def test_an_ensemble_writes_its_own(runs, digits, tmp_path, capsys):
    ensemble = Ensemble.of(runs)
    ensemble.save(tmp_path / "e")
    main(["predict", str(tmp_path / "e"), str(digits), "--csv", str(tmp_path / "a.csv"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["csv"] == str(tmp_path / "a.csv") and found["notes"] == []
    _, *rows = rows_of(tmp_path / "a.csv")
    both = [run.predict([digits]) for run in runs]
    for row, one, other in zip(rows, *both, strict=True):
        mean = sum(dict(run.answer.top).get(row[1], 0) for run in (one, other)) / 2
        assert float(row[2]) == pytest.approx(mean, abs=1e-5)


def test_a_number_is_a_number_alone(tmp_path, capsys):
    rng = np.random.default_rng(0)
    a = rng.normal(size=60)
    table = tmp_path / "t.csv"
    table.write_text("a,y\n" + "".join(f"{v},{3 * v + 1}\n" for v in a), encoding="utf-8")
    run = gradlab.train(
        "linear_regression", data=str(table), out=tmp_path, epochs=2, **QUIET,
        **{"data.target": "y"},
    )  # fmt: skip
    main(["predict", str(run.path), str(table), "--csv", str(tmp_path / "p.csv")])
    header, *rows = rows_of(tmp_path / "p.csv")
    assert header == ["a", "y", "answer"] and len(rows) == 60
    answers = [answer.answer.number for answer in run.predict([str(table)])]
    assert [float(row[2]) for row in rows] == pytest.approx(answers, rel=1e-8)
    assert [float(row[0]) for row in rows] == a.tolist()


def test_a_folder_is_no_file_to_write(runs, digits, capsys):
    with pytest.raises(SystemExit) as leave:
        main(["predict", str(runs[0].path), str(digits), "--csv", str(digits)])
    assert leave.value.code == 2 and "is a folder" in capsys.readouterr().err


CONVERTED = {
    "colour.png": ("converted to grey", lambda p: Image.new("RGB", (8, 8), "red").save(p)),
    "one.png": (None, lambda p: Image.new("L", (1, 1), 9).save(p)),
    "moving.gif": (
        "animated: the first frame is taken",
        lambda p: Image.new("L", (8, 8), 0).save(
            p, save_all=True, append_images=[Image.new("L", (8, 8), 99)]
        ),
    ),
    "deep.png": (
        "of 16 bits or more: read as 8 bits",
        lambda p: Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(p),
    ),
    "print.jpg": ("CMYK, converted", lambda p: Image.new("CMYK", (8, 8)).save(p)),
    "clear.png": ("laid on white", lambda p: Image.new("RGBA", (8, 8)).save(p)),
}


@pytest.mark.parametrize("name", CONVERTED)
def test_what_was_converted_is_said(runs, tmp_path, capsys, name):
    note, write = CONVERTED[name]
    write(tmp_path / name)
    main(["predict", str(runs[0].path), str(tmp_path / name), "--json"])
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert len(found["predictions"]) == 1 and len(found["predictions"][0]["top"]) == 5
    if note is None:
        assert found["notes"] == [] and said.err == ""
    else:
        assert any(note in line and name in line for line in found["notes"]), found["notes"]
        assert [f"note: {line}" for line in found["notes"]] == said.err.splitlines()
