"""Features: the values of a layer, whichever examples are given, with their ids and labels."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from torch import nn

from gradlab.config import DataConfig, Runtime
from gradlab.data import load as load_data
from gradlab.errors import UserError
from gradlab.explore.features import features
from gradlab.runs import load
from gradlab.workflows.own import fit_own
from gradlab.workflows.train import train

QUICK = {"epochs": 1, "threads": 1, "progress": False, "test": False}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """LeNet-5 on the digits, barely trained."""
    return train("lenet5", out=tmp_path_factory.mktemp("runs"), name="lenet", **QUICK)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A network with dropout on the irises."""
    out = tmp_path_factory.mktemp("runs")
    return train("mlp", out=out, name="iris", data="iris", **QUICK)


def reads(run):
    return [line for line in run.history if line.get("event") == "test read"]


def normalised(run, split):
    """The inputs of the network, by hand."""
    x = torch.from_numpy(run.dataset.splits[split]["image"][:]).permute(0, 3, 1, 2) / 255
    image = run.schema.inputs["image"]
    return (x - image.mean[0]) / image.std[0]


def test_the_default_layer_is_what_the_last_linear_layer_takes(run):
    found = features(run, split="val")
    last = run.model.fc3
    outputs = found.values @ last.weight.detach().numpy().T + last.bias.detach().numpy()
    with torch.inference_mode():
        expected = run.model.eval()(normalised(run, "val"))
    assert found.layer == "input of fc3" and found.values.shape == (153, 84)
    assert found.values.dtype == np.float32
    np.testing.assert_allclose(outputs, expected.numpy(), rtol=1e-4, atol=1e-5)
    assert np.array_equal(found.labels, run.dataset.splits["val"]["label"][:])
    assert found.classes == tuple("0123456789")
    assert found.ids == tuple(run.dataset.splits["val"].ids) and set(found.splits) == {"val"}


@pytest.mark.parametrize("pool", ["mean", "max", "none"])
def test_maps_are_pooled_over_space_or_kept(run, pool):
    with torch.inference_mode():
        maps = run.model[:4](normalised(run, "val"))  # N 16 8 8
    assert maps.shape == (153, 16, 8, 8)
    by_hand = {"mean": maps.mean((2, 3)), "max": maps.amax((2, 3)), "none": maps.flatten(1)}[pool]
    found = features(run, split="val", layer="conv2", pool=pool)
    np.testing.assert_allclose(found.values, by_hand.numpy(), rtol=1e-4, atol=1e-5)


def test_batches_and_dropout_change_nothing(table):
    whole = features(table, layer="1")
    assert whole.values.shape == (150, 800)
    np.testing.assert_allclose(
        features(table, layer="1", batch_size=7).values, whole.values, atol=1e-5
    )
    table.model.train()
    np.testing.assert_array_equal(
        features(table, layer="3").values, features(table, layer="3").values
    )
    assert table.model.training  # left as it was found
    table.model.eval()


def test_a_layer_that_is_not_there_is_refused_with_the_nearest(run):
    with pytest.raises(UserError, match=r"unknown layer 'conv3'.*'conv2'"):
        features(run, layer="conv3")
    assert not any(module._forward_hooks for module in run.model.modules())


class TwoHeads(nn.Module):
    """As in GoogLeNet: the auxiliary head is written last, and rests in evaluation."""

    def __init__(self):
        super().__init__()
        self.flatten = nn.Flatten()
        self.body = nn.Linear(64, 5)
        self.head = nn.Linear(5, 10)
        self.auxiliary = nn.Linear(64, 10)

    def forward(self, x):
        x = self.flatten(x)
        out = self.head(self.body(x))
        return (out, self.auxiliary(x)) if self.training else out


@pytest.fixture
def heads(tmp_path):
    def loss(output, y):
        both = output if isinstance(output, tuple) else (output,)
        return sum(nn.functional.cross_entropy(each, y) for each in both)

    return fit_own(TwoHeads(), data="digits", loss=loss, out=tmp_path, **QUICK)


def test_the_last_linear_layer_is_the_last_that_is_used(heads):
    found = features(heads, split="val")
    assert found.layer == "input of head" and found.values.shape == (153, 5)
    with pytest.raises(UserError, match=r"'auxiliary' was not used"):
        features(heads, split="val", layer="auxiliary")


