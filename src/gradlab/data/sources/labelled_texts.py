"""Texts and their classes: named sets, class folders of .txt, a file for each class, a table."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np

from gradlab.config import DataConfig
from gradlab.data.columns import Dense, Frame, Listed
from gradlab.data.dataset import Parts, RowNumbers, Schema, Source, Split, SplitName
from gradlab.data.fields.label import Label
from gradlab.data.fields.text import Text, read_text
from gradlab.data.frames import read_frame
from gradlab.data.here import cache_folder
from gradlab.data.kinds import TEXTS, kind_of
from gradlab.data.sources import datasets
from gradlab.data.sources.download import Remote, check, fetch_all
from gradlab.data.sources.targets import read_target
from gradlab.data.tabular import decimal_sign
from gradlab.data.tokens import Tokens
from gradlab.errors import UserError, unknown
from gradlab.wording import counted, some

IMDB = Remote(
    "aclImdb_v1.tar.gz",
    "md5:7c2ac02c03563afcf9b574c7e56c153a",
    ("https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",),
)
_IMDB_PACKED = (
    "aclImdb.tar.xz",
    "f93d4fb12a859c97d6e027ca2b878a7ef194cd706ee40c0e2445b3abaedb624f",
)
"""The same labelled texts in a smaller archive, which is read where it is in the cache."""
_RT = (
    "https://raw.githubusercontent.com/dennybritz/cnn-text-classification-tf/master/data/"
    "rt-polaritydata/"
)
RT_POLARITY = (
    Remote(
        "rt-polarity.neg",
        "2d11cfbc790f1cd96d78339f41ce53ced1efa83cd22d37d6788fa3fe3d17e2fd",
        (_RT + "rt-polarity.neg",),
    ),
    Remote(
        "rt-polarity.pos",
        "4134882974a28d0c7b5151256f0e33a6169984ee7372c279e673f1114f475d58",
        (_RT + "rt-polarity.pos",),
    ),
)
SPLIT_FOLDERS: dict[str, SplitName] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test",
}  # fmt: skip
MOST_LOOKED_AT = 100_000
"""Files that are looked at to know what a folder holds."""
LONGEST = 1 << 24
"""Letters of a single text, at most: a file beyond is no example of a class."""


@dataclass(frozen=True)
class Labelled:
    """Texts of a split with their classes, and where they stood."""

    texts: list[str]
    labels: list[str]
    names: list[str]


@datasets.register("imdb")
def imdb(config: DataConfig) -> Source:
    """50,000 film reviews, half for training, 2 classes (Maas et al. 2011)."""
    path = imdb_archive()
    parts: dict[SplitName, Labelled] = {
        "train": Labelled([], [], []),
        "test": Labelled([], [], []),
    }
    with tarfile.open(path) as archive:
        for member in archive:
            steps = PurePosixPath(member.name).parts
            if len(steps) != 4 or steps[2] not in ("pos", "neg") or not member.isfile():
                continue
            file = archive.extractfile(member)
            part = parts.get(SPLIT_FOLDERS.get(steps[1], "val"))
            if file is None or part is None:
                continue
            part.texts.append(file.read().decode("utf-8").replace("<br />", "\n"))
            part.labels.append(steps[2])
            part.names.append("/".join(steps[2:]))
    if not all(part.texts for part in parts.values()):
        raise UserError(f"{path} holds no reviews: expected aclImdb/train/pos/0_9.txt and the like")
    ordered: dict[SplitName, Labelled] = {name: _sorted(part) for name, part in parts.items()}
    return _source("imdb", ordered, config)


def imdb_archive() -> Path:
    """The archive of all reviews, in the cache or from its publisher."""
    folder = cache_folder() / "imdb"
    packed = folder / _IMDB_PACKED[0]
    if packed.is_file() and not (folder / IMDB.name).is_file():
        check(packed, _IMDB_PACKED[1])
        return packed
    (path,) = fetch_all("imdb", [IMDB])
    return path


@datasets.register("rt_polarity")
def rt_polarity(config: DataConfig) -> Source:
    """10,662 sentences of film reviews, 2 classes (Pang and Lee 2005); no test of its own."""
    found = _by_lines(dict(zip(("neg", "pos"), rt_polarity_files(), strict=True)))
    return _source("rt_polarity", {"train": found}, config)


def rt_polarity_files() -> list[Path]:
    """Its negative sentences, and its positive ones."""
    return fetch_all("rt_polarity", list(RT_POLARITY))


def holds_texts(path: Path) -> bool:
    """Whether a folder holds .txt files of two classes or more, and no image beside them."""
    if not path.is_dir():
        return False
    files = list(islice(_files(path), MOST_LOOKED_AT))
    classes = {file.stem if file.parent == path else file.parent.name for file in files}
    if len(classes) < 2:
        return False
    return not any(kind_of(place) == "image" for place in path.rglob("*"))


def text_folder_source(path: Path, config: DataConfig) -> Source:
    """Class folders of .txt files of one text each; or .txt files whose lines are texts of a class.

    Both may lie in folders of their own for train, val and test.
    """
    splits: dict[SplitName, Path] = {
        SPLIT_FOLDERS[place.name.lower()]: place
        for place in sorted(path.iterdir())
        if place.is_dir() and place.name.lower() in SPLIT_FOLDERS and holds_texts(place)
    }
    places: dict[SplitName, Path] = splits if "train" in splits else {"train": path}
    parts: dict[SplitName, Labelled] = {
        name: _folder(place, config.encoding) for name, place in places.items()
    }
    return _source(str(path), parts, config)


def text_table_source(path: Path, config: DataConfig) -> Source:
    """A column of texts of a CSV, TSV or Parquet file, and one of what is asked for."""
    import polars as pl

    frame, notes = read_frame(path, config.header)
    names = {}
    for key, column in (("text", config.text), ("target", config.target)):
        if column is None:
            raise UserError(
                f"data.{key}: which column of {path}? Give --data.{key} NAME. Columns: "
                f"{some(frame.columns, 30)}"
            )
        if column not in frame.columns:
            raise unknown(f"column of {path} (data.{key}):", column, frame.columns)
        names[key] = column
    where = str(path)
    field, values, asked, said = read_target(
        where, frame[names["target"]], config, lambda: decimal_sign(Frame(frame))
    )
    texts = frame[names["text"]].cast(pl.String)
    there = texts.is_not_null().to_numpy() & asked
    if not there.any():
        raise UserError(f"{path}: no row has both {config.text!r} and {config.target!r}")
    if lost := int((asked & ~there).sum()):
        notes = (*notes, f"{counted(lost, 'row')} without {config.text} left out")
    split = Split(
        {"text": Listed(texts.filter(there).to_list()), "y": Dense(values[there[asked]])},
        RowNumbers(np.flatnonzero(there) + 1),
    )
    schema = Schema(inputs={"text": _field(config)}, targets={"y": field})
    stratify = "y" if isinstance(field, Label) else ""
    return Source(where, schema, {"train": split}, (*notes, *said), stratify, order="length")


def _files(path: Path) -> Iterable[Path]:
    """The .txt files of a folder and of its class folders, hidden ones left out."""
    for place in sorted(path.iterdir()):
        if place.name.startswith("."):
            continue
        if place.suffix.lower() in TEXTS and place.is_file():
            yield place
        elif place.is_dir():
            inner = sorted(place.iterdir())
            if place.name.lower() in SPLIT_FOLDERS:
                yield from _files(place)
            else:
                yield from (f for f in inner if f.suffix.lower() in TEXTS and f.is_file())


def _folder(path: Path, encoding: str) -> Labelled:
    lines = {place.stem: place for place in _files(path) if place.parent == path}
    if lines:
        return _by_lines(lines, encoding)
    found = Labelled([], [], [])
    for file in _files(path):
        if file.stat().st_size > 4 * LONGEST:
            raise UserError(
                f"{file} is larger than {LONGEST:,} letters: a text of a class is shorter. For a "
                "language model name the file itself"
            )
        found.texts.append(read_text(file, encoding))
        found.labels.append(file.parent.name)
        found.names.append(f"{file.parent.name}/{file.name}")
    return found


def _by_lines(files: Mapping[str, Path], encoding: str = "utf-8") -> Labelled:
    """A text in each line of a file, of the class that the file is called by."""
    if len(files) < 2:
        raise UserError(
            f"{next(iter(files.values()))}: expected a .txt file for each class, whose lines are "
            "its texts, or class folders of .txt files; for a language model name the file itself"
        )
    found = Labelled([], [], [])
    for label, path in files.items():
        for number, line in enumerate(read_text(path, encoding).splitlines(), 1):
            if line.strip():
                found.texts.append(line.strip())
                found.labels.append(label)
                found.names.append(f"{path.name}:{number}")
    return found


def _sorted(part: Labelled) -> Labelled:
    order = np.argsort(np.array(part.names), kind="stable").tolist()
    columns = (part.texts, part.labels, part.names)
    return Labelled(*([values[n] for n in order] for values in columns))


def _field(config: DataConfig) -> Text:
    chosen = config.tokens
    tokens = Tokens(by=chosen.name, lower=chosen.lower, minimum=chosen.minimum, most=chosen.most)
    return Text(tokens=tokens, longest=chosen.longest)


def _source(name: str, parts: Mapping[SplitName, Labelled], config: DataConfig) -> Source:
    """Splits of labelled texts as a `Source`; texts without a word are left out and named."""
    classes = sorted(set(parts["train"].labels))
    if len(classes) < 2:
        raise UserError(
            f"{name}: expected texts of two classes or more, found {some(classes) or 'none'}"
        )
    splits: Parts = {}
    notes: list[str] = []
    for split, part in parts.items():
        kept = [n for n, text in enumerate(part.texts) if text.strip()]
        empty = [part.names[n] for n, text in enumerate(part.texts) if not text.strip()]
        if empty:
            notes.append(f"{split}: empty texts left out: {some(empty, 5)}")
        splits[split] = Split(
            {
                "text": Listed([part.texts[n] for n in kept]),
                "label": Dense(np.array([part.labels[n] for n in kept])),
            },
            tuple(part.names[n] for n in kept),
        )
    schema = Schema(
        inputs={"text": _field(config)}, targets={"label": Label(classes=tuple(classes))}
    )
    return Source(name, schema, splits, tuple(notes), stratify="label", order="length")
