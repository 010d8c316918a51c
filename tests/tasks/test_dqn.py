"""Deep Q-learning: what is learnt, resumed, answered, measured and refused."""

from __future__ import annotations

import threading
import traceback

import numpy as np
import pytest
import torch

gymnasium = pytest.importorskip("gymnasium")

from command import refused  # noqa: E402

from gradlab.config import Runtime  # noqa: E402
from gradlab.engine import RunFolder, fit  # noqa: E402
from gradlab.errors import UserError  # noqa: E402
from gradlab.models import models  # noqa: E402
from gradlab.recipes import find  # noqa: E402
from gradlab.rl.environments import Environments  # noqa: E402
from gradlab.runs.make import learnt_from, make  # noqa: E402
from gradlab.runs.run import open_run  # noqa: E402
from gradlab.tasks.dqn import RANDOM_EPISODES  # noqa: E402
from gradlab.workflows.train import train, training  # noqa: E402

CPU = Runtime(device="cpu", threads=1)
QUICK = {
    "epochs": 2,
    "batch_size": 32,
    "model.widths": "32",
    "task.epoch_steps": 512,
    "task.envs": 4,
    "task.train_every": 32,
    "task.gradient_steps": 8,
    "task.learning_starts": 128,
    "task.val_episodes": 3,
    "task.test_episodes": 5,
}


def recipe(env="CartPole-v1", **changes):
    return find("dqn", {**QUICK, "env": env, **changes})


def task_of(env="CartPole-v1", **changes):
    """A task ready to train."""
    chosen = recipe(env, **changes)
    with training(chosen, learnt_from(chosen), CPU, None) as task:
        return task


