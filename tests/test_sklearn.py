"""The estimators keep every rule that scikit-learn checks, and work where its own ones do."""

import pickle
import pickletools

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks

import gradlab
from gradlab.config import DataConfig
from gradlab.data import Schema, Split
from gradlab.data.columns import Dense
from gradlab.data.dataset import Source
from gradlab.data.fields.label import Label
from gradlab.data.fields.values import Values
from gradlab.data.splits import finish
from gradlab.errors import UserError
from gradlab.explore.features import features
from gradlab.sklearn import NetworkClassifier, NetworkFeatures, NetworkRegressor

SMALL = {"widths": (16,), "epochs": 10, "batch_size": 16, "lr": 0.03}
KINDS = [NetworkClassifier, NetworkRegressor, NetworkFeatures]


@parametrize_with_checks([kind(**SMALL) for kind in KINDS])
def test_the_rules_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return train_test_split(x, y, train_size=600, test_size=300, random_state=0, stratify=y)


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.mark.parametrize(
    "last", [LogisticRegression(max_iter=500), SVC()], ids=lambda last: type(last).__name__
)
def test_features_in_a_pipeline(digits, last):
    train_x, test_x, train_y, test_y = digits
    network = NetworkFeatures(epochs=15, widths=(64, 32), lr=0.01, random_state=0)
    model = make_pipeline(StandardScaler(), network, last).fit(train_x, train_y)
    assert model.score(test_x, test_y) > 0.9
    assert model[:-1].transform(test_x).shape == (300, 32)
    assert model[1].get_feature_names_out()[-1] == "networkfeatures31"


def test_a_grid_search_finds_the_better_network(iris):
    grid = {"widths": [(1,), (16,)], "lr": [1e-5, 0.03]}
    search = GridSearchCV(
        NetworkClassifier(epochs=15, batch_size=16, random_state=0), grid, cv=3, n_jobs=1
    ).fit(*iris)
    assert search.best_params_ == {"widths": (16,), "lr": 0.03}
    assert search.best_score_ > 0.9 > 0.6 > min(search.cv_results_["mean_test_score"])


def test_a_grid_search_through_a_pipeline(iris):
    model = make_pipeline(StandardScaler(), NetworkFeatures(**SMALL, random_state=0), SVC())
    grid = {"networkfeatures__layer": [None, "1"], "svc__C": [0.1, 1.0]}
    search = GridSearchCV(model, grid, cv=3).fit(*iris)
    assert search.best_score_ > 0.9 and len(search.cv_results_["params"]) == 4


