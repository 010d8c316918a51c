"""The curves and the confusion matrix: their numbers, and what is drawn of them."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from gradlab.recipes import figures

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
    curves = figures.series(lines)
    assert list(curves) == ["loss", "accuracy", "lr"]
    assert {name: list(found) for name, found in curves.items()} == {
        "loss": ["train", "val"],
        "accuracy": ["train", "val"],
        "lr": ["train"],
    }
    steps, values = curves["loss"]["train"]
    assert steps.tolist() == [10, 20] and values.tolist() == [0.5, 0.25]


def test_values_that_are_no_finite_numbers_are_left_out():
    lines = [window(1, loss=1.0, done=True), window(2, loss=float("nan")), window(3, loss=None)]
    curves = figures.series(lines)
    assert list(curves) == ["loss"]
    assert curves["loss"]["train"][0].tolist() == [1]


def test_smoothing_is_the_weighted_mean_of_what_has_been():
    values = np.array([3.0, 1.0, 4.0, 1.0, 5.0])
    weights = [0.9 ** np.arange(n, 0, -1) for n in range(1, 6)]
    expected = [(w * values[: len(w)]).sum() / w.sum() for w in weights]
    assert figures.smooth(values, 0.9) == pytest.approx(expected)
    assert figures.smooth(np.full(50, 7.0), 0.9) == pytest.approx(7.0)


def test_a_long_curve_is_thinned_but_keeps_its_peaks():
    values = np.zeros(100_000)
    values[54_321], values[70_001] = 9.0, -9.0
    figure = figures.curve("loss", {"train": (np.arange(100_000.0), values)})
    raw = figure.axes[0].lines[0]
    assert len(raw.get_xdata()) <= 800
    assert max(raw.get_ydata()) == 9 and min(raw.get_ydata()) == -9
    assert np.all(np.diff(raw.get_xdata()) > 0)


def test_raw_is_thin_and_smoothed_is_bold():
    steps = np.arange(100.0)
    values = 1 + np.sin(steps)
    figure = figures.curve("loss", {"train": (steps, values), "val": (steps[::50], values[::50])})
    raw, smoothed, val = figure.axes[0].lines
    assert raw.get_linewidth() < 1 < smoothed.get_linewidth()
    assert raw.get_ydata() == pytest.approx(values)
    expected = figures.smooth(values, figures.smoothing_weight(100))
    assert smoothed.get_ydata() == pytest.approx(expected)
    assert np.std(smoothed.get_ydata()[20:]) < np.std(values[20:]) / 2
    assert val.get_label() == "val" and len(val.get_xdata()) == 2


def test_a_loss_that_falls_far_is_drawn_on_a_logarithmic_axis():
    steps = np.arange(5.0)
    far = figures.curve("loss", {"train": (steps, 10.0**-steps)})
    near = figures.curve("loss", {"train": (steps, 1 + steps)})
    assert far.axes[0].get_yscale() == "log" and near.axes[0].get_yscale() == "linear"
    assert "0.01" in texts(figures.svg(far, "a", "loss"))


@pytest.mark.parametrize("many", [2, 20, 21, 300])
def test_counts_are_written_for_up_to_20_classes(many):
    counts = np.diag(np.arange(101, 101 + many))
    counts[0, 1] = 77
    names = [f"class {i}" for i in range(many)]
    drawn = figures.svg(figures.confusion_matrix(counts, names), "m", "matrix")
    written = texts(drawn)
    assert ("77" in written) == ("101" in written) == ("class 1" in written) == (many <= 20)
    assert ("<image " in drawn) == (many > 20)


def test_rows_are_the_truth():
    counts = np.array([[5, 3], [0, 9]])
    axes = figures.confusion_matrix(counts, ["cat", "dog"]).axes[0]
    (wrong,) = [text for text in axes.texts if text.get_text() == "3"]
    assert wrong.get_position() == (1, 0)  # column 1, row 0
    assert [patch.get_center() for patch in axes.patches] == [
        pytest.approx(place) for place in [(0, 0), (1, 0), (1, 1)]
    ]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("prediction", "truth")
    assert axes.yaxis_inverted()
    assert figures.confusions(counts, ["cat", "dog"]) == [("cat", "dog", 3, 3 / 8)]


def test_a_class_without_examples_and_no_mistakes():
    counts = np.array([[5, 0], [0, 0]])
    assert figures.confusions(counts, ["cat", "dog"]) == []
    assert "5" in texts(figures.svg(figures.confusion_matrix(counts, ["cat", "dog"]), "m", ""))


def test_names_are_drawn_as_they_are_and_escaped():
    names = ["<script>", "$x_1$ & co", "a" * 50]
    drawn = figures.svg(figures.confusion_matrix(np.eye(3, dtype=int), names), "m", '"<script>"')
    assert "<script" not in drawn
    assert {"<script>", "$x_1$ & co", "a" * 13 + "…"} <= set(texts(drawn))
    assert ElementTree.fromstring(drawn).get("aria-label") == '"<script>"'


def test_colours_follow_the_page_and_ids_are_apart():
    steps = np.arange(5.0)
    drawn = [
        figures.svg(figures.curve("loss", {"train": (steps, steps)}), name, "") for name in "ab"
    ]
    for text, name in zip(drawn, "ab", strict=True):
        assert not any(colour in text for colour in figures.THEME.values())
        assert "var(--train)" in text and "var(--ink)" in text and "var(--grid)" in text
        root = ElementTree.fromstring(text)
        ids = [node.get("id") for node in root.iter() if node.get("id")]
        assert all(found.startswith(f"{name}-") for found in ids)
        links = [node.get("{http://www.w3.org/1999/xlink}href") for node in root.iter(f"{SVG}use")]
        assert links and all(link.removeprefix("#") in ids for link in links)
    assert drawn[0] == figures.svg(figures.curve("loss", {"train": (steps, steps)}), "a", "")


def test_a_person_s_own_style_is_neither_used_nor_changed():
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        figure = figures.curve("loss", {"train": (np.arange(3.0), np.arange(3.0))})
        drawn = figures.svg(figure, "a", "")
        assert dict(matplotlib.rcParams) == before
    assert "loss" in texts(drawn)
    assert figure.axes[0].xaxis.label.get_fontsize() == 9
