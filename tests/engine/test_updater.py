import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from gradlab.config import OptimizerConfig, Plan, ScheduleConfig
from gradlab.data.loader import Batch
from gradlab.engine import Setup, Updater
from gradlab.engine.schedule import factor
from gradlab.errors import UserError

CPU = Setup(torch.device("cpu"), "float32", 1)
RULES = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))


def batch(count: int = 8, seed: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 5, generator=generator)
    return Batch({"x": x, "y": torch.randint(0, 3, (count,), generator=generator)}, count)


def updater(model, *, rule="adamw", schedule=None, setup=CPU, **plan):
    return Updater(
        [(1.0, list(model.named_parameters()))],
        OptimizerConfig(name=rule, lr=0.05, weight_decay=0.1),
        schedule or ScheduleConfig(),
        Plan(epochs=4, **plan),
        setup,
        steps_per_epoch=5,
    )


def losses(steps=6, rule="adamw", **plan):
    model = network()
    update = updater(model, rule=rule, **plan)

    def loss(b):
        return functional.cross_entropy(model(b["x"]), b["y"])

    return [float(update.update(loss, batch(seed=i))["loss"]) for i in range(steps)]


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_accumulation_changes_memory_and_not_the_losses(parts):
    assert losses(accumulate=parts) == pytest.approx(losses(accumulate=1), abs=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_learns_and_continues_bit_for_bit(rule):
    straight = network()
    update = updater(straight, rule=rule)
    first = None
    for i in range(10):
        found = update.update(lambda b: functional.cross_entropy(straight(b["x"]), b["y"]), batch())
        first = first if first is not None else float(found["loss"])
        if i == 4:
            saved = {k: v.clone() for k, v in straight.state_dict().items()}
            state = torch.utils._pytree.tree_map(
                lambda v: v.clone() if isinstance(v, torch.Tensor) else v, update.state()
            )
    assert float(found["loss"]) < first
    again = network()
    again.load_state_dict(saved)
    other = updater(again, rule=rule)
    other.load_state(state)
    for _ in range(5):
        other.update(lambda b: functional.cross_entropy(again(b["x"]), b["y"]), batch())
    for name, value in straight.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_clipping_bounds_the_norm_of_the_gradient():
    model = network()
    update = updater(model, rule="sgd", clip_norm=0.01)
    update.update(lambda b: 100 * functional.cross_entropy(model(b["x"]), b["y"]), batch())
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters()))
    assert norm == pytest.approx(0.01, rel=1e-3)


def test_weight_decay_spares_biases_until_told_otherwise():
    groups = updater(network()).optimizer.param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(2, 0.1), (2, 0.0)]


def test_bfloat16_computes_the_forward_pass_in_bfloat16():
    model = network()
    update = updater(model, setup=Setup(torch.device("cpu"), "bfloat16", 1))
    seen = []

    def loss(b):
        output = model(b["x"])
        seen.append(output.dtype)
        return functional.cross_entropy(output, b["y"])

    update.update(loss, batch())
    assert seen == [torch.bfloat16]
    assert next(model.parameters()).dtype == torch.float32


def test_a_frozen_network_is_refused():
    model = network().requires_grad_(False)
    with pytest.raises(UserError, match="nothing to train"):
        updater(model)


def test_plateau_lowers_the_rate_after_its_patience_and_once_for_each_epoch():
    model = network()
    update = updater(model, schedule=ScheduleConfig(name="plateau", patience=1, gamma=0.5))
    rates = []
    for epoch, value in enumerate([1.0, 0.9, 0.95, 0.96, 0.97, 0.98]):
        update.observe(epoch, value)
        update.observe(epoch, value)
        rates.append(update._set_lr())
    assert rates == pytest.approx([0.05, 0.05, 0.05, 0.025, 0.025, 0.0125])


def test_plateau_takes_no_loss_that_is_not_finite_for_the_best():
    update = updater(network(), schedule=ScheduleConfig(name="plateau", patience=1, gamma=0.5))
    for epoch, value in enumerate([math.nan, -math.inf, 0.9, math.nan, 0.8]):
        update.observe(epoch, value)
    assert update.plateau == {"epoch": 4, "best": 0.8, "stale": 0, "factor": 0.5}
    again = updater(network(), schedule=ScheduleConfig(name="plateau"))
    again.load_state(update.state())
    assert again.plateau == update.plateau


def test_schedules_against_their_formulas():
    def rates(name, **options):
        config = ScheduleConfig(name=name, **options)
        return [factor(config, step, 100, 10) for step in range(100)]

    assert rates("constant") == [1.0] * 100
    step = rates("step", milestones=(0.5, 0.75), gamma=0.1)
    assert (step[49], step[50], step[75]) == (1.0, pytest.approx(0.1), pytest.approx(0.01))
    cosine = rates("cosine", end=0.1)
    assert cosine[0] == 1 and cosine[50] == pytest.approx(0.55)
    assert cosine[99] == pytest.approx(0.1, abs=1e-3)
    warm = rates("cosine", warmup=2)
    assert warm[:20] == pytest.approx([(i + 1) / 20 for i in range(20)])
    torch_cycle = torch.optim.lr_scheduler.OneCycleLR(
        torch.optim.SGD([torch.zeros(1)], lr=1.0),
        1.0,
        total_steps=101,
        pct_start=0.3,
        div_factor=25,
        final_div_factor=1e9,
        cycle_momentum=False,
    )
    ours = rates("one_cycle", start=0.04, rise=0.3)
    assert max(ours) == pytest.approx(1.0) and ours.index(max(ours)) == 30
    assert ours[0] == pytest.approx(torch_cycle.get_last_lr()[0])
    assert ours[99] < 1e-3


def test_a_schedule_that_begins_anew_does_so_at_its_step_at_another_rate():
    config = ScheduleConfig(name="cosine")
    model = network()
    found = Updater(
        [(1.0, list(model.named_parameters()))], OptimizerConfig(lr=0.1), config, Plan(epochs=4),
        CPU, steps_per_epoch=5, again=(15, 0.5),
    )  # fmt: skip

    def loss(b):
        return functional.cross_entropy(model(b["x"]), b["y"])

    rates = [found.update(loss, batch())["lr"] for _ in range(20)]
    expected = [0.1 * factor(config, step, 15, 5) for step in range(15)]
    expected += [0.05 * factor(config, step, 5, 5) for step in range(5)]
    assert rates == pytest.approx(expected)
