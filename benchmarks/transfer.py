"""What pretrained features are worth: transfer, frozen features and training from scratch.

    gradlab train cifar_fast --name cifar --out runs
    python benchmarks/transfer.py runs/cifar --lr 0.2 --results docs/results.md

The network of a run is trained again on a few images of another set: from its weights, with only
the last layer trained, and from nothing; the same images, updates and seeds for all three. The
rows go into the table of results; what a row is compared with is the training from nothing.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import gradlab
from gradlab.config import Target
from gradlab.data.fields.image import Image
from gradlab.workflows.reproduce import Row, machine_of, write_rows

VARIANTS: dict[str, dict[str, Any]] = {
    "from scratch": {},
    "frozen features": {"freeze": "features"},
    "transfer": {"backbone_lr": 0.3},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path, help="the run to begin with")
    parser.add_argument("--data", default="fashion_mnist", help="the set to learn")
    parser.add_argument("--limit", type=int, default=1000, help="its training images")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--lr", type=float, default=None, help="learning rate (the recipe's)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--results", type=Path, default=None, help="the table to write into")
    given = parser.parse_args()

    begun = gradlab.load(given.weights)
    _, image = begun.schema.input(Image, "this benchmark")
    name, source = begun.recipe.model.name, begun.record["dataset"]["name"]
    rows = []
    for variant, fields in VARIANTS.items():
        if fields:
            fields = {"weights": str(given.weights), **fields}
        runs = [
            gradlab.train(
                begun.recipe.name,
                data=given.data,
                seed=seed,
                epochs=given.epochs,
                batch_size=100,
                out=given.out,
                progress=False,
                **{
                    "data.limit": given.limit,
                    "data.image_size": f"{image.width}x{image.height}",
                    "data.channels": image.channels,
                    "optimizer.lr": given.lr,
                    **fields,
                },
            )
            for seed in range(given.seeds)
        ]
        values = tuple(run.metrics["test"]["accuracy"] for run in runs)
        scratch = rows[0].mean if rows else 0.0
        target = Target(
            dataset=f"{given.data}, {given.limit:,} images",
            metric="accuracy",
            value=round(scratch, 4),
            source=f"{name} of {source}: {variant}"
            + (", compared with training from scratch" if fields else ""),
        )
        seconds = statistics.fmean(run.end["seconds"] for run in runs)
        rows.append(
            Row(f"{begun.recipe.name} ({variant})", target, values, seconds, machine_of(runs[0]))
        )
        print(variant, [f"{value:.4f}" for value in values], f"mean {rows[-1].mean:.4f}")
    if given.results is not None:
        write_rows(given.results, rows)


if __name__ == "__main__":
    main()