def trained(chosen, out, **options):
    return train(chosen, out=out, progress=False, device="cpu", threads=1, **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(recipe(), tmp_path_factory.mktemp("runs"))


@pytest.fixture
def registered():
    """Registers environments for a test."""
    names = []

    def register(name, entry, **options):
        gymnasium.register(name, entry, **options)
        names.append(name)
        return name

    yield register
    for name in names:
        del gymnasium.registry[name]


# learning


def test_the_target_is_that_of_the_paper():
    """r + discount * max Q_target of what is next; nothing comes after an end."""
    task = task_of()
    for _ in range(6):
        task.collect()
    slots = task.memory.draw(64, np.random.default_rng(0))
    sample = task.memory.take(slots)
    seen = []
    task.updates.update = lambda loss, batch: (
        seen.append(batch) or {"loss": loss(batch).detach(), "lr": 0.0}
    )
    task.memory.draw = lambda count, generator: np.resize(slots, count)
    task.learn()
    with torch.no_grad():
        best = task.target_network(torch.from_numpy(sample.next_observation)).amax(1).numpy()
    expected = sample.reward + 0.99 * best * ~sample.terminated
    found = torch.cat([batch.target[:, 0] for batch in seen]).numpy()
    assert np.allclose(found[:64], expected, atol=1e-5)
    assert sample.terminated.any() and not sample.terminated.all()


def test_double_takes_the_action_that_the_network_chooses():
    task = task_of(**{"task.double": True})
    next_observation, next_values = torch.randn(16, 4), torch.randn(16, 2)
    chosen = task.model(next_observation).argmax(1)
    found = task.next_value(next_values, next_observation)[:, 0]
    assert torch.equal(found, next_values[torch.arange(16), chosen])
    assert not torch.equal(found, next_values.amax(1))


def test_the_target_network_follows_every_so_many_steps():
    def weights(network):
        return torch.cat([p.detach().flatten() for p in network.parameters()])

    task = task_of(**{"task.target_every": 256, "task.learning_starts": 0})
    first, unchanged = weights(task.target_network), []
    for _ in range(12):  # of 32 steps each; the copy is made before a round's updates
        task.step(0)
        unchanged.append(torch.equal(weights(task.target_network), first))
    assert unchanged == [True] * 7 + [False] * 5
    assert not torch.equal(weights(task.target_network), weights(task.model))
    task.update_target()
    assert torch.equal(weights(task.target_network), weights(task.model))


def test_a_batch_in_parts_gives_the_same_losses():
    def losses(parts):
        task = task_of(**{"plan.accumulate": parts, "task.learning_starts": 32})
        plain, sizes = task.loss, []
        task.loss = lambda batch: sizes.append(len(batch)) or plain(batch)
        found = [task.step(0)["loss"] for _ in range(4)]
        assert set(sizes) == {32 // parts}
        return torch.stack(found)

    assert torch.allclose(losses(1), losses(4), rtol=1e-4)


def test_few_frames_stand_between_a_step_and_its_backward(monkeypatch):
    task = task_of(**{"task.learning_starts": 0})
    frames = []

    def backward(self, *args, **kwargs):
        names = [frame.name for frame in traceback.extract_stack() if "gradlab" in frame.filename]
        frames.append([name for name in names if not name.startswith("test_")])

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    task.step(0)
    assert frames[0][-3:] == ["step", "learn", "update"]


def test_cartpole_is_learnt(tmp_path):
    changes = {"batch_size": 32, "model.widths": "64", "task.val_episodes": 5}
    given = find("dqn", {**changes, "epochs": 3, "task.test_episodes": 10})
    run = trained(given, tmp_path)
    first = next(line for line in run.history if "epsilon" in line)
    assert first["epsilon"] == 1.0
    assert run.metrics["test"]["return"] > 100  # at random: about 22


# what of a recipe is heeded


def test_a_training_can_begin_with_weights_learnt_before(run):
    task = task_of(weights=str(run.path))
    ours, theirs = task.model.state_dict(), run.model.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    target = task.target_network.state_dict()
    assert all(torch.equal(target[key], theirs[key]) for key in theirs)
    with pytest.raises(UserError, match="another network"):
        task_of(weights=str(run.path), **{"model.widths": "16"})


def test_initial_values_can_be_chosen():
    task = task_of(init="orthogonal")
    first = next(task.model.parameters()).detach()  # 32 4
    assert torch.allclose(first.T @ first, torch.eye(4), atol=1e-5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data.augment.flip", True),
        ("plan.updates", 100),
        ("freeze", "features"),
        ("unfreeze_after", 2),
        ("backbone_lr", 0.1),
    ],
)
def test_what_would_be_ignored_is_refused(field, value):
    with pytest.raises(UserError, match="'dqn' has no use for it"):
        task_of(**{field: value})


def test_options_that_do_not_go_together_are_refused():
    with pytest.raises(UserError, match=r"task\.train_every: expected a multiple of task\.envs"):
        task_of(**{"task.train_every": 30})
    with pytest.raises(UserError, match="q_nature: expected images"):
        task_of(model="q_nature")


def test_a_recipe_is_written_out():
    found = task_of().recipe
    assert found.model.name == "q_mlp" and found.model.options == {"widths": (32,)}
    assert (found.plan.monitor, found.plan.goal) == ("return", "max")


# exact resume


@pytest.mark.parametrize("env", ["CartPole-v1", "Acrobot-v1"])
def test_a_resumed_training_is_bit_for_bit_the_same(tmp_path, env):
    changes = {"task.epoch_steps": 256} if env == "Acrobot-v1" else {}

    def folder(name):
        return RunFolder.create(tmp_path, name, "a", {"recipe": {}})

    whole = task_of(env, **changes)
    fit(whole, whole.recipe.plan, folder("whole"))
    parts = folder("parts")
    stopped = task_of(env, **changes)
    plan, plain, left = stopped.recipe.plan, stopped.step, iter(range(9))

    def step(batch):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return plain(batch)

    stopped.step = step
    with pytest.raises(KeyboardInterrupt):
        fit(stopped, plan.model_copy(update={"checkpoint_seconds": 0}), parts)
    torch.manual_seed(99)
    resumed = task_of(env, **changes)
    fit(resumed, plan, parts)
    for name in ("model", "target_network"):
        ours, theirs = (getattr(task, name).state_dict() for task in (whole, resumed))
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert np.array_equal(whole.memory.frames, resumed.memory.frames)
    assert whole.environments.played == resumed.environments.played
    assert whole.generator.state() == resumed.generator.state()


def test_a_training_depends_on_named_parts():
    task = task_of()
    named = ["random", "generator", "environments", "memory", "target", "updater", "rounds"]
    assert list(task.state()) == ["model", *named]
    state = task.state()
    del state["memory"]
    with pytest.raises(UserError, match="lacks the state of memory"):
        task.load_state(state)


class Sealed(gymnasium.Env):
    """Holds something that cannot be kept; sees who it is and its steps."""

    observation_space = gymnasium.spaces.Box(-1, 1e6, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self):
        self.world = threading.Lock()

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.at = np.array([self.np_random.integers(1000), 0], np.float32)
        return self.at.copy(), {}

    def step(self, action):
        self.at[1] += 1
        return self.at.copy(), 1.0, bool(self.at[1] >= 7), False, {}


def test_new_episodes_begin_in_the_memory_where_old_ones_cannot_be_put_back(registered):
    name = registered("Sealed-v0", Sealed)
    before = task_of(name)
    before.collect()
    resumed = task_of(name)
    resumed.load_state(before.state())
    newest = resumed.memory.row * resumed.envs + np.arange(resumed.envs)
    frames = resumed.environments.frames
    assert np.array_equal(resumed.memory.frames[newest], frames) and not frames[:, 1].any()
    assert not resumed.memory.whole[newest].any()
    # the step that was cut off is not taken for one that led to the new episode
    steps = resumed.memory.take(np.flatnonzero(resumed.memory.whole))
    assert (steps.next_observation[:, 1] == steps.observation[:, 1] + 1).all()
    assert (steps.next_observation[:, 0] == steps.observation[:, 0]).all()


# answers


def test_actions_are_answered_for_observations(run, tmp_path):
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    with torch.no_grad():
        values = run.model(torch.from_numpy(x))
    found = run.predict(x)
    assert [p.name for p in found] == ["1", "2", "3"]
    for prediction, row in zip(found, values.tolist(), strict=True):
        answer = prediction.answer
        assert dict(answer.values) == pytest.approx(dict(zip("01", row, strict=True)))
        assert answer.action == "01"[int(np.argmax(row))]
    np.savez(tmp_path / "x.npz", x=x)
    for given in (str(tmp_path / "x.npz"), [list(map(float, row)) for row in x], list(x)):
        assert [p.answer.action for p in run.predict(given)] == [p.answer.action for p in found]
    opened = open_run(run.path)
    assert opened.predict(x)[0].to_dict() == found[0].to_dict()


def test_what_is_no_observation_is_refused_on_the_command_line(run, capsys):
    said = refused(capsys, "predict", run.path, "x")
    assert "input 1 is 'x': expected an .npz file with the array x" in said
    said = refused(capsys, "eval", run.path, "--data", "x")
    assert "learns from no examples" in said and "leave --data out" in said


def test_observations_of_another_shape_are_refused(run):
    with pytest.raises(UserError, match="expected 4 values"):
        run.predict(np.zeros((2, 5)))
    with pytest.raises(UserError, match="expected 4 values"):
        run.predict(np.zeros((4, 84, 84), np.uint8))
    with pytest.raises(UserError, match="no finite"):
        run.predict(np.full(4, np.nan))


class Pictures(gymnasium.Env):
    """Pictures of 84x84."""

    observation_space = gymnasium.spaces.Box(0, 255, (84, 84), np.uint8)
    action_space = gymnasium.spaces.Discrete(3)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros((84, 84), np.uint8), {}

    def step(self, action):
        seen = self.np_random.integers(256, size=(84, 84), dtype=np.uint8)
        return seen, 5.0, bool(self.np_random.random() < 0.2), False, {}


def test_images_are_stacked_frames_whose_bytes_are_read_as_shares(registered):
    task = task_of(registered("Pictures-v0", Pictures), **{"task.memory": 64, "batch_size": 4})
    assert task.recipe.model.name == "q_nature"
    (field,) = task.schema.inputs.values()
    assert field.shape == (4, 84, 84)
    task.collect()
    assert set(task.memory.reward[task.memory.whole]) == {1.0}  # clipped to the sign
    frames = task.environments.observations.copy()
    assert frames.dtype == np.uint8
    values = task.values(frames)
    answers = task.predict(_split(task, frames))
    found = [[value for _, value in answer.values] for answer in answers]
    assert np.allclose(found, values, atol=1e-5)
    with torch.no_grad():
        shares = task.model(torch.from_numpy(frames).float() / 255)
    assert np.allclose(values, shares, atol=1e-6)
    with pytest.raises(UserError, match="expected 4 x 84 x 84 values"):
        _split(task, np.zeros((84, 84)))


def _split(task, given):
    from gradlab.data import Split

    name, field = next(iter(task.schema.inputs.items()))
    return Split({name: field.read([given]).column})


# measures


def test_the_test_episodes_are_the_same_each_time(run):
    assert run.evaluate("test") == run.evaluate("test") == run.metrics["test"]
    read = [line for line in run.history if line.get("event") == "test read"]
    assert [line["by"] for line in read] == ["eval", "eval"]


def test_an_environment_has_no_training_split(run):
    with pytest.raises(UserError, match="expected the split val or test, found 'train'"):
        run.evaluate("train")
    assert set(run.metrics) == {"val", "test"}


def test_seeds_of_splits_are_fixed_and_apart(run):
    seeds = {split: run.task.seeds(split, 50) for split in ("val", "test", "play")}
    assert run.task.seeds("test", 5) == seeds["test"][:5]
    assert len({seed for found in seeds.values() for seed in found}) == 150
    assert seeds == {split: task_of(seed=7).seeds(split, 50) for split in seeds}


def test_random_actions_are_the_baseline(run):
    for split in ("val", "test"):
        found = run.baselines[split]["random actions"]
        assert set(found) == {"return", "return_std", "length"}
        assert 10 < found["return"] == found["length"] < 60
    # in the same episodes, whatever the network is
    task = run.new_task(CPU)
    assert task.baselines(["val", "test"]) == run.baselines
    count = run.recipe.task.options["test_episodes"]
    episodes = Environments("CartPole-v1", count, task.seeds("test", count), endless=False)
    generator = np.random.default_rng(task.seeds("test", count))
    while episodes.active.any():
        generator.random(count)
        episodes.step(generator.integers(2, size=count))
    assert np.mean([e.total_reward for e in episodes.finished]) == pytest.approx(
        run.baselines["test"]["random actions"]["return"]
    )


def test_the_baseline_reads_only_the_splits_that_are_asked_for_and_not_too_long(run, monkeypatch):
    task = make(recipe(**{"task.test_episodes": 100}), run.schema, CPU)
    played = []
    monkeypatch.setattr(task, "play", lambda seeds, epsilon: played.append(seeds) or [(1.0, 1)])
    assert set(task.baselines(["train", "val"])) == {"val"}
    assert played == [task.seeds("val", 3)]
    task.baselines(["test"])
    assert played[1] == task.seeds("test", 100)[:RANDOM_EPISODES]


def test_a_network_no_better_than_random_actions_is_told_of(tmp_path):
    """An environment in which nothing that is done matters."""
    gymnasium.register("Sealed-v0", Sealed)
    try:
        run = trained(recipe("Sealed-v0", epochs=1), tmp_path)
    finally:
        del gymnasium.registry["Sealed-v0"]
    (found,) = run.summary["verdict"]
    assert found["code"] == "no-better-than-baseline"
    assert "no better than the baseline 'random actions' (7" in found["evidence"]
    assert any("start of a new one" in note for note in run.record["notes"])


# environments that break


class Broken(gymnasium.Env):
    """Breaks in its 300th step."""

    observation_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    count = 0

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {}

    def step(self, action):
        Broken.count += 1
        if Broken.count >= 300:
            raise ZeroDivisionError("the wheel came off")
        return np.zeros(3, np.float32), 1.0, Broken.count % 20 == 0, False, {}


def test_an_environment_that_breaks_leaves_the_run(registered, tmp_path):
    Broken.count = 0
    name = registered("Broken-v0", Broken)
    with pytest.raises(UserError, match=r"the wheel came off.*run is kept"):
        trained(recipe(name), tmp_path, name="kept")
    assert (tmp_path / "kept" / "checkpoints" / "last" / "model.safetensors").is_file()


# networks


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("name", ["q_mlp", "q_nature"])
def test_every_q_network_values_each_action(name, dueling):
    torch.manual_seed(0)
    shape = (4, 84, 84) if name == "q_nature" else (5,)
    model = models[name](shape, 3, **models.check(name, {"dueling": dueling}))
    x = torch.randn(2, *shape)
    values = model(x)
    assert values.shape == (2, 3) and values.isfinite().all()
    values.pow(2).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    assert torch.allclose(model(x[:1]), values[:1], atol=1e-5)
