"""Language models: what they learn, what they carry, what they are compared with."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from support import CASES, task_of
from torch.nn import functional

import gradlab
from gradlab.data.columns import Dense, Placement
from gradlab.data.dataset import Split
from gradlab.data.fields.text import Stream
from gradlab.data.streams import StreamLoader
from gradlab.data.tokens import Tokens
from gradlab.errors import UserError
from gradlab.models import create
from gradlab.tasks.language import Counts

RECIPE, SMALL = CASES["language_model"]
QUIET = {"progress": False, "threads": 1}
ABC = "abcdefghijklmnopqrstuvwxyz\n"


@pytest.fixture(scope="module")
def alphabet(tmp_path_factory):
    """A text whose next letter is certain, and a run that has learnt it."""
    folder = tmp_path_factory.mktemp("abc")
    path = folder / "abc.txt"
    path.write_text(ABC * 60, "utf-8")
    fields = {
        "data": str(path), "data.val": 0.2, "data.test": 0.2, "batch_size": 8, "task.window": 16,
        "model.width": 16, "epochs": 25, "lr": 2e-2, "model.dropout": 0.0,
    }  # fmt: skip
    return gradlab.train(RECIPE, out=folder / "runs", report=True, **fields, **QUIET)


def test_it_learns_what_is_certain(alphabet):
    metrics, baselines = alphabet.metrics["test"], alphabet.baselines["test"]
    assert metrics["loss"] < 0.4
    assert metrics["perplexity"] == pytest.approx(math.exp(metrics["loss"]), rel=1e-5)
    assert metrics["bits_per_token"] == pytest.approx(metrics["loss"] / math.log(2), rel=1e-5)
    assert baselines["frequency of tokens"]["loss"] == pytest.approx(math.log(27), rel=0.01)
    assert baselines["frequency of pairs"]["loss"] < 0.7


def test_it_writes_what_it_has_learnt(alphabet):
    found = gradlab.write(alphabet, "abc", temperature=0, length=30)
    assert found.text == ABC[3:] + "abcdef" and found.prompt == "abc"
    again = [gradlab.write(alphabet, "a", length=40, temperature=3.0, seed=s) for s in (1, 1, 2)]
    assert again[0] == again[1] and again[0].text != again[2].text
    few = gradlab.write(alphabet, "a", length=20, temperature=3.0, top_k=1)
    assert few.text == gradlab.write(alphabet, "a", length=20, temperature=0).text
    assert gradlab.write(alphabet, length=3, temperature=0).text == "abc"  # as after a line's end


def test_a_prompt_of_unknown_letters_is_said(alphabet):
    assert gradlab.write(alphabet, "Ä", length=2).notes == (
        "1 character of the prompt not known to the network",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "--temperature: expected at least 0, found -1"),
        ({"temperature": math.nan}, "--temperature"),
        ({"top_k": -2}, "--top_k: expected at least 0"),
        ({"length": 0}, "--length: expected at least 1"),
    ],
)
def test_odd_ways_of_writing_are_refused(alphabet, options, message):
    with pytest.raises(UserError, match=message):
        gradlab.write(alphabet, "a", **options)


def test_it_says_what_it_expects_next(alphabet):
    (found,) = alphabet.predict(["abcde"])
    assert found.answer.next[0][0] == "f" and found.answer.loss < 2
    with pytest.raises(UserError, match="expected a text"):
        alphabet.predict([" "])


def test_streams_side_by_side_hold_each_token_once_as_a_target():
    column = Dense(np.arange(2, 2 + 103, dtype=np.int32))
    field = Stream(tokens=Tokens(vocabulary=tuple(map(str, range(110)))))
    loader = StreamLoader(
        Split({"text": column}), {"text": field}, batch_size=4, window=10,
        placement=Placement(torch.device("cpu")),
    )  # fmt: skip
    windows = [batch["text"] for batch in loader.in_order()]
    assert loader.steps == len(windows) == 3 and windows[0].shape == (4, 11)
    joined = torch.cat([windows[0], *(window[:, 1:] for window in windows[1:])], 1)
    assert joined.shape == (4, 26)  # 25 targets each; 2 tokens are left over
    assert torch.equal(joined[:, 0], torch.tensor([2, 27, 52, 77]))
    assert (joined[:, 1:] - joined[:, :-1] == 1).all()
    for before, after in itertools.pairwise(windows):
        assert torch.equal(before[:, -1], after[:, 0])


def test_the_state_goes_on_and_the_gradient_stops_at_the_window():
    """Two windows with the state carried give the scores of both at once."""
    torch.manual_seed(0)
    model = create(
        "recurrent_lm", inputs=(0, 11), outputs=11, width=8, embedding=8, layers=2, cell="gru"
    )
    x = torch.randint(0, 11, (3, 12))
    whole, _ = model(x)
    first, state = model(x[:, :5])
    second, _ = model(x[:, 5:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)

    task = task_of(RECIPE, **SMALL)
    batches = task.batches(0)
    for _ in range(2):
        batch = next(batches)
        task.step(batch)
        states = task.memory.value
        assert len(states) == 2 and not any(state.requires_grad for state in states)
    expected = states[0].clone()
    task.batches(1)
    assert task.memory.value is None and expected.abs().sum() > 0  # an epoch begins with nothing


def test_its_loss_is_that_of_a_hand_written_evaluation(alphabet):
    """Streams of the test text, each from an empty state, every target once."""
    task = alphabet.task
    column = alphabet.dataset.split("test")["text"][:].astype(np.int64)
    streams = min(16, (len(column) - 1) // 2)
    length = (len(column) - 1) // streams
    rows = np.arange(streams)[:, None] * length + np.arange(length + 1)[None]
    x = torch.from_numpy(column[rows])
    with torch.no_grad():
        scores, _ = task.model.eval()(x[:, :-1])
    loss = functional.cross_entropy(scores.flatten(0, 1), x[:, 1:].flatten())
    assert alphabet.metrics["test"]["loss"] == pytest.approx(float(loss), rel=1e-4)


def test_baselines_against_a_hand_computation():
    tokens = np.array([0, 1, 0, 1, 0, 2])
    count = Counts(tokens, 3)
    shares = np.array([4, 3, 2]) / 9
    assert count.unigram(np.array([0, 1, 2])) == pytest.approx(
        -(math.log(shares[1]) + math.log(shares[2])) / 2
    )
    after = (2 + 5 * shares[1]) / (3 + 5)  # 0 is followed three times, twice by 1
    assert count.bigram(np.array([0, 1])) == pytest.approx(-math.log(after))


def test_a_text_that_is_too_short_says_so(tmp_path):
    path = tmp_path / "short.txt"
    path.write_text("to be or not to be", "utf-8")
    with pytest.raises(UserError, match=r"too few for windows of 128.*--task\.window"):
        gradlab.train("char_lm", data=str(path), out=tmp_path, **QUIET)
    path.write_text(" \n", "utf-8")
    with pytest.raises(UserError, match="the text is empty"):
        gradlab.train("char_lm", data=str(path), out=tmp_path, **QUIET)


def test_a_text_that_is_not_utf8_names_the_byte_and_can_be_named(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes("ein süßer Tag\n".encode("latin-1") * 40)
    with pytest.raises(UserError, match=r"byte 5 \(0xfc, line 1\) is no UTF-8.*latin-1"):
        gradlab.train("char_lm", data=str(path), out=tmp_path, **QUIET)
    task = task_of("char_lm", **{**SMALL, "data": str(path), "data.encoding": "latin-1"})
    assert "ß" in task.field.tokens.vocabulary


def test_a_recipe_for_images_refuses_a_text_and_a_language_model_an_image(tmp_path):
    with pytest.raises(UserError, match="a language model"):
        gradlab.train("char_lm", data="digits", out=tmp_path, **QUIET)


def test_the_report_shows_what_surprises_it_and_what_it_writes(alphabet):
    found = alphabet.details("test").to_dict()
    assert sum(cost for _, cost in found["passage"]) / len(found["passage"]) < 1
    assert "".join(token for token, _ in found["passage"]).startswith(
        alphabet.task.field.tokens.decode(alphabet.dataset.split("test")["text"][1:20])
    )
    count = sum(row["count"] for row in found["surprise"])
    shares = sum(row["share"] for row in found["surprise"])
    assert 0.5 < shares <= 1 and count <= 16 * 20
    assert "cdefgh" in found["sample"]
    page = (alphabet.path / "report.html").read_text("utf-8")
    assert "What surprises it" in page and "What it writes" in page
