"""The page that a training leaves behind: one file that opens from disk, anywhere, for good.

It holds no script and asks nothing of a network (a content security policy says so to the
browser). It knows no part of an evaluation by name: each brings its own tables, figure and
pictures. Names of classes and files are other people's text: the template escapes all of it.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from html import escape
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlab import drawing, files
from gradlab.measures import measure
from gradlab.tasks.evaluation import Card, Part, Table
from gradlab.text import printable

if TYPE_CHECKING:
    from jinja2 import Template
    from matplotlib.figure import Figure

LARGEST = 2_000_000
"""Bytes of a page."""
_ROOM = 1_500_000  # of them, for figures, pictures and tables; the rest is cut to a fixed length
_CURVES = 8
_CARDS = 36
_ROWS = 1000
_CELL = 160  # letters of a cell
_FIELD = 1000  # the same, of a recipe's
_PICTURE = 128  # pixels of the longer side of a card
_SHEET = 900  # the same, of a sheet of pictures that a network made
_SMALL = 300  # up to here a sheet is kept as it is, and shown larger with hard pixels
_SHARP = 48  # up to here a picture is shown with hard pixels


@dataclass(frozen=True)
class Page:
    """All that a report shows.

    metrics: by split. baselines: by split, then baseline. lines: those of metrics.jsonl. parts:
    the findings about `split`. verdict: what went wrong, each with
    `evidence` and `fix`. pictures: uint8 H W C by title. records: JSON trees by title.
    """

    title: str
    about: Sequence[str] = ()
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    baselines: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    monitor: str = ""
    seconds: float | None = None
    examples_per_second: float | None = None
    best_epoch: int | None = None
    verdict: Sequence[Mapping[str, str]] = ()
    notes: Sequence[str] = ()
    lines: Sequence[Mapping[str, Any]] = ()
    split: str = ""
    parts: Sequence[Part] = ()
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    footer: str = "gradlab"


def write_page(path: Path, page: Page) -> None:
    """Write `page` as one self-contained HTML file, below 2 MB; UserError if it cannot be."""
    files.write_bytes(path, render(page).encode("utf-8", "backslashreplace"))


def render(page: Page) -> str:
    """The HTML of a page."""
    room = _Room(_ROOM)
    return _template().render(
        page=page,
        style=resources.files("gradlab.report").joinpath("report.css").read_text("utf-8"),
        tiles=_tiles(page),
        scores=_scores(page),
        curves=_curves(page, room),
        resumed=bool(_resumed(page)),
        sections=[_section(part, n, page.split, room) for n, part in enumerate(page.parts)],
        pictures=[(title, _sheet(picture, room)) for title, picture in page.pictures.items()],
        records=[
            (title, _table(Table(("field", "value"), tuple(_flat(tree))), room, _FIELD))
            for title, tree in page.records.items()
        ],
        room=room,
    )


@lru_cache(maxsize=1)
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    def shown(value: Any) -> Any:
        return value if hasattr(value, "__html__") else printable(str(value))

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = drawing.short
    source = resources.files("gradlab.report").joinpath("report.html.j2")
    return environment.from_string(source.read_text("utf-8"))


class _Room:
    """The bytes that are still free on a page: it stays small whatever it is of."""

    def __init__(self, left: int) -> None:
        self.left, self.refused = left, 0

    def takes(self, text: str) -> bool:
        """Whether there is room for `text`, which then has it."""
        size = len(text.encode("utf-8", "backslashreplace"))
        if size > self.left:
            self.refused += 1
            return False
        self.left -= size
        return True


# the parts of a page, ready to be shown


@dataclass(frozen=True)
class _Rows:
    """A table that has room; `more` rows were left out."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    more: int
    folded: bool


@dataclass(frozen=True)
class _Picture:
    """An `img`; `uri` is empty where it had no room. `width`: pixels; 0: as its place is."""

    uri: str
    sharp: bool
    width: int = 0


@dataclass(frozen=True)
class _Section:
    """A part of an evaluation; `wide` and `least` are pixels of its figure."""

    title: str
    subject: str
    caption: str
    svg: str
    wide: int
    least: int
    tables: Sequence[_Rows]
    cards: Sequence[tuple[Card, _Picture]]


@dataclass(frozen=True)
class _Scores:
    """Metrics by split: a row for the network, then one for each baseline."""

    names: Sequence[str]
    splits: Sequence[tuple[str, Sequence[tuple[str, Sequence[str]]]]]
    compared: bool


def _tiles(page: Page) -> list[tuple[str, str]]:
    """What a reader looks for first: name and value."""
    tiles = []
    for split in ("test", "val", "train"):
        known = page.metrics.get(split, {})
        names = [name for name in (page.monitor, *known) if name in known and name != "loss"]
        if names:
            tiles.append((f"{split} {names[0]}", _metric(names[0], known[names[0]])))
            break
    if page.seconds is not None:
        tiles.append(("seconds", f"{page.seconds:,.1f}"))
    if page.examples_per_second is not None:
        tiles.append(("examples/s", f"{page.examples_per_second:,.0f}"))
    if page.best_epoch is not None:
        tiles.append(("best epoch", str(page.best_epoch)))
    return tiles


