"""What is to be said of a training that has ended."""

from __future__ import annotations

from collections.abc import Mapping

from gradlab.measures import measure


def warnings(
    metrics: Mapping[str, Mapping[str, float]],
    baselines: Mapping[str, Mapping[str, Mapping[str, float]]],
    monitor: str,
) -> list[str]:
    """A plain sentence for each baseline that the network does not beat on the held-out split."""
    split = next((name for name in ("val", "test") if name in metrics and name in baselines), "")
    if not split or monitor not in metrics[split]:
        return []
    known = measure(monitor)
    reached = metrics[split][monitor]
    found = []
    for name, figures in baselines[split].items():
        if monitor not in figures:
            continue
        theirs = figures[monitor]
        better = reached < theirs if known.goal == "min" else reached > theirs
        if not better:
            found.append(
                f"the network is no better than the baseline {name!r} on {split}: {monitor} "
                f"{known.text(reached)}, {name} {known.text(theirs)}"
            )
    return found
