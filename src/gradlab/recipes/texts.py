"""Recipes for texts of classes."""

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

_KIND = "texts"

register(
    Recipe(
        name="nbsvm",
        kind=_KIND,
        summary="naive Bayes features of words and n-grams in a linear model: the first to try",
        paper="Wang and Manning (2012), Baselines and bigrams",
        departures=(
            "cross-entropy with weight decay instead of a support vector machine",
            "n-grams are hashed",
        ),
        model=Choice(name="nbsvm"),
        data=DataConfig(name="imdb", tokens=TokensConfig(lower=True, most=200_000)),
        optimizer=OptimizerConfig(name="adamw", lr=0.01),
        schedule=ScheduleConfig(name="cosine"),
        plan=Plan(epochs=3, batch_size=256),
        targets=(
            Target(
                dataset="imdb",
                metric="accuracy",
                value=0.915,
                source="91.55 to 91.82 published with trigrams",
            ),
        ),
    )
)
register(
    Recipe(
        name="bag_of_ngrams",
        kind=_KIND,
        summary="the mean of word and bigram vectors (fastText): fast and nearly as good",
        paper="Joulin et al. (2016), Bag of tricks for efficient text classification, "
        "https://arxiv.org/abs/1607.01759",
        departures=("AdamW instead of plain descent",),
        model=Choice(name="bag_of_ngrams"),
        data=DataConfig(name="imdb", tokens=TokensConfig(lower=True, most=100_000)),
        optimizer=OptimizerConfig(name="adamw", lr=0.01),
        schedule=ScheduleConfig(name="cosine"),
        plan=Plan(epochs=5, batch_size=64),
        targets=(Target(dataset="imdb", metric="accuracy", value=0.905, source="90.6 published"),),
    )
)
register(
    Recipe(
        name="text_cnn",
        kind=_KIND,
        summary="convolutions over the words: for sentences",
        paper="Kim (2014), Convolutional neural networks for sentence classification, "
        "https://arxiv.org/abs/1408.5882",
        departures=("AdamW instead of Adadelta with a bound on the weights",),
        model=Choice(name="text_cnn"),
        data=DataConfig(name="rt_polarity", test=0.1, tokens=TokensConfig(lower=True)),
        optimizer=OptimizerConfig(name="adamw", lr=1e-3, weight_decay=0.01),
        schedule=ScheduleConfig(name="cosine"),
        plan=Plan(epochs=8, batch_size=50),
        targets=(
            Target(
                dataset="rt_polarity",
                metric="accuracy",
                value=0.761,
                source="Kim (2014), Table 2: CNN-rand 76.1",
            ),
        ),
    )
)
register(
    Recipe(
        name="bilstm",
        kind=_KIND,
        summary="an LSTM in both directions over the words",
        paper="Graves and Schmidhuber (2005), Framewise phoneme classification with "
        "bidirectional LSTM",
        departures=("the strongest state of all words is taken", "texts are cut at 400 words"),
        model=Choice(name="bilstm"),
        data=DataConfig(name="imdb", tokens=TokensConfig(lower=True, most=30_000, longest=400)),
        optimizer=OptimizerConfig(name="adamw", lr=2e-3, weight_decay=0.01),
        schedule=ScheduleConfig(name="cosine"),
        plan=Plan(epochs=4, batch_size=64, clip_norm=1.0),
        targets=(
            Target(
                dataset="imdb",
                metric="accuracy",
                value=0.88,
                source="set for gradlab; Keras's example of a bidirectional LSTM: 84.3",
            ),
        ),
    )
)
