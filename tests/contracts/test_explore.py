"""What every question to a finished run must satisfy: numbers for JSON, tables, a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support import CASES

import gradlab
from gradlab.cli import explore as commands
from gradlab.errors import UserError
from gradlab.runs import Run


@dataclass(frozen=True)
class Case:
    """The task of the run that is asked, how, and the kinds of file that the result can be."""

    task: str
    ask: Callable[..., Any]
    kinds: tuple[str, ...]


def asked(name: str) -> Callable[..., Any]:
    """The question as a function of Python."""
    function: Callable[..., Any] = getattr(import_module(f"gradlab.explore.{name}"), name)
    return function


QUESTIONS: dict[str, Case] = {
    "features": Case("classification", lambda ask, run, _: ask(run), (".npz", ".parquet")),
    "similar": Case("classification", lambda ask, run, image: ask(run, image, count=3), (".png",)),
    "explain": Case("texts", lambda ask, run, _: ask(run, "a fine happy film, not sad"), (".png",)),
    "generate": Case("gan", lambda ask, run, _: ask(run, 9), (".png", ".npz")),
    "write": Case(
        "language_model", lambda ask, run, _: ask(run, "love", length=200, top_k=3), (".txt",)
    ),
    "judge": Case(
        "gan", lambda ask, run, classifier: ask(run, classifier, split="val"), (".json",)
    ),
    "latent": Case("autoencoder", lambda ask, run, _: ask(run), (".png",)),
    "words": Case("word2vec", lambda ask, run, _: ask(run, "similar", ["love"]), (".png",)),
    "vectors": Case("word2vec", lambda ask, run, _: ask(run), (".txt", ".vec", ".bin", ".npz")),
    "backtest": Case("forecast", lambda ask, run, _: ask(run, 4), (".csv", ".parquet", ".png")),
    "play": Case("dqn", lambda ask, run, _: ask(run, 2, film=True), (".png", ".gif")),
    "compare": Case("classification", lambda ask, run, other: ask([run, other]), (".png",)),
}


TEXTS = {
    "texts": (
        "bag_of_ngrams",
        {
            "data": str(Path(__file__).parents[1] / "films"), "data.test": 0.2,
            "model.buckets": 100, "batch_size": 8,
        },
    )
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """A short training of a task, done once."""
    runs: dict[tuple[str, int], Run] = {}
    out = tmp_path_factory.mktemp("runs")

    def of(task: str, seed: int = 0, **fields: Any) -> Run:
        key = (task, seed)
        if key not in runs:
            name, small = {**CASES, **TEXTS}[task]
            options = {**small, "epochs": 1, "seed": seed, "progress": False, "threads": 1}
            runs[key] = gradlab.train(name, out=out, **options, **fields)
        return runs[key]

    return of


@pytest.fixture(scope="module", params=list(QUESTIONS))
def result(
    request: pytest.FixtureRequest,
    trained: Callable[..., Run],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Case, Any]:
    name = request.param
    case = QUESTIONS[name]
    if case.task == "dqn":
        pytest.importorskip("gymnasium")
    other: Any = None
    if name == "similar":
        other = tmp_path_factory.mktemp("image") / "one.png"
        Image.fromarray(trained("classification").dataset.split("val")["image"][0][..., 0]).save(
            other
        )
    if name == "judge":
        other = trained("classification", 1, **{"data.image_size": 28}).path
    if name == "compare":
        other = trained("classification", 2)
    return case, case.ask(asked(name), trained(case.task), other)


def test_every_question_is_swept() -> None:
    names = {command.__name__ for command in commands.COMMANDS}
    assert names | {"compare", "write"} == set(QUESTIONS)


def test_its_numbers_are_json(result: tuple[Case, Any]) -> None:
    found = result[1].to_dict()
    assert found and json.loads(json.dumps(found)) == found


def test_its_tables_have_a_cell_for_each_column(result: tuple[Case, Any]) -> None:
    tables = result[1].tables()
    assert tables
    for table in tables:
        assert table.rows and all(len(row) == len(table.header) for row in table.rows)


def test_it_is_saved_or_refused_with_what_can_be_written(
    result: tuple[Case, Any], tmp_path: Path
) -> None:
    case, found = result
    for kind in case.kinds:
        place = tmp_path / f"x{kind}"
        found.save(place)
        assert place.stat().st_size > 100
    with pytest.raises(UserError, match=r"\.") as error:
        found.save(tmp_path / "x.xyz")
    assert case.kinds[0] in str(error.value) and "x.xyz" in str(error.value)
    assert not (tmp_path / "x.xyz").exists()
