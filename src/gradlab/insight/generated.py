"""How like real images generated ones are: figures, not looks alone.

Heusel et al. (2017), https://arxiv.org/abs/1706.08500 (Frechet distance);
Kynkaanniemi et al. (2019), https://arxiv.org/abs/1904.06991 (precision and recall).
Both in the feature space of a trained classifier; the papers use Inception's. So figures of
different classifiers, or of different numbers of images, cannot be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gradlab.errors import UserError

COVERED = 0.1
"""A class is covered when its share is at least this much of its share among the real images."""
NEIGHBOURS = 3
"""Neighbours that give the radius of a point's ball in `precision_recall`, as in the paper."""
_BLOCK = 512  # rows that are compared with all others at a time


class Share(NamedTuple):
    """A class's share of the real and of the generated images."""

    real: float
    generated: float

    @property
    def covered(self) -> bool:
        """Whether it is generated often enough; a class that is not among the real ones is not."""
        return self.real > 0 and self.generated >= COVERED * self.real


class Nearest(NamedTuple):
    """For N images: the distance to the nearest training image, and its row."""

    distance: np.ndarray
    row: np.ndarray


@dataclass(frozen=True)
class ImageQuality:
    """`count` generated images against as many real ones that nothing was learnt from.

    frechet: squared Frechet distance; frechet_floor: the same for training images in place of
    generated ones. precision: share of the generated images that lie among real ones; recall: share
    of the real images that lie among generated ones; precision_real and recall_real: the same for
    training images. shares: of each class, by name. nearest, nearest_real: distances of generated
    and of real images to the nearest training image, root mean square over pixels of 0..1.
    """

    count: int
    frechet: float
    frechet_floor: float
    precision: float
    recall: float
    precision_real: float
    recall_real: float
    shares: Mapping[str, Share]
    nearest: np.ndarray = field(repr=False)
    nearest_real: np.ndarray = field(repr=False)

    @property
    def classes_covered(self) -> int:
        """Coverage: classes generated at least a tenth as often as among the real images."""
        return sum(share.covered for share in self.shares.values())

    @property
    def nearest_ratio(self) -> float:
        """The median distance to the nearest training image over that of real images."""
        return float(np.median(self.nearest) / max(np.median(self.nearest_real), 1e-12))

    @property
    def copies(self) -> float:
        """Share of images nearer to a training image than all but 1 % of the real ones are."""
        return float((self.nearest < np.quantile(self.nearest_real, 0.01)).mean())

    @property
    def metrics(self) -> dict[str, float]:
        """The figures by name, without those of each class."""
        names = (
            "frechet", "frechet_floor", "precision", "recall", "precision_real", "recall_real",
            "classes_covered", "nearest_ratio", "copies",
        )  # fmt: skip
        return {name: float(getattr(self, name)) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        shares = {
            name: {**share._asdict(), "covered": share.covered}
            for name, share in self.shares.items()
        }
        return {"count": self.count, **self.metrics, "shares": shares}


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """The squared Frechet distance between two normal distributions fitted to features.

    a, b: N D and M D. |mean_a - mean_b|^2 + trace(A + B - 2 (A B)^(1/2)), where A and B are the
    covariances. The trace of the root is the sum of the roots of the eigenvalues of
    A^(1/2) B A^(1/2), which is symmetric: no root of a general matrix is taken, and covariances of
    less than full rank do no harm. UserError for fewer than two rows.

    >>> x = np.array([[0.0, 0.0], [2.0, 2.0], [0.0, 2.0], [2.0, 0.0]])
    >>> round(frechet_distance(x, x + [3.0, 4.0]), 6)
    25.0
    """
    (mean_a, cov_a), (mean_b, cov_b) = _moments(a), _moments(b)
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ cov_b @ root)
    trace = np.trace(cov_a) + np.trace(cov_b) - 2 * np.sqrt(product.clip(0)).sum()
    return max(float(((mean_a - mean_b) ** 2).sum() + trace), 0.0)


def precision_recall(
    real: np.ndarray, generated: np.ndarray, neighbours: int = NEIGHBOURS
) -> tuple[float, float]:
    """(precision, recall) of generated features M D against real ones N D.

    Each set is taken for the union of balls around its points, which reach to the point's
    `neighbours`-th neighbour in the set. Precision is the share of generated points within the real
    set, recall the share of real points within the generated one.
    """
    least = min(len(real), len(generated))
    if least <= neighbours:
        raise UserError(f"precision and recall need more than {neighbours} images, found {least}")
    centre = real.mean(axis=0, dtype=np.float64)
    real, generated = real - centre, generated - centre  # nearer to 0: fewer digits are lost
    return (
        float(_within(generated, real, _radii(real, neighbours)).mean()),
        float(_within(real, generated, _radii(generated, neighbours)).mean()),
    )


def class_shares(
    real: np.ndarray, generated: np.ndarray, classes: Sequence[str]
) -> dict[str, Share]:
    """The share of each class, by name, among the class numbers of real and generated images.

    >>> class_shares(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 0]), ("cat", "dog"))["dog"]
    Share(real=0.5, generated=0.0)
    """
    shares = [np.bincount(x, minlength=len(classes)) / max(len(x), 1) for x in (real, generated)]
    pairs = zip(classes, *shares, strict=True)
    return {name: Share(float(a), float(b)) for name, a, b in pairs}


def nearest(images: np.ndarray, train: Any) -> Nearest:
    """The nearest training image of each image, pixel by pixel (uint8 N H W C).

    `train` is an array or whatever is read like one, some rows at a time. The distance is the root
    mean square over pixels of 0..1.
    """
    queries = images.reshape(len(images), -1).astype(np.float32) / 255
    best = np.full(len(queries), np.inf, np.float32)
    row = np.zeros(len(queries), np.int64)
    for start in range(0, len(train), 4 * _BLOCK):
        part = train[start : start + 4 * _BLOCK].reshape(-1, queries.shape[1])
        squared = _squared(queries, part.astype(np.float32) / 255)
        found = squared.argmin(axis=1)
        value = squared[np.arange(len(queries)), found]
        row = np.where(value < best, found + start, row)
        best = np.minimum(value, best)
    # From the pair itself: the difference of large squares would not be 0 for a copy.
    apart = queries - train[row].reshape(queries.shape).astype(np.float32) / 255
    return Nearest(np.sqrt((apart**2).mean(axis=1)), row)


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean D and covariance D D."""
    if len(x) < 2:
        raise UserError(f"a Frechet distance needs at least 2 images, found {len(x)}")
    x = x.astype(np.float64)
    return x.mean(axis=0), np.atleast_2d(np.cov(x, rowvar=False))


def _radii(x: np.ndarray, neighbours: int) -> np.ndarray:
    """The squared distance of each row to its `neighbours`-th nearest other row."""
    found = [
        np.partition(_squared(x[i : i + _BLOCK], x), neighbours, axis=1)[:, neighbours]
        for i in range(0, len(x), _BLOCK)
    ]
    return np.concatenate(found)  # the nearest of all is the row itself


def _within(points: np.ndarray, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Whether each point lies in any of the balls."""
    found = [
        (_squared(points[i : i + _BLOCK], centres) <= radii).any(axis=1)
        for i in range(0, len(points), _BLOCK)
    ]
    return np.concatenate(found)


def _squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances between the rows of N D and M D: N M."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * (a @ b.T)
    found: np.ndarray = squares.clip(0)
    return found
