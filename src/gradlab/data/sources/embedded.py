"""The sets that scikit-learn ships: nothing is downloaded."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlab.config import DataConfig
from gradlab.data.columns import Dense
from gradlab.data.dataset import RowNumbers, Schema, Source, Split
from gradlab.data.fields.image import Image
from gradlab.data.fields.label import Label
from gradlab.data.sources import datasets
from gradlab.data.sources.tables import asking, frame_source

if TYPE_CHECKING:
    import polars as pl


@datasets.register("digits")
def digits(config: DataConfig) -> Source:
    """1,797 handwritten digits, 8x8 grey, 10 classes (Alpaydin and Kaynak 1998, UCI)."""
    # Importing scikit-learn takes as long as learning its digits does.
    [place] = find_spec("sklearn").submodule_search_locations  # type: ignore[union-attr,misc]
    file = Path(place) / "datasets" / "data" / "digits.csv.gz"
    values = np.loadtxt(file, dtype=np.int64, delimiter=",")  # N 65, the last is the class
    # The others are counts 0..16 of the 4x4 pixels of a 32x32 bitmap.
    x = np.round(values[:, :64].reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    columns = {"image": Dense(x), "label": Dense(values[:, 64].copy())}
    schema = Schema(
        inputs={"image": Image(height=8, width=8, channels=1)},
        targets={"label": Label(classes=tuple(map(str, range(10))))},
    )
    ids = RowNumbers(np.arange(1, len(x) + 1))
    return Source("digits", schema, {"train": Split(columns, ids)}, stratify="label")


@datasets.register("iris")
def iris(config: DataConfig) -> Source:
    """150 irises by 4 measures, 3 species (Fisher 1936)."""
    from sklearn.datasets import load_iris

    return frame_source("iris", _frame(load_iris(), "species"), (), asking(config, "species"))


@datasets.register("wine")
def wine(config: DataConfig) -> Source:
    """178 wines by 13 chemical measures, 3 cultivars (Aeberhard and Forina 1992, UCI)."""
    from sklearn.datasets import load_wine

    return frame_source("wine", _frame(load_wine(), "cultivar"), (), asking(config, "cultivar"))


@datasets.register("breast_cancer")
def breast_cancer(config: DataConfig) -> Source:
    """569 tumours by 30 measures of their cells, benign or malignant (Wolberg et al. 1993, UCI)."""
    from sklearn.datasets import load_breast_cancer

    frame = _frame(load_breast_cancer(), "diagnosis")
    return frame_source("breast_cancer", frame, (), asking(config, "diagnosis"))


@datasets.register("diabetes")
def diabetes(config: DataConfig) -> Source:
    """442 patients by 10 measures; the disease after a year, a number (Efron et al. 2004)."""
    from sklearn.datasets import load_diabetes

    frame = _frame(load_diabetes(scaled=False), "progression")
    return frame_source("diabetes", frame, (), asking(config, "progression"))


def _frame(bunch: Any, target: str) -> pl.DataFrame:
    """What scikit-learn returns as a table: a column for each feature, and `target`."""
    import polars as pl

    frame = pl.DataFrame(bunch.data, schema=list(bunch.feature_names))
    y = bunch.target
    if "target_names" in bunch:
        y = np.array([str(name) for name in bunch.target_names])[y]
    return frame.with_columns(pl.Series(target, y))
