"""One page that opens from disk: complete, safe, small, and readable."""

import base64
import io
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from gradlab.recipes import figures
from gradlab.recipes.report import Mistake, Page, render, write_report

EVIL = '"><script>alert(1)</script><img src=http://example.org/x onerror=alert(1)>'


class Reader(HTMLParser):
    """Every tag with its attributes, and the text between."""

    void = frozenset({"meta", "img", "br"})

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def log(count):
    falling = np.geomspace(2.3, 0.05, count)
    lines = [
        {"step": 50 * i, "epoch": 0, "split": "train", "steps": 50, "loss": float(loss), "lr": 0.1}
        for i, loss in enumerate(falling, 1)
    ]
    val = {"step": 50 * count, "epoch": 0, "split": "val", "loss": 0.1, "accuracy": 0.975}
    return [*lines, val]


def page(**changes):
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    given = {
        "title": "lenet5 on digits",
        "run": "lenet5-digits-1",
        "recipe_name": "lenet5",
        "dataset": "digits",
        "metrics": {"train": {"loss": 0.01, "accuracy": 0.998}, "test": {"accuracy": 0.97251}},
        "seconds": 12.34,
        "examples_per_second": 24813.4,
        "best_epoch": 7,
        "lines": log(20),
        "classes": ("cat", "dog"),
        "confusion": np.array([[41, 2], [0, 57]]),
        "per_class": {"cat": {"precision": 1.0, "recall": 0.9535}},
        "mistakes": (Mistake("digits/7", "cat", "dog", 0.987, picture),),
        "recipe": {"name": "lenet5", "optimizer": {"lr": 0.01, "betas": [0.9, 0.99]}, "paper": ""},
        "machine": {"processor": "any", "cores": 2},
        "notes": ("val: 10 examples held out of train",),
    }
    return Page(**(given | changes))


def test_it_says_what_the_run_says():
    text = Reader(render(page())).text
    for words in (
        "lenet5 on digits",
        "lenet5-digits-1",
        "0.9725",
        "test accuracy",
        "12.3",
        "24,813",
        "best epoch",
        "optimizer.lr",
        "0.9, 0.99",
        "cores",
        "held out of train",
        "catdog24.7%",  # the commonest mistake: 2 of 43
        "cat taken for dog",
        "99% sure",
        "digits/7",
        "0.9535",
        "test split",
    ):
        assert words in text, words
    assert "paper" not in text  # empty


def test_a_page_needs_nothing_but_itself(tmp_path):
    write_report(tmp_path / "report.html", page())
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    reader = Reader(html)
    assert not reader.open
    assert not {tag for tag, _ in reader.tags} & {"script", "link", "iframe", "object", "base"}
    for tag, attrs in reader.tags:
        for key, value in attrs.items():
            if key in ("src", "href", "xlink:href"):
                assert value.startswith(("data:", "#")), (tag, key, value)
            elif not key.startswith("xmlns"):
                assert "//" not in (value or ""), (tag, key, value)
    css = re.search("<style>(.*?)</style>", html, re.S)[1]
    assert "url(" not in css and "@import" not in css
    (policy,) = [a["content"] for a in reader.all("meta") if "http-equiv" in a]
    assert policy.startswith("default-src 'none'")


def test_it_is_readable_for_all():
    html = render(page())
    reader = Reader(html)
    assert all(attrs["alt"] for attrs in reader.all("img")) and reader.all("img")
    drawn = reader.all("svg")
    assert len(drawn) == 4 and all(a["role"] == "img" and a["aria-label"] for a in drawn)
    assert "loss over the steps: train from 2.3 to 0.05; val from 0.1 to 0.1" in [
        attrs["aria-label"] for attrs in drawn
    ]
    assert "98 of 100 right" in html
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in reader.all(
        "meta"
    )


def test_light_and_dark_set_every_colour_that_is_used():
    html = render(page())
    used = set(re.findall(r"var\(--([a-z]+)\)", html)) - {"wide", "least"}
    assert set(figures.THEME) <= used
    light, dark = re.findall(r":root \{(.*?)\}", html, re.S)
    for theme in (light, dark):
        assert used <= set(re.findall(r"--([a-z]+):", theme))
    assert "prefers-color-scheme: dark" in html


