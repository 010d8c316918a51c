"""The tables of `tables.py`: real ones and synthetic ones, each split at random by a seed.

All parties get the same rows and the same raw columns. Left out for all: what names rows (ids,
names, tickets) and text that no party here can read (cabins). A date becomes its month.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from sklearn import datasets
from sklearn.model_selection import train_test_split


class Table(NamedTuple):
    """A table: columns of numbers and of text, and what is asked for, `y`."""

    frame: pl.DataFrame
    classes: bool

    def split(self, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """80 % to learn from and 20 % to test on; classes in their shares."""
        y = self.frame["y"] if self.classes else None
        rows = np.arange(len(self.frame))
        train, test = train_test_split(rows, test_size=0.2, random_state=seed, stratify=y)
        return self.frame[train], self.frame[test]


def _file(path: str, **options: Any) -> pl.DataFrame:
    """A CSV file of the folder of datasets."""
    return pl.read_csv(Path(os.environ["GRADLAB_DATA"]) / path, **options)


def _titanic() -> Table:
    names = ["PassengerId", "Name", "Ticket", "Cabin"]
    frame = _file("titanic/titanic.csv").drop(names)
    return Table(frame.rename({"Survived": "y"}), True)


def _pima() -> Table:
    names = [f"x{number}" for number in range(8)]
    frame = _file("pima/pima-indians-diabetes.csv", has_header=False, new_columns=[*names, "y"])
    return Table(frame, True)


def _seattle() -> Table:
    frame = _file("timeseries/seattle-weather.csv", try_parse_dates=True)
    frame = frame.with_columns(pl.col("date").dt.month().alias("month")).drop("date")
    return Table(frame.rename({"weather": "y"}), True)


def _bundled(load: Callable[..., Any], classes: bool) -> Callable[[], Table]:
    def make() -> Table:
        x, y = load(return_X_y=True)
        return _of(x, y, classes)

    return make


def _of(x: np.ndarray, y: np.ndarray, classes: bool) -> Table:
    frame = pl.DataFrame(x, schema=[f"x{number}" for number in range(x.shape[1])])
    return Table(frame.with_columns(pl.Series("y", y)), classes)


def _friedman(make: Callable[..., Any], noise: float, rows: int) -> Callable[[], Table]:
    return lambda: _of(*make(n_samples=rows, noise=noise, random_state=0), False)


def _products() -> Table:
    """A number: products and a sine of pairs of inputs, four of the ten without any effect."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2000, 10))
    y = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2] * x[:, 3]) + x[:, 4] * (x[:, 5] > 0)
    return _of(x, y + 0.3 * rng.standard_normal(len(x)), False)


def _shops() -> Table:
    """A number: sales, where each of twelve shops has its own slope of price, and offers count
    on weekends only."""
    rng = np.random.default_rng(2)
    count = 2000
    shop, day = rng.integers(0, 12, count), rng.integers(0, 7, count)
    price, area = rng.lognormal(0, 0.5, count), rng.uniform(20, 200, count)
    offer = rng.random(count) < 0.3
    level, slope = rng.normal(0, 1, 12), rng.normal(-1, 0.7, 12)
    y = level[shop] + slope[shop] * np.log(price) + 1.5 * offer * (day >= 5) + 0.01 * area
    days = np.array(["mon", "tue", "wed", "thu", "fri", "sat", "sun"])
    columns = {
        "shop": [f"shop {number}" for number in shop],
        "day": days[day],
        "offer": np.where(offer, "yes", "no"),
        "price": pl.Series(price).set(pl.Series(rng.random(count) < 0.1), None),
        "area": area,
        "y": y + 0.4 * rng.standard_normal(count),
    }
    return Table(pl.DataFrame(columns), False)


def _rules() -> Table:
    """A class: three rules of thresholds and a colour, one label in twenty wrong."""
    rng = np.random.default_rng(3)
    count = 2000
    x = rng.uniform(-1, 1, (count, 8))
    colour = rng.choice(["red", "green", "blue", "grey"], count)
    first = (x[:, 0] > 0.2) & (x[:, 1] < 0.3)
    second = (colour == "red") & (x[:, 2] > -0.3)
    third = (x[:, 3] > 0.5) & (x[:, 4] > 0) & (colour != "grey")
    y = (first | second | third) ^ (rng.random(count) < 0.05)
    made = _of(x, np.where(y, "yes", "no"), True)
    return made._replace(frame=made.frame.with_columns(pl.Series("colour", colour)))


TABLES: dict[str, Callable[[], Table]] = {
    "titanic": _titanic,
    "pima": _pima,
    "seattle_weather": _seattle,
    "breast_cancer": _bundled(datasets.load_breast_cancer, True),
    "wine": _bundled(datasets.load_wine, True),
    "iris": _bundled(datasets.load_iris, True),
    "digits": _bundled(datasets.load_digits, True),
    "diabetes": _bundled(datasets.load_diabetes, False),
    "friedman1": _friedman(datasets.make_friedman1, 1.0, 1000),
    "friedman2": _friedman(datasets.make_friedman2, 100.0, 2000),
    "friedman3": _friedman(datasets.make_friedman3, 0.1, 5000),
    "products": _products,
    "shops": _shops,
    "rules": _rules,
}
