"""Ensembles: the mean of the members' answers, used, saved and resumed like one run."""

import json
import random
import shutil
import signal

import numpy as np
import pytest
import torch

from gradlab.config import Runtime
from gradlab.engine import Interrupted, Observer, RunFolder
from gradlab.errors import UserError
from gradlab.explore.features import features
from gradlab.runs import Ensemble, load
from gradlab.runs.ensemble import FILE, Gain, is_ensemble, load_ensemble, read_record
from gradlab.workflows.ensemble import train_ensemble
from gradlab.workflows.resume import resume
from gradlab.workflows.train import train

QUICK = {"epochs": 2, "threads": 1, "progress": False}
RECIPES = {
    "classification": "softmax_regression",
    "binary": "logistic_regression",
    "regression": "linear_regression",
}


@pytest.fixture(scope="module", params=RECIPES)
def ensemble(request, tmp_path_factory):
    """Two members of each kind of task."""
    out = tmp_path_factory.mktemp("runs")
    return train_ensemble(RECIPES[request.param], 2, out=out, name=request.param, **QUICK)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Three members on the digits."""
    out = tmp_path_factory.mktemp("runs")
    return train_ensemble("softmax_regression", 3, out=out, name="three", **QUICK)


@pytest.fixture
def copy(digits, tmp_path):
    """The three, where they may be spoilt."""
    folder = tmp_path / "runs" / "copy"
    shutil.copytree(digits.path, folder)
    return folder


def weights(run):
    return run.folder.load("best")[1]["model"]


def rewrite(folder, **changes):
    """ensemble.json with other values in it."""
    record = json.loads((folder / FILE).read_text())
    (folder / FILE).write_text(json.dumps({**record, **changes}))


def content(folder):
    """All files under a folder with their bytes, but locks."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


# answers


def test_its_answers_are_the_mean_of_the_members(ensemble):
    task = ensemble.task
    task.dataset = ensemble.dataset
    (batch,) = task.in_order("test").in_order(1000)
    x, y = batch[next(iter(ensemble.schema.inputs))], batch[task.target]
    with torch.inference_mode():
        outputs = [member.model.eval()(x).double() for member in ensemble.members]
        together = ensemble.model(x)
    kind = ensemble.recipe.task.name
    if kind == "regression":
        number = ensemble.schema.targets["number"]
        mean = sum(o[:, 0] * number.std + number.mean for o in outputs) / 2
    elif kind == "binary":
        positive = sum(o[:, 0].sigmoid() for o in outputs) / 2
        mean = torch.stack([1 - positive, positive], 1)
    else:
        mean = sum(o.softmax(1) for o in outputs) / 2
    np.testing.assert_allclose(task.interpreted(together), mean, rtol=1e-4, atol=1e-6)
    metrics = ensemble.evaluate("test")
    if kind == "regression":
        assert metrics["mse"] == pytest.approx(float((mean - y).square().mean()), rel=1e-4)
    else:
        assert metrics["accuracy"] == pytest.approx(float((mean.argmax(1) == y).double().mean()))
        loss = -mean.gather(1, y[:, None]).log().mean()
        assert metrics["loss"] == pytest.approx(float(loss), rel=1e-4)


def test_no_logit_is_too_large_to_average(ensemble):
    """Where probabilities would round to 0 or 1, outputs stay finite."""
    width = ensemble.task.outputs
    sure = torch.full((1, width), -300.0)
    sure[0, 0] = 300.0
    assert torch.isfinite(ensemble.task.pooled([sure, sure])).all()
    torch.testing.assert_close(ensemble.task.pooled([-sure, -sure]).argmax(1), (-sure).argmax(1))


def test_gain_is_counted_from_what_the_members_recorded(digits):
    gains = {gain.metric: gain for gain in digits.gain("test")}
    accuracy = gains["accuracy"]
    own = [member.metrics["test"]["accuracy"] for member in digits.members]
    assert list(accuracy.members) == own
    assert accuracy.ensemble == digits.metrics["test"]["accuracy"] == digits.evaluate()["accuracy"]
    assert accuracy.over_mean == pytest.approx(accuracy.ensemble - np.mean(own))
    assert accuracy.over_best == pytest.approx(accuracy.ensemble - max(own))
    assert accuracy.over_mean > 0 and gains["loss"].over_mean > 0  # cross-entropy is convex


