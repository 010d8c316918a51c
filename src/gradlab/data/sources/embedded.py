"""The sets that scikit-learn ships: nothing is downloaded."""

from __future__ import annotations

import numpy as np

from gradlab.config import DataConfig
from gradlab.data.dataset import Schema, Source, Split
from gradlab.data.sources import datasets


@datasets.register("digits")
def digits(config: DataConfig) -> Source:
    """1,797 handwritten digits, 8x8 grey, 10 classes (Alpaydin and Kaynak 1998, UCI)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # The values are counts 0..16 of the 4x4 pixels of a 32x32 bitmap.
    x = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    schema = Schema(
        kind="image", shape=(1, 8, 8), target="class", classes=tuple(str(n) for n in range(10))
    )
    y = bunch.target.astype(np.int64)
    return Source("digits", schema, {"train": Split(x, y, tuple(str(i) for i in range(len(y))))})
