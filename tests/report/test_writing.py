"""From a finished run to its page, and again when the first attempt could not be written."""

import errno

import numpy as np
import pytest
from markupsafe import escape
from PIL import Image

import gradlab
from gradlab import files
from gradlab.engine import Progress
from gradlab.errors import UserError
from gradlab.measures import measure
from gradlab.report import Gallery
from gradlab.tasks.base import Task

SMALL = {"data.limit": 100, "epochs": 1, "progress": False, "threads": 1, "report": True}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return gradlab.train("lenet5", out=tmp_path_factory.mktemp("runs"), **SMALL)


def report(run):
    return (run.path / "report.html").read_text(encoding="utf-8")


def test_a_training_leaves_its_figures_on_a_page(run):
    html = report(run)
    assert f"<h1>{run.recipe.name} on digits</h1>" in html
    for split, metrics in run.metrics.items():
        for name, value in metrics.items():
            assert f"<td>{measure(name).text(value)}</td>" in html, (split, name)
    assert "majority class" in run.baselines["test"]
    for name, metrics in run.baselines["test"].items():
        assert f"<td>{name}</td>" in html
        assert f"<td>{measure('accuracy').text(metrics['accuracy'])}</td>" in html
    assert run.summary["verdict"]  # one epoch on 100 digits beats nothing
    for found in run.summary["verdict"]:
        assert f"<b>Verdict:</b> {escape(found['evidence'])}. Try <code>" in html
    for note in run.record["notes"]:
        assert f"<li>{escape(note)}</li>" in html
    assert f"<td>device</td><td>{run.record['runtime']['device']}</td>" in html
    assert run.record["dataset"]["fingerprint"] in html


def test_the_findings_about_test_are_shown(run):
    html = report(run)
    assert "Confusion matrix (test split)" in html and "Worst mistakes (test split)" in html
    right = round(run.metrics["test"]["accuracy"] * run.record["dataset"]["counts"]["test"])
    total = run.record["dataset"]["counts"]["test"]
    assert f"Confusion matrix of 10 classes: {right} of {total} right" in html


def test_a_page_that_is_missing_is_written_without_reading_test_again(run):
    before = run.history
    (run.path / "report.html").unlink()
    again = gradlab.resume(run.path, progress=False, report=True)
    html = report(again)
    assert "Confusion matrix (val split)" in html
    assert f"<td>{measure('accuracy').text(run.metrics['test']['accuracy'])}</td>" in html
    assert again.history == before


def test_a_full_disk_costs_the_page_alone(tmp_path, monkeypatch):
    write = files.write_bytes

    def full(path, data):
        if path.name == "report.html":
            raise files.write_error(path, OSError(errno.ENOSPC, "No space left on device"))
        write(path, data)

    monkeypatch.setattr(files, "write_bytes", full)
    with pytest.raises(UserError, match=r"report.html: .*the disk .* is full"):
        gradlab.train("lenet5", out=tmp_path, name="a", test=False, **SMALL)
    monkeypatch.undo()
    run = gradlab.load(tmp_path / "a")
    assert run.finished and not (run.path / "report.html").exists()
    assert set(run.metrics) == {"train", "val"}
    gradlab.resume(run.path, progress=False, report=True)
    assert "Worst mistakes (val split)" in report(run)


class Painter(Task):
    """A task that is nothing but its pictures."""

    def __init__(self):
        pass

    training_parts = steps = batches = step = None

    def pictures(self):
        return {"samples so far": np.full((4, 6, 1), 7, np.uint8)}


def test_pictures_of_each_epoch_are_kept(tmp_path):
    gallery = Gallery(Painter(), tmp_path / "samples")
    assert Gallery.wanted(gallery.task)
    for epoch in (1, 12):
        gallery.evaluated(Progress(), {"epoch": epoch})
    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names == ["epoch-001-samples-so-far.png", "epoch-012-samples-so-far.png"]
    picture = np.asarray(Image.open(tmp_path / "samples" / names[0]))
    assert picture.shape == (4, 6) and (picture == 7).all()