def test_less_loss_is_a_gain():
    gain = Gain("loss", 0.5, (0.75, 1.0))
    assert (gain.best, gain.over_mean, gain.over_best) == (0.75, 0.375, 0.25)
    assert gain.cells() == ("loss", "0.875", "0.75", "0.5", "+0.375", "+0.25")


def test_members_are_ordinary_runs_of_seeds_that_follow(digits, tmp_path):
    assert [member.recipe.seed for member in digits.members] == [0, 1, 2]
    alone = train("softmax_regression", seed=1, out=tmp_path, **QUICK)
    member = load(digits.path / "member-1")
    for name, value in weights(alone).items():
        assert torch.equal(value, weights(member)[name])
    assert alone.metrics == member.metrics


def test_saved_moved_loaded_and_predicted_with_like_one_run(digits, copy):
    assert is_ensemble(copy) and not is_ensemble(copy / "member-0")
    loaded = load(copy)
    assert isinstance(loaded, Ensemble)
    x = digits.dataset.splits["val"]["image"][:4]
    assert loaded.predict([x]) == digits.predict([x])
    assert [answer.name for answer in loaded.predict([x])] == ["1", "2", "3", "4"]
    details = loaded.details("val")
    assert details.metrics == digits.metrics["val"]
    assert np.sum(details.to_dict()["confusion"]) == 153
    assert set(details.to_dict()["per_class"]) == set("0123456789")
    summary = json.loads(json.dumps(loaded.summary))
    assert summary["metrics"] == digits.metrics and summary["recipe"] == "softmax_regression"
    assert [row["metric"] for row in summary["gain"]["test"]][:2] == ["loss", "accuracy"]
    guessed = summary["baselines"]["test"]["majority class"]["accuracy"]
    assert guessed == digits.members[0].baselines["test"]["majority class"]["accuracy"] < 0.2
    with pytest.raises(UserError, match="networks of their own"):
        load(copy, model=torch.nn.Linear(1, 1))


def test_runs_that_are_there_make_an_ensemble(digits, tmp_path):
    paths = [digits.path / f"member-{i}" for i in range(3)]
    made = Ensemble.of([paths[0], load(paths[1]), str(paths[2])])
    assert made.evaluate("val") == digits.metrics["val"]
    assert made.metrics == {} and made.history == []
    made.save(tmp_path / "kept")
    kept = load_ensemble(tmp_path / "kept")
    assert kept.evaluate("val") == digits.metrics["val"]
    assert kept.history[-1]["event"] == "end"
    with pytest.raises(UserError, match="there is a folder"):
        made.save(tmp_path / "kept")


def test_reading_test_is_recorded_once_in_each_member(digits):
    def reads():
        return [sum(line.get("event") == "test read" for line in m.history) for m in digits.members]

    fresh, before = load_ensemble(digits.path), reads()
    fresh.evaluate("val")
    assert reads() == before
    fresh.evaluate("test")
    fresh.gain("test")
    assert reads() == [count + 1 for count in before]


def test_the_runtime_is_chosen_when_it_is_opened(digits):
    opened = load(digits.path, runtime=Runtime(threads=2))
    assert opened.task.setup.threads == 2 and opened.members[1].task.setup.threads == 2
    assert load(digits.path).task.setup.threads == 1  # as in the training
    assert opened.evaluate("val") == digits.metrics["val"]


# stopped and continued


class Stop(Observer):
    """Presses Ctrl-C in the first epoch of a seed."""

    def __init__(self, seed):
        self.seed = seed

    def stepped(self, progress, line):
        if torch.initial_seed() == self.seed:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def dropout(tmp_path_factory):
    """Two members whose weights depend on every number drawn."""
    out = tmp_path_factory.mktemp("runs")
    return train_ensemble("mlp", 2, out=out, name="dropout", **DROPOUT)


DROPOUT = {**QUICK, "data": "digits", "model.dropout": 0.3, "model.widths": (16,)}


