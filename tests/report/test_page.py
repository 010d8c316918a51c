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

from gradlab import drawing
from gradlab.report.page import LARGEST, Page, render, write_page
from gradlab.tasks.evaluation import Card, Part, Table
from gradlab.tasks.findings import Confusion, Mistake, Mistakes

EVIL = '"><script>alert(1)</script><img src=http://example.org/x onerror=alert(1)>'


class Reader(HTMLParser):
    """Every tag with its attributes, and the text between; cells are parted by "|"."""

    void = frozenset({"meta", "img", "br"})

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(html)
        self.close()
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.text += {"td": "|", "th": "|"}.get(tag, " ")

    def handle_data(self, data):
        if not self.open or self.open[-1] != "tr":
            self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


class Weather(Part):
    """A part that the page has never heard of."""

    title = "Weather"
    caption = "What the sky looked like."

    def to_dict(self):
        return {}

    def tables(self):
        return (
            Table(("day", "sky"), (("Monday", "grey"),), title="By day"),
            Table(("hour", "sky"), (("noon", "blue"),), folded=True, title="By hour"),
            Table(("nothing", "here"), ()),
        )

    def figure(self):
        return drawing.curve("rain", {"val": (np.arange(3.0), np.arange(3.0))})

    def cards(self):
        return [Card(np.zeros((4, 4, 3), np.uint8), ("A cloud", "wet", "sky/7"))]

    def words(self):
        return "It rains more and more"


def log(count):
    falling = np.geomspace(2.3, 0.05, count)
    lines = [
        {"step": 50 * i, "epoch": 0, "split": "train", "steps": 50, "loss": float(loss), "lr": 0.1}
        for i, loss in enumerate(falling, 1)
    ]
    val = {"step": 50 * count, "epoch": 0, "split": "val", "loss": 0.1, "accuracy": 0.975}
    return [*lines, val]


def mistakes(*items, measured="probability"):
    return Mistakes(items, measured)


def page(**changes):
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    given = {
        "title": "lenet5 on digits",
        "about": ("the first one", "lenet5-digits-1"),
        "metrics": {"train": {"loss": 0.01, "accuracy": 0.998}, "test": {"accuracy": 0.97251}},
        "baselines": {"test": {"majority class": {"accuracy": 0.1037}}},
        "monitor": "accuracy",
        "seconds": 12.34,
        "examples_per_second": 24813.4,
        "best_epoch": 7,
        "verdict": ({"evidence": "no better than guessing on val", "fix": "--lr 1"},),
        "notes": ("val: 10 examples held out of train",),
        "lines": log(20),
        "split": "test",
        "parts": (
            Confusion(("cat", "dog"), np.array([[41, 2], [0, 57]])),
            mistakes(Mistake("digits/7", "cat", "dog", 0.987, picture)),
        ),
        "records": {
            "Recipe": {
                "name": "lenet5",
                "optimizer": {"lr": 0.01, "betas": [0.9, 0.99]},
                "paper": "",
            },
            "Runtime": {"device": "cpu", "threads": 2},
            "Machine": {"processor": "any", "cores": 4},
        },
        "footer": "gradlab 1.2.3",
    }
    return Page(**(given | changes))


def test_it_says_what_the_run_says():
    text = Reader(render(page())).text
    for words in (
        "lenet5 on digits",
        "the first one · lenet5-digits-1",
        "97.25 % test accuracy",
        "12.3 seconds",
        "24,813 examples/s",
        "7 best epoch",
        "train|network|0.01|99.80 %|",
        "optimizer.lr|0.01|",
        "optimizer.betas|0.9, 0.99|",
        "device|cpu|",
        "cores|4|",
        "held out of train",
        "cat|dog|2|4.7%|",  # the commonest confusion: 2 of 43
        "cat|1.0000|0.9535|",
        "Confusion matrix (test split)",
        "Worst mistakes (test split)",
        "cat taken for dog",
        "probability 98.7%",
        "digits/7",
        "gradlab 1.2.3",
    ):
        assert words in text, words
    assert "paper" not in text  # empty


def test_baselines_stand_under_the_network():
    reader = Reader(render(page()))
    assert "test|network||97.25 %| majority class||10.37 %|" in reader.text
    (rows,) = [found for found in reader.all("th") if found.get("rowspan") == "2"]
    assert rows["scope"] == "rowgroup"
    assert len([found for found in reader.all("tr") if found.get("class") == "baseline"]) == 1
    alone = Reader(render(page(baselines={})))
    assert "test||97.25 %|" in alone.text and "network|" not in alone.text


def test_the_metric_that_decides_leads():
    metrics = {"val": {"loss": 0.5, "accuracy": 0.9, "roc_auc": 0.875}}
    for monitor, lead in (("roc_auc", "0.875 val roc_auc"), ("loss", "90.00 % val accuracy")):
        assert lead in Reader(render(page(metrics=metrics, monitor=monitor))).text


