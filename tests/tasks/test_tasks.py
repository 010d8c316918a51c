import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score
from torch import nn

import gradlab
from gradlab.config import DataConfig, override
from gradlab.data import load
from gradlab.errors import UserError
from gradlab.recipes import find
from gradlab.recipes.run import make
from gradlab.tasks.classification import class_details
from gradlab.tasks.losses import CLASSES, NUMBERS, hinge

QUIET = {"progress": False, "epochs": 3}


def task_of(name, **fields):
    recipe = find(name, fields)
    return make(recipe, load(recipe.data))


def test_auto_takes_the_task_from_the_target():
    assert type(task_of("mlp")).__name__ == "Classification"
    assert type(task_of("mlp", data="diabetes")).__name__ == "Regression"


def test_auto_is_resolved_and_nothing_of_it_is_left_in_the_recipe():
    recipe = task_of("mlp", data="iris").recipe
    assert (recipe.device, recipe.precision) == (
        "cuda" if torch.cuda.is_available() else "cpu",
        "float32",
    )
    assert recipe.threads == 1  # what the tests' environment says
    assert (recipe.plan.monitor, recipe.plan.goal, recipe.plan.updates) == ("accuracy", "max", 0)
    assert recipe.task.name == "classification"
    assert recipe.plan.epochs == 600  # as many updates, of one batch each


def test_one_seed_owns_everything():
    def weights(seed):
        task = task_of("mlp", seed=seed)
        for batch in task.batches(0):
            task.step(batch)
        return torch.cat([p.flatten() for p in task.model.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_linear_regression_comes_to_least_squares(tmp_path):
    run = gradlab.train("linear_regression", out=tmp_path, progress=False)
    train = run.dataset.splits["train"]
    design = np.hstack([train.x, np.ones((len(train), 1))])
    solution, *_ = np.linalg.lstsq(design, train.y, rcond=None)
    test = run.dataset.splits["test"]
    best = np.hstack([test.x, np.ones((len(test), 1))]) @ solution
    exact = 1 - ((best - test.y) ** 2).sum() / ((test.y - test.y.mean()) ** 2).sum()
    assert run.metrics["test"]["r2"] == pytest.approx(exact, abs=0.02)
    errors = np.array([p.answer for p in run.task.predict(test.x, [""] * len(test))]) - test.y
    assert run.metrics["test"]["mse"] == pytest.approx((errors**2).mean(), rel=1e-4)
    assert run.metrics["test"]["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-4)


def test_logistic_regression_reports_the_area_under_the_curve(tmp_path):
    run = gradlab.train("logistic_regression", out=tmp_path, progress=False)
    test = run.dataset.splits["test"]
    positive = run.schema.classes[1]
    chance = [dict(p.top)[positive] for p in run.task.predict(test.x, [""] * len(test))]
    assert run.metrics["test"]["roc_auc"] == pytest.approx(roc_auc_score(test.y, chance), abs=1e-3)
    assert run.metrics["test"]["accuracy"] >= 0.95


def test_softmax_regression_learns_the_digits(tmp_path):
    run = gradlab.train("softmax_regression", out=tmp_path, progress=False)
    assert run.metrics["test"]["accuracy"] >= 0.93
    details = run.details("test")
    assert details.confusion.sum() == len(run.dataset.splits["test"])
    assert details.confusion.trace() / details.confusion.sum() == pytest.approx(
        details.metrics["accuracy"]
    )
    assert [p for *_, p in details.worst] == sorted((p for *_, p in details.worst), reverse=True)


def test_figures_of_each_class_are_those_of_scikit_learn():
    rng = torch.Generator().manual_seed(0)
    probability = torch.rand(200, 4, generator=rng).softmax(1)
    y = torch.randint(0, 3, (200,), generator=rng)  # the last class never occurs
    found = class_details({}, probability, y, ("a", "b", "c", "d"))
    answer = probability.argmax(1)
    assert (found.confusion == confusion_matrix(y, answer, labels=range(4))).all()
    expected = precision_recall_fscore_support(y, answer, labels=range(4), zero_division=0)
    for k, name in enumerate(found.classes):
        row = found.per_class[name]
        assert [row["precision"], row["recall"], row["f1"], row["count"]] == pytest.approx(
            [float(figure[k]) for figure in expected]
        )


def test_losses_against_their_definitions():
    output, y = torch.randn(6, 4), torch.tensor([0, 3, 1, 1, 2, 0])
    by_hand = (
        sum(
            max(0.0, float(output[i, k] - output[i, y[i]] + 1))
            for i in range(6)
            for k in range(4)
            if k != int(y[i])
        )
        / 6
    )
    assert float(hinge(output, y)) == pytest.approx(by_hand, rel=1e-5)
    log = output.log_softmax(1)
    assert float(CLASSES["nll"](log, y)) == pytest.approx(
        float(CLASSES["cross_entropy"](output, y))
    )
    p = output.sigmoid()
    target = nn.functional.one_hot(y, 4)
    bce = -(target * p.log() + (1 - target) * (1 - p).log()).sum(1).mean()
    assert float(CLASSES["bce"](output, y)) == pytest.approx(float(bce), rel=1e-5)
    assert float(CLASSES["mse"](output, y)) == pytest.approx(
        float(((output - target) ** 2).sum(1).mean())
    )
    a, b = torch.tensor([0.0, 3.0]), torch.tensor([0.5, 1.0])
    assert [float(NUMBERS[n](a, b)) for n in ("mse", "mae", "huber")] == pytest.approx(
        [(0.25 + 4) / 2, (0.5 + 2) / 2, (0.125 + 1.5) / 2]
    )


@pytest.mark.parametrize("loss", ["hinge", "bce", "mse"])
def test_every_loss_learns(tmp_path, loss):
    fields = {"task.loss": loss, "task.l2": 1e-4, "epochs": 10}
    run = gradlab.train("mlp", out=tmp_path, progress=False, **fields)
    assert run.metrics["test"]["accuracy"] > 0.9


def test_l2_adds_the_squared_weights():
    plain, heavy = task_of("softmax_regression"), task_of("softmax_regression", **{"task.l2": 0.5})
    batch = next(plain.batches(0))
    weight = plain.model[1].weight
    expected = float((plain.loss(batch) + 0.5 * weight.square().sum()).detach())
    assert float(heavy.loss(batch).detach()) == pytest.approx(expected, rel=1e-5)


def test_auxiliary_heads_count_three_tenths():
    task = task_of("googlenet", data="digits", **{"data.image_size": 32})
    batch = next(task.batches(0))
    batch = type(batch)(batch.x[:4], batch.y[:4])
    torch.manual_seed(3)
    value = task.loss(batch)
    torch.manual_seed(3)
    logits, aux1, aux2 = task.model(batch.x)
    main, one, two = (
        nn.functional.cross_entropy(o, batch.y, label_smoothing=0.1) for o in (logits, aux1, aux2)
    )
    expected = (main + 0.3 * (one + two)).detach()
    assert float(value.detach()) == pytest.approx(float(expected), rel=1e-4)


def test_unknown_options_of_a_task_are_refused_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'label_smoothing'"):
        task_of("mlp", **{"task.label_smothing": 0.1})


def test_a_network_of_ones_own_with_a_loss_of_ones_own(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 6)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 2))
    run = gradlab.fit(
        module,
        data=(x, y),
        loss=nn.CrossEntropyLoss(),
        out=tmp_path,
        name="own",
        progress=False,
        epochs=60,
        **{"optimizer.lr": 0.01},
    )
    assert run.metrics["test"]["accuracy"] > 0.85
    again = gradlab.load(
        tmp_path / "own", model=nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 2))
    )
    assert again.predict([x[:5]])[0].answer in ("0", "1")
    with pytest.raises(UserError, match="a network of your own"):
        gradlab.load(tmp_path / "own").model  # noqa: B018