def test_a_stopped_ensemble_continues_and_finished_members_stay(digits, tmp_path):
    folder = tmp_path / "e"
    with pytest.raises(Interrupted) as stop:
        train_ensemble(
            "softmax_regression", 3, out=tmp_path, name="e", observers=[Stop(1)], **QUICK
        )
    assert stop.value.run.path == folder  # what to resume is the whole
    stopped = load_ensemble(folder)
    assert stopped.history == []
    for use in (lambda: stopped.predict([np.zeros((8, 8), np.uint8)]), stopped.evaluate):
        with pytest.raises(UserError, match=r"member-1 is not trained.*gradlab resume .*e'"):
            use()
    (folder / "member-2").mkdir()  # and one that was stopped before its recipe was written
    (folder / "member-2" / ".recipe.json.0.part").write_text("{")
    (folder / "member-2" / ".lock").touch()
    first = content(folder / "member-0")
    done = resume(folder, progress=False)
    assert first.items() <= content(folder / "member-0").items()
    assert done.metrics == digits.metrics
    for mine, theirs in zip(done.members, digits.members, strict=True):
        assert all(torch.equal(v, weights(theirs)[k]) for k, v in weights(mine).items())
    written = (folder / "metrics.jsonl").read_bytes()
    assert resume(folder, progress=False).metrics == done.metrics
    assert (folder / "metrics.jsonl").read_bytes() == written


def test_a_report_that_a_member_lacks_is_written(copy):
    page = copy / "member-1" / "report.html"
    page.unlink(missing_ok=True)
    written = (copy / "metrics.jsonl").read_bytes()
    resume(copy, progress=False, report=True)
    assert "Learning curves" in page.read_text(encoding="utf-8")
    assert (copy / "metrics.jsonl").read_bytes() == written


def test_a_reading_of_test_that_cannot_be_recorded_is_said(copy, monkeypatch, capsys):
    def append(folder, line):
        raise UserError(f"cannot write {folder.path}")

    monkeypatch.setattr(RunFolder, "append", append)
    ensemble = load(copy)
    assert ensemble.evaluate("test") == ensemble.metrics["test"]
    said = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in said] == [str(path) for path in ensemble.paths]
    assert all(line.endswith("it does not record that test was read") for line in said)


def test_one_that_was_stopped_before_its_ensemble_json_is_no_dead_end(tmp_path):
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / ".ensemble.json.0.part").write_text("{")
    made = train_ensemble("softmax_regression", 2, out=tmp_path, name="e", test=False, **QUICK)
    assert made.finished


def test_what_a_member_is_writing_is_left_to_it(digits, copy):
    """Another process may resume a member by itself."""
    writing = copy / "member-1" / "checkpoints" / ".last.0.part"
    writing.mkdir(parents=True)
    with load(copy).folder.locked():
        assert writing.is_dir()


def test_a_member_killed_before_its_first_checkpoint_resumes_exactly(dropout, tmp_path):
    folder = tmp_path / "e"
    shutil.copytree(dropout.path, folder)
    (folder / "metrics.jsonl").unlink()
    recipe = (folder / "member-1" / "recipe.json").read_bytes()
    shutil.rmtree(folder / "member-1")
    (folder / "member-1").mkdir()
    (folder / "member-1" / "recipe.json").write_bytes(recipe)
    done = resume(folder, progress=False)
    for name, value in weights(dropout.members[1]).items():
        assert torch.equal(value, weights(done.members[1])[name])
    assert done.metrics == dropout.metrics


def test_members_yet_to_begin_have_the_runtime_of_the_first(tmp_path):
    with pytest.raises(Interrupted):
        train_ensemble("mlp", 2, out=tmp_path, name="e", observers=[Stop(0)], **DROPOUT)
    assert read_record(tmp_path / "e").runtime == Runtime(threads=1)
    done = resume(tmp_path / "e", progress=False)
    assert [member.trained_with.threads for member in done.members] == [1, 1]


def test_resume_takes_no_field_of_the_recipe(digits):
    for options, found in (({"lr": 3}, "lr"), ({"out": "elsewhere"}, "out")):
        with pytest.raises(UserError, match=rf"no field of the recipe \(found {found}\)"):
            resume(digits.path, **options)


def test_without_test_nobody_reads_it(tmp_path):
    made = train_ensemble("softmax_regression", 2, out=tmp_path, test=False, **QUICK)
    assert made.path.name == "softmax_regression-digits-ensemble-1"
    assert set(made.metrics) == {"val"}
    assert all("test" not in member.metrics for member in made.members)
    gain = made.gain("test")  # asked for afterwards: the members are read too
    assert {g.metric for g in gain} >= {"loss", "accuracy"}


