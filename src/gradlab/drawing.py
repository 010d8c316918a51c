"""Figures: curves from a log, a confusion matrix, the values of actions.

They are matplotlib figures that never touch pyplot's state. `svg` turns one into text for a page,
where the colours follow the page's theme; `png` into a file.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, wraps
from html import escape
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np

from gradlab.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
Line = Mapping[str, Any]
Series = dict[str, tuple[np.ndarray, np.ndarray]]
"""Steps and values by split."""

THEME = {
    "ink": "#1f2328",
    "muted": "#636c76",
    "grid": "#dfe3e8",
    "train": "#0b63ce",
    "val": "#c2510c",
    "on": "#fefefe",
}
"""Colours by their role; `svg` writes `var(--ROLE)` in their place."""

ANNOTATED = 20
"""The most classes for which a confusion matrix shows its counts."""

_NO_METRICS = {"step", "epoch", "steps", "examples", "seconds"}
_POINTS = 800  # of a curve: more than a screen shows
_FONT = "DejaVu Sans"  # comes with matplotlib
_LARGEST = 1e100  # beyond it an axis has no scale


def series(lines: Sequence[Line]) -> dict[str, Series]:
    """The curves in the lines of a log: by metric, steps and values by split.

    The loss comes first, the learning rate last. Values that are not finite, and the final
    evaluations, are left out.

    >>> curves = series([{"step": 50, "split": "train", "loss": 0.5, "lr": 0.1}])
    >>> list(curves), curves["loss"]["train"]
    (['loss', 'lr'], (array([50.]), array([0.5])))
    """
    points: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for line in lines:
        if "split" not in line or line.get("final") or not is_finite(line.get("step")):
            continue
        for key, value in line.items():
            if key not in _NO_METRICS and is_finite(value):
                found = points.setdefault(key, {}).setdefault(str(line["split"]), [])
                found.append((line["step"], value))
    order = sorted(points, key=lambda key: (key != "loss", key == "lr"))
    return {
        key: {
            split: (np.array([p[0] for p in found], float), np.array([p[1] for p in found], float))
            for split, found in points[key].items()
        }
        for key in order
    }


def smooth(values: np.ndarray, weight: float) -> np.ndarray:
    """Exponential moving average, debiased as in Adam (Kingma and Ba, 2015, section 3).

    weight: the share of the past, in 0..1. Without the debiasing the first values would lean
    towards 0.

    >>> smooth(np.array([4.0, 4.0, 1.0]), 0.5)
    array([4.        , 4.        , 2.28571429])
    """
    average, smoothed = 0.0, np.empty(len(values))
    for i, value in enumerate(values):
        average = weight * average + (1 - weight) * value
        smoothed[i] = average / (1 - weight ** (i + 1))
    return smoothed


def smoothing_weight(points: int) -> float:
    """The share of the past that smooths over about a twentieth of a curve."""
    return points / (points + 20)


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """A drawing function that looks the same whatever style the person's notebook has."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with _style():
            figure = draw(*args, **kwargs)
            _choose_fonts(figure)
            return figure

    return styled


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib.style

    own = {
        "font.size": 9,
        "svg.fonttype": "none",
        "svg.hashsalt": "gradlab",
        "text.parse_math": False,  # a class may be called "$"
        "text.color": THEME["ink"],
        "axes.titlecolor": THEME["ink"],
        "axes.labelcolor": THEME["muted"],
        "axes.edgecolor": THEME["muted"],
        "xtick.color": THEME["muted"],
        "ytick.color": THEME["muted"],
        "grid.color": THEME["grid"],
    }
    with matplotlib.style.context(["default", own]), warnings.catch_warnings():
        # A page keeps the characters of a name, and the reader's browser has fonts of its own.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _choose_fonts(figure: Figure) -> None:
    """Where names have letters that the usual font lacks, add fonts of this machine with them."""
    from matplotlib.text import Text

    texts = figure.findobj(Text)
    letters = set("".join(text.get_text() for text in texts))
    families = _fonts_with("".join(sorted(letter for letter in letters if letter > "~")))
    for text in texts if families else ():
        text.set_fontfamily([_FONT, *families])


