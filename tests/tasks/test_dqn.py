"""Deep Q-learning: what is remembered, learnt, resumed, played and refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

gymnasium = pytest.importorskip("gymnasium")

import gradlab  # noqa: E402
from gradlab.cli import main  # noqa: E402
from gradlab.data.environments import Environments  # noqa: E402
from gradlab.data.replay import Replay  # noqa: E402
from gradlab.engine import RunFolder, fit  # noqa: E402
from gradlab.errors import UserError  # noqa: E402
from gradlab.models import q_networks  # noqa: E402
from gradlab.recipes import find  # noqa: E402
from gradlab.recipes.run import learnt_from, make  # noqa: E402

QUICK = {
    "threads": 1,
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
    chosen = recipe(env, **changes)
    return make(chosen, learnt_from(chosen))


# the memory


@pytest.mark.parametrize("stack", [1, 4])
def test_the_memory_gives_back_what_happened(stack):
    """Against a list of whole steps: stacks begin anew with each episode, old steps are gone."""
    rng = np.random.default_rng(0)
    capacity, envs, shape = 40, 2, (3, 2) if stack > 1 else (3,)
    memory = Replay(capacity, envs, shape, np.uint8, stack)

    def frame():
        return rng.integers(1, 256, (envs, *shape), dtype=np.uint8)

    now = frame()
    memory.begin(now)
    stacks = [[now[e]] * stack for e in range(envs)]
    steps = {}
    for number in range(60):
        after, fresh = frame(), frame()
        ended = rng.random(envs) < 0.2
        action = rng.integers(3, size=envs)
        memory.add(action, np.full(envs, number, np.float32), ended, after, ended, fresh)
        for e in range(envs):
            following = [*stacks[e][1:], after[e]]
            seen = (np.array(stacks[e]), np.array(following), int(action[e]), bool(ended[e]))
            steps[number, e] = seen
            stacks[e] = [fresh[e]] * stack if ended[e] else following
    sample = memory.take(memory.draw(500, rng))
    found = set()
    for row in range(500):
        number = int(sample.reward[row])
        fits = []
        for e in range(envs):
            before, following, action, ended = steps[number, e]
            if stack == 1:
                before, following = before[0], following[0]
            if np.array_equal(sample.observation[row], before):
                fits.append(e)
                assert np.array_equal(sample.following[row], following)
                assert (int(sample.action[row]), bool(sample.terminal[row])) == (action, ended)
        assert len(fits) == 1
        found.add((number, fits[0]))
    assert len(found) == len(memory)
    assert min(number for number, _ in found) > 60 - capacity


def test_a_million_frames_take_at_most_7_and_a_half_gigabytes():
    small = Replay(10_000, 4, (84, 84), np.uint8, 4)
    assert small.nbytes * 100 <= 7.5e9


# learning


def test_the_target_is_that_of_the_paper():
    """r + discount * max Q_target of what follows; nothing follows an end, but a time limit."""
    task = task_of()
    for _ in range(6):
        task.play()
    slots = task.memory.draw(64, np.random.default_rng(0))
    sample = task.memory.take(slots)
    seen = []
    task.updater.update = lambda loss, batch: (
        seen.append(batch) or {"loss": loss(batch).detach(), "lr": 0.0}
    )
    task.memory.draw = lambda count, generator: np.resize(slots, count)
    task.learn()
    with torch.no_grad():
        after = task.target(torch.from_numpy(sample.following)).amax(1).numpy()
    expected = sample.reward + 0.99 * after * ~sample.terminal
    found = torch.cat([batch.value[:, 0] for batch in seen]).numpy()
    assert np.allclose(found[:64], expected, atol=1e-5)
    assert sample.terminal.any() and not sample.terminal.all()


def test_double_takes_the_action_that_the_network_chooses():
    task = task_of(**{"task.double": True})
    following = torch.randn(16, 4)
    after = torch.randn(16, 2)
    chosen = task.model(following).argmax(1)
    assert torch.equal(task._worth(after, following)[:, 0], after[torch.arange(16), chosen])


def test_a_time_limit_is_no_end():
    def walk(**options):
        return gymnasium.make("CartPole-v1", **options).unwrapped

    gymnasium.register("Walk-v0", walk, max_episode_steps=5)
    try:
        environments = Environments("Walk-v0", 1, [0], endless=True)
        steps = [environments.step(np.array([n % 2])) for n in range(5)]
        assert [bool(step.ended[0]) for step in steps] == [False] * 4 + [True]
        assert not any(step.terminal[0] for step in steps)
        # what was seen last is kept apart from the first frame of the next episode
        assert not np.array_equal(steps[-1].frames, environments.frames)
    finally:
        del gymnasium.registry["Walk-v0"]


def test_cartpole_is_learnt(tmp_path):
    changes = {
        key: QUICK[key]
        for key in ("threads", "batch_size", "task.val_episodes", "task.test_episodes")
    }
    given = find("dqn", {**changes, "epochs": 5, "seed": 1})
    run = gradlab.train(given, out=tmp_path, progress=False)
    first = next(line for line in run.history if "epsilon" in line)
    assert first["epsilon"] == 1.0
    assert run.metrics["test"]["return"] > 100  # at random: about 22


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
    resumed = task_of(env, **changes)
    fit(resumed, plan, parts)
    for name in ("model", "target"):
        ours, theirs = (getattr(task, name).state_dict() for task in (whole, resumed))
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert np.array_equal(whole.memory.frames, resumed.memory.frames)
    assert whole.environments.played == resumed.environments.played


def test_a_game_is_resumed_at_the_very_frame():
    pytest.importorskip("ale_py")
    games = Environments("ALE/Pong-v5", 1, [3], endless=True)
    for n in range(40):
        games.step(np.array([n % 6]))
    state = games.state()
    ahead = [games.step(np.array([n % 6])).frames.copy() for n in range(20)]
    again = Environments("ALE/Pong-v5", 1, [9], endless=True)
    assert again.load_state(state)
    assert all(
        np.array_equal(again.step(np.array([n % 6])).frames, frame) for n, frame in enumerate(ahead)
    )
    assert games.observations.shape == (1, 4, 84, 84)


def test_what_cannot_be_put_back_is_said():
    pytest.importorskip("Box2D")
    (note,) = learnt_from(recipe("LunarLander-v3")).notes
    assert "start of a new one" in note


# playing


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return gradlab.train(recipe(), out=tmp_path_factory.mktemp("runs"), progress=False)


def test_play_says_mean_and_deviation_and_draws(run, tmp_path, capsys):
    film, figure = tmp_path / "game.gif", tmp_path / "q.png"
    main(["play", str(run.path), "--episodes", "3", "--gif", str(film), "--figure", str(figure),
          "--json"])  # fmt: skip
    record = json.loads(capsys.readouterr().out)
    gained = [gain for gain, _ in run.task.test(3, "test")]
    assert record["episodes"] == 3
    assert record["return"]["mean"] == pytest.approx(np.mean(gained))
    assert record["return"]["std"] == pytest.approx(np.std(gained, ddof=1))
    from PIL import Image

    with Image.open(film) as moving:
        assert moving.n_frames > 3
    with Image.open(figure) as picture:
        assert picture.width > 600


def test_the_test_episodes_are_the_same_each_time(run):
    assert run.evaluate("test") == run.evaluate("test") == run.metrics["test"]
    assert run.schema.classes == ("0", "1")


# what is refused


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ("CartPol-v1", "CartPole-v1"),
        ("Pendulum-v1", "discrete actions"),
        ("NoSuchThing-v9", "unknown environment"),
    ],
)
def test_environments_that_are_not_served(env, words):
    with pytest.raises(UserError, match=words):
        learnt_from(recipe(env))


class Small(gymnasium.Env):
    """Pictures of 20x20."""

    observation_space = gymnasium.spaces.Box(0, 255, (20, 20, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)


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


@pytest.fixture
def strange():
    gymnasium.register("Small-v0", Small)
    gymnasium.register("Broken-v0", Broken)
    yield
    del gymnasium.registry["Small-v0"], gymnasium.registry["Broken-v0"]


def test_images_that_are_too_small(strange):
    with pytest.raises(UserError, match="20x20"):
        learnt_from(recipe("Small-v0"))


def test_an_environment_that_breaks_leaves_the_run(strange, tmp_path):
    with pytest.raises(UserError, match=r"the wheel came off.*run is kept"):
        gradlab.train(recipe("Broken-v0"), out=tmp_path, name="kept", progress=False)
    assert (tmp_path / "kept" / "checkpoints" / "last" / "model.safetensors").is_file()


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("name", q_networks)
def test_every_q_network_values_each_action(name, dueling):
    torch.manual_seed(0)
    shape = (4, 84, 84) if name == "q_nature" else (5,)
    model = q_networks[name](3, shape, **q_networks.check(name, {"dueling": dueling}))
    x = torch.randn(2, *shape)
    values = model(x)
    assert values.shape == (2, 3) and values.isfinite().all()
    values.pow(2).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    assert torch.allclose(model(x[:1]), values[:1], atol=1e-5)
