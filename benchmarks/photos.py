"""Photos from the second epoch on: gradlab's loader against a DataLoader that decodes with Pillow.

    python benchmarks/photos.py --rounds 3

Both give shuffled, randomly mirrored and shifted batches of 32 normalised photos as float tensors;
nothing is trained. The DataLoader has two workers, which live from epoch to epoch.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import tempfile
import time
from pathlib import Path

import torch
from common import begin, in_turn, medians, spread, table, verdict
from peers import to_tensor
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gradlab import data
from gradlab.config import Augment, DataConfig
from gradlab.data.columns import Placement
from gradlab.data.loader import Loader

BATCH, EPOCHS, SHIFT = 32, 3, 4
TARGET = 5.0


def by_gradlab(folder: str, size: int, cache: str) -> tuple[float, float]:
    """(photos/s from the second epoch on, seconds of the first opening, decoding included)."""
    os.environ["GRADLAB_CACHE"] = cache
    began = time.perf_counter()
    dataset = data.load(DataConfig(name=folder, image_size=size, val=0, test=0))
    opened = time.perf_counter() - began
    changes = Augment(crop=SHIFT, flip=True)
    loader = Loader(
        dataset.split("train"), dataset.schema.fields, batch_size=BATCH,
        placement=Placement(torch.device("cpu")), augment=changes,
    )  # fmt: skip
    for _ in loader.batches(0):
        pass
    began = time.perf_counter()
    count = sum(len(batch) for epoch in range(1, EPOCHS + 1) for batch in loader.batches(epoch))
    return count / (time.perf_counter() - began), opened


class Photos(Dataset[tuple[Tensor, int]]):
    """Photos of class folders, opened, cut and changed one by one with Pillow."""

    def __init__(self, folder: str, size: int) -> None:
        self.size = size
        found = sorted(Path(folder).glob("train/*/*.jpg"))
        names = sorted({path.parent.name for path in found})
        self.items = [(path, names.index(path.parent.name)) for path in found]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.items[index]
        with Image.open(path) as photo:
            photo.draft("RGB", (2 * self.size, 2 * self.size))
            picture = ImageOps.fit(
                photo.convert("RGB"), (self.size, self.size), Image.Resampling.BILINEAR
            )
        if random.random() < 0.5:
            picture = ImageOps.mirror(picture)
        wide = ImageOps.expand(picture, SHIFT)
        left, top = random.randint(0, 2 * SHIFT), random.randint(0, 2 * SHIFT)
        picture = wide.crop((left, top, left + self.size, top + self.size))
        return (to_tensor(picture) - 0.45) / 0.23, label


def by_loader(folder: str, size: int) -> tuple[float, float]:
    """(photos/s from the second epoch on, 0)."""
    loader = DataLoader(
        Photos(folder, size), BATCH, shuffle=True, num_workers=2, persistent_workers=True
    )
    for _ in loader:
        pass
    began = time.perf_counter()
    count = sum(len(y) for _ in range(EPOCHS) for _, y in loader)
    return count / (time.perf_counter() - began), 0.0


def in_class_folders(source: Path, folder: Path) -> Path:
    """The aerial photos, which lie flat: a hundred of each class, by their numbers."""
    for path in source.glob("*.jpg"):
        place = folder / "train" / f"{(int(path.stem) - 1) // 100:02}"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place / path.name)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    begin()
    given = Path(os.environ["GRADLAB_DATA"]).resolve()
    rows, worst = [], float("inf")
    with tempfile.TemporaryDirectory() as scratch:
        aerial = in_class_folders(given / "ucm_captions_jpeg" / "imgs", Path(scratch) / "aerial")
        for name, folder, size in (
            ("hymenoptera", given / "hymenoptera", 64),
            ("hymenoptera", given / "hymenoptera", 224),
            ("ucm_captions_jpeg", aerial, 64),
            ("ucm_captions_jpeg", aerial, 224),
        ):
            cache = str(Path(scratch) / f"cache-{name}-{size}")
            samples = in_turn(
                {
                    "gradlab": (by_gradlab, str(folder), size, cache),
                    "DataLoader, 2 workers": (by_loader, str(folder), size),
                },
                options.rounds,
            )
            rates = {party: [rate for rate, _ in found] for party, found in samples.items()}
            opened = [seconds for _, seconds in samples["gradlab"]]
            middle = medians(rates)
            ratio = middle["gradlab"] / middle["DataLoader, 2 workers"]
            worst = min(worst, ratio)
            for party, found in rates.items():
                ours = party == "gradlab"
                rows.append(
                    (
                        f"{name}, {size} pixels: {party}",
                        f"{middle[party]:,.0f}",
                        spread(found),
                        f"{ratio:.1f}" if ours else "1.0",
                        f"{opened[0]:.1f} / {min(opened[1:], default=opened[0]):.1f}"
                        if ours
                        else "",
                    )
                )
    header = ("photos, party", "photos/s", "range", "ratio", "opened first / later, s")
    print(table(header, rows))
    print(verdict(worst, TARGET, "min", "times the DataLoader at the least"))


if __name__ == "__main__":
    main()