def test_the_verdict_comes_first():
    text = Reader(render(page())).text
    assert "Verdict: no better than guessing on val. Try --lr 1" in text
    assert text.index("Verdict:") < text.index("97.25 %") < text.index("Learning curves")
    assert "Verdict" not in Reader(render(page(verdict=()))).text


def test_a_part_that_nobody_knows_is_shown_whole():
    reader = Reader(render(page(split="val", parts=(Weather(),))))
    for words in (
        "Weather (val split)",
        "What the sky looked like.",
        "By day day|sky| Monday|grey|",
        "By hour hour|sky| noon|blue|",
        "A cloud wet sky/7",
    ):
        assert words in reader.text, words
    assert "nothing" not in reader.text
    assert "It rains more and more" in [attrs.get("aria-label") for attrs in reader.all("svg")]
    (cloud,) = reader.all("img")
    assert cloud["alt"] == "A cloud, wet, sky/7"
    # Of the tables only the folded one, and the records, are opened by hand.
    assert len(reader.all("details")) == 4
    folded = reader.text.index("By hour")
    assert reader.text.index("By day") < reader.text.index("A cloud") < folded


def test_what_the_network_makes_is_shown():
    sheet = np.zeros((20, 40, 1), np.uint8)
    reader = Reader(render(page(parts=(), pictures={"samples": sheet})))
    assert "What the network makes" in reader.text
    (image,) = reader.all("img")
    assert image["alt"] == "samples"
    assert "What the network makes" not in Reader(render(page())).text


def test_a_page_needs_nothing_but_itself(tmp_path):
    write_page(tmp_path / "report.html", page(parts=(*page().parts, Weather())))
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    reader = Reader(html)
    assert html.startswith("<!doctype html>") and not reader.open
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
    html = render(page(parts=(*page().parts, Weather(), Weather())))
    reader = Reader(html)
    assert all(attrs["alt"] for attrs in reader.all("img")) and reader.all("img")
    drawn = reader.all("svg")
    assert len(drawn) == 6 and all(a["role"] == "img" and a["aria-label"] for a in drawn)
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
    assert set(drawing.THEME) <= used
    light, dark = re.findall(r":root \{(.*?)\}", html, re.S)
    for theme in (light, dark):
        assert used <= set(re.findall(r"--([a-z]+):", theme))
    assert "prefers-color-scheme: dark" in html


class Evil(Part):
    title = caption = EVIL

    def to_dict(self):
        return {}

    def tables(self):
        return [
            Table((EVIL,), ((EVIL,),), folded=folded, title=title)
            for folded in (False, True)
            for title in ("", EVIL)
        ]

    def cards(self):
        return [Card(np.zeros((4, 4, 3), np.uint8), (EVIL, EVIL))]

    def figure(self):
        return drawing.confusion_matrix(np.eye(2, dtype=int), (EVIL, EVIL))


def test_other_people_s_text_stays_text():
    evil = page(
        title=EVIL,
        about=(EVIL,),
        metrics={EVIL: {EVIL: 1.0}, "test": {EVIL: 1.0}},
        baselines={EVIL: {EVIL: {EVIL: 1.0}}},
        monitor=EVIL,
        verdict=({"evidence": EVIL, "fix": EVIL},),
        notes=(EVIL,),
        lines=[{"step": 1, "split": EVIL, EVIL: 0.5}, {"step": 2, "split": "train", EVIL: 0.5}],
        split=EVIL,
        parts=(
            Confusion((EVIL, EVIL), np.array([[1, 2], [3, 4]])),
            mistakes(Mistake(EVIL, EVIL, EVIL, 0.5, np.zeros((4, 4, 3), np.uint8))),
            mistakes(Mistake(EVIL, EVIL, EVIL, 0.5, EVIL), measured=EVIL),
            Evil(),
        ),
        pictures={EVIL: np.zeros((4, 4, 3), np.uint8)},
        records={EVIL: {EVIL: EVIL, "list": [EVIL], "tree": {EVIL: [{EVIL: EVIL}]}}},
        footer=EVIL,
    )
    reader = Reader(render(evil))
    assert not reader.open and not reader.all("script")
    assert all(attrs["src"].startswith("data:") for attrs in reader.all("img"))
    assert not any(key.startswith("on") for _, attrs in reader.tags for key in attrs)
    assert reader.text.count("<script>alert(1)</script>") > 30


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b[31mred\x00", r"\x1b[31mred\x00"),
        ("caf\udce9", r"caf\xe9"),
        ("$x$ {{ page }} {% if %}", "$x$ {{ page }} {% if %}"),
        ("猫 \U00012000", "猫 \U00012000"),
        ("a" * 5000, "a" * 39 + "…"),
    ],
)
def test_names_of_all_kinds_can_be_read(tmp_path, name, shown):
    given = page(
        title=name,
        metrics={name: {name: 0.5}},
        verdict=({"evidence": name, "fix": name},),
        notes=(name,),
        split=name,
        parts=(
            Confusion((name, "b"), np.array([[1, 2], [3, 4]])),
            mistakes(Mistake(name, name, name, 0.5, np.zeros((4, 4, 3), np.uint8))),
        ),
        records={name: {name: name}},
    )
    write_page(tmp_path / "report.html", given)
    data = (tmp_path / "report.html").read_bytes()
    assert len(data) < LARGEST
    reader = Reader(data.decode())
    assert not reader.open
    assert reader.text.count(shown) >= 3
    assert "\x1b" not in reader.text and "\x00" not in reader.text


