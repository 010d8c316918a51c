import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score
from support import task_of
from torch import nn

import gradlab
from gradlab.config import DataConfig
from gradlab.data import load
from gradlab.data.loader import Batch
from gradlab.dotted import override
from gradlab.errors import UserError
from gradlab.recipes import find
from gradlab.tasks.findings import Confusion
from gradlab.tasks.losses import CLASSES, NUMBERS, hinge

QUIET = {"progress": False, "epochs": 3}


def test_auto_takes_the_task_from_the_target():
    assert type(task_of("mlp")).__name__ == "Classification"
    assert type(task_of("mlp", data="diabetes")).__name__ == "Regression"


def test_auto_is_resolved_and_nothing_of_it_is_left():
    task = task_of("mlp", data="iris", **{"model.widths": "32,16", "model.batch_norm": "true"})
    recipe, runtime = task.recipe, task.setup.runtime
    expected = "cuda:0" if torch.cuda.is_available() else "cpu"
    assert (runtime.device.removesuffix(":0"), runtime.precision) == (
        expected.removesuffix(":0"), "float32",
    )  # fmt: skip
    assert runtime.threads == 1
    assert (recipe.plan.monitor, recipe.plan.goal, recipe.plan.updates) == ("accuracy", "max", 0)
    assert recipe.task.name == "classification"
    assert recipe.plan.epochs == 600  # as many updates, of one batch each
    assert recipe.model.options["widths"] == (32, 16)
    assert recipe.model.options["batch_norm"] is True


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
    design = np.hstack([train["table"][:], np.ones((len(train), 1))])
    solution, *_ = np.linalg.lstsq(design, train["number"][:], rcond=None)
    test = run.dataset.splits["test"]
    y = test["number"][:]
    best = np.hstack([test["table"][:], np.ones((len(test), 1))]) @ solution
    exact = 1 - ((best - y) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    assert run.metrics["test"]["r2"] == pytest.approx(exact, abs=0.02)
    errors = np.array([a.number for a in run.task.predict(test)]) - y
    assert run.metrics["test"]["mse"] == pytest.approx((errors**2).mean(), rel=1e-4)
    assert run.metrics["test"]["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-4)


def test_logistic_regression_reports_the_area_under_the_curve(tmp_path):
    run = gradlab.train("logistic_regression", out=tmp_path, progress=False)
    test = run.dataset.splits["test"]
    positive = run.schema.targets["label"].classes[1]
    chance = [dict(a.top)[positive] for a in run.task.predict(test)]
    expected = roc_auc_score(test["label"][:], chance)
    assert run.metrics["test"]["roc_auc"] == pytest.approx(expected, abs=1e-3)
    assert run.metrics["test"]["accuracy"] >= 0.95


def test_softmax_regression_learns_the_digits(tmp_path):
    run = gradlab.train("softmax_regression", out=tmp_path, progress=False)
    assert run.metrics["test"]["accuracy"] >= 0.93
    details = run.details("test")
    confusion, _, mistakes = details.parts
    counts = confusion.counts
    assert counts.sum() == len(run.dataset.splits["test"])
    assert counts.trace() / counts.sum() == pytest.approx(details.metrics["accuracy"])
    surest = [item.value for item in mistakes.items]
    assert surest == sorted(surest, reverse=True) and len(surest) <= counts.sum() - counts.trace()
    assert all(item.seen.shape == (8, 8, 1) for item in mistakes.items)


def test_figures_of_each_class_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    y, answer = rng.integers(0, 3, 200), rng.integers(0, 4, 200)  # the last class never occurs
    counts = confusion_matrix(y, answer, labels=range(4))
    found = Confusion(("a", "b", "c", "d"), counts)
    expected = precision_recall_fscore_support(y, answer, labels=range(4), zero_division=0)
    for k, row in enumerate(found.per_class.values()):
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
    assert float(hinge(output, y).mean()) == pytest.approx(by_hand, rel=1e-5)
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
    fields = {"task.loss": loss, "task.l2": 1e-4, "epochs": 15, "model.widths": (200,), "lr": 5e-3}
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
    batch = Batch({name: value[:4] for name, value in batch.values.items()}, 4)
    torch.manual_seed(3)
    value = task.loss(batch)
    torch.manual_seed(3)
    logits, aux1, aux2 = task.forward(batch)
    main, one, two = (
        nn.functional.cross_entropy(o, batch["label"], label_smoothing=0.1)
        for o in (logits, aux1, aux2)
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
    assert again.predict([x[:5]])[0].answer.label in ("0", "1")
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
    fields = {
        "data.augment.shift": 1, "data.augment.rotate": 10, "data.augment.mixup": 0.2,
        "task.label_smoothing": 0.1,
    }  # fmt: skip
    run = gradlab.train("lenet5", out=tmp_path, progress=False, epochs=8, **fields)
    assert run.recipe.data.augment.mixup == 0.2
    assert run.metrics["val"]["accuracy"] > 2 * run.baselines["val"]["majority class"]["accuracy"]


def test_override_of_a_choice_forgets_the_options_of_another():
    recipe = override(find("mlp"), {"model": "linear"})
    assert recipe.model.options == {}
    assert override(find("mlp"), {"model": "mlp"}).model.options["dropout"] == 0.25


def test_a_limit_keeps_so_many_training_examples():
    assert load(DataConfig(limit=200)).counts["train"] == pytest.approx(200, abs=10)


def test_what_a_task_does_not_serve_is_refused():
    with pytest.raises(UserError, match="no metric 'acuracy'; found accuracy, loss"):
        task_of("mlp", **{"plan.monitor": "acuracy"})
    with pytest.raises(UserError, match="augment: flip expected images"):
        task_of("mlp", data="iris", **{"data.augment.flip": True})


def test_building_and_opening_set_nothing_global(tmp_path):
    run = gradlab.train("softmax_regression", out=tmp_path, threads=2, **QUIET)
    torch.set_num_threads(1)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    opened = gradlab.load(run.path)
    opened.evaluate("val")
    opened.predict([np.zeros((8, 8), np.uint8)])
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == 1
    gradlab.train("softmax_regression", out=tmp_path, threads=2, **QUIET)
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == 1


def test_a_run_of_a_gpu_opens_on_a_processor(tmp_path):
    run = gradlab.train("softmax_regression", out=tmp_path, name="a", **QUIET)
    path = run.path / "recipe.json"
    text = path.read_text("utf-8")
    path.write_text(text.replace('"device": "cpu"', '"device": "cuda:7"'), "utf-8")
    opened = gradlab.load(run.path)
    assert opened.trained_with.device == "cuda:7"
    assert opened.evaluate("val") == pytest.approx(run.metrics["val"])
    assert str(opened.task.setup.device) == "cpu"
