"""How long `gradlab --help` and `import gradlab` take, and what they load.

    python benchmarks/startup.py [--rounds 15]

The wall time of whole processes, beside one that does nothing. Neither may load torch or numpy.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from common import begin, medians, spread, table, verdict

TARGETS = {"gradlab --help": 0.25, "import gradlab": 0.1}
HEAVY = ("torch", "numpy")
COMMAND = Path(sys.executable).with_name("gradlab")
CASES = {
    "python alone": [sys.executable, "-c", "pass"],
    "import gradlab": [sys.executable, "-c", "import gradlab"],
    "gradlab --help": [str(COMMAND), "--help"],
}
LOADED = "; import sys; print(*sorted(sys.modules), file=sys.stderr)"
SHOWN = {
    "import gradlab": "import gradlab",
    "gradlab --help": "from gradlab.cli import main; main(['--help'])",
}


def seconds(command: list[str]) -> float:
    """The wall time of a process."""
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def heavy(statement: str) -> list[str]:
    """Those of the heavy modules that a statement loads."""
    found = subprocess.run(
        [sys.executable, "-c", statement + LOADED], check=True, capture_output=True, text=True
    )
    loaded = found.stderr.split()
    return [name for name in HEAVY if name in loaded]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    begin()
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(options.rounds):
        for name, command in CASES.items():
            times[name].append(seconds(command))
    middle = medians(times)
    loads = {name: heavy(statement) for name, statement in SHOWN.items()}
    print(
        table(
            ("process", "seconds (median)", "range", "loads torch or numpy"),
            [
                (name, f"{middle[name]:.3f}", spread(values, ".3f"),
                 ", ".join(loads.get(name, [])) or "no")
                for name, values in times.items()
            ],
        )
    )  # fmt: skip
    print()
    for name, target in TARGETS.items():
        print(f"{name}: {verdict(middle[name], target, 'max', 's')}")
    if any(loads.values()):
        raise SystemExit(f"a heavy module is loaded: {loads}")


if __name__ == "__main__":
    main()
