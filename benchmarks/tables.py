"""The recipe `tabular` beside scikit-learn on tables: how right each is, and its rank.

    export GRADLAB_DATA=FOLDER        # holds titanic/, pima/ and timeseries/
    python benchmarks/tables.py
    python benchmarks/tables.py --tables iris pima --splits 0 1        # a small trial

Every party gets the same rows and the same raw columns, with its defaults: gradlab holds out its
own val split of them, scikit-learn's are preprocessed as its users do (missing numbers filled in,
numbers standardised, text one-hot; HistGradientBoosting reads missing values and categories
itself). A split is 80 % and 20 % of the rows, classes in their shares, and a party is ranked on it
by the accuracy for classes and by R2 for numbers, equals by the mean of their places. The ranks
are among `RANKED`; the other recipes are shown beside them. With `--results FILE` each figure is
added to a file, and those that it holds already are not measured again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from common import CORES, begin, say, table, verdict
from polars import selectors
from scipy.stats import rankdata
from table_sets import TABLES, Table
from threadpoolctl import threadpool_limits

RANKED = ("tabular", "linear model", "random forest", "boosting")
OTHERS = ("mlp", "linear recipe")
METRICS = {True: "accuracy", False: "R2"}
"""What a party is ranked by, for classes and for numbers."""

Answers = np.ndarray
"""Labels or numbers, N."""
Key = tuple[str, int, str]
"""Table, split, party."""
Figure = tuple[float, float]
"""Accuracy or R2 on the test rows, and the seconds to learn and to answer."""


def recipe(name: str) -> Callable[..., Answers]:
    """A recipe of gradlab, trained on the rows with its defaults."""

    def party(
        train: pl.DataFrame, test: pl.DataFrame, table: Table, seed: int, threads: int
    ) -> Answers:
        import gradlab

        linear = "softmax_regression" if table.classes else "linear_regression"
        with tempfile.TemporaryDirectory() as out:
            run = gradlab.train(
                linear if name == "linear" else name,
                data=train,
                target="y",
                seed=seed,
                out=out,
                progress=False,
                threads=threads,
                **{
                    "data.test": 0.0,
                    "data.target_kind": "class" if table.classes else "number",
                },
            )
            answers = run.predict(test.drop("y"))
        return np.array([a.answer.label if table.classes else a.answer.number for a in answers])

    return party


def peer(kind: str) -> Callable[..., Answers]:
    """A model of scikit-learn with its defaults, after the usual preprocessing."""

    def party(
        train: pl.DataFrame, test: pl.DataFrame, table: Table, seed: int, threads: int
    ) -> Answers:
        x, new, y = train.drop("y"), test.drop("y"), train["y"].to_numpy()
        if kind == "boosting":
            texts = {
                name: pl.Enum(x[name].drop_nulls().unique().sort())
                for name in x.select(selectors.string()).columns
            }
            # A text that was not there in training is a missing value.
            x, new = (part.cast(texts, strict=False) for part in (x, new))
        return np.asarray(
            _model(kind, x, table.classes, seed, threads).fit(x, y).predict(new)
        ).astype(str if table.classes else float)

    return party


def _model(kind: str, x: pl.DataFrame, classes: bool, seed: int, threads: int) -> Any:
    """An unfitted pipeline."""
    from sklearn import ensemble, linear_model
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    if kind == "boosting":
        make = (
            ensemble.HistGradientBoostingClassifier
            if classes
            else ensemble.HistGradientBoostingRegressor
        )
        return make(categorical_features="from_dtype", random_state=seed)
    texts = x.select(selectors.string()).columns
    numbers = [name for name in x.columns if name not in texts]
    filled = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    ready = make_column_transformer(
        (filled, numbers), (OneHotEncoder(handle_unknown="ignore"), texts)
    )
    if kind == "linear":
        model = linear_model.LogisticRegression(max_iter=2000) if classes else linear_model.Ridge()
    else:
        make = ensemble.RandomForestClassifier if classes else ensemble.RandomForestRegressor
        model = make(random_state=seed, n_jobs=threads)
    return make_pipeline(ready, model)


PARTIES: dict[str, Callable[..., Answers]] = {
    "tabular": recipe("tabular"),
    "linear model": peer("linear"),
    "random forest": peer("forest"),
    "boosting": peer("boosting"),
    "mlp": recipe("mlp"),
    "linear recipe": recipe("linear"),
}


def measured(name: str, table: Table, split: int, threads: int) -> Figure:
    """A party's figure on a split."""
    train, test = table.split(split)
    with threadpool_limits(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        began = time.perf_counter()
        found = PARTIES[name](train, test, table, split, threads)
        seconds = time.perf_counter() - began
    truth = test["y"].to_numpy()
    if table.classes:
        return float((found == truth.astype(str)).mean()), seconds
    return float(1 - ((found - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()), seconds


def ranks(figures: Sequence[float]) -> np.ndarray:
    """The place of each figure, the greatest first; equals share the mean of their places.

    >>> ranks([0.9, 0.8, 0.9]).tolist()
    [1.5, 3.0, 1.5]
    """
    return np.asarray(rankdata([-value for value in figures]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--splits", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--others", nargs="*", choices=OTHERS, default=list(OTHERS))
    parser.add_argument("--threads", type=int, default=CORES)
    parser.add_argument("--results", type=Path, default=None, help="figures, a line of JSON each")
    given = parser.parse_args()
    begin()
    parties = (*RANKED, *given.others)
    known = _read(given.results)
    for number, split in enumerate(given.splits):
        for label in given.tables:
            made = TABLES[label]()
            # Every second split backwards, so that a machine that grows slower favours nobody.
            for name in parties if number % 2 == 0 else reversed(parties):
                if (label, split, name) in known:
                    continue
                found = measured(name, made, split, given.threads)
                known[label, split, name] = found
                say(f"{label} {split}: {name}: {found[0]:.4f} in {found[1]:.1f} s")
                if given.results is not None:
                    with given.results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps([label, split, name, *found]) + "\n")
    show(known, given.tables, given.splits, parties)


def _read(path: Path | None) -> dict[Key, Figure]:
    """What was measured before."""
    if path is None or not path.is_file():
        return {}
    lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {(label, split, name): (value, spent) for label, split, name, value, spent in lines}


def show(
    known: Mapping[Key, Figure],
    tables: Sequence[str],
    splits: Sequence[int],
    parties: Sequence[str],
) -> None:
    """Print the figures, the ranks, the seconds and whether the targets are reached."""
    rows, places = [], []
    for label in tables:
        made = TABLES[label]()
        height, width = made.frame.shape
        values = {name: [known[label, split, name][0] for split in splits] for name in parties}
        cells = [f"{np.mean(found):.3f} ± {np.std(found):.3f}" for found in values.values()]
        rows.append((f"{label} ({height:,} x {width - 1})", METRICS[made.classes], *cells))
        own = [ranks([values[name][n] for name in RANKED]) for n in range(len(splits))]
        places.append(np.mean(own, axis=0))
    print(table(("table (rows x columns)", "metric", *parties), rows), "\n")
    mean = np.mean(places, axis=0)
    lines = [*zip(tables, places, strict=True), ("mean", mean)]
    ranked = [(label, *(f"{place:.2f}" for place in line)) for label, line in lines]
    print(table(("rank on", *RANKED), ranked), "\n")
    seconds = {
        name: [known[label, split, name][1] for label in tables for split in splits]
        for name in parties
    }
    spent = [(name, f"{np.median(s):.1f}", f"{max(s):.1f}") for name, s in seconds.items()]
    print(table(("party", "seconds (median)", "most"), spent), "\n")
    print(verdict(mean[0] / mean[-1], 1.0, "max", "times the mean rank of boosting"))
    print(verdict(max(seconds["tabular"]), 60, "max", "seconds at most for tabular"))


if __name__ == "__main__":
    main()
