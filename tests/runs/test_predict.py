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


class Column:
    """What pandas offers of a column."""

    def __init__(self, values):
        self.values = values

    def to_numpy(self):
        found = np.empty(len(self.values), object)
        found[:] = self.values
        return found

    def isna(self):
        return Column([value is None for value in self.values])


class Pandas:
    """A data frame as pandas has it, which is not needed for it."""

    def __init__(self, columns):
        self.columns, self.held, self.iloc = list(columns), list(columns.values()), self

    def __getitem__(self, place):
        return self.held[place[1]]


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


CLASSES = ('say "no", maybe', "two\nlines")


@pytest.fixture(scope="module")
def table_run(tmp_path_factory):
    """A run on a table of two inputs, a column that names rows, and odd names of classes."""
    out = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    rows = [
        [f"n{i}", f"{a:.3f}", "uv"[i % 2], CLASSES[int(a > 0)]]
        for i, a in enumerate(rng.normal(size=80))
    ]
    with (out / "train.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id", "size", "kind", "answer"], *rows])
    return gradlab.train(
        "softmax_regression", data=str(out / "train.csv"), out=out, epochs=4, threads=1, **QUIET,
        **{"data.target": "answer"},
    )  # fmt: skip


BROKEN = 'id,kind,size,comment\na,u,1.5,"x, y"\nb,v,big,\nc,u\nd,w,-2,é\n'


def test_a_broken_row_is_named_and_skipped_and_all_else_is_answered(table_run, tmp_path, capsys):
    path, written = tmp_path / "new.csv", tmp_path / "out.csv"
    path.write_text(BROKEN, encoding="utf-8")
    main(["predict", str(table_run.path), str(path), "--csv", str(written), "--json"])
    said = capsys.readouterr()
    found = json.loads(said.out)
    reasons = [f"{path}: size is 'big', expected a number", f"{path}: it has 2 values, expected 4"]
    assert found["skipped"] == {
        "count": 2,
        "inputs": [{"input": n, "reason": r} for n, r in zip("23", reasons, strict=True)],
    }
    assert [answer["input"] for answer in found["predictions"]] == ["1", "4"]
    assert set(found["predictions"][0]["probabilities"]) == set(CLASSES)
    assert f"note: input 2 skipped: {reasons[0]}\n" in said.err
    assert "note: 2 of 4 inputs skipped\n" in said.err
    header, *rows = rows_of(written)
    each = [f"probability_{name}" for name in CLASSES]
    assert header == ["id", "kind", "size", "comment", "answer", "probability", *each]
    given = [row[:4] for row in csv.reader(BROKEN.splitlines()[1:])]
    assert [row[:4] for row in rows] == [[*row, "", ""][:4] for row in given]
    assert rows[1][4:] == rows[2][4:] == [""] * 4
    for row, answer in zip(rows[::3], found["predictions"], strict=True):
        assert row[4] == answer["answer"] in CLASSES
        assert dict(zip(CLASSES, map(float, row[6:]), strict=True)) == pytest.approx(
            answer["probabilities"], rel=1e-8
        )


def test_columns_of_the_input_and_of_the_answer_are_told_apart(table_run, tmp_path, capsys):
    path = tmp_path / "new.csv"
    path.write_text("answer,size,kind,probability\nmine,1,u,9\n", encoding="utf-8")
    more = tmp_path / "more.csv"
    more.write_text("kind,size,colour\nv,-1,red\n", encoding="utf-8")
    found = table_run.predict([path, more])
    found.save(tmp_path / "out.csv")
    header, *rows = rows_of(tmp_path / "out.csv")
    assert header[:7] == [
        "answer", "size", "kind", "probability", "colour", "answer_2", "probability_2",
    ]  # fmt: skip
    assert [row[:5] for row in rows] == [["mine", "1", "u", "9", ""], ["", "-1", "v", "", "red"]]
    assert [row[5] for row in rows] == [answer.answer.label for answer in found]


def test_from_python_what_is_skipped_is_warned_of_and_said(table_run, recwarn):
    rows = [{"size": 1, "kind": "u"}, {"size": "x", "kind": "u"}, {"kind": "u"}]
    with pytest.warns(UserWarning, match="input 2 skipped: the rows given: size is 'x'"):
        found = table_run.predict(rows)
    assert [one.name for one in found] == ["1"] and [one.place for one in found.skipped] == [1, 2]
    assert "lacks the columns size" in found.skipped[1].reason
    assert table_run.predict(rows, warn=False).skipped == found.skipped
    assert len(recwarn) == 0
    with pytest.raises(gradlab.UserError, match=r"none of the inputs can be read:\ninput 1 skip"):
        table_run.predict(rows[1:])
    assert table_run.predict(rows[:1]).skipped == ()


def test_data_frames_are_answered_row_by_row(table_run):
    import polars as pl

    frame = pl.DataFrame({"extra": [[1], [2]], "size": [1.5, None], "kind": ["u", "v"]})
    found = table_run.predict(frame)
    assert [one.name for one in found] == ["1", "2"]
    columns = {name: Column(values) for name, values in frame.to_dict(as_series=False).items()}
    assert table_run.predict(Pandas(columns)) == found
    header, first, _ = csv.reader(found.csv().splitlines())
    assert header[:4] == ["extra", "size", "kind", "answer"] and first[:3] == ["[1]", "1.5", "u"]
    texts = pl.DataFrame({"size": ["1", "x"], "kind": ["u", "v"]})
    assert [one.name for one in table_run.predict(texts, warn=False).skipped] == ["2"]


def test_a_broken_photo_is_named_and_skipped_and_kinds_are_said(runs, digits, tmp_path, capsys):
    (digits / "a.png").write_bytes(b"no image")
    (digits / "z.jpg").write_bytes(next(digits.glob("é*")).read_bytes()[:60])
    (digits / "list.txt").write_text("x", encoding="utf-8")
    main(["predict", str(runs[0].path), str(digits), "--csv", str(tmp_path / "o.csv"), "--json"])
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert len(found["predictions"]) == 3 and found["skipped"]["count"] == 2
    assert [one["input"] for one in found["skipped"]["inputs"]] == [
        str(digits / "a.png"), str(digits / "z.jpg"),
    ]  # fmt: skip
    assert found["notes"] == [f"{digits}: left out, no images: 1 .txt"]
    assert f"input {digits / 'a.png'} skipped: it is no image" in said.err
    rows = rows_of(tmp_path / "o.csv")
    assert [row[0] for row in rows[1:]] == sorted(
        str(f) for f in digits.iterdir() if f.suffix != ".txt"
    )
    assert rows[1][1:] == rows[2][1:] == [""] * 12 and rows[3][1] != ""


def test_where_nothing_is_answered_the_code_is_1(runs, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(SystemExit) as leave:
        main(["predict", str(runs[0].path), str(tmp_path), "--csv", str(tmp_path / "o.csv")])
    said = capsys.readouterr()
    assert leave.value.code == 1 and "1 of 1 inputs skipped" in said.err
    assert "csv" not in said.out and not (tmp_path / "o.csv").exists()