# what does not go together


def test_runs_that_do_not_go_together_are_refused(digits, tmp_path):
    def other(name, **options):
        return train("mlp", out=tmp_path, name=name, test=False, **{**QUICK, **options})

    member = digits.path / "member-0"
    with pytest.raises(UserError, match=r"target differs: .* \(0, 1, 2.*\(setosa, versicolor"):
        Ensemble.of([member, other("iris", data="iris").path])
    with pytest.raises(UserError, match=r"dataset differs: .*digits \(fingerprint"):
        Ensemble.of([member, other("less", **{"data.limit": 500})])
    with pytest.raises(UserError, match=r"target differs: .*label.* has number"):
        Ensemble.of([member, other("number", data="diabetes")])
    logistic = train("logistic_regression", out=tmp_path, name="l", **QUICK)
    with pytest.raises(UserError, match=r"task differs: .* has binary, .* has classification"):
        Ensemble.of([logistic, other("b", data="breast_cancer", **{"data.test": 0.2})])
    with pytest.raises(UserError, match="at least 2 members, found 1"):
        Ensemble.of([member])
    with pytest.raises(UserError, match="three is an ensemble itself: give the runs in it"):
        Ensemble.of([digits.path, member])
    with pytest.raises(UserError, match="there is no run"):
        Ensemble.of([member, tmp_path / "nowhere"])


def test_runs_that_read_their_inputs_differently_are_refused(digits, copy):
    path = copy / "member-1" / "recipe.json"
    record = json.loads(path.read_text())
    record["schema"]["inputs"]["image"]["mean"] = [0.25]  # as begun with published weights
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match="their normalisation differs"):
        load_ensemble(copy).evaluate("val")


def test_networks_of_different_kinds_go_together(digits, tmp_path):
    mlp = train("mlp", out=tmp_path, **QUICK)
    mixed = Ensemble.of([digits.path / "member-0", mlp])
    assert 0.5 < mixed.evaluate("val")["accuracy"] <= 1


def test_what_only_one_network_has_is_refused(digits):
    with pytest.raises(UserError, match=r"give one of them, such as .*member-0"):
        features(digits)


def test_a_mistake_leaves_no_folder_behind(tmp_path):
    for options, message in (
        ({"count": 1}, "at least 2 members and at most 1000, found 1"),
        ({"count": 10**9}, "at least 2 members and at most 1000, found 1000000000"),
        ({"data": "nosuch"}, "neither a named dataset"),
        ({"lrr": 1}, "unknown field 'lrr'"),
        ({"task": "regression"}, "regression needs a number"),
        ({"name": "../elsewhere"}, "expected the plain name of a folder"),
    ):
        with pytest.raises(UserError, match=message):
            train_ensemble("softmax_regression", out=tmp_path / "runs", **QUICK, **options)
    assert not list(tmp_path.glob("runs/*")) and not (tmp_path / "elsewhere").exists()


# folders and files of others


def test_an_edited_or_taken_folder_is_refused(digits, tmp_path):
    for text in ('{"format": 9, "members": ["a", "b"]}', "[]", '{"format": null}'):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(UserError, match=r"expected an ensemble of format 2.*edited"):
            load_ensemble(tmp_path)
    for text in ('{"format": 2, "members": ["a"]}', '{"format": 2, "members": [1, "b"]}'):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(UserError, match=r"ensemble.json: members"):
            load_ensemble(tmp_path)
    (tmp_path / FILE).write_text('{"format": 2,')
    with pytest.raises(UserError, match="not valid JSON"):
        load_ensemble(tmp_path)
    with pytest.raises(UserError, match="there is a folder"):
        train_ensemble("softmax_regression", out=digits.path.parent, name="three", **QUICK)


@pytest.fixture
def victim(tmp_path):
    """Somebody's files beside the folder of runs."""
    folder = tmp_path / "victim"
    (folder / "deep").mkdir(parents=True)
    (folder / "thesis.tex").write_text("years of work")
    (folder / "deep" / ".lock").write_text("theirs")
    return folder