def test_all_splits_in_order_and_the_reading_of_test_is_recorded(run):
    before = len(reads(run))
    features(run, split="train")
    assert len(reads(run)) == before
    found = features(run)
    assert len(reads(run)) == before + 1 and reads(run)[-1]["by"] == "features"
    counts = run.dataset.counts
    assert found.splits == tuple(name for name in counts for _ in range(counts[name]))
    assert len(set(found.ids)) == 1797
    assert len(features(run, "digits")) == 1797 and len(reads(run)) == before + 2  # by its name
    with pytest.raises(UserError, match=r"no split 'all'; found train, val, test"):
        features(run, split="all")


def test_arrays_have_the_form_of_a_dataset(run, tmp_path):
    found = features(run)
    found.save(tmp_path / "f.npz")
    back = load_data(DataConfig(name=str(tmp_path / "f.npz")))
    assert back.counts == run.dataset.counts and back.schema.targets == run.schema.targets
    assert np.array_equal(back.splits["test"]["values"][:], found.values[-269:])
    assert np.array_equal(back.splits["val"]["label"], run.dataset.splits["val"]["label"])
    features(run, split="val").save(tmp_path / "v.npz")
    with np.load(tmp_path / "v.npz") as arrays:
        assert sorted(arrays) == ["classes", "ids", "x", "y"]


def test_a_table_has_a_column_for_each_feature(run, tmp_path):
    found = features(run)
    found.save(tmp_path / "f.parquet")
    frame = pl.read_parquet(tmp_path / "f.parquet")
    assert frame.columns == ["id", "split", "label", *(f"f{d}" for d in range(84))]
    assert frame["label"].to_list() == [found.classes[k] for k in found.labels]
    assert np.array_equal(frame[:, 3:].to_numpy(), found.values)
    assert frame.filter(pl.col("split") == "val")["id"].to_list() == list(
        run.dataset.splits["val"].ids
    )
    with pytest.raises(UserError, match=r"\.parquet or \.npz, found 'f\.csv'"):
        found.save("f.csv")


def test_new_inputs_have_names_and_no_labels(run, tmp_path):
    x = run.dataset.splits["val"]["image"][:3]
    expected = features(run, split="val").values[:3]
    for i, image in enumerate(x):
        Image.fromarray(image[..., 0]).save(tmp_path / f"{i}.png")
    for given in (tmp_path, [tmp_path / f"{i}.png" for i in range(3)], x):
        found = features(run, given)
        assert found.labels is None and len(found) == 3
        np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-5)
    assert features(run, tmp_path).ids[0] == str(tmp_path / "0.png")
    assert features(run, x).ids == ("1", "2", "3")
    found.save(tmp_path / "new.parquet")
    assert pl.read_parquet(tmp_path / "new.parquet").columns[:2] == ["id", "f0"]


