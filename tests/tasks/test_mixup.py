"""Mixup: a training of mixed examples, against one computed example by example."""

import numpy as np
import pytest
import torch
from support import task_of
from torch import nn
from torch.nn import functional

import gradlab
from gradlab.config import Augment
from gradlab.data.columns import Dense, Placement
from gradlab.data.dataset import Split
from gradlab.data.fields.label import Label
from gradlab.data.fields.number import Number
from gradlab.data.fields.values import Values
from gradlab.data.loader import Batch, Loader, Mix
from gradlab.engine import Observer

MIXED = {"data.augment.mixup": 0.5}
QUIET = {"progress": False, "test": False}


def loaded(y, alpha=0.5, **options):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(len(y), 3)).astype(np.float32)
    number = y.dtype.kind == "f"
    fields = {"x": Values(size=(3,)), "y": Number() if number else Label(classes=("a", "b", "c"))}
    return Loader(
        Split({"x": Dense(x), "y": Dense(y)}), fields, batch_size=8,
        placement=Placement(torch.device("cpu")), augment=Augment(mixup=alpha), **options,
    )  # fmt: skip


def task(name, **fields):
    return task_of(name, **{**MIXED, **fields})


def one_by_one(task, batch, output):
    """The loss by the definition: of each example and label, one at a time."""
    share = float(batch.mix.share)
    return sum(
        share * task.criterion(output[i : i + 1], batch["label"][i : i + 1])
        + (1 - share) * task.criterion(output[i : i + 1], batch.mix.others["label"][i : i + 1])
        for i in range(len(batch))
    ) / len(batch)


def test_examples_and_partners_are_mixed_by_the_same_share():
    y = np.arange(24) % 3
    plain = list(loaded(y, alpha=0).batches(0))
    mixed = list(loaded(y).batches(0))
    assert len({float(batch.mix.share) for batch in mixed}) == len(mixed) == 3
    for before, batch in zip(plain, mixed, strict=True):
        assert before.mix is None and torch.equal(before["y"], batch["y"])
        share = batch.mix.share
        for i in range(len(batch)):
            (partner,) = (
                j
                for j in range(len(batch))
                if torch.allclose(
                    batch["x"][i], share * before["x"][i] + (1 - share) * before["x"][j]
                )
            )
            assert batch.mix.others["y"][i] == before["y"][partner]


def test_the_draws_are_a_function_of_seed_epoch_and_place():
    y = np.arange(24) % 3
    loader = loaded(y, seed=3)
    whole = list(loader.batches(2))
    again = loaded(y, seed=3)
    again.load_state({"epoch": 2, "index": 1})
    for one, other in zip(whole[1:], again.batches(2), strict=True):
        assert torch.equal(one["x"], other["x"]) and torch.equal(
            one.mix.others["y"], other.mix.others["y"]
        )
        assert one.mix.share == other.mix.share
    assert whole[0].mix.share != next(iter(loaded(y, seed=4).batches(2))).mix.share


def test_numbers_are_mixed_themselves():
    y = np.arange(24, dtype=np.float32)
    plain, mixed = (next(iter(loaded(y, alpha=a).batches(0))) for a in (0, 0.5))
    assert mixed.mix is None and not torch.equal(plain["y"], mixed["y"])
    weights = torch.linalg.lstsq(plain["x"].double(), plain["x"].double()).solution  # the identity
    assert torch.allclose(weights, torch.eye(3, dtype=torch.double), atol=1e-6)
    assert float(plain["y"].sum()) == pytest.approx(float(mixed["y"].sum()), rel=1e-5)
    # x and y of an example are mixed by one share with one partner.
    pairs = [
        (i, j, s)
        for i in range(8)
        for j in range(8)
        for s in [_share(plain, mixed, i, j)]
        if s is not None
    ]
    assert {i for i, _, _ in pairs} == set(range(8))
    for i, j, share in pairs:
        expected = share * float(plain["y"][i]) + (1 - share) * float(plain["y"][j])
        assert float(mixed["y"][i]) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def _share(plain, mixed, i, j):
    """The share of i in a mixture with j that makes the mixed x, or None."""
    if i == j:
        same = torch.allclose(mixed["x"][i], plain["x"][i], atol=1e-6)
        return 1.0 if same else None
    apart = plain["x"][i] - plain["x"][j]
    share = float((mixed["x"][i] - plain["x"][j]) @ apart / (apart @ apart))
    made = share * plain["x"][i] + (1 - share) * plain["x"][j]
    return share if torch.allclose(made, mixed["x"][i], atol=1e-5) else None


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("softmax_regression", {}),
        ("softmax_regression", {"task.label_smoothing": 0.1}),
        ("softmax_regression", {"task.loss": "hinge"}),
        ("logistic_regression", {}),
    ],
)
def test_the_loss_is_that_of_both_labels_one_by_one(name, fields):
    made = task(name, **fields)
    batch = next(iter(made.batches(0)))
    made.model.eval()  # no dropout
    assert 0 < float(batch.mix.share) < 1 and not torch.equal(
        batch["label"], batch.mix.others["label"]
    )
    expected = one_by_one(made, batch, made.forward(batch))
    torch.testing.assert_close(made.loss(batch), expected)