def _scores(page: Page) -> _Scores:
    names = list(dict.fromkeys(name for row in page.metrics.values() for name in row))[:40]

    def cells(row: Mapping[str, float]) -> list[str]:
        return [_metric(name, row[name]) if name in row else "" for name in names]

    splits = [
        (split, [("network", cells(row)), *((k, cells(v)) for k, v in _others(page, split))])
        for split, row in page.metrics.items()
    ]
    return _Scores(names, splits, any(len(rows) > 1 for _, rows in splits))


def _others(page: Page, split: str) -> list[tuple[str, Mapping[str, float]]]:
    return list(page.baselines.get(split, {}).items())[:20]


def _curves(page: Page, room: _Room) -> list[str]:
    """The curves of the log, each as an SVG."""
    curves = list(drawing.series(page.lines).items())
    # The learning rate stands last, and is not what is left out.
    shown = curves if len(curves) <= _CURVES else [*curves[: _CURVES - 1], curves[-1]]
    drawn = []
    for number, (name, found) in enumerate(shown):
        alt = f"{drawing.short(name, 40)} over the steps: " + "; ".join(
            f"{drawing.short(split, 40)} from {_metric(name, float(values[0]))} "
            f"to {_metric(name, float(values[-1]))}"
            for split, (_, values) in found.items()
        )
        figure = drawing.curve(name, found, _resumed(page))
        drawn.append(_svg(figure, f"c{number}", alt, room))
    return [svg for svg in drawn if svg]


def _resumed(page: Page) -> list[float]:
    """The steps at which the training was taken up again."""
    steps = [line.get("step") for line in page.lines if line.get("event") == "resume"]
    return [float(step) for step in steps if step is not None and drawing.is_finite(step)]


def _section(part: Part, number: int, split: str, room: _Room) -> _Section:
    figure = part.figure()
    # On a small screen a figure shrinks as far as it can be read, then it scrolls.
    wide = round(96 * figure.get_figwidth()) if figure is not None else 0
    svg = "" if figure is None else _svg(figure, f"p{number}", part.words(), room)
    tables = [_table(table, room) for table in part.tables()]
    cards = [(card, _card(card, room)) for card in part.cards()[:_CARDS]]
    return _Section(
        part.title,
        part.subject or f"{drawing.short(split, 40)} split",
        part.caption,
        svg,
        wide,
        round(0.62 * wide),
        [t for t in tables if t.rows],
        cards,
    )


def _svg(figure: Figure, name: str, alt: str, room: _Room) -> str:
    svg = drawing.svg(figure, name, drawing.short(alt, 400))
    return svg if room.takes(svg) else ""


def _table(table: Table, room: _Room, most: int = _CELL) -> _Rows:
    """The rows that have room, their cells cut to so many letters."""
    kept: list[list[str]] = []
    for row in table.rows[:_ROWS]:
        cells = [drawing.short(cell, most) for cell in row]
        if not room.takes("<td></td>".join(escape(printable(cell)) for cell in ["<tr>", *cells])):
            break
        kept.append(cells)
    return _Rows(table.title, table.header, kept, len(table.rows) - len(kept), table.folded)


def _card(card: Card, room: _Room) -> _Picture:
    sharp = max(card.picture.shape[:2]) <= _SHARP
    uri = _data_uri(card.picture, _PICTURE, lossless=sharp)
    return _Picture(uri if room.takes(uri) else "", sharp)


def _sheet(picture: np.ndarray, room: _Room) -> _Picture:
    longest = max(picture.shape[:2])
    small = longest <= _SMALL
    uri = _data_uri(picture, _SHEET, lossless=small)
    width = picture.shape[1] * max(round(_SHEET / 2 / longest), 1) if small else 0
    return _Picture(uri if room.takes(uri) else "", small, width)


def _data_uri(picture: np.ndarray, largest: int, *, lossless: bool) -> str:
    """A picture (uint8 H W C) made so small, in the text of an address."""
    from PIL import Image

    image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    image.thumbnail((largest, largest))
    buffer = io.BytesIO()
    if lossless:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "JPEG", quality=82)
    kind = "png" if lossless else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _metric(name: str, value: Any) -> str:
    """A metric as its measure writes it; nan for what is no number (a log's null)."""
    known = isinstance(value, float) or drawing.is_finite(value)
    return measure(name).text(value) if known else "nan"


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
                yield name, _joined(value)
        elif value not in (None, ""):
            yield name, value if isinstance(value, str) else json.dumps(value)


def _joined(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))
