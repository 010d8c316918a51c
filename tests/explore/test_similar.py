"""Retrieval: the nearest images by the cosine of their features."""

import numpy as np
import pytest
from PIL import Image

from gradlab.errors import UserError
from gradlab.explore.features import features
from gradlab.explore.similar import similar
from gradlab.workflows.train import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    return train("lenet5", out=out, epochs=4, threads=1, progress=False, test=False)


def test_the_nearest_are_those_of_largest_cosine(run):
    x = run.dataset.splits["val"]["image"]
    found = similar(run, x[3], count=5)
    query = features(run, split="val").values[3].astype(float)
    known = features(run, split="train")
    cosine = known.values @ query / np.linalg.norm(known.values, axis=1) / np.linalg.norm(query)
    order = np.argsort(-cosine)[:5]
    assert [n.id for n in found.neighbours] == [known.ids[i] for i in order]
    np.testing.assert_allclose([n.similarity for n in found.neighbours], cosine[order], atol=1e-5)
    assert [n.label for n in found.neighbours] == [str(known.labels[i]) for i in order]
    train = run.dataset.splits["train"]
    assert np.array_equal(found.images, np.concatenate([x[3:4], train["image"][order]]))


def test_neighbours_share_the_class_more_often_than_chance(run):
    val = run.dataset.splits["val"]
    shares = [
        np.mean([n.label == str(y) for n in similar(run, x, count=5).neighbours])
        for x, y in zip(val["image"][:12], val["label"][:12], strict=True)
    ]
    assert np.mean(shares) > 0.4  # chance is 0.1


def test_the_query_itself_is_left_out(run, tmp_path):
    image = run.dataset.splits["train"]["image"][7]
    Image.fromarray(image[..., 0]).save(tmp_path / "seven.png")
    found = similar(run, tmp_path / "seven.png", count=3)
    assert found.left_out == 1 and found.query == str(tmp_path / "seven.png")
    assert not any(np.array_equal(image, other) for other in found.images[1:])


def test_in_a_folder_of_photos(run, tmp_path):
    for i, image in enumerate(run.dataset.splits["val"]["image"][:4]):
        Image.fromarray(image[..., 0]).save(tmp_path / f"{i}.png")
    found = similar(run, tmp_path / "0.png", tmp_path, count=8)
    assert found.left_out == 1 and len(found.neighbours) == 3  # no more than there are
    assert {n.id for n in found.neighbours} == {str(tmp_path / f"{i}.png") for i in (1, 2, 3)}
    assert found.to_dict()["neighbours"][0]["label"] is None
    (table,) = found.tables()
    assert table.header == ("image", "label", "similarity")
    assert [row[:2] for row in table.rows] == [(n.id, "") for n in found.neighbours]


def test_the_test_split_is_read_only_when_it_is_asked_for(run):
    def reads():
        return sum(line.get("event") == "test read" for line in run.history)

    before, image = reads(), run.dataset.splits["val"]["image"][0]
    similar(run, image)
    assert reads() == before
    assert {n.split for n in similar(run, image, split="test").neighbours} == {"test"}
    assert reads() == before + 1 and run.history[-1]["by"] == "similar"


def test_the_grid_shows_the_query_and_then_the_neighbours(run, tmp_path):
    found = similar(run, run.dataset.splits["val"]["image"][0], count=7)
    shown = found.figure().axes
    assert len(shown) == 8
    assert shown[0].get_title().startswith("query")
    first = found.neighbours[0]
    assert shown[1].get_title() == f"{first.label}\n{first.similarity:.3f}"
    found.save(tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as picture:
        picture.load()
        assert picture.format == "PNG" and picture.width > picture.height > 300
    with pytest.raises(UserError, match="written as"):
        found.save(tmp_path / "grid.jpg")


def test_what_cannot_be_compared_is_refused(run, tmp_path):
    images = run.dataset.splits["val"]["image"][:2]
    with pytest.raises(UserError, match="expected one image to compare with, found 2"):
        similar(run, images)
    with pytest.raises(UserError, match="expected at least 1, found 0"):
        similar(run, images[0], count=0)
    with pytest.raises(UserError, match="no file"):
        similar(run, tmp_path / "absent.png")
    table = train(
        "softmax_regression", data="iris", out=tmp_path, epochs=1, threads=1, progress=False
    )
    with pytest.raises(
        UserError, match=r"similar images needs one image as its input, found table \(table\)"
    ):
        similar(table, images[0])