@lru_cache(maxsize=16)
def _fonts_with(letters: str) -> tuple[str, ...]:
    """The fewest installed fonts that together have what the usual font lacks of `letters`."""
    if not letters:
        return ()
    from matplotlib import font_manager, ft2font

    def held(path: str) -> set[str]:
        try:
            font = ft2font.FT2Font(path)
        except (OSError, RuntimeError):  # a damaged file among a person's fonts
            return set()
        return {letter for letter in letters if font.get_char_index(ord(letter))}

    lacking = set(letters) - held(font_manager.findfont(_FONT))
    if not lacking:
        return ()
    fonts = {
        font.name: font.fname
        for font in font_manager.fontManager.ttflist
        # A font of last resort has a box for every letter.
        if (font.style, font.weight) == ("normal", 400) and "Last Resort" not in font.name
    }
    having = {name: held(path) & lacking for name, path in sorted(fonts.items())}
    chosen = []
    while lacking and having:
        name = max(having, key=lambda name: len(having[name] & lacking))
        if not having[name] & lacking:
            break
        chosen.append(name)
        lacking -= having[name]
    return tuple(chosen)


@styled
def curve(name: str, curves: Series, resumed: Sequence[float] = ()) -> Figure:
    """A metric over the steps: train raw (thin) and smoothed (bold), other splits as they are.

    `resumed` are steps at which the training was taken up again.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.7, 2.5), layout="constrained")
    axes = figure.add_subplot()
    for split, (steps, values) in curves.items():
        if split != "train":
            mark = "o" if len(values) <= 40 else None
            axes.plot(
                *_thinned(steps, values),
                color=THEME["val"],
                lw=1.4,
                marker=mark,
                ms=3,
                label=split,
            )
        elif name == "lr":
            axes.plot(*_thinned(steps, values), color=THEME["train"], lw=1.6)
        else:
            smoothed = smooth(values, smoothing_weight(len(values)))
            raw = _thinned(steps, values)
            axes.plot(*raw, color=THEME["train"], lw=0.8, alpha=0.5, label=f"{split}, raw")
            bold = _thinned(steps, smoothed)
            axes.plot(*bold, color=THEME["train"], lw=2, label=f"{split}, smoothed")
    for step in resumed:
        axes.axvline(step, color=THEME["muted"], lw=0.8, ls=":")
    _scale(axes, curves, name)
    title = "learning rate" if name == "lr" else label(name, 40)
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xlabel("step")
    axes.grid(lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
    return figure


@styled
def confusion_matrix(counts: np.ndarray, classes: Sequence[str]) -> Figure:
    """Counts of truth (rows) against prediction (columns), coloured by their share of the row.

    What is right is blue, what is wrong is orange. Counts are written for up to 20 classes.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure

    many = len(counts)
    annotated = many <= ANNOTATED
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    strength = np.sqrt(shares)  # so that a few mistakes among many can be seen
    side = min(max(1.4 + 0.36 * many, 3.2), 8.6) if annotated else 5.6
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    if annotated:
        _cells(axes, counts, strength)
        names = [label(name, 14) for name in classes]
        axes.set_xticks(range(many), names, rotation=90 if max(map(len, names)) > 3 else 0)
        axes.set_yticks(range(many), names)
        axes.tick_params(length=0)
    else:
        pixels = np.empty((many, many, 4))
        pixels[..., :3] = np.where(np.eye(many)[..., None], to_rgb("#2f81f7"), to_rgb("#e8703a"))
        pixels[..., 3] = strength
        axes.imshow(pixels, interpolation="nearest")
    axes.set(xlim=(-0.5, many - 0.5), ylim=(many - 0.5, -0.5), aspect="equal")
    axes.set_xlabel("prediction")
    axes.set_ylabel("truth")
    for spine in axes.spines.values():
        spine.set_color(THEME["grid"])
    return figure


def confusions(
    counts: np.ndarray, classes: Sequence[str], most: int = 10
) -> list[tuple[str, str, int, float]]:
    """The most common mistakes: truth, prediction, count and share of the truth's examples.

    >>> confusions(np.array([[8, 2], [0, 5]]), ["cat", "dog"])
    [('cat', 'dog', 2, 0.2)]
    """
    wrong = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [divmod(int(i), len(counts)) for i in order if wrong.flat[i] > 0]
    return [
        (classes[t], classes[p], int(counts[t, p]), float(counts[t, p] / counts[t].sum()))
        for t, p in pairs
    ]


