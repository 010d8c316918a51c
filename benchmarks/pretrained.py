"""The recipe `photos` on two sets of photos, beside the same network from initial values.

    python benchmarks/pretrained.py              # both sets, three seeds: most of an hour
    python benchmarks/pretrained.py --set hymenoptera --seeds 1

Hymenoptera (ants and bees): its val folder is the test split here, and is read once, at the end;
the val split that a training chooses by is cut off its train folder. UCM (21 classes of 100 aerial
photos, by their numbers): a random 80/20 split, another one for each seed. Accuracy on test; the
seconds are those of the whole command, decoding (once, then kept) and final evaluation included.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from common import CORES, begin, say, table, verdict

TARGETS = {"hymenoptera": (0.94, 180.0), "ucm": (0.97, 600.0)}
"""The accuracy to reach, and in how many seconds at most."""


def hymenoptera(given: Path, folder: Path) -> dict[str, Any]:
    """train as it is, val as test; what to train with."""
    shutil.copytree(given / "hymenoptera" / "train", folder / "train")
    shutil.copytree(given / "hymenoptera" / "val", folder / "test")
    return {}


def ucm(given: Path, folder: Path) -> dict[str, Any]:
    """A folder for each class: image i is of class (i - 1) // 100."""
    for path in (given / "ucm_captions_jpeg" / "imgs").glob("*.jpg"):
        place = folder / f"{(int(path.stem) - 1) // 100:02}"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place / path.name)
    return {"data.test": 0.2}


SETS = {"hymenoptera": hymenoptera, "ucm": ucm}


def train(folder: Path, out: Path, seed: int, fields: dict[str, Any]) -> tuple[Any, float, float]:
    """The run, its seconds, and those of the processor."""
    import gradlab

    began, worked = time.perf_counter(), time.process_time()
    run = gradlab.train(
        "photos", data=str(folder), out=out, seed=seed, threads=CORES,
        **{"data.split_seed": seed, "progress": False, **fields},
    )  # fmt: skip
    return run, time.perf_counter() - began, time.process_time() - worked


def from_scratch(run: Any, epochs: int) -> dict[str, Any]:
    """The same network and images, from initial values."""
    return {
        "model": run.recipe.model.name, "weights": "", "freeze": "nothing", "lr": 1e-3,
        "transfer.batch_norm": "learn", "schedule": "one_cycle", "schedule.warmup": 0,
        "data.image_size": run.recipe.data.image_size, "epochs": epochs,
        "plan.min_epochs": 0, "plan.patience": 0,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=list(SETS), default=None, help="one (both)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scratch_epochs", type=int, default=8, help="0: leave it out")
    options = parser.parse_args()
    begin()
    given = Path(os.environ["GRADLAB_DATA"]).resolve()
    rows, said = [], []
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["GRADLAB_CACHE"] = str(Path(scratch) / "cache")
        for name in [options.set] if options.set else SETS:
            folder = Path(scratch) / name
            fields = SETS[name](given, folder)
            found: dict[str, list[tuple[Any, float, float]]] = {"photos": [], "from scratch": []}
            for seed in range(options.seeds):
                found["photos"].append(train(folder, Path(scratch) / "runs", seed, fields))
                say(f"{name}, seed {seed}: {found['photos'][-1][0].metrics['test']}")
                if options.scratch_epochs:
                    again = from_scratch(found["photos"][-1][0], options.scratch_epochs)
                    runs = Path(scratch) / "scratch"
                    found["from scratch"].append(train(folder, runs, seed, {**fields, **again}))
                    say(f"  from scratch: {found['from scratch'][-1][0].metrics['test']}")
            for party, runs in found.items():
                if not runs:
                    continue
                scores = [run.metrics["test"]["accuracy"] for run, _, _ in runs]
                recipe = runs[0][0].recipe
                rows.append(
                    (
                        f"{name}: {recipe.model.name}, {party}",
                        f"{statistics.fmean(scores):.2%}",
                        f"{statistics.stdev(scores) if len(scores) > 1 else 0:.2%}",
                        len(scores),
                        recipe.plan.epochs,
                        f"{max(seconds for _, seconds, _ in runs):.0f}",
                        f"{max(worked for _, _, worked in runs):.0f}",
                    )
                )
                if party == "photos":
                    least, most = TARGETS[name]
                    longest = max(seconds for _, seconds, _ in runs)
                    said.append(
                        verdict(statistics.fmean(scores), least, "min", f"accuracy on {name}")
                    )
                    said.append(verdict(longest, most, "max", f"seconds for {name}"))
    header = (
        "set: network, begun with", "accuracy", "standard deviation", "seeds", "epochs",
        "seconds, at most", "of the processor",
    )  # fmt: skip
    print(table(header, rows))
    print("\n".join(said))


if __name__ == "__main__":
    main()
