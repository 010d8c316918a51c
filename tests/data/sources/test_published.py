from __future__ import annotations

import gzip
import hashlib
import io
import os
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gradlab.config import DataConfig
from gradlab.data.dataset import Source
from gradlab.data.fields.image import statistics
from gradlab.data.sources import datasets, get, published, source
from gradlab.data.sources.download import Remote
from gradlab.errors import UserError


def need(*files: str) -> Path:
    folder = Path(os.environ.get("GRADLAB_DATA", "absent"))
    for file in files:
        if not (folder / file).is_file():
            pytest.skip(f"{file} is not in the cache (GRADLAB_DATA)")
    return folder


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes())


def tar_gz(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def cifar_files(rng: np.random.Generator) -> dict[str, np.ndarray]:
    names = [*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]
    records = {name: rng.integers(0, 256, (4, 3073), np.uint8) for name in names}
    for batch in records.values():
        batch[:, 0] %= 10
    return records


def classes(made: Source) -> tuple[str, ...]:
    found: Any = made.schema.targets["label"]
    return found.classes


def test_idx(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "x.gz").write_bytes(idx(array))
    assert np.array_equal(published.read_idx(tmp_path / "x.gz"), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no gzip", "cannot be unpacked"),
        (idx(np.zeros((9, 9), np.uint8))[:-12], "cannot be unpacked"),
        (gzip.compress(b"\x00\x00\x0d\x01" + bytes(8)), "no IDX file"),
        (gzip.compress(struct.pack(">BBBBI", 0, 0, 8, 1, 5) + bytes(4)), "but 4 values follow"),
        (gzip.compress(b"\x00\x00\x08\x03\x00"), "ends inside its header"),
    ],
    ids=["no gzip", "cut", "not of bytes", "too short", "no sizes"],
)
def test_idx_that_is_damaged(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.gz").write_bytes(content)
    with pytest.raises(UserError, match=message):
        published.read_idx(tmp_path / "x.gz")


def test_cifar_records_become_channels_last(tmp_path: Path) -> None:
    records = cifar_files(np.random.default_rng(0))
    members = {f"cifar-10-batches-bin/{name}": r.tobytes() for name, r in records.items()}
    path = tmp_path / "cifar.tar.gz"
    path.write_bytes(tar_gz({"cifar-10-batches-bin/readme.html": b"hello", **members}))
    parts = published.read_cifar(path)
    assert parts["train"][0].shape == (20, 32, 32, 3) and parts["test"][0].shape == (4, 32, 32, 3)
    record = records["data_batch_2.bin"][1]  # the sixth of train
    assert parts["train"][1][5] == record[0]
    for channel, row, column in ((0, 0, 0), (1, 2, 3), (2, 31, 30)):
        expected = record[1 + channel * 1024 + row * 32 + column]
        assert parts["train"][0][5, row, column, channel] == expected


@pytest.mark.parametrize("change", ["missing", "cut", "no archive"])
def test_cifar_that_is_damaged(tmp_path: Path, change: str) -> None:
    files = {n: r.tobytes() for n, r in cifar_files(np.random.default_rng(0)).items()}
    if change == "missing":
        del files["data_batch_3.bin"]
    elif change == "cut":
        files["test_batch.bin"] = files["test_batch.bin"][:-1]
    path = tmp_path / "cifar.tar.gz"
    path.write_bytes(b"no archive" if change == "no archive" else tar_gz(files))
    with pytest.raises(UserError, match="unpacked" if change == "no archive" else "records"):
        published.read_cifar(path)


def test_cifar_jpeg_has_a_name_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADLAB_DATA", str(tmp_path))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        for name in (
            f"{s}/{c}/{n}.jpg" for s in ("train", "test") for c in ("cat", "dog") for n in "01"
        ):
            jpeg = io.BytesIO()
            Image.new("RGB", (32, 32), "red").save(jpeg, "JPEG")
            member = tarfile.TarInfo(name)
            member.size = len(jpeg.getvalue())
            archive.addfile(member, io.BytesIO(jpeg.getvalue()))
    folder = tmp_path / "cifar10"
    folder.mkdir()
    (folder / "cifar10_jpeg.tar.xz").write_bytes(buffer.getvalue())
    made = source(DataConfig(name="cifar10"))
    assert made.name == "cifar10_jpeg"
    assert made.notes[0].startswith("CIFAR-10 (JPEG): a re-encoding")
    assert made.parts["train"]["image"].shape == (4, 32, 32, 3)

    # The published file, where it is, is preferred.
    content = tar_gz({n: r.tobytes() for n, r in cifar_files(np.random.default_rng(0)).items()})
    (folder / "cifar-10-binary.tar.gz").write_bytes(content)
    remote = Remote("cifar-10-binary.tar.gz", hashlib.sha256(content).hexdigest(), ())
    monkeypatch.setattr(published, "CIFAR10", remote)
    made = source(DataConfig(name="cifar10"))
    assert made.name == "cifar10" and len(made.parts["train"]) == 20
    assert classes(made)[3] == "cat"


def test_sha256_are_complete() -> None:
    sums = [*published._MNIST_SHA256, *published._FASHION_SHA256, published.CIFAR10.sha256]
    assert all(len(value) == 64 and int(value, 16) for value in sums)
    assert len(set(sums)) == 9


def test_mnist_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pooch

    def offline(url: str, *args: object, **options: object) -> str:
        raise OSError("no network")

    monkeypatch.setenv("GRADLAB_DATA", str(tmp_path))
    monkeypatch.setattr(pooch, "retrieve", offline)
    with pytest.raises(UserError) as error:
        source(DataConfig(name="mnist"))
    for name in published._IDX_FILES:
        assert str(tmp_path / "mnist" / name) in str(error.value)
    assert "no network" in str(error.value)


def test_mnist() -> None:
    need(*(f"mnist/{name}" for name in published._IDX_FILES))
    made = datasets["mnist"](DataConfig(name="mnist"))
    train, test = made.parts["train"], made.parts["test"]
    assert train["image"].shape == (60000, 28, 28, 1) and train["image"].dtype == np.uint8
    assert test["image"].shape == (10000, 28, 28, 1) and train["image"].base.flags.writeable
    assert train["label"][:5].tolist() == [5, 0, 4, 1, 9] and train["label"].dtype == np.int64
    assert test["label"][:5].tolist() == [7, 2, 1, 0, 4]
    (mean,), (std,) = statistics(train["image"])
    assert (round(mean, 4), round(std, 4)) == (0.1307, 0.3081)
    assert made.schema.inputs["image"].shape == (1, 28, 28) and len(classes(made)) == 10


def test_fashion_mnist() -> None:
    need(*(f"fashion_mnist/{name}" for name in published._IDX_FILES))
    made = datasets["fashion_mnist"](DataConfig(name="fashion_mnist"))
    train, test = made.parts["train"], made.parts["test"]
    assert train["image"].shape == (60000, 28, 28, 1) and test["image"].shape == (10000, 28, 28, 1)
    assert np.bincount(train["label"]).tolist() == [6000] * 10
    assert classes(made)[int(train["label"][0])] == "Ankle boot"
    (mean,), (std,) = statistics(train["image"])
    assert (round(mean, 4), round(std, 4)) == (0.2860, 0.3530)


def test_get_names_the_files_in_the_cache() -> None:
    folder = need(*(f"mnist/{name}" for name in published._IDX_FILES))
    assert get("mnist") == [folder / "mnist" / name for name in sorted(published._IDX_FILES)]
    assert get("digits") == []