@styled
def action_values(values: np.ndarray, actions: np.ndarray, names: Sequence[str]) -> Figure:
    """The values of all actions along an episode. values: T A; actions: T, the ones taken."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.add_subplot()
    steps = np.arange(len(values))
    for number, name in enumerate(names):
        taken = actions == number
        axes.plot(steps, values[:, number], lw=1, color=f"C{number % 10}", label=label(name, 30))
        axes.scatter(steps[taken], values[taken, number], s=5, color=f"C{number % 10}")
    axes.set_title("values of the actions along an episode; dots: the one taken")
    axes.set_xlabel("step")
    axes.set_ylabel("Q")
    if len(names) <= 18:
        axes.legend(fontsize=8, loc="best")
    return figure


def svg(figure: Figure, name: str, alt: str) -> str:
    """A figure as an SVG element, to stand in a page that sets the variables of `THEME`.

    `name` keeps its inner ids apart from those of other figures; `alt` says what it shows.
    """
    buffer = io.StringIO()
    with _style():
        figure.savefig(
            buffer,
            format="svg",
            transparent=True,
            dpi=120,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )

    def themed(tag: re.Match[str]) -> str:
        text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", tag[0])
        for role, colour in THEME.items():
            text = text.replace(colour, f"var(--{role})")
        return text

    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace("\n", " ")
    text = re.sub(r"<[^>]*>", themed, text)  # tags alone: a class may be called "#1f2328"
    shown = escape(printable(alt))
    return text.replace("<svg ", f'<svg role="img" aria-label="{shown}" ', 1)


def png(figure: Figure) -> bytes:
    """A figure as a PNG file."""
    buffer = io.BytesIO()
    with _style():
        figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def short(text: str, most: int) -> str:
    """A text cut to `most` characters.

    >>> short("golden retriever", 10)
    'golden re…'
    """
    return text if len(text) <= most else text[: most - 1] + "…"


def label(name: str, most: int) -> str:
    """A name as it can stand in a figure: on one line, nothing in it that a terminal obeys.

    >>> print(label("golden\\nretriever \\x1b[31m", 30))
    golden retriever \\x1b[31m
    """
    return short(printable(" ".join(name.split())), most)


def is_finite(value: Any) -> bool:
    """Whether a value of a log is a number (and no truth value) that a curve can show."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and -_LARGEST < value < _LARGEST


def _cells(axes: Axes, counts: np.ndarray, strength: np.ndarray) -> None:
    from matplotlib.patches import Rectangle

    for t, p in zip(*np.nonzero(counts), strict=True):
        colour = THEME["train" if t == p else "val"]
        place, alpha = (p - 0.48, t - 0.48), float(strength[t, p])
        axes.add_patch(Rectangle(place, 0.96, 0.96, facecolor=colour, alpha=alpha, lw=0))
        ink = THEME["on" if alpha > 0.6 else "ink"]
        size = 8 if counts[t, p] < 1000 else 6
        axes.text(p, t, str(counts[t, p]), ha="center", va="center", color=ink, fontsize=size)


def _thinned(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A curve of at most `_POINTS` points that keeps the lowest and the highest of each stretch."""
    if len(values) <= _POINTS:
        return steps, values
    parts = np.array_split(np.arange(len(values)), _POINTS // 2)
    kept = sorted(
        {i for part in parts for i in (part[values[part].argmin()], part[values[part].argmax()])}
    )
    return steps[kept], values[kept]


def _count(number: float) -> str:
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if number >= 10 * size:
            return f"{number / size:g}{unit}"
    return f"{number:g}"


def _scale(axes: Axes, curves: Series, name: str) -> None:
    """Steps in thousands, and a logarithmic axis where a loss falls through orders of magnitude."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: _count(step)))
    values = np.concatenate([values for _, values in curves.values()])
    if name != "lr" and len(values) and values.min() > 0 and values.max() > 50 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=6))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
