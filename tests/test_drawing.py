"""Curves, confusion matrices, values of actions: their numbers, and what is drawn of them."""

import subprocess
import sys
import warnings
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from gradlab import drawing

SVG = "{http://www.w3.org/2000/svg}"


def window(step, **metrics):
    return {"step": step, "epoch": 0, "split": "train", "steps": 1, "seconds": 1.0, **metrics}


def texts(drawn):
    return ["".join(node.itertext()) for node in ElementTree.fromstring(drawn).iter(f"{SVG}text")]


def test_curves_are_read_from_the_log_by_metric_and_split():
    lines = [
        window(10, loss=0.5, lr=0.1, examples=640, accuracy=0.5),
        {"event": "resume", "step": 10},
        window(20, loss=0.25, lr=0.2, examples=640, accuracy=0.75),
        {"step": 20, "epoch": 0, "split": "val", "loss": 0.3, "accuracy": 0.8, "per_class": {}},
        {"step": 20, "split": "test", "final": True, "loss": 0.4, "metrics": {"loss": 0.4}},
        {"event": "end", "step": 20, "seconds": 3.0},
    ]
    curves = drawing.series(lines)
    assert list(curves) == ["loss", "accuracy", "lr"]
    assert {name: list(found) for name, found in curves.items()} == {
        "loss": ["train", "val"],
        "accuracy": ["train", "val"],
        "lr": ["train"],
    }
    steps, values = curves["loss"]["train"]
    assert steps.tolist() == [10, 20] and values.tolist() == [0.5, 0.25]


def test_values_that_are_no_finite_numbers_are_left_out():
    lines = [
        window(1, loss=1.0, done=True),
        window(2, loss=float("nan")),
        window(3, loss=None),
        window(4, loss=float("inf")),
        window(5, loss=10**400),
        window(6, loss="7"),
        window(float("nan"), loss=1.0),
        window("8", loss=1.0),
        window(10**400, loss=1.0),
        {"split": "train", "loss": 1.0},
    ]
    curves = drawing.series(lines)
    assert list(curves) == ["loss"]
    assert curves["loss"]["train"][0].tolist() == [1]


def test_the_largest_and_smallest_values_have_an_axis():
    values = np.array([9e99, 1.0, 1e-310])
    drawn = drawing.svg(drawing.curve("loss", {"val": (np.arange(3.0), values)}), "a", "")
    assert "loss" in texts(drawn)


def test_smoothing_is_the_weighted_mean_of_what_has_been():
    values = np.array([3.0, 1.0, 4.0, 1.0, 5.0])
    weights = [0.9 ** np.arange(n, 0, -1) for n in range(1, 6)]
    expected = [(w * values[: len(w)]).sum() / w.sum() for w in weights]
    assert drawing.smooth(values, 0.9) == pytest.approx(expected)
    assert drawing.smooth(np.full(50, 7.0), 0.9) == pytest.approx(7.0)


def test_a_long_curve_is_thinned_but_keeps_its_peaks():
    values = np.zeros(100_000)
    values[54_321], values[70_001] = 9.0, -9.0
    figure = drawing.curve("loss", {"train": (np.arange(100_000.0), values)})
    raw = figure.axes[0].lines[0]
    assert len(raw.get_xdata()) <= 800
    assert max(raw.get_ydata()) == 9 and min(raw.get_ydata()) == -9
    assert np.all(np.diff(raw.get_xdata()) > 0)


def test_raw_is_thin_and_smoothed_is_bold():
    steps = np.arange(100.0)
    values = 1 + np.sin(steps)
    figure = drawing.curve("loss", {"train": (steps, values), "val": (steps[::50], values[::50])})
    raw, smoothed, val = figure.axes[0].lines
    assert raw.get_linewidth() < 1 < smoothed.get_linewidth()
    assert raw.get_ydata() == pytest.approx(values)
    expected = drawing.smooth(values, drawing.smoothing_weight(100))
    assert smoothed.get_ydata() == pytest.approx(expected)
    assert np.std(smoothed.get_ydata()[20:]) < np.std(values[20:]) / 2
    assert val.get_label() == "val" and len(val.get_xdata()) == 2


def test_a_loss_that_falls_far_is_drawn_on_a_logarithmic_axis():
    steps = np.arange(5.0)
    far = drawing.curve("loss", {"train": (steps, 10.0**-steps)})
    near = drawing.curve("loss", {"train": (steps, 1 + steps)})
    assert far.axes[0].get_yscale() == "log" and near.axes[0].get_yscale() == "linear"
    assert "0.01" in texts(drawing.svg(far, "a", "loss"))


@pytest.mark.parametrize("many", [2, 20, 21, 300])
def test_counts_are_written_for_up_to_20_classes(many):
    counts = np.diag(np.arange(101, 101 + many))
    counts[0, 1] = 77
    names = [f"class {i}" for i in range(many)]
    drawn = drawing.svg(drawing.confusion_matrix(counts, names), "m", "matrix")
    written = texts(drawn)
    assert ("77" in written) == ("101" in written) == ("class 1" in written) == (many <= 20)
    assert ("<image " in drawn) == (many > 20)


