"""Recipes for vectors of words."""

from __future__ import annotations

from gradlab.config import (
    Choice,
    DataConfig,
    OptimizerConfig,
    Plan,
    Recipe,
    ScheduleConfig,
    TokensConfig,
)
from gradlab.recipes import register

_KIND = "words"


def _word2vec(name: str, summary: str, lr: float, departures: tuple[str, ...]) -> Recipe:
    return Recipe(
        name=name,
        kind=_KIND,
        summary=summary,
        paper="Mikolov et al. (2013), Efficient estimation of word representations in vector "
        "space, https://arxiv.org/abs/1301.3781",
        departures=("neighbouring windows are learnt from together", *departures),
        model=Choice(name="word2vec", size=100),
        task=Choice(name="word2vec", objective=name),
        data=DataConfig(
            name="imdb",
            val=0.01,
            test=0.0,
            tokens=TokensConfig(lower=True, minimum=5, most=1_000_000),
        ),
        optimizer=OptimizerConfig(name="sgd", lr=lr),
        schedule=ScheduleConfig(name="linear", end=0.004),
        plan=Plan(epochs=5, batch_size=100_000, keep="last", log_steps=10),
    )


register(_word2vec("skip_gram", "word vectors: from each word those around it", 0.025, ()))
register(
    _word2vec(
        "cbow",
        "word vectors: from the words around the one between them; faster",
        0.075,
        ("the gradient divides by the words of a window (Irsoy et al. 2021)",),
    )
)
