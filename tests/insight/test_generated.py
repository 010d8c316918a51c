import numpy as np
import pytest

from gradlab.errors import UserError
from gradlab.insight.generated import (
    ImageQuality,
    Share,
    class_shares,
    frechet_distance,
    nearest,
    precision_recall,
)


def normal(rng, count, mean, factor):
    """Rows with exactly this mean and the covariance factor @ factor.T (of the sample)."""
    x = rng.standard_normal((count, len(mean)))
    x -= x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return x @ np.asarray(factor).T + mean


def test_between_normal_distributions_it_is_the_closed_form():
    rng = np.random.default_rng(0)
    # Equal axes: |m|^2 + sum (s - t)^2.
    a = normal(rng, 50, [0.0, 0, 0], np.diag([1.0, 2, 3]))
    b = normal(rng, 70, [1.0, 2, 2], np.diag([2.0, 2, 1]))
    assert frechet_distance(a, b) == pytest.approx(9 + 1 + 0 + 4)
    # Different axes: against the root of the general matrix A B.
    from scipy.linalg import sqrtm

    f, g = rng.standard_normal((2, 4, 4))
    a, b = normal(rng, 50, np.zeros(4), f), normal(rng, 60, np.ones(4), g)
    root = sqrtm(f @ f.T @ g @ g.T).real
    expected = 4 + np.trace(f @ f.T + g @ g.T - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected)
    assert frechet_distance(b, a) == pytest.approx(expected)


def test_it_is_zero_for_equal_features_also_with_fewer_examples_than_features():
    x = np.random.default_rng(0).standard_normal((5, 20)).astype(np.float32)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(x, x + 1) == pytest.approx(20)
    with pytest.raises(UserError, match="at least 2 images, found 1"):
        frechet_distance(x, x[:1])


def test_precision_and_recall_by_hand():
    real = np.array([[0.0], [1], [2], [10], [11], [12]])
    made = np.array([[0.5], [1.5], [0.9], [40]])  # one of the two clusters, and one far away
    # With one neighbour each real ball reaches 1; of the generated ones 0.4, 0.6, 0.4 and 38.5.
    assert precision_recall(real, made, 1) == (3 / 4, 5 / 6)  # the far ball holds 2, 10, 11 and 12
    assert precision_recall(real, made[:3], 1) == (1.0, 2 / 6)
    with pytest.raises(UserError, match="more than 3 images, found 3"):
        precision_recall(real, made[:3])


def test_a_collapse_costs_recall_and_noise_costs_precision():
    rng = np.random.default_rng(0)
    real, more = rng.standard_normal((2, 1500, 8))  # several blocks
    precision, recall = precision_recall(real, more)
    assert min(precision, recall) > 0.8
    precision, recall = precision_recall(real, 0.3 * more)
    assert precision > 0.95 and recall < 0.2
    precision, recall = precision_recall(real, 3 * more)
    assert precision < 0.2 and recall > 0.8


def test_shares_and_what_counts_as_covered():
    real, made = np.repeat([0, 1, 2], [50, 40, 10]), np.repeat([0, 1, 3], [950, 30, 20])
    shares = class_shares(real, made, ("a", "b", "c", "d"))
    assert shares["a"] == Share(0.5, 0.95) and shares["a"].covered
    assert shares["b"] == Share(0.4, 0.03) and not shares["b"].covered  # under a tenth of 0.4
    assert not shares["c"].covered
    assert shares["d"] == Share(0.0, 0.02) and not shares["d"].covered  # there is no such class


def test_the_nearest_training_image_and_copies():
    rng = np.random.default_rng(0)
    train = rng.integers(0, 256, (5000, 4, 4, 3), np.uint8)  # several blocks
    chosen = np.array([4999, 0, 2048])
    found = nearest(train[chosen], train)
    assert found.row.tolist() == chosen.tolist() and found.distance.tolist() == [0, 0, 0]
    black, white = np.zeros((1, 2, 2, 1), np.uint8), np.full((1, 2, 2, 1), 255, np.uint8)
    assert nearest(white, black).distance.tolist() == [1.0]
    assert nearest(white, np.full((1, 2, 2, 1), 204, np.uint8)).distance[0] == pytest.approx(0.2)


def quality(near, real):
    shares = {"a": Share(0.5, 1.0), "b": Share(0.5, 0.0)}
    return ImageQuality(4, 5.0, 1.0, 0.9, 0.8, 0.95, 0.96, shares, np.array(near), np.array(real))


def test_the_figures_are_those_of_their_parts():
    real = np.linspace(0.1, 0.3, 101)
    found = quality([0.0, 0.05, 0.4, 0.4], real)
    assert found.classes_covered == 1
    assert found.copies == 0.5  # two are nearer than all but 1 % of the real images
    assert found.nearest_ratio == pytest.approx(0.225 / 0.2)
    assert quality(real, real).copies == pytest.approx(0.01, abs=0.005)
    record = found.to_dict()
    assert record["shares"]["b"] == {"real": 0.5, "generated": 0.0, "covered": False}
    assert record["frechet"] == 5.0 and record["count"] == 4