def test_a_stranger_s_text_stays_text():
    evil = page(
        title=EVIL,
        run=EVIL,
        recipe_name=EVIL,
        dataset=EVIL,
        metrics={EVIL: {EVIL: 1.0}, "test": {EVIL: 1.0}},
        lines=[{"step": 1, "split": EVIL, EVIL: 0.5}, {"step": 2, "split": "train", EVIL: 0.5}],
        split=EVIL,
        classes=(EVIL, EVIL),
        per_class={EVIL: {EVIL: 1.0}},
        mistakes=(Mistake(EVIL, EVIL, EVIL, 0.5, np.zeros((4, 4, 3), np.uint8)),),
        recipe={EVIL: EVIL, "list": [EVIL], "tree": {EVIL: [{EVIL: EVIL}]}},
        machine={EVIL: EVIL},
        notes=(EVIL,),
    )
    tables = page(mistakes=(Mistake(EVIL, EVIL, EVIL),))
    for html in (render(evil), render(tables)):
        reader = Reader(html)
        assert not reader.open and not reader.all("script")
        assert all(attrs["src"].startswith("data:") for attrs in reader.all("img"))
        assert not any(key.startswith("on") for _, attrs in reader.tags for key in attrs)
        assert "<script>alert(1)</script>" in reader.text


def test_small_pictures_are_kept_and_large_ones_made_small():
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (28, 20, 3), dtype=np.uint8)
    large = rng.integers(0, 256, (300, 600, 1), dtype=np.uint8)
    given = (Mistake("a", "x", "y", 1.0, small), Mistake("b", "x", "y", 0.5, large))
    images = Reader(render(page(mistakes=given))).all("img")
    opened = [
        Image.open(io.BytesIO(base64.b64decode(image["src"].split(",")[1]))) for image in images
    ]
    assert np.array_equal(np.asarray(opened[0]), small)
    assert opened[1].size == (128, 64) and opened[1].mode == "L"
    assert [image.get("class") for image in images] == ["sharp", None]


@pytest.mark.parametrize("many", [20, 1000])
def test_the_largest_page_stays_below_two_megabytes(many):
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (500, 400, 3), dtype=np.uint8)  # noise: what compresses worst
    names = tuple(f"a rather long name of a class, number {i}" for i in range(many))
    lines = [line | {f"metric {i}": line["loss"] for i in range(20)} for line in log(5000)]
    html = render(
        page(
            lines=lines,
            classes=names,
            confusion=rng.integers(0, 50, (many, many)),
            per_class={name: {"precision": 0.12345, "recall": 0.5} for name in names},
            mistakes=tuple(Mistake("x" * 500, names[0], names[1], 0.5, photo) for _ in range(99)),
            recipe={"schema": {"classes": names}, "text": "x" * 100_000},
            notes=("y" * 5000,) * 500,
        )
    )
    assert len(html.encode()) < 2_000_000
    reader = Reader(html)
    assert len(reader.all("img")) == 36
    assert "learning rate" in reader.text


def test_a_regression_has_a_table_of_its_largest_errors():
    given = page(
        metrics={"test": {"loss": 0.5, "mse": 2859.69, "r2": 0.51}},
        confusion=None,
        per_class={},
        mistakes=(Mistake("row 5", "151", "97.25"),),
    )
    reader = Reader(render(given))
    assert "row 515197.25" in reader.text and "2,860" in reader.text
    assert "probability" not in reader.text and "Confusion" not in reader.text
    assert not reader.all("img")


def test_a_run_that_has_nothing_yet():
    bare = Page("a", "run", "recipe", "data", metrics={})
    reader = Reader(render(bare))
    assert not reader.open and not reader.all("section") and not reader.all("details")


def test_a_resume_is_marked():
    resumed = [*log(20), {"event": "resume", "step": 500}]
    assert "Dotted: resumed." in render(page(lines=resumed))
    assert "Dotted" not in render(page())


def test_neither_the_import_nor_a_page_touches_pyplot():
    code = (
        "import sys; from gradlab.recipes.report import Page, render\n"
        "assert 'matplotlib' not in sys.modules\n"
        "lines = [{'step': i, 'split': 'train', 'loss': 1.0} for i in (1, 2)]\n"
        "assert '<svg' in render(Page('a', 'b', 'c', 'd', metrics={}, lines=lines))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
