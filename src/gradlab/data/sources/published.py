"""Sets that are downloaded from their publishers: MNIST, Fashion-MNIST, CIFAR-10."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from gradlab.config import DataConfig
from gradlab.data.columns import Dense
from gradlab.data.dataset import Parts, Schema, Source, Split, SplitName
from gradlab.data.fields.image import Image
from gradlab.data.fields.label import Label
from gradlab.data.here import cache_folder
from gradlab.data.sources import datasets
from gradlab.data.sources.download import Remote, fetch_all
from gradlab.errors import UserError

_MNIST = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
)
_FASHION = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)
_IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_MNIST_SHA256 = (
    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
)
_FASHION_SHA256 = (
    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
)
CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
OBJECTS = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
CIFAR10 = Remote(
    "cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
)


@datasets.register("mnist")
def mnist(config: DataConfig) -> Source:
    """70,000 handwritten digits, 28x28 grey, 10 classes (LeCun, Cortes and Burges 1998)."""
    return _idx_source("mnist", tuple(str(n) for n in range(10)), _MNIST, _MNIST_SHA256)


@datasets.register("fashion_mnist")
def fashion_mnist(config: DataConfig) -> Source:
    """70,000 pictures of clothing, 28x28 grey, 10 classes (Xiao, Rasul and Vollgraf 2017)."""
    return _idx_source("fashion_mnist", CLOTHES, _FASHION, _FASHION_SHA256)


@datasets.register("cifar10")
def cifar10(config: DataConfig) -> Source:
    """60,000 photos, 32x32 colour, 10 classes (Krizhevsky 2009, "Learning multiple layers").

    When the cache holds a JPEG re-encoding of the set and not the published file, that is read,
    under the name `cifar10_jpeg`, so that the figures are not taken for each other.
    """
    folder = cache_folder() / "cifar10"
    jpeg = folder / "cifar10_jpeg.tar.xz"
    if jpeg.is_file() and not (folder / CIFAR10.name).is_file():
        from gradlab.data.sources.folders import image_source

        note = (
            f"CIFAR-10 (JPEG): a re-encoding of the published images ({jpeg.name}); figures "
            "measured on it are not figures of CIFAR-10"
        )
        source = image_source(jpeg, config)
        return replace(source, name="cifar10_jpeg", notes=(note, *source.notes))
    (path,) = fetch_all("cifar10", [CIFAR10])
    return labelled_images("cifar10", read_cifar(path), OBJECTS)


def _idx_source(
    name: str, classes: tuple[str, ...], mirrors: tuple[str, ...], sums: tuple[str, ...]
) -> Source:
    remotes = [
        Remote(file, sha256, tuple(mirror + file for mirror in mirrors))
        for file, sha256 in zip(_IDX_FILES, sums, strict=True)
    ]
    train_x, train_y, test_x, test_y = (read_idx(path) for path in fetch_all(name, remotes))
    parts: dict[SplitName, Examples] = {"train": (train_x, train_y), "test": (test_x, test_y)}
    return labelled_images(
        name, {split: (x[..., None], y) for split, (x, y) in parts.items()}, classes
    )


Examples = tuple[np.ndarray, np.ndarray]
"""Images, uint8 N H W C, and class numbers, N."""


def labelled_images(
    name: str, parts: Mapping[SplitName, Examples], classes: tuple[str, ...]
) -> Source:
    """Images and their classes as a `Source`."""
    height, width, channels = parts["train"][0].shape[1:]
    schema = Schema(
        inputs={"image": Image(height=height, width=width, channels=channels)},
        targets={"label": Label(classes=classes)},
    )
    splits: Parts = {
        split: Split({"image": Dense(x), "label": Dense(y.astype(np.int64))})
        for split, (x, y) in parts.items()
    }
    return Source(name, schema, splits, stratify="label")


def read_idx(path: Path) -> np.ndarray:
    """The array of unsigned bytes in a gzipped IDX file (LeCun's format); UserError if not one.

    The header is 0 0 8 D, then D sizes as big-endian 32-bit numbers.
    """
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be unpacked: {error}") from None
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise UserError(f"{path} is no IDX file of bytes: it begins with {data[:4]!r}")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise UserError(f"{path} ends inside its header")
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", count=data[3], offset=4))
    values = np.frombuffer(data, np.uint8, offset=start)
    if len(values) != np.prod(shape, dtype=np.int64):
        raise UserError(f"{path}: its header says {shape}, but {len(values)} values follow")
    return values.reshape(shape).copy()  # what is made from bytes cannot be written to


def read_cifar(path: Path) -> dict[SplitName, Examples]:
    """The two splits of CIFAR-10's binary archive: records of a label and 3 x 32 x 32 bytes."""
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                content = archive.extractfile(member)
                if content is not None and member.name.endswith(".bin"):
                    files[member.name.rsplit("/", 1)[-1]] = content.read()
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise UserError(f"{path} cannot be unpacked: {error}") from None
    names: dict[SplitName, list[str]] = {
        "train": [f"data_batch_{n}.bin" for n in range(1, 6)],
        "test": ["test_batch.bin"],
    }
    return {
        split: _cifar_records(path, [files.get(name, b"") for name in members])
        for split, members in names.items()
    }


def _cifar_records(path: Path, batches: list[bytes]) -> Examples:
    size = 1 + 3 * 32 * 32
    if any(not batch or len(batch) % size for batch in batches):
        raise UserError(f"{path}: a batch is missing or is not made of records of {size} bytes")
    records = np.concatenate([np.frombuffer(b, np.uint8).reshape(-1, size) for b in batches])
    pixels = records[:, 1:].reshape(-1, 3, 32, 32)  # N C H W
    x = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))  # N H W C
    return x, records[:, 0].astype(np.int64)
