"""The page that a training leaves behind: one file that opens from disk, anywhere, for good.

It holds no script and asks nothing of a network (a content security policy says so to the
browser). Names of classes and files are a stranger's text: all of it is escaped.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from gradlab.files import write_text
from gradlab.recipes import figures

Rows = Iterable[Sequence[str]]

_CURVES = 8
_MISTAKES = 36
_ROWS = 1000
_PICTURE = 128  # pixels of the longer side
_SAMPLES = 900  # the same, of a sheet of pictures that a network made
_SHARP = 48  # up to here a picture is kept as it is, and shown with hard pixels


@dataclass(frozen=True)
class Mistake:
    """An example that the model gets wrong; `picture` is uint8 H W C (C: 1 or 3), or None."""

    id: str
    truth: str
    prediction: str
    probability: float | None = None
    picture: np.ndarray | None = None


@dataclass(frozen=True)
class Page:
    """All that a report shows.

    metrics: by split. lines: those of metrics.jsonl. confusion: counts K K, rows are the truth;
    it, `per_class` and `mistakes` are of `split`. recipe, machine: JSON trees. pictures: uint8
    H W C by title.
    """

    title: str
    run: str
    recipe_name: str
    dataset: str
    metrics: Mapping[str, Mapping[str, float]]
    seconds: float | None = None
    examples_per_second: float | None = None
    best_epoch: int | None = None
    lines: Sequence[Mapping[str, Any]] = ()
    split: str = "test"
    classes: Sequence[str] = ()
    confusion: np.ndarray | None = None
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    mistakes: Sequence[Mistake] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)


def write_report(path: Path, page: Page) -> None:
    """Write `page` as one self-contained HTML file, below 2 MB; UserError if it cannot be."""
    write_text(path, render(page))


def render(page: Page) -> str:
    """The HTML of a page."""
    parts = [_summary(page), _curves(page), _pictures(page), _confusion(page)]
    parts += [_mistakes(page)]
    parts += [
        _details("Figures of each class", _by_row("class", page.per_class)),
        _details("Recipe", _table(("field", "value"), _flat(page.recipe))),
        _details("Machine", _table(("what", "value"), _flat(page.machine))),
    ]
    line = " · ".join(filter(None, (page.recipe_name, page.dataset, page.run)))
    return _HTML.format(
        title=escape(page.title),
        line=escape(line),
        style=resources.files("gradlab.recipes").joinpath("report.css").read_text("utf-8"),
        body="\n".join(filter(None, parts)),
    )


def _summary(page: Page) -> str:
    tiles = []
    for split in ("test", "val", "train"):
        named = [(k, v) for k, v in page.metrics.get(split, {}).items() if k != "loss"]
        if named:
            tiles.append((f"{split} {named[0][0]}", _number(named[0][1])))
            break
    if page.seconds is not None:
        tiles.append(("seconds", f"{page.seconds:,.1f}"))
    if page.examples_per_second is not None:
        tiles.append(("examples/s", f"{page.examples_per_second:,.0f}"))
    if page.best_epoch is not None:
        tiles.append(("best epoch", str(page.best_epoch)))
    shown = "".join(
        f"<div><dd>{escape(value)}</dd><dt>{escape(name)}</dt></div>" for name, value in tiles
    )
    notes = "".join(f"<li>{escape(figures.short(note, 600))}</li>" for note in page.notes[:50])
    body = f'<dl class="tiles">{shown}</dl>' if shown else ""
    body += _by_row("split", page.metrics)
    body += f'<ul class="notes">{notes}</ul>' if notes else ""
    return f'<div class="summary">{body}</div>' if body else ""


def _curves(page: Page) -> str:
    resumed = [line["step"] for line in page.lines if line.get("event") == "resume"]
    curves = list(figures.series(page.lines).items())
    # The learning rate stands last, and is not what is left out.
    shown = curves if len(curves) <= _CURVES else [*curves[: _CURVES - 1], curves[-1]]
    drawn = []
    for number, (name, found) in enumerate(shown):
        alt = f"{name} over the steps: " + "; ".join(
            f"{split} from {_number(values[0])} to {_number(values[-1])}"
            for split, (_, values) in found.items()
        )
        figure = figures.curve(figures.short(name, 40), found, resumed)
        drawn.append(f"<figure>{figures.svg(figure, f'c{number}', alt)}</figure>")
    if not drawn:
        return ""
    caption = "Thin: as logged. Bold: exponentially smoothed, over about a twentieth of the run."
    if resumed:
        caption += " Dotted: resumed."
    return _section("Learning curves", f'<div class="curves">{"".join(drawn)}</div>', caption)


def _confusion(page: Page) -> str:
    if page.confusion is None or not len(page.confusion):
        return ""
    counts = np.asarray(page.confusion)
    right, total = int(np.trace(counts)), int(counts.sum())
    alt = f"Confusion matrix of {len(counts)} classes: {right} of {total} right"
    figure = figures.confusion_matrix(counts, page.classes)
    wide = round(96 * figure.get_figwidth())
    least = min(wide, 60 + 24 * len(counts))
    matrix = (
        f'<div class="matrix" style="--wide:{wide}px;--least:{least}px">'
        f"{figures.svg(figure, 'm', alt)}</div>"
    )
    common = [
        (truth, prediction, str(count), f"{share:.1%}")
        for truth, prediction, count, share in figures.confusions(counts, page.classes)
    ]
    table = _table(("truth", "taken for", "count", "of the class"), common)
    body = f'<div class="beside">{matrix}{table}</div>'
    caption = "Rows: truth. Columns: prediction. The stronger the colour, the larger the share of "
    return _section(f"Confusion matrix ({page.split} split)", body, caption + "the row.")


def _pictures(page: Page) -> str:
    """What the network makes."""
    drawn = [
        f'<figure><img src="{_data_uri(picture, _SAMPLES)}" alt="{escape(title)}">'
        f"<figcaption>{escape(title)}</figcaption></figure>"
        for title, picture in page.pictures.items()
    ]
    return _section("What the network makes", "".join(drawn)) if drawn else ""


def _mistakes(page: Page) -> str:
    shown = page.mistakes[:_MISTAKES]
    if not shown:
        return ""
    title = f"Worst mistakes ({page.split} split)"
    if all(mistake.picture is None for mistake in shown):
        sure = any(mistake.probability is not None for mistake in shown)
        head = ("example", "truth", "prediction", "probability")
        rows = [
            (m.id, m.truth, m.prediction, "" if m.probability is None else f"{m.probability:.1%}")
            for m in shown
        ]
        return _section(title, _table(head[: 3 + sure], (row[: 3 + sure] for row in rows)))
    cards = "".join(f"<figure>{_card(mistake)}</figure>" for mistake in shown)
    return _section(title, f'<div class="grid">{cards}</div>')


def _card(mistake: Mistake) -> str:
    words = f"{mistake.id}: {mistake.truth}, taken for {mistake.prediction}"
    picture = ""
    if mistake.picture is not None:
        sharp = max(mistake.picture.shape[:2]) <= _SHARP
        picture = (
            f'<img src="{_data_uri(mistake.picture)}" alt="{escape(figures.short(words, 200))}"'
            f"{' class=sharp' if sharp else ''}>"
        )
    sure = "" if mistake.probability is None else f"<br>{mistake.probability:.0%} sure"
    return (
        f"{picture}<figcaption><b>{_text(mistake.truth, 40)}</b> taken for "
        f"<b>{_text(mistake.prediction, 40)}</b><small>{sure}<br>{_text(mistake.id, 60)}</small>"
        "</figcaption>"
    )


def _data_uri(picture: np.ndarray, largest: int = _PICTURE) -> str:
    from PIL import Image

    image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    sharp = max(image.size) <= _SHARP
    image.thumbnail((largest, largest))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True) if sharp else image.save(buffer, "JPEG", quality=82)
    kind = "png" if sharp else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _by_row(first: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """A table with a row for each key, and a column for each number that a row has."""
    names = dict.fromkeys(
        k for row in rows.values() for k, v in row.items() if figures.is_number(v)
    )
    cells = (
        (name, *(_number(row[k]) if k in row else "" for k in names)) for name, row in rows.items()
    )
    return _table((first, *names), cells) if names else ""


def _table(head: Sequence[str], rows: Rows) -> str:
    body = "".join(
        "<tr>" + "".join(f"<td>{_text(cell, 300)}</td>" for cell in row) + "</tr>"
        for row in islice(rows, _ROWS)
    )
    columns = "".join(f'<th scope="col">{_text(name, 40)}</th>' for name in head)
    if not body:
        return ""
    return (
        f'<div class="scroll"><table><thead><tr>{columns}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """A JSON tree as rows of dotted names and values; what is empty is left out."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif isinstance(value, list | tuple):
            if any(isinstance(item, Mapping) for item in value):
                yield from _flat({str(i): item for i, item in enumerate(value)}, f"{name}.")
            elif value:
                yield name, ", ".join(map(str, value))
        elif value not in (None, ""):
            yield name, value if isinstance(value, str) else json.dumps(value)


def _section(title: str, body: str, caption: str = "") -> str:
    said = f'<p class="caption">{escape(caption)}</p>' if caption else ""
    return f"<section><h2>{escape(title)}</h2>{body}{said}</section>"


def _details(title: str, body: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{body}</details>" if body else ""


def _text(text: str, most: int) -> str:
    return escape(figures.short(text, most))


def _number(value: float) -> str:
    """A metric as a person reads it.

    >>> _number(0.97251), _number(1234.5), _number(200)
    ('0.9725', '1,234', '200')
    """
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


_HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<header><h1>{title}</h1><p>{line}</p></header>
{body}
<footer>gradlab</footer>
</main>
</body>
</html>
"""
