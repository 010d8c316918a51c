"""Words a second of word2vec beside gensim, and how good the vectors are.

Both parties learn from the same words (those of the reviews, less those that occur fewer than
5 times) with the same settings, in turn. Accuracy is of a whole training of 5 epochs: analogies
(all whose words are known) and the rank correlation with WordSim-353.

    python benchmarks/word2vec.py --rounds 5
    python benchmarks/word2vec.py --accuracy --seeds 1 2 3
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

LR = {"skip_gram": 0.025, "cbow": 0.075}
"""Of gradlab's recipes; gensim has 0.025 for both."""
WORDS = 2_000_000
"""That are learnt from in a round."""


@dataclass(frozen=True)
class Case:
    objective: str
    size: int = 100
    window: int = 5
    negatives: int = 5

    def __str__(self) -> str:
        return (
            f"{self.objective}, {self.size} numbers, window {self.window}, "
            f"{self.negatives} negatives"
        )


CASES = (Case("skip_gram"), Case("cbow"), Case("skip_gram", 200, 8, 25))


def recipe(case: Case, corpus: str, seed: int, epochs: int) -> Any:
    from gradlab.recipes import find

    return find(
        case.objective,
        {
            "data": corpus, "data.val": 0.0, "model.size": case.size, "seed": seed,
            "task.window": case.window, "task.negatives": case.negatives, "epochs": epochs,
        },
    )  # fmt: skip


def text_of(corpus: Any, most: int) -> list[list[str]]:
    """The corpus as gensim takes it."""
    names = np.array(corpus.schema.inputs["word"].tokens.vocabulary, dtype=object)
    tokens = np.asarray(corpus.tokens[:most])
    parts = np.split(tokens, np.flatnonzero(tokens < 0))
    cut = [part[part >= 0] - 2 for part in parts]
    return [
        names[part[start : start + 10_000]].tolist()
        for part in cut
        for start in range(0, len(part), 10_000)
    ]


def ours(case: Case, corpus: Any, seed: int, epochs: int, threads: int) -> tuple[Any, float]:
    """The task after training, and the words a second."""
    import torch

    from gradlab.config import Runtime
    from gradlab.runs.make import make

    made = recipe(case, corpus.name, seed, epochs)
    torch.manual_seed(seed)
    task: Any = make(made, corpus.schema, Runtime(threads=threads))
    task.prepare(corpus)
    start = time.perf_counter()
    for epoch in range(epochs):
        for stretch in task.batches(epoch):
            task.step(stretch)
    return task, epochs * corpus.words / (time.perf_counter() - start)


def theirs(
    case: Case, text: list[list[str]], seed: int, epochs: int, threads: int
) -> tuple[Any, float]:
    from gensim.models import Word2Vec

    model = Word2Vec(
        vector_size=case.size, window=case.window, negative=case.negatives, seed=seed,
        sg=int(case.objective == "skip_gram"), sample=1e-3, min_count=1, workers=threads,
    )  # fmt: skip
    model.build_vocab(text)
    words = sum(map(len, text))
    start = time.perf_counter()
    model.train(text, total_examples=len(text), epochs=epochs)
    return model, epochs * words / (time.perf_counter() - start)


def part_of(corpus: Any, most: int) -> Any:
    """The beginning of a corpus, with its vocabulary."""
    tokens = np.asarray(corpus.tokens[:most])
    counts = np.bincount(tokens[tokens >= 0], minlength=len(corpus.counts))
    counts[2:] = np.maximum(counts[2:], 1)
    return replace(corpus, tokens=tokens, counts=counts)


def speed(corpus: Any, rounds: int, threads: int) -> Iterator[str]:
    few = part_of(corpus, WORDS)
    text = text_of(corpus, WORDS)
    ours(CASES[0], few, 0, 1, threads)  # compiled
    for case in CASES:
        found: dict[str, list[float]] = {"gradlab": [], "gensim": []}
        for seed in range(rounds):
            found["gradlab"].append(ours(case, few, seed, 1, threads)[1])
            found["gensim"].append(theirs(case, text, seed, 1, threads)[1])
        mine, other = (statistics.median(found[name]) for name in ("gradlab", "gensim"))
        yield f"| {case} | {mine:,.0f} | {other:,.0f} | {mine / other:.2f} |"


def quality(corpus: Any, case: Case, seeds: list[int], threads: int) -> Iterator[str]:
    from gradlab.data.sources import word_eval
    from gradlab.models.word_vectors import WordVectors, analogies, spearman

    text = text_of(corpus, len(corpus.tokens))
    questions, pairs = word_eval.analogies(), word_eval.pairs()
    for name in ("gradlab", "gensim"):
        figures = []
        for seed in seeds:
            if name == "gradlab":
                known = ours(case, corpus, seed, 5, threads)[0].vectors()
            else:
                model = theirs(case, text, seed, 5, threads)[0]
                known = WordVectors(tuple(model.wv.index_to_key), model.wv.vectors)
            sections = analogies(known, questions)
            right, all_known = (
                sum(getattr(s, key) for s in sections) for key in ("right", "known")
            )
            figures.append((right / all_known, spearman(known, pairs)[0]))
            print(name, case, seed, *figures[-1], file=sys.stderr, flush=True)
        mean, spread = np.mean(figures, 0), np.std(figures, 0, ddof=min(len(seeds) - 1, 1))
        yield (
            f"| {case} | {name} | {mean[0]:.2%} ± {spread[0]:.2%} | "
            f"{mean[1]:.3f} ± {spread[1]:.3f} |"
        )


def memory(party: str, path: str) -> None:
    """The peak of a process that trains from the file to the vectors, in MB."""
    case = CASES[0]
    if party == "gradlab":
        from gradlab.runs.make import learnt_from

        made = recipe(case, path, 0, 1)
        ours(case, learnt_from(made), 0, 1, 2)
    else:
        from gensim.models import Word2Vec
        from gensim.models.word2vec import LineSentence

        Word2Vec(LineSentence(path), vector_size=100, sg=1, sample=1e-3, workers=2, epochs=1)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", default="imdb", help="a named set, or a path")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--accuracy", action="store_true")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--memory", type=Path, help="a text, a line a sentence")
    parser.add_argument("--party", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory and given.party:
        memory(given.party, str(given.memory))
        return
    if given.memory:
        for party in ("gradlab", "gensim"):
            command = [sys.executable, __file__, "--memory", str(given.memory), "--party", party]
            peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            print(f"| {party} | {float(peak.split()[-1]):,.0f} MB |")
        return
    from gradlab.runs.make import learnt_from

    corpus = learnt_from(recipe(CASES[0], given.corpus, 0, 1))
    print(*corpus.notes)
    if given.accuracy:
        print("| task | party | analogies | WordSim-353 |\n| --- | --- | --- | --- |")
        for case in CASES[:2]:
            for row in quality(corpus, case, given.seeds, given.threads):
                print(row, flush=True)
        return
    print("| task | gradlab, words/s | gensim, words/s | ratio |\n| --- | --- | --- | --- |")
    for row in speed(corpus, given.rounds, given.threads):
        print(row, flush=True)


if __name__ == "__main__":
    main()
