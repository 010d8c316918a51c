"""Corpora for word vectors: a text, a folder or an archive of texts, a table's column; named sets.

Files are read as they come, one after the other; nothing is unpacked to the disk.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from gradlab import paths
from gradlab.config import DataConfig
from gradlab.data.corpus import Corpus, corpus
from gradlab.data.frames import read_frame
from gradlab.data.kinds import kind_of, table_files
from gradlab.data.sources.labelled_texts import imdb_archive, rt_polarity_files
from gradlab.data.sources.texts import ptb_files, shakespeare_file
from gradlab.errors import UserError, unknown
from gradlab.text import quoted
from gradlab.wording import some

Texts = Iterator[tuple[str, BinaryIO]]
"""What each text is called, and its bytes."""
UTF8 = "utf-8"
_PACKED: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
"""Compressed files of one text."""
_TAR = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2")
TEXT = ".txt"


def corpus_source(config: DataConfig, phrases: int) -> Corpus:
    """The corpus that a configuration names; UserError where there is none."""
    try:
        texts, encoding = _texts(config)
        return corpus(config.name, texts, config.tokens, encoding, phrases)
    except (EOFError, tarfile.TarError, lzma.LZMAError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{config.name} is damaged, or not what its name says: {error}") from None
    except OSError as error:
        raise UserError(f"{config.name} cannot be read: {error.strerror or error}") from None


def _texts(config: DataConfig) -> tuple[Texts, str]:
    """All texts, and the encoding of their bytes: of files the one that is named."""
    if config.name in NAMED:
        return NAMED[config.name](), UTF8
    path = paths.given(config.name, "data")
    if not path.exists():
        raise UserError(
            f"{quoted(config.name)} is neither a path that exists nor a named set of texts. Named: "
            f"{', '.join(NAMED)}"
        )
    if table_files(path) or kind_of(path) == "table":
        return _column(path, config), UTF8
    return _found(path), config.encoding


def _found(path: Path) -> Texts:
    """All texts of a file, a folder or an archive."""
    name = path.name.lower()
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.is_file() and _is_text(file.name)]
        if not files:
            raise UserError(f"{path} holds no text: expected .txt files, plain or packed")
        for file in files:
            yield from _found(file)
    elif name.endswith(_TAR):
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                if member.isfile() and _is_text(member.name):
                    stream = archive.extractfile(member)
                    assert stream is not None
                    yield f"{path}: {member.name}", cast(BinaryIO, stream)
    elif name.endswith(".zip"):
        with zipfile.ZipFile(path) as packed:
            for member_name in packed.namelist():
                if _is_text(member_name):
                    with packed.open(member_name) as stream:
                        yield f"{path}: {member_name}", cast(BinaryIO, stream)
    else:
        paths.regular(path)
        opened = _PACKED.get(path.suffix.lower(), Path.open)
        with opened(path, "rb") as stream:
            yield str(path), stream


def _is_text(name: str) -> bool:
    """Whether a file of a folder or an archive is one of text; hidden ones are not."""
    path = PurePosixPath(name.replace("\\", "/").lower())
    suffix = PurePosixPath(path.stem).suffix if path.suffix in _PACKED else path.suffix
    return suffix == TEXT and not path.name.startswith(".")


def _column(path: Path, config: DataConfig) -> Texts:
    """The texts of a table's column."""
    frame, _ = read_frame(path, config.header)
    if config.text is None:
        raise UserError(
            f"data.text: which column of {path} holds the texts? Give --data.text NAME. Columns: "
            f"{some(frame.columns, 30)}"
        )
    if config.text not in frame.columns:
        raise unknown(f"column of {path} (data.text):", config.text, frame.columns)
    for row, text in enumerate(frame[config.text].drop_nulls(), 1):
        yield f"{path}: row {row}", io.BytesIO(str(text).encode(UTF8, "replace"))


def _imdb() -> Texts:
    """The reviews that the classifiers are not tested on."""
    for label, stream in _found(imdb_archive()):
        steps = PurePosixPath(label.rpartition(": ")[2]).parts
        if len(steps) == 4 and steps[1] == "train":
            text = stream.read().replace(b"<br />", b"\n")
            yield label, io.BytesIO(text)


def _all(*files: Path) -> Texts:
    for file in files:
        yield from _found(file)


NAMED: dict[str, Callable[[], Texts]] = {
    "imdb": _imdb,
    "tiny_shakespeare": lambda: _all(shakespeare_file()),
    "ptb": lambda: _all(ptb_files()[0]),
    "rt_polarity": lambda: _all(*rt_polarity_files()),
}
"""Named sets of texts; of those with splits the training texts alone."""
