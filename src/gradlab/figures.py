"""Figures of findings: predictions against truth, reliability, bars of signed values.

Drawn as those of `gradlab.drawing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from gradlab.drawing import THEME, label, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BARS = 20
"""The most bars of a figure."""


@styled
def predictions(truth: np.ndarray, predicted: np.ndarray, what: str) -> Figure:
    """Predictions against truths, and what is left of them over the predictions. N each."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.4, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    # Of many points the places where they are dense are to be seen.
    dots = {"s": 9, "lw": 0, "alpha": float(np.clip(60 / np.sqrt(len(truth)) / 4, 0.25, 0.8))}
    left.scatter(truth, predicted, color=THEME["train"], **dots)
    ends = [min(truth.min(), predicted.min()), max(truth.max(), predicted.max())]
    left.plot(ends, ends, color=THEME["muted"], lw=1, ls="--")
    named = label(what, 30)
    left.set(xlabel=f"true {named}", ylabel=f"predicted {named}")
    right.scatter(predicted, predicted - truth, color=THEME["train"], **dots)
    right.axhline(0, color=THEME["muted"], lw=1, ls="--")
    right.set(xlabel=f"predicted {named}", ylabel="residual (predicted less true)")
    for axes, title in ((left, "predicted against true"), (right, "residuals")):
        axes.set_title(title, loc="left", fontweight="bold")
        _plain(axes)
    return figure


@styled
def reliability(said: np.ndarray, found: np.ndarray, counts: np.ndarray, what: str) -> Figure:
    """How often what is said with a probability is so, in bins; below, how often each is said.

    said, found: mean probability and share in each bin, NaN in an empty one; counts of its
    examples.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.7, 3.9), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color=THEME["muted"], lw=1, ls="--")
    full = counts > 0
    above.plot(said[full], found[full], color=THEME["train"], lw=1.4, marker="o", ms=4)
    above.set(ylabel="share that is so", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    edges = np.linspace(0, 1, len(counts) + 1)
    below.bar(
        edges[:-1], counts, np.diff(edges), align="edge", color=THEME["train"], alpha=0.6, lw=0
    )
    below.set(xlabel=f"probability of {label(what, 40)}", ylabel="examples")
    if counts.max() > 50 * max(counts[full].min(initial=1), 1):
        below.set_yscale("log")
    above.set_title("reliability", loc="left", fontweight="bold")
    for axes in (above, below):
        _plain(axes)
    return figure


@styled
def bars(
    names: Sequence[str], values: np.ndarray, deviations: np.ndarray | None, xlabel: str
) -> Figure:
    """A bar for each of the first names, from above; those below 0 in another colour."""
    from matplotlib.figure import Figure

    count = min(len(names), BARS)
    figure = Figure(figsize=(6.2, 0.9 + 0.24 * count), layout="constrained")
    axes = figure.add_subplot()
    place, shown = np.arange(count), values[:count]
    colours = [THEME["train" if value >= 0 else "val"] for value in shown]
    spread = None if deviations is None else deviations[:count]
    axes.barh(place, shown, color=colours, height=0.7, xerr=spread, ecolor=THEME["muted"])
    axes.set_yticks(place, [label(name, 34) for name in names[:count]])
    axes.set(ylim=(count - 0.4, -0.6), xlabel=xlabel)
    axes.axvline(0, color=THEME["muted"], lw=0.8)
    _plain(axes)
    axes.grid(visible=False, axis="y")
    return figure


@styled
def passage(pieces: Sequence[str], values: np.ndarray, width: int, title: str) -> Figure:
    """A text on colours: a value of each piece, blue above 0 and orange below, white at 0.

    `width`: letters of a line. `{}` in the title is the value that is darkest.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    places, line, column = [], 0, 0
    for piece in pieces:
        shown = piece.replace("\n", "\u21b5")
        if column and column + len(shown) > width:
            line, column = line + 1, 0
            shown = shown.lstrip(" ")
        places.append((line, column, shown))
        column += len(shown)
        if "\n" in piece:
            line, column = line + 1, 0
    figure = Figure(figsize=(7.4, 0.21 * (line + 2) + 0.55), layout="constrained")
    axes = figure.subplots()
    most = max(float(np.quantile(np.abs(values), 0.98)), 1e-9)
    for (row, start, text), value in zip(places, values.tolist(), strict=True):
        colour = THEME["train" if value > 0 else "val"]
        strength = min(abs(value) / most, 1.0) * 0.75
        cell = Rectangle((start, row), len(text), 0.94, lw=0, color=colour, alpha=strength)
        axes.add_patch(cell)
        for offset, letter in enumerate(text):
            if letter != " ":
                place = (start + offset + 0.5, row + 0.5)
                axes.text(*place, letter, ha="center", va="center", fontsize=7.5)
    axes.set(xlim=(0, width), ylim=(line + 1, 0), xticks=[], yticks=[])
    axes.set_title(title.format(f"{most:.2g}"), loc="left", fontsize=8)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure


@styled
def forecasts(
    stamps: np.ndarray, truth: np.ndarray, said: np.ndarray, low: np.ndarray, high: np.ndarray,
    begins: Sequence[int], what: str,
) -> Figure:  # fmt: skip
    """What came and what was forecast over time, with the interval; S each, a line a forecast."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.add_subplot()
    single = len(begins) == len(stamps)
    edges = [0, len(stamps)] if single else [*begins, len(stamps)]
    axes.plot(stamps, truth, color=THEME["muted"], lw=1.2, label="truth")
    for number, (first, last) in enumerate(pairwise(edges)):
        part = slice(first, last)
        named = "_" if number else "forecast"  # an underscore keeps it out of the legend
        axes.plot(stamps[part], said[part], color=THEME["train"], lw=1.2, label=named)
        if len(low):
            axes.fill_between(
                stamps[part], low[part], high[part], color=THEME["train"], alpha=0.15, lw=0
            )
        if number and len(edges) < 60:
            axes.axvline(stamps[first], color=THEME["muted"], lw=0.4, alpha=0.6)
    axes.set_ylabel(label(what, 40))
    axes.legend(loc="upper right", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    _plain(axes)
    return figure


@styled
def word_map(words: Sequence[str], points: np.ndarray, title: str) -> Figure:
    """Words where their points lie, N 2; those that would lie on others are dots alone."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(points[:, 0], points[:, 1], s=4, color=THEME["train"], alpha=0.5, lw=0)
    span = np.maximum(np.ptp(points, axis=0), 1e-9)
    taken: list[tuple[float, float, float]] = []
    for word, (x, y) in zip(words, (points / span).tolist(), strict=True):
        width = 0.0095 * len(word) + 0.01
        if any(abs(y - b) < 0.022 and x < a + w and a < x + width for a, b, w in taken):
            continue
        taken.append((x, y, width))
        text = axes.annotate(label(word, 24), (x * span[0], y * span[1]), fontsize=7.5)
        text.set_parse_math(False)
    axes.set(xticks=[], yticks=[])
    axes.margins(x=0.06)
    axes.set_title(title, loc="left", fontsize=9)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure


def _plain(axes: Axes) -> None:
    axes.grid(lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
