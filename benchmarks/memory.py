"""Peak memory of training LeNet-5 on MNIST, over that of importing torch.

    python benchmarks/memory.py [--rounds 3]

The peak resident memory of a fresh process each: one that imports torch, and one that trains an
epoch through `gradlab.train`, from reading the files to the report.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile

from common import begin, in_turn, medians, spread, table, verdict

TARGET = 250


def peak() -> float:
    """The peak resident memory of this process so far, in MB of 10^6 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def importing() -> float:
    import torch  # noqa: F401

    return peak()


def training() -> float:
    import gradlab

    with tempfile.TemporaryDirectory() as out:
        gradlab.train("lenet5", data="mnist", epochs=1, out=out, progress=False)
    return peak()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    begin()
    samples = in_turn({"import torch": (importing,), "train": (training,)}, options.rounds)
    middle = medians(samples)
    more = middle["train"] - middle["import torch"]
    print(
        table(
            ("process", "peak MB (median)", "range", "MB over import torch"),
            [
                (name, f"{middle[name]:.0f}", spread(values),
                 f"{more:.0f}" if name == "train" else "")
                for name, values in samples.items()
            ],
        )
    )  # fmt: skip
    print("\n" + verdict(more, TARGET, "max", "MB over importing torch"))


if __name__ == "__main__":
    main()
