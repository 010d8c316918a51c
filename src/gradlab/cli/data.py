"""Commands about datasets: list, get, check, clear."""

from __future__ import annotations

from cyclopts import App

from gradlab import terminal
from gradlab.cli import printing
from gradlab.cli.options import Fields, Json, dotted

app = App(name="data", help="Datasets: list, get, check, clear.")


@app.command(name="list")
def data_list(*, json: Json = False) -> None:
    """List the named datasets."""
    from gradlab.data.here import is_here
    from gradlab.data.sources import datasets

    rows = [
        (name, (datasets[name].__doc__ or "").split("\n")[0], is_here(name)) for name in datasets
    ]
    printing.emit(
        {"datasets": [{"name": n, "summary": said, "here": here} for n, said, here in rows]},
        json,
        lambda: terminal.table(
            ("dataset", "what it is", "here"),
            [(name, said, "yes" if here else "downloaded at first") for name, said, here in rows],
        ),
    )


@app.command(name="get")
def data_get(name: str, /, *, json: Json = False) -> None:
    """Download a named dataset into the cache."""
    from gradlab.data.sources import get

    files = [str(path) for path in get(name)]
    printing.emit(
        {"dataset": name, "files": files},
        json,
        lambda: terminal.say("\n".join(files) or f"{name} comes with gradlab: nothing to download"),
    )


@app.command(name="check")
def data_check(data: str, /, *, json: Json = False, **fields: Fields) -> None:
    """Look a dataset over: counts, broken files, duplicates, leaks, imbalance, columns."""
    from gradlab.config import DataConfig
    from gradlab.data.check import check
    from gradlab.dotted import override

    given = {key.removeprefix("data."): value for key, value in dotted(fields).items()}
    found = check(override(DataConfig(), {"name": data, **given}, where="data"))
    printing.emit(found.to_dict(), json, lambda: terminal.say(found.text()))
    if any(issue.level == "error" for issue in found.issues):
        raise SystemExit(2)


@app.command(name="clear")
def data_clear(*, json: Json = False) -> None:
    """Remove the images that are kept decoded; they are decoded again when they are needed."""
    from gradlab.data.image_store import cache_folder, trim

    removed, used = trim(0)
    record = {"folder": str(cache_folder()), "removed_bytes": removed, "entries_in_use": used}
    said = f"removed {removed / 1e6:,.1f} MB from {record['folder']}"
    kept = f"; {used} in use and kept" if used else ""
    printing.emit(record, json, lambda: terminal.say(said + kept))
