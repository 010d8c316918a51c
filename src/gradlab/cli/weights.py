"""Commands about published weights: list, get."""

from __future__ import annotations

from cyclopts import App

from gradlab import terminal
from gradlab.cli import printing
from gradlab.cli.options import Json

app = App(name="weights", help="Published ImageNet weights: list, get.")


@app.command(name="list")
def weights_list(*, json: Json = False) -> None:
    """List the published weights, and which of them are here."""
    from gradlab.tasks.published import PUBLISHED

    rows = [
        {
            "weights": name,
            "file": found.file,
            "path": str(found.path),
            "here": found.here,
            "package": found.package.replace("_", "-"),
            "checked_digits": len(found.remote.sha256),
        }
        for name, found in PUBLISHED.items()
    ]
    printing.emit(
        {"weights": rows},
        json,
        lambda: terminal.table(
            ("weights", "file", "here", "from", "digits of SHA-256 checked"),
            [
                (
                    row["weights"],
                    row["file"],
                    "yes" if row["here"] else "",
                    row["package"] or "download",
                    row["checked_digits"],
                )
                for row in rows
            ],
        ),
    )


@app.command(name="get")
def weights_get(name: str, /, *, json: Json = False) -> None:
    """Get published weights, checked; then: train RECIPE --weights NAME."""
    from gradlab.tasks.published import get

    path = get(name)
    printing.emit({"weights": name, "path": str(path)}, json, lambda: terminal.say(str(path)))
