"""Folders and archives that would hang, fill the memory, or cannot be told."""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gradlab.config import DataConfig
from gradlab.data import listing
from gradlab.data.sources import load, source
from gradlab.errors import UserError


def png(colour: Any = "red", size: tuple[int, int] = (8, 8)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


FILES = {f"{label}/{n}.png": png((n, k, 9)) for k, label in enumerate("ab") for n in range(3)}


def folder(path: Path) -> Path:
    for name, content in FILES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def zipped(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, mode: str = "w:gz", **extra: bytes) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in {**FILES, **extra}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def refused(path: Path | str, *words: str) -> str:
    with pytest.raises(UserError) as error:
        source(DataConfig(name=str(path)))
    for word in words:
        assert word in str(error.value)
    return str(error.value)


# what would hang


def special(path: Path, kind: str) -> Path:
    """A pipe, a socket or a link to a device; a test of one is skipped where there are none."""
    if kind == "pipe" and hasattr(os, "mkfifo"):
        os.mkfifo(path)
    elif kind == "socket" and hasattr(socket, "AF_UNIX"):
        here = Path.cwd()
        os.chdir(path.parent)  # the name of a socket may be no longer than 107 letters
        try:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
        finally:
            os.chdir(here)
    elif kind == "device" and Path("/dev/zero").exists():
        path.symlink_to("/dev/zero")
    else:
        pytest.skip(f"no {kind} on this system")
    return path


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_file_among_the_images_is_named(tmp_path: Path, kind: str) -> None:
    special(folder(tmp_path / "set") / "a" / "9.png", kind)
    refused(tmp_path / "set", "1 image cannot be read", f"a/9.png: it is a {kind}, expected a file")


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz", "x.npz", "x.csv", "x.parquet", "x"])
def test_what_is_no_file_in_the_place_of_a_dataset(tmp_path: Path, kind: str, name: str) -> None:
    refused(special(tmp_path / name, kind), name, f"it is a {kind}, expected a file")


def test_what_is_no_file_among_new_inputs(tmp_path: Path) -> None:
    from gradlab.data.decode import ImageFile, survey
    from gradlab.data.npz import given_array

    (look,) = survey([ImageFile.at(special(tmp_path / "x.png", "pipe"))])
    assert look.error == "it is a pipe, expected a file"
    with pytest.raises(UserError, match="it is a pipe"):
        given_array(special(tmp_path / "x.npz", "pipe"), "input 1")


# what would fill the memory


@pytest.mark.parametrize("mode", ["w:", "w:gz", "w:xz", "w:bz2"])
def test_a_tar_that_unpacks_to_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    read: list[int] = []
    plain = tarfile.ExFileObject.read  # type: ignore[attr-defined]
    monkeypatch.setattr(
        tarfile.ExFileObject,  # type: ignore[attr-defined]
        "read",
        lambda self, *size: read.append(1) or plain(self, *size),
    )
    size = len(FILES["a/0.png"])
    path = tarred(tmp_path / "x.tar.gz", mode)
    monkeypatch.setattr(listing, "HELD", 6 * size + 50)
    assert len(source(DataConfig(name=str(path))).parts["train"]) == 6
    read.clear()
    monkeypatch.setattr(listing, "HELD", 2 * size + 1)
    refused(path, "unpacks to more than", "held in memory", ".zip")
    assert len(read) <= 2  # the one that is too much is not read


def test_a_tar_of_one_huge_image(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a/bomb.png")
    member.size = 5 * 10**9
    (tmp_path / "x.tar").write_bytes(member.tobuf() + bytes(10_000))
    refused(tmp_path / "x.tar", "'a/bomb.png' would unpack to 5,000,000,000 bytes")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_tar_of_one_huge_header(tmp_path: Path, kind: bytes) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, listing.LARGEST_HEADER + 1
    (tmp_path / "x.tar").write_bytes(header.tobuf() + bytes(header.size + 1024))
    refused(tmp_path / "x.tar", "a header of 1,048,577 bytes")


# what cannot be read


def patched(path: Path, offset_local: int, offset_central: int, value: int) -> Path:
    """A zip with a number of two bytes changed in the headers of all members."""
    content = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", offset_local), (b"PK\x01\x02", offset_central)):
        start = content.find(magic)
        while start >= 0:
            content[start + offset : start + offset + 2] = struct.pack("<H", value)
            start = content.find(magic, start + 4)
    path.write_bytes(content)
    return path


def test_a_zip_of_an_unknown_version(tmp_path: Path) -> None:
    refused(patched(zipped(tmp_path / "x.zip"), 4, 6, 99), "x.zip", "zip file version 9.9")


def test_a_zip_of_an_unknown_compression(tmp_path: Path) -> None:
    refused(patched(zipped(tmp_path / "x.zip"), 8, 10, 77), "compression method", "a/0.png")


def test_an_encrypted_zip(tmp_path: Path) -> None:
    refused(patched(zipped(tmp_path / "x.zip"), 6, 8, 1), "'a/0.png' is encrypted", "unpack it")


@pytest.mark.parametrize("name", ["x.tar.gz", "x.zip", "X.ZIP", "x.tbz2"])
def test_an_archive_is_what_its_content_says(tmp_path: Path, name: str) -> None:
    for pack in (zipped, tarred):
        assert len(source(DataConfig(name=str(pack(tmp_path / name)))).parts["train"]) == 6


def test_an_archive_with_a_suffix_that_is_not_read(tmp_path: Path) -> None:
    refused(zipped(tmp_path / "x.dat"), "Its content is that of a .zip archive: rename it")
    refused(tarred(tmp_path / "x"), "Its content is that of a .tar archive: rename it")


# names


@pytest.mark.parametrize(
    "name", ["x" * 5000, "x" * 5000 + ".zip", "~nobody-of-this-name/x", "a\0b", "a/" * 3000]
)
def test_names_that_can_be_no_path(name: str) -> None:
    message = refused(name)
    assert len(message) < 600 and "\0" not in message


def undecodable(path: Path, name: bytes) -> bytes:
    try:
        os.mkdir(os.path.join(os.fsencode(path), name))  # noqa: PTH102, PTH118 - no Path of bytes
    except OSError:
        pytest.skip("this system has no such names")
    return os.path.join(os.fsencode(path), name)  # noqa: PTH118


def test_a_class_folder_that_is_not_utf8(tmp_path: Path) -> None:
    folder(tmp_path)
    inner = os.fsdecode(undecodable(tmp_path, b"caf\xe9"))
    (Path(inner) / "1.png").write_bytes(png())
    message = refused(tmp_path, str(tmp_path), r"'caf\xe9' is not UTF-8", "rename it")
    json.dumps(message, ensure_ascii=False).encode("utf-8")
    with tarfile.open(
        tmp_path / "x.tar", "w", format=tarfile.GNU_FORMAT, encoding="latin-1"
    ) as archive:
        archive.add(inner, "set/café")
        archive.add(tmp_path / "a", "set/a")
    refused(tmp_path / "x.tar", r"'caf\xe9' is not UTF-8")


def test_a_dataset_whose_path_is_not_utf8(tmp_path: Path) -> None:
    refused(os.fsdecode(undecodable(tmp_path, b"caf\xe9")), r"caf\xe9' is not UTF-8")


def test_an_image_whose_name_is_not_utf8_is_read(tmp_path: Path) -> None:
    folder(tmp_path)
    undecodable(tmp_path, b".\xe9")
    (tmp_path / "a" / os.fsdecode(b"\xe9\x1b[31m.png")).write_bytes(png())
    dataset = load(DataConfig(name=str(tmp_path), val=0, test=0))
    assert r"a/\xe9\x1b[31m.png" in dataset.splits["train"].ids
    (tmp_path / "a" / os.fsdecode(b"\xe9\x1b[31m.png")).write_bytes(b"no image")
    refused(tmp_path, r"a/\xe9\x1b[31m.png: it is no image")