def test_rows_are_the_truth():
    counts = np.array([[5, 3], [0, 9]])
    axes = drawing.confusion_matrix(counts, ["cat", "dog"]).axes[0]
    (wrong,) = [text for text in axes.texts if text.get_text() == "3"]
    assert wrong.get_position() == (1, 0)  # column 1, row 0
    assert [patch.get_center() for patch in axes.patches] == [
        pytest.approx(place) for place in [(0, 0), (1, 0), (1, 1)]
    ]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("prediction", "truth")
    assert axes.yaxis_inverted()
    assert drawing.confusions(counts, ["cat", "dog"]) == [("cat", "dog", 3, 3 / 8)]


def test_a_class_without_examples_and_no_mistakes():
    counts = np.array([[5, 0], [0, 0]])
    assert drawing.confusions(counts, ["cat", "dog"]) == []
    assert "5" in texts(drawing.svg(drawing.confusion_matrix(counts, ["cat", "dog"]), "m", ""))


def test_names_are_drawn_as_they_are_and_escaped():
    names = ["<script>", "$x_1$ & co", "a" * 50, "-->", 'id="x url(#y)', "#1f2328"]
    matrix = drawing.confusion_matrix(np.eye(6, dtype=int), names)
    drawn = drawing.svg(matrix, "m", '"<script>"')
    assert "<script" not in drawn
    assert {"<script>", "$x_1$ & co", "a" * 13 + "…", "-->", "#1f2328"} <= set(texts(drawn))
    assert 'id="x url(#y)' in texts(drawn)
    assert ElementTree.fromstring(drawn).get("aria-label") == '"<script>"'


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b[1m\x00", r"\x1b[1m\x00"),
        ("caf\udce9", r"caf\xe9"),
        ("two\nlines\t", "two lines"),
        ("a" * 5000, "a" * 13 + "…"),
        ("", ""),
    ],
)
def test_a_name_no_page_can_hold_is_written_out(name, shown):
    drawn = drawing.svg(drawing.confusion_matrix(np.eye(2, dtype=int), [name, "b"]), "m", name)
    assert shown == "" or shown in texts(drawn)
    title = drawing.curve(name, {"val": (np.arange(2.0), np.arange(2.0))}).axes[0].get_title("left")
    assert title[:13] == shown[:13]
    actions = drawing.action_values(np.eye(2), np.array([0, 1]), [name, "b"])
    assert ElementTree.fromstring(drawing.svg(actions, "a", "")).tag == f"{SVG}svg"


def test_letters_that_no_font_has_are_kept_without_a_word():
    unknown = "\U00012000\U0001f408"
    matrix = drawing.confusion_matrix(np.eye(2, dtype=int), [unknown, "b"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = drawing.svg(matrix, "m", unknown)
        assert drawing.png(matrix).startswith(b"\x89PNG")
    assert unknown in texts(drawn)


def test_a_font_that_has_the_letters_is_added():
    unusual = "\u1d81"  # matplotlib's STIXGeneral has it, its DejaVu Sans has not
    labels = [
        drawing.confusion_matrix(np.eye(2, dtype=int), [name, "b"]).axes[0].get_yticklabels()
        for name in (unusual, "é")
    ]
    added, usual = (found[0].get_fontfamily() for found in labels)
    assert added[0] == "DejaVu Sans" and len(added) == 2
    assert usual == ["sans-serif"]
    assert labels[0][1].get_fontfamily() == added


def test_an_action_s_values_are_drawn_with_a_dot_where_it_was_taken():
    values = np.array([[1.0, 2.0], [3.0, np.nan], [5.0, 0.0]])
    axes = drawing.action_values(values, np.array([1, 0, 0]), ["left", "right"]).axes[0]
    assert [line.get_label() for line in axes.lines] == ["left", "right"]
    assert axes.lines[0].get_ydata().tolist() == [1, 3, 5]
    left, right = (dots.get_offsets().tolist() for dots in axes.collections)
    assert left == [[1, 3], [2, 5]] and right == [[0, 2]]


def test_colours_follow_the_page_and_ids_are_apart():
    steps = np.arange(5.0)
    drawn = [
        drawing.svg(drawing.curve("loss", {"train": (steps, steps)}), name, "") for name in "ab"
    ]
    for text, name in zip(drawn, "ab", strict=True):
        assert not any(colour in text for colour in drawing.THEME.values())
        assert "var(--train)" in text and "var(--ink)" in text and "var(--grid)" in text
        root = ElementTree.fromstring(text)
        ids = [node.get("id") for node in root.iter() if node.get("id")]
        assert all(found.startswith(f"{name}-") for found in ids)
        links = [node.get("{http://www.w3.org/1999/xlink}href") for node in root.iter(f"{SVG}use")]
        assert links and all(link.removeprefix("#") in ids for link in links)
    assert drawn[0] == drawing.svg(drawing.curve("loss", {"train": (steps, steps)}), "a", "")


def test_a_person_s_own_style_is_neither_used_nor_changed():
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        figure = drawing.curve("loss", {"train": (np.arange(3.0), np.arange(3.0))})
        drawn = drawing.svg(figure, "a", "")
        assert dict(matplotlib.rcParams) == before
    assert "loss" in texts(drawn)
    assert figure.axes[0].xaxis.label.get_fontsize() == 9


def test_neither_the_import_nor_a_figure_touches_pyplot():
    code = (
        "import sys; from gradlab import drawing; import numpy as np\n"
        "assert 'matplotlib' not in sys.modules\n"
        "assert 'torch' not in sys.modules\n"
        "drawing.svg(drawing.curve('a', {'val': (np.ones(2), np.ones(2))}), 'a', '')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
