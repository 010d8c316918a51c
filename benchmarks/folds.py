"""A recipe on many random splits of a set that has no test of its own: mean and deviation.

    python benchmarks/folds.py text_cnn --folds 10
    python benchmarks/folds.py text_cnn --folds 10 --embedding runs/skip_gram --model.width 100

Each split holds out its tenth for test by another seed (`data.split_seed`), as ten folds would;
the training's seed is the split's.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

import gradlab


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipe")
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--metric", default="accuracy")
    parser.add_argument("--threads", type=int, default=0)
    given, rest = parser.parse_known_args()
    fields = {
        key.removeprefix("--"): value for key, value in zip(rest[::2], rest[1::2], strict=True)
    }
    found, start = [], time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        for fold in range(given.folds):
            run = gradlab.train(
                given.recipe, out=out, seed=fold, progress=False, results=False, report=False,
                threads=given.threads, **{"data.split_seed": fold, **fields},
            )  # fmt: skip
            found.append(run.summary["metrics"]["test"][given.metric])
            print(f"fold {fold}: {found[-1]:.4f}", flush=True)
    spread = statistics.stdev(found) if len(found) > 1 else 0.0
    seconds = (time.perf_counter() - start) / len(found)
    print(
        f"{given.recipe} {rest}: {given.metric} {statistics.mean(found):.4f} ± {spread:.4f} on "
        f"{len(found)} splits, {seconds:.0f} s each"
    )


if __name__ == "__main__":
    main()
