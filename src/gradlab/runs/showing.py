"""The results of a run as people read them."""

from __future__ import annotations

from gradlab.runs.ensemble import HEADER, Ensemble
from gradlab.runs.run import Run
from gradlab.terminal import metric, say, table


def show_run(run: Run) -> None:
    """The metrics of each split beside the baselines, the time, and where the report is."""
    summary = run.summary
    metrics: dict[str, dict[str, float]] = summary["metrics"]
    names = list(dict.fromkeys(name for figures in metrics.values() for name in figures))
    if names:
        table(
            ("", *metrics),
            [
                (name, *(metric(name, figures.get(name)) for figures in metrics.values()))
                for name in names
            ],
        )
    show_baselines(summary["baselines"])
    for line in summary["notes"]:
        say(f"note: {line}")
    for found in summary["verdict"]:
        say(f"verdict: {found['evidence']}. Try {found['fix']}")
    if isinstance(run, Ensemble):
        split = "test" if "test" in metrics else "val"
        say(f"the {len(run.paths)} members and their ensemble on {split}:")
        table(HEADER, [gain.cells() for gain in run.gain(split)])
        say(f"{summary['seconds']:.1f} s; ensemble: {run.path}")
        return
    rate = summary["examples_per_second"]
    speed = f", {rate:,.0f} examples/s" if rate else ""
    say(f"{summary['seconds']:.1f} s{speed}, best epoch {summary['best_epoch']}")
    if run.has_report:
        say(f"report: {run.path / 'report.html'}")


def show_baselines(baselines: dict[str, dict[str, dict[str, float]]]) -> None:
    """A column for each baseline, with its figures on the split that counts."""
    known = [name for name in ("test", "val", "train") if name in baselines]
    split = next(iter([*known, *baselines]), "")
    found = baselines.get(split, {})
    names = dict.fromkeys(key for figures in found.values() for key in figures)
    if names:
        table(
            (f"baselines on {split}", *found),
            [(name, *(metric(name, row.get(name)) for row in found.values())) for name in names],
        )