def test_figures_that_are_no_numbers_are_written():
    given = page(
        metrics={"test": {"loss": float("nan"), "mse": float("inf"), "accuracy": None}},
        baselines={"test": {"mean": {"loss": 10**400}}},
        lines=[{"step": 1, "split": "train", "loss": float("nan")}],
        parts=(mistakes(Mistake("a", "x", "y", float("inf"), "text"), measured="error"),),
    )
    text = Reader(render(given)).text
    assert "test|network|nan|inf|nan" in text and "mean|nan|" in text
    assert "a|x|y|inf|text|" in text


def test_small_pictures_are_kept_and_large_ones_made_small():
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (28, 20, 3), dtype=np.uint8)
    large = rng.integers(0, 256, (300, 600, 1), dtype=np.uint8)
    given = mistakes(Mistake("a", "x", "y", 1.0, small), Mistake("b", "x", "y", 0.5, large))
    images = Reader(render(page(parts=(given,), pictures={"sheet": large[:, :300]}))).all("img")
    opened = [
        Image.open(io.BytesIO(base64.b64decode(image["src"].split(",")[1]))) for image in images
    ]
    assert np.array_equal(np.asarray(opened[0]), small)
    assert opened[1].size == (128, 64) and opened[1].mode == "L"
    assert np.array_equal(np.asarray(opened[2]), large[:, :300, 0])
    assert [image.get("class") for image in images] == ["sharp", None, "sharp"]
    assert [image.get("width") for image in images] == [None, None, "600"]


@pytest.mark.parametrize("many", [20, 1000])
def test_the_largest_page_stays_below_two_megabytes(many):
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (500, 400, 3), dtype=np.uint8)  # noise: what compresses worst
    names = tuple(f"a rather long name of a class, number {i}" for i in range(many))
    lines = [line | {f"metric {i}": line["loss"] for i in range(20)} for line in log(5000)]
    worst = mistakes(*(Mistake("x" * 500, names[0], names[1], 0.5, photo) for _ in range(99)))
    html = render(
        page(
            lines=lines,
            parts=(Confusion(names, rng.integers(0, 50, (many, many))), worst),
            records={"Recipe": {"schema": {"classes": names}, "text": "x" * 100_000}},
            notes=("y" * 5000,) * 500,
        )
    )
    assert len(html.encode()) < LARGEST
    reader = Reader(html)
    assert len(reader.all("img")) == 36
    assert "learning rate" in reader.text
    assert "had no room" not in reader.text


def test_what_has_no_room_is_left_out_and_said():
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    rows = tuple(("&" * 5000,) * 30 for _ in range(1500))

    class Long(Weather):
        def tables(self):
            return (Table(("text",) * 30, rows),)

    html = render(page(parts=(Weather(), Long()), pictures={f"sheet {i}": noise for i in range(9)}))
    assert len(html.encode()) < LARGEST
    reader = Reader(html)
    assert "It rains more and more" in html  # what comes first has its place
    assert re.search(r"and \d+ more", reader.text)
    assert len(reader.all("img")) < 11 and "sheet 8" in reader.text
    assert re.search(r"below 2 MB: \d+ figures, pictures or tables had no room", reader.text)


def test_a_regression_has_a_table_of_its_largest_errors():
    given = page(
        metrics={"test": {"loss": 0.5, "mse": 2859.69, "r2": 0.51}},
        monitor="loss",
        baselines={},
        parts=(mistakes(Mistake("row 5", "151", "97.25", 53.75, "1, 2"), measured="error"),),
    )
    reader = Reader(render(given))
    assert "2860 test mse" in reader.text
    assert "example|truth|answer|error|input|" in reader.text
    assert "row 5|151|97.25|53.75|1, 2|" in reader.text
    assert "probability" not in reader.text and "Confusion" not in reader.text
    assert not reader.all("img")


def test_a_run_that_has_nothing_yet():
    reader = Reader(render(Page("a")))
    assert not reader.open and not reader.all("section") and not reader.all("details")


def test_a_resume_is_marked():
    resumed = [*log(20), {"event": "resume", "step": 500}, {"event": "resume", "step": None}]
    assert "Dotted: resumed." in render(page(lines=resumed))
    assert "Dotted" not in render(page())


def test_the_import_loads_nothing_that_draws():
    code = (
        "import sys; from gradlab.report.page import Page, render\n"
        "assert not {'matplotlib', 'jinja2'} & set(sys.modules)\n"
        "lines = [{'step': i, 'split': 'train', 'loss': 1.0} for i in (1, 2)]\n"
        "assert '<svg' in render(Page('a', lines=lines))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