@pytest.mark.parametrize("place", ["../../victim", "{}", "member-1/../../../victim", "member-1/"])
def test_no_member_lies_outside_the_folder(copy, victim, place):
    """An ensemble.json that names a folder of others never has it trained in or removed."""
    before = content(victim)
    (copy / "metrics.jsonl").unlink()
    rewrite(copy, members=["member-0", place.format(victim), "member-2"])
    with pytest.raises(UserError, match="expected folders in that of the ensemble"):
        resume(copy, progress=False)
    assert content(victim) == before


def test_no_member_is_a_link_that_leads_outside(copy, victim):
    before = content(victim)
    (copy / "metrics.jsonl").unlink()
    shutil.rmtree(copy / "member-1")
    try:
        (copy / "member-1").symlink_to(victim, target_is_directory=True)
    except OSError:
        pytest.skip("this system lets nobody make links")
    with pytest.raises(UserError, match="member-1 is a link"):
        resume(copy, progress=False)
    assert content(victim) == before


@pytest.mark.parametrize("theirs", ["thesis.tex", ".hidden", "deep/.lock"])
def test_files_of_others_in_place_of_a_member_stay(copy, theirs):
    (copy / "metrics.jsonl").unlink()
    shutil.rmtree(copy / "member-1")
    place = copy / "member-1" / theirs
    place.parent.mkdir(parents=True)
    place.write_text("years of work")
    (copy / "member-1" / ".recipe.json.0.part").write_text("{")
    before = content(copy / "member-1")
    with pytest.raises(UserError, match=r"no run that gradlab has begun: .* Move it away"):
        resume(copy, progress=False)
    assert content(copy / "member-1") == before


def test_an_ensemble_of_runs_that_were_there_trains_and_removes_nothing(digits, copy, tmp_path):
    saved = tmp_path / "elsewhere" / "saved"
    Ensemble.of([copy / "member-0", copy / "member-1"]).save(saved)
    assert read_record(saved).members == ("../../runs/copy/member-0", "../../runs/copy/member-1")
    (saved / "metrics.jsonl").unlink()
    (copy / "member-1" / "recipe.json").unlink()
    before = content(copy)
    resumed = resume(saved, progress=False)
    with pytest.raises(UserError, match=r"member-1 is no run"):
        resumed.evaluate("val")
    assert content(copy) == before


def test_a_failure_takes_away_only_what_it_made(tmp_path, monkeypatch):
    from gradlab.workflows import ensemble as workflow

    def fail(recipe, runtime, member, run_options):
        (member.parent / "notes.txt").write_text("somebody's")
        raise UserError("the disk is full")

    monkeypatch.setattr(workflow, "_begin", fail)
    with pytest.raises(UserError, match="the disk is full"):
        train_ensemble("softmax_regression", 2, out=tmp_path, name="e", **QUICK)
    assert [path.name for path in (tmp_path / "e").iterdir()] == ["notes.txt"]


HOSTILE = [None, True, 0, -1, 10**30, 1.5, "", "\0", "a" * 5000, "/", "..", [], {}, [[]], {"a": 1}]


def mutated(value, rng):
    """`value` with a part of it exchanged, doubled or left out."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(sorted(value))
        changed = dict(value)
        if rng.random() < 0.2:
            del changed[key]
        else:
            changed[key] = mutated(value[key], rng)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        if rng.random() < 0.3:
            return [*value, value[place]]
        return [*value[:place], mutated(value[place], rng), *value[place + 1 :]]
    return rng.choice(HOSTILE)


@pytest.mark.parametrize("part", range(4))
def test_no_ensemble_json_gives_a_traceback(copy, victim, part):
    rng = random.Random(part)
    record = json.loads((copy / FILE).read_text())
    saved = {"format": 2, "members": ["../copy/member-0", "../copy/member-1"]}
    before, others = content(copy), content(victim)
    refused = 0
    for _ in range(40):
        (copy / FILE).write_text(json.dumps(mutated(rng.choice([record, saved]), rng)))
        try:
            opened = load(copy)
            opened.predict([np.zeros((8, 8), np.uint8)])
            resume(copy, progress=False)
        except UserError:
            refused += 1
        left = content(copy)
        assert {k: v for k, v in before.items() if k.name != FILE}.items() <= left.items()
    assert refused > 20 and content(victim) == others


def test_json_that_is_nested_deeply_is_refused(copy):
    (copy / FILE).write_text("[" * 100_000)
    with pytest.raises(UserError, match="not valid JSON"):
        load(copy)