def test_preflight_refuses_what_would_not_learn(tmp_path):
    x = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
    y = np.arange(100) % 3
    module = nn.Sequential(nn.Linear(6, 3), nn.Softmax(1))
    with pytest.raises(UserError, match="softmax"):
        gradlab.fit(module, data=(x, y), loss=nn.CrossEntropyLoss(), out=tmp_path, **QUIET)
    with pytest.raises(UserError, match="2"):
        gradlab.fit(nn.Linear(6, 2), data=(x, y), out=tmp_path, **QUIET)
    assert not list(tmp_path.iterdir())


def test_a_mixup_and_smoothing_recipe_runs_on_images(tmp_path):
    fields = {"data.augment.shift": 1, "data.augment.rotate": 10, "task.label_smoothing": 0.1}
    run = gradlab.train("lenet5", out=tmp_path, **QUIET, **fields)
    assert run.summary["best_epoch"] in (1, 2, 3)


def test_override_of_a_choice_forgets_the_options_of_another():
    recipe = override(find("mlp"), {"model": "linear"})
    assert recipe.model.options == {}
    assert override(find("mlp"), {"model": "mlp"}).model.options["dropout"] == 0.25


def test_a_limit_keeps_so_many_training_examples():
    assert load(DataConfig(limit=200)).counts["train"] == pytest.approx(200, abs=10)
