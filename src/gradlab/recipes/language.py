"""Recipes for language models: the next character, the next word."""

from __future__ import annotations

from gradlab.config import (
    Choice,
    DataConfig,
    OptimizerConfig,
    Plan,
    Recipe,
    ScheduleConfig,
    Target,
    TokensConfig,
)
from gradlab.recipes import register

_KIND = "language"
ZAREMBA = (
    "Zaremba, Sutskever and Vinyals (2014), Recurrent neural network regularization, "
    "https://arxiv.org/abs/1409.2329"
)

register(
    Recipe(
        name="char_lm",
        kind=_KIND,
        summary="an LSTM that writes a text on, character by character",
        paper="Graves (2013), Generating sequences with recurrent neural networks, "
        "https://arxiv.org/abs/1308.0850",
        departures=("AdamW and a cosine schedule", "dropout between the layers"),
        model=Choice(
            name="recurrent_lm", cell="lstm", width=512, layers=2, embedding=128, dropout=0.4
        ),
        task=Choice(name="language_model", window=128),
        data=DataConfig(
            name="tiny_shakespeare", val=0.05, test=0.05, tokens=TokensConfig(name="character")
        ),
        optimizer=OptimizerConfig(name="adamw", lr=4e-3, weight_decay=0.01),
        schedule=ScheduleConfig(name="cosine", warmup=0.5, end=0.02),
        plan=Plan(epochs=20, batch_size=64, clip_norm=1.0),
        targets=(
            Target(
                dataset="tiny_shakespeare",
                metric="loss",
                value=1.50,
                source="set for gradlab; nanoGPT states 1.47 for a transformer on an A100 and "
                "1.88 in about 3 minutes of a CPU",
            ),
        ),
    ),
)


def _zaremba(
    name: str, summary: str, value: float, source: str, width: int, **fields: object
) -> Recipe:
    small = name == "word_lm"
    epochs, gamma = (13, 0.5) if small else (39, 1 / 1.2)
    return Recipe(
        name=name,
        kind=_KIND,
        summary=summary,
        paper=ZAREMBA,
        departures=("the rate falls after an epoch that did not improve val, not at fixed epochs",),
        model=Choice(
            name="recurrent_lm", cell="lstm", layers=2, width=width, embedding=width, **fields
        ),
        task=Choice(name="language_model", window=20 if small else 35),
        data=DataConfig(name="ptb", tokens=TokensConfig(name="space")),
        optimizer=OptimizerConfig(name="sgd", lr=1.0),
        schedule=ScheduleConfig(name="plateau", gamma=gamma, patience=0),
        plan=Plan(epochs=epochs, batch_size=20, clip_norm=5.0),
        targets=(Target(dataset="ptb", metric="perplexity", value=value, source=source),),
    )


register(
    _zaremba(
        "word_lm",
        "an LSTM that says the next word: 200 units, no dropout",
        115.0,
        "Zaremba et al. (2014), Table 1: 114.5 (the small one, not regularised)",
        width=200,
        spread=0.1,
    )
)
register(
    _zaremba(
        "word_lm_medium",
        "the same with 650 units and dropout: for a GPU",
        82.7,
        "Zaremba et al. (2014), Table 1: 82.7 (medium, regularised)",
        width=650,
        spread=0.05,
        dropout=0.5,
    )
)