def test_another_dataset_is_brought_to_the_form_of_the_run(run, tmp_path):
    """Colour images of 12x12 in class folders, with labels of their own."""
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for i in range(2):
            pixels = rng.integers(0, 256, (12, 12, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / label / f"{i}.png")
    before = len(reads(run))
    found = features(run, tmp_path)
    assert found.classes == ("cat", "dog") and found.labels.tolist() == [0, 0, 1, 1]
    assert found.ids == ("cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png")
    assert len(reads(run)) == before


def test_rows_of_a_table_are_read_as_the_run_reads_them(table, tmp_path):
    from sklearn.datasets import load_iris

    bunch = load_iris()
    frame = pl.DataFrame(bunch.data, schema=list(bunch.feature_names))
    frame.write_csv(tmp_path / "new.csv")
    species = pl.Series("species", bunch.target_names[bunch.target])
    frame.with_columns(species).write_csv(tmp_path / "labelled.csv")
    new, labelled = (features(table, tmp_path / name) for name in ("new.csv", "labelled.csv"))
    assert new.labels is None and labelled.labels.tolist() == bunch.target.tolist()
    np.testing.assert_allclose(new.values, labelled.values, rtol=1e-5)
    own = features(table)
    assert sorted(map(tuple, own.values.round(3))) == sorted(map(tuple, new.values.round(3)))
    frame[:, 1:].with_columns(species).write_csv(tmp_path / "short.csv")
    with pytest.raises(
        UserError, match=r"short.csv: the table lacks the columns sepal length \(cm\);"
    ):
        features(table, tmp_path / "short.csv")
    with pytest.raises(UserError, match="species"):
        features(table, "wine")


@pytest.mark.parametrize("data", ["iris", "diabetes"])
def test_data_of_another_kind_is_refused(run, data):
    with pytest.raises(UserError, match=r"holds examples of table, but this run reads image"):
        features(run, data)


def test_a_number_is_a_label_in_its_own_units(tmp_path):
    found = train("linear_regression", out=tmp_path, **QUICK)
    labels = features(found, split="val", layer="0").labels
    assert labels.dtype == np.float32 and labels.mean() > 100  # not standardised
    assert np.array_equal(labels, found.dataset.splits["val"]["number"])


def test_what_has_no_target_has_no_labels(tmp_path):
    """An autoencoder of photos without classes; its features are its latent vectors."""
    rng = np.random.default_rng(0)
    for i in range(24):
        pixels = rng.integers(0, 256, (8, 12, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    own = train(
        "autoencoder", data=str(tmp_path), out=tmp_path / "runs", **{"model.code": 5}, **QUICK
    )
    found = features(own)
    assert found.labels is None and found.layer == "encoder" and found.values.shape == (24, 5)
    found.save(tmp_path / "f.npz")
    with np.load(tmp_path / "f.npz") as arrays:
        assert not [name for name in arrays if name.startswith(("y", "classes"))]


def test_a_dataset_as_a_value_is_the_runs_own_or_refused(run):
    own = features(run, load_data(DataConfig(name="digits")), split="val")
    assert np.array_equal(own.values, features(run, split="val").values)
    other = load_data(DataConfig(name="digits", limit=100))
    with pytest.raises(UserError, match=r"digits is not the dataset that .* was trained on"):
        features(run, other)


class Bare(nn.Module):
    """A network without a linear layer."""

    def __init__(self):
        super().__init__()
        self.filters = nn.Conv2d(1, 10, 8)
        self.flatten = nn.Flatten(0)

    def forward(self, x):
        found = self.filters(x)
        self.flatten(found)
        return found.flatten(1)


def test_a_network_without_the_usual_layer_is_told_which_it_has(tmp_path):
    own = fit_own(Bare(), data="digits", out=tmp_path, **QUICK)
    with pytest.raises(UserError, match=r"no linear layer: name .* meant \(filters, flatten\)"):
        features(own, split="val")
    assert features(own, split="val", layer="filters").values.shape == (153, 10)
    with pytest.raises(UserError, match=r"'flatten' gave a tensor of the shape \(1530,\) for 153"):
        features(own, split="val", layer="flatten", batch_size=153)
    with pytest.raises(UserError, match=r"no \.encoder: name .* meant \(filters, flatten\)"):
        own.task.feature_layer = "encoder"
        features(own, split="val")


def test_a_network_that_answers_no_inputs_has_no_features(tmp_path):
    small = {"data.image_size": 32, "data.limit": 40, "model.width": 4, "plan.batch_size": 20}
    made = train("dcgan", data="digits", out=tmp_path, **small, **QUICK)
    with pytest.raises(UserError, match=r"task 'gan' has no features"):
        features(made, split="val")


def test_what_learns_in_an_environment_has_no_examples(tmp_path):
    small = {"task.epoch_steps": 256, "task.val_episodes": 1, "task.learning_starts": 64}
    player = train("dqn", out=tmp_path, **small, **QUICK)
    with pytest.raises(UserError, match=r"not trained on examples but in CartPole-v1"):
        features(player)
    found = features(player, np.zeros((3, 4), np.float32))  # what was observed
    assert len(found) == 3 and found.labels is None


def test_the_summary_is_json(run):
    found = features(run, split="val")
    assert json.loads(json.dumps(found.to_dict())) == {
        "run": str(run.path), "layer": "input of fc3", "features": 84, "examples": {"val": 153},
        "labels": True, "classes": list("0123456789"), "notes": [],
    }  # fmt: skip
    (table,) = found.tables()
    assert table.header == ("split", "examples", "features", "layer")
    assert table.rows == (("val", "153", "84", "input of fc3"),)


def test_the_process_has_its_own_threads_afterwards(run):
    opened = load(run.path, runtime=Runtime(threads=2))
    before = torch.get_num_threads()
    found = features(opened, split="val")
    assert torch.get_num_threads() == before != 2
    np.testing.assert_allclose(found.values, features(run, split="val").values, rtol=1e-4)