def test_cross_entropy_is_that_of_mixed_targets():
    made = task("softmax_regression")
    batch = next(iter(made.batches(0)))
    targets = torch.lerp(
        functional.one_hot(batch.mix.others["label"], 10).float(),
        functional.one_hot(batch["label"], 10).float(),
        batch.mix.share,
    )
    expected = functional.cross_entropy(made.forward(batch), targets)
    torch.testing.assert_close(made.loss(batch), expected)


def test_auxiliary_heads_see_both_labels():
    made = task("softmax_regression")
    batch = next(iter(made.batches(0)))

    class Heads(nn.Module):
        aux_weight = 0.3

        def forward(self, x):
            flat = x.flatten(1)
            return flat[:, :10], flat[:, 10:20], None

    made.model = Heads()
    main, extra, _ = made.forward(batch)
    expected = one_by_one(made, batch, main) + 0.3 * one_by_one(made, batch, extra)
    torch.testing.assert_close(made.loss(batch), expected)


def test_googlenet_trains_on_mixtures(tmp_path):
    run = gradlab.train(
        "googlenet", out=tmp_path, epochs=1, batch_size=16, data="digits", **QUIET, **MIXED,
        **{"data.limit": 16, "data.image_size": 32, "data.val": 0.01, "data.test": 0.01},
    )  # fmt: skip
    assert np.isfinite(run.metrics["val"]["loss"])


def test_parts_keep_their_partners():
    y = torch.arange(5)
    mix = Mix(torch.tensor(0.25), {"y": y.flip(0)})
    batch = Batch({"x": y[:, None].float(), "y": y}, 5, mix)
    parts = batch.parts(2)
    assert [part.mix.others["y"].tolist() for part in parts] == [[4, 3, 2], [1, 0]]
    assert all(float(part.mix.share) == 0.25 for part in parts)
    assert len(batch.parts(9)) == 5


def test_accumulation_gives_the_same_losses(tmp_path):
    losses = []
    for parts in (1, 4):
        run = gradlab.train(
            "softmax_regression", out=tmp_path, epochs=2, **QUIET, **MIXED,
            **{"plan.accumulate": parts, "plan.log_steps": 1},
        )  # fmt: skip
        losses.append([line["loss"] for line in run.history if "loss" in line])
    assert len(losses[0]) > 10
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_resume_is_exact(tmp_path):
    class Cut(Exception):
        pass

    class Stop(Observer):
        def stepped(self, progress, line):
            if progress.step == 7:
                raise Cut

    fields = {"epochs": 2, **QUIET, **MIXED, "plan.log_steps": 1, "plan.checkpoint_seconds": 0.0}
    whole = gradlab.train("lenet5", out=tmp_path, name="whole", **fields)
    with pytest.raises(Cut):
        gradlab.train("lenet5", out=tmp_path, name="cut", observers=[Stop()], **fields)
    again = gradlab.resume(tmp_path / "cut", **QUIET)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


def test_a_loss_of_ones_own_sees_both_labels(tmp_path):
    seen = []

    def loss(output, y):
        seen.append(y)
        return functional.cross_entropy(output, y)

    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    gradlab.fit(module, data="digits", loss=loss, out=tmp_path, epochs=1, **QUIET, **MIXED)
    sizes = [len(y) for y in seen]
    assert sizes.count(64) > 20  # twice for each batch