def test_a_number_is_estimated_in_its_own_units():
    x, y = load_diabetes(return_X_y=True)
    model = NetworkRegressor(epochs=20, lr=0.003, random_state=0)
    assert np.mean(cross_val_score(model, x, y, cv=3)) > 0.3
    shifted = clone(model).fit(x, 1000 + 5 * y).predict(x)
    plain = clone(model).fit(x, y).predict(x)
    np.testing.assert_allclose(shifted, 1000 + 5 * plain, rtol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_owns_the_result(iris, kind):
    def values(seed):
        model = kind(**SMALL, random_state=seed).fit(*iris)
        return getattr(model, "transform" if kind is NetworkFeatures else "predict")(iris[0])

    assert np.array_equal(values(1), values(1))
    if kind is not NetworkClassifier:  # two classifiers may well agree
        assert not np.array_equal(values(1), values(2))


def test_labels_of_any_kind(iris):
    x, y = iris
    names = np.array(["setosa", "versicolor", "virginica"], object)[y]
    model = NetworkClassifier(**SMALL, random_state=0).fit(x, names)
    assert list(model.classes_) == ["setosa", "versicolor", "virginica"]
    assert set(model.predict(x)) <= set(names)
    probability = model.predict_proba(x)
    np.testing.assert_allclose(probability.sum(1), 1, rtol=1e-5)
    assert np.array_equal(model.classes_[probability.argmax(1)], model.predict(x))


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_holds_bytes_of_weights_and_no_torch(iris, kind):
    model = kind(**SMALL, random_state=0).fit(*iris)
    data = pickle.dumps(model)
    names = {arg for _, arg, _ in pickletools.genops(data) if isinstance(arg, str)}
    assert not any(name.startswith(("torch", "gradlab.tasks")) for name in names)
    back = pickle.loads(data)
    method = "transform" if kind is NetworkFeatures else "predict"
    assert np.array_equal(getattr(back, method)(iris[0]), getattr(model, method)(iris[0]))
    assert back.get_params() == model.get_params()


@pytest.fixture
def threads():
    """Another number of threads than the estimators use."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(before)


def test_nothing_is_printed_left_behind_or_changed(iris, threads, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.rand(1)  # a place in the sequence where no training of these tests has ended
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    model = NetworkClassifier(**SMALL, random_state=0).fit(*iris)
    model.predict(iris[0])
    pickle.loads(pickle.dumps(model))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert capfd.readouterr() == ("", "") and not list(tmp_path.iterdir())


def test_a_share_held_out_chooses_the_best_epoch(iris):
    x, y = iris
    wild = {**SMALL, "lr": 0.5, "fields": {"schedule": "constant"}}
    model = NetworkClassifier(**wild, val=0.2, random_state=0).fit(x, y)
    log = [line["accuracy"] for line in model.history_ if line.get("split") == "val"]
    assert len(log) == 10 and log[-1] < max(log)  # or the test proves nothing
    fields = {"values": Values(size=(4,))}, {"label": Label(classes=("0", "1", "2"))}
    part = Split({"values": Dense(x.astype(np.float32)), "label": Dense(y)})
    schema = Schema(inputs=fields[0], targets=fields[1])
    source = Source("iris", schema, {"train": part}, stratify="label")
    held = finish(source, DataConfig(val=0.2, test=0)).splits["val"]
    assert model.score(held["values"][:], held["label"][:]) == pytest.approx(max(log))
    whole = clone(model).set_params(val=0.0).fit(x, y)
    assert not [line for line in whole.history_ if line.get("split") == "val"]


def test_images_reach_a_convolutional_network_in_any_form(digits):
    train_x, test_x, train_y, test_y = digits
    model = NetworkClassifier("lenet5", epochs=8, lr=0.01, batch_size=32, random_state=0)
    rows = clone(model).set_params(image_size=8).fit(train_x, train_y)
    assert rows.score(test_x, test_y) > 0.7  # chance is 0.1
    expected = rows.predict_proba(test_x)
    squares = clone(model).fit(train_x.reshape(-1, 8, 8), train_y)
    assert np.array_equal(squares.predict_proba(test_x.reshape(-1, 8, 8)), expected)
    with_channel = clone(model).fit((train_x / 16).reshape(-1, 8, 8, 1), train_y)
    assert np.array_equal(with_channel.predict_proba((test_x / 16).reshape(-1, 8, 8, 1)), expected)


def test_images_need_not_be_square(digits):
    train_x, test_x, train_y, test_y = digits
    wide = [x.reshape(-1, 8, 8)[:, :6] for x in (train_x, test_x)]
    model = NetworkClassifier(epochs=15, lr=0.01, random_state=0).fit(wide[0], train_y)
    assert model.score(wide[1], test_y) > 0.8
    assert model._task.schema.inputs["image"].shape == (1, 6, 8)


def test_threads_are_one_unless_they_are_asked_for(iris):
    assert NetworkClassifier(**SMALL).fit(*iris)._task.setup.threads == 1
    asked = NetworkClassifier(**SMALL, fields={"threads": 3, "optimizer.weight_decay": 0.1})
    task = asked.fit(*iris)._task
    assert task.setup.threads == 3 and task.recipe.optimizer.weight_decay == 0.1
    assert pickle.loads(pickle.dumps(asked))._task.setup.threads == 3


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ((30, 64), 7, "64 values for each image: expected 7x7x1 or 7x7x3"),
        ((30, 8, 8, 2), None, r"N H W or N H W C \(C 1 or 3\)"),
        ((30, 8, 8, 1, 1), None, r"N H W or N H W C \(C 1 or 3\)"),
    ],
)
def test_images_of_no_known_form_are_refused(shape, size, message):
    x, y = np.zeros(shape), np.arange(30) % 2
    with pytest.raises(ValueError, match=message):
        NetworkClassifier("lenet5", image_size=size).fit(x, y)


def test_new_images_have_the_size_of_the_training(digits):
    train_x, _, train_y, _ = digits
    model = NetworkClassifier("lenet5", epochs=1).fit(train_x.reshape(-1, 8, 8), train_y)
    with pytest.raises(ValueError, match=r"shape \(8, 6\), expected \(8, 8, 1\)"):
        model.predict(np.zeros((2, 8, 6)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": "mpl"}, "unknown recipe 'mpl': did you mean 'mlp'"),
        ({"fields": {"optimizer.lrr": 1}}, "did you mean 'optimizer.lr'"),
        ({"epochs": 0}, "plan.epochs: input should be greater than or equal to 1"),
        ({"recipe": "lenet5"}, "this network takes images"),
        ({"device": "tpu"}, "expected auto, cpu, cuda"),
    ],
)
def test_a_mistake_in_a_parameter_is_said_when_it_is_fitted(iris, options, message):
    with pytest.raises(UserError, match=message):
        NetworkClassifier(**options).fit(*iris)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    return gradlab.train("lenet5", out=out, epochs=5, threads=1, progress=False, test=False)


def test_features_are_borrowed_from_a_run(run, digits):
    expected = features(run, split="val").values
    images = run.dataset.splits["val"]["image"][:]
    borrowed = NetworkFeatures(run=run.path).fit(images)  # nothing to learn, so no y
    for x in (images, images[..., 0], images.reshape(-1, 64), images / 255):
        found = NetworkFeatures(run=run.path).fit_transform(x)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    again = pickle.loads(pickle.dumps(borrowed))
    np.testing.assert_allclose(again.transform(images), expected, rtol=1e-3, atol=1e-4)
    train_x, test_x, train_y, test_y = digits
    model = make_pipeline(NetworkFeatures(run=run.path, layer="fc1"), StandardScaler(), SVC())
    model.fit(train_x / 16, train_y)
    assert model.score(test_x / 16, test_y) > 0.8


def test_what_a_run_does_not_read_is_refused(run, digits, tmp_path):
    train_x = digits[0]
    with pytest.raises(ValueError, match="not 0 to 1"):
        NetworkFeatures(run=run.path).fit(train_x)  # of 0..16
    with pytest.raises(ValueError, match=r"60 values for each example, but .* reads 8x8x1"):
        NetworkFeatures(run=run.path).fit(train_x[:, :60])
    with pytest.raises(UserError, match="there is no run"):
        NetworkFeatures(run=tmp_path / "absent").fit(train_x)
    table = gradlab.train(
        "softmax_regression", data="iris", out=tmp_path, epochs=1, threads=1, progress=False
    )
    with pytest.raises(UserError, match="reads a table"):
        NetworkFeatures(run=table.path).fit(train_x)
