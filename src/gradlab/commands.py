"""Commands beside those of a training: published weights, and what a network gives beside its
answers. `gradlab.cli` puts them in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from gradlab import printing

Json = Annotated[bool, Parameter(negative="", help="print one JSON object on stdout")]
Fields = Annotated[
    str, Parameter(help="any other field of the recipe by its dotted name: --optimizer.lr 0.01")
]


weights_app = App(name="weights", help="Published ImageNet weights: list, get.")


@weights_app.command(name="list")
def weights_list(*, json: Json = False) -> None:
    """List the published weights, and which of them are in the cache."""
    from gradlab.tasks.published import PUBLISHED

    rows = [
        {
            "weights": name,
            "file": found.file,
            "path": str(found.path),
            "here": found.path.is_file(),
            "checked_digits": len(found.remote.sha256),
        }
        for name, found in PUBLISHED.items()
    ]
    printing.emit(
        {"weights": rows},
        json,
        lambda: printing.table(
            ("weights", "file", "in the cache", "digits of SHA-256 checked"),
            [
                (row["weights"], row["file"], "yes" if row["here"] else "", row["checked_digits"])
                for row in rows
            ],
        ),
    )


@weights_app.command(name="get")
def weights_get(name: str, /, *, json: Json = False) -> None:
    """Download published weights into the cache; then: train RECIPE --weights NAME."""
    from gradlab.tasks.published import get

    path = get(name)
    printing.emit({"weights": name, "path": str(path)}, json, lambda: print(path))


def features(
    run: Path,
    /,
    *,
    data: Annotated[str | None, Parameter(help="a dataset, or images (the run's own)")] = None,
    layer: Annotated[str | None, Parameter(help="a module's name (before the last linear)")] = None,
    split: Annotated[Literal["train", "val", "test"] | None, Parameter(help="one (all)")] = None,
    pool: Annotated[Literal["mean", "max", "none"], Parameter(help="of maps, over space")] = "mean",
    out: Annotated[Path, Parameter(help="the file to write: .parquet or .npz")],
    json: Json = False,
) -> None:
    """Write what a layer of a run's network makes of each example."""
    from gradlab.recipes.features import check_suffix
    from gradlab.recipes.features import features as features_of

    check_suffix(out)
    found = features_of(run, data, layer=layer, split=split, pool=pool)
    found.save(out)
    record = {"run": str(run), "out": str(out), **found.summary}
    counts = ", ".join(f"{name} {count:,}" for name, count in record["examples"].items())
    said = f"{record['features']} features of {counts} ({found.layer}): {out}"
    printing.emit(record, json, lambda: print(said))


def similar(
    run: Path,
    image: str,
    /,
    *,
    data: Annotated[str | None, Parameter(help="where to look (the run's own train)")] = None,
    count: Annotated[int, Parameter(help="how many neighbours")] = 8,
    layer: Annotated[str | None, Parameter(help="a module's name (before the last linear)")] = None,
    split: Annotated[Literal["train", "val", "test"] | None, Parameter(help="one (all)")] = None,
    out: Annotated[Path | None, Parameter(help="a picture of them: .png")] = None,
    json: Json = False,
) -> None:
    """Find the images that a network takes for the most like one."""
    from gradlab.recipes.similar import check_png
    from gradlab.recipes.similar import similar as similar_to

    if out is not None:
        check_png(out)
    found = similar_to(run, image, data, count=count, layer=layer, split=split)
    if out is not None:
        found.save_grid(out)
    record = {"run": str(run), **found.to_dict(), "out": None if out is None else str(out)}

    def show() -> None:
        printing.table(
            ("image", "label", "similarity"),
            [
                (n.id, "" if n.label is None else printing.number(n.label), f"{n.similarity:.4f}")
                for n in found.neighbours
            ],
        )
        if out is not None:
            print(f"picture: {out}")

    printing.emit(record, json, show)


def generate(
    run: Path,
    /,
    *,
    count: Annotated[int, Parameter(help="how many images")] = 64,
    out: Annotated[Path, Parameter(help="a grid (.png), arrays (.npz) or a folder of PNGs")],
    seed: Annotated[int, Parameter(help="owner of the latent numbers")] = 0,
    interpolate: Annotated[
        bool, Parameter(negative="", help="rows of 8 images between random pairs")
    ] = False,
    json: Json = False,
) -> None:
    """Make images with the run of a generator."""
    from gradlab.recipes import generate as making

    making.check_out(out)
    images = making.generate(run, count, seed=seed, interpolate=interpolate)
    making.save(images, out, columns=making.STEPS if interpolate else 0)
    number, height, width, channels = images.shape
    record = {"run": str(run), "out": str(out), "count": number, "seed": seed}
    record |= {"width": width, "height": height, "channels": channels}
    printing.emit(record, json, lambda: print(f"{number} images of {width}x{height}: {out}"))


def judge(
    run: Path,
    /,
    *,
    by: Annotated[Path, Parameter(help="the run of a classifier of such images")],
    split: Annotated[Literal["val", "test"], Parameter(help="the real images")] = "test",
    count: Annotated[int, Parameter(help="images made (at most as many as the split has)")] = 10000,
    json: Json = False,
) -> None:
    """Measure a generator's images in the features of a classifier."""
    from gradlab.recipes.generate import judge as judged

    found = judged(run, by, split=split, count=count)
    record = {"run": str(run), "by": str(by), "split": split, **found.to_dict()}

    def show() -> None:
        printing.table(("metric", split), [(n, f"{v:.4g}") for n, v in found.metrics.items()])
        printing.table(
            ("class", "real", "generated", "covered"),
            [
                (name, f"{s.real:.2%}", f"{s.generated:.2%}", "yes" if s.covered else "no")
                for name, s in found.shares.items()
            ],
        )

    printing.emit(record, json, show)


def latent(
    run: Path,
    /,
    *,
    split: Annotated[Literal["train", "val", "test"], Parameter(help="which split")] = "val",
    out: Annotated[Path | None, Parameter(help="a picture of both maps: .png")] = None,
    json: Json = False,
) -> None:
    """Measure an autoencoder beside PCA of the same size, and draw both maps of its examples."""
    from gradlab.recipes.latent import latent as latent_of
    from gradlab.recipes.similar import check_png

    if out is not None:
        check_png(out)
    found = latent_of(run, split)
    if out is not None:
        found.save(out)
    record = {**found.to_dict(), "out": None if out is None else str(out)}

    def show() -> None:
        printing.table(
            (f"{found.code} numbers for an example", f"mse on {split}"),
            [("autoencoder", f"{found.mse:.5f}"), ("PCA", f"{found.pca_mse:.5f}")],
        )
        if out is not None:
            print(f"picture: {out}")

    printing.emit(record, json, show)


def play(
    run: Path,
    /,
    *,
    episodes: Annotated[int, Parameter(help="how many")] = 10,
    gif: Annotated[Path | None, Parameter(help="a film of the first episode: .gif")] = None,
    figure: Annotated[
        Path | None, Parameter(help="the values of the actions along it: .png")
    ] = None,
    json: Json = False,
) -> None:
    """Let a Q-network play, and say what it gained."""
    from gradlab.recipes.play import play as play_episodes

    found = play_episodes(run, episodes, gif=gif, figure=figure)
    written = [str(path) for path in (gif, figure) if path is not None]
    record = {"run": str(run), **found.to_dict(), "written": written}

    def show() -> None:
        gained = record["return"]
        print(
            f"{found.environment}: return {gained['mean']:.1f} +- {gained['std']:.1f} over "
            f"{episodes} episodes"
        )
        for path in written:
            print(f"written: {path}")

    printing.emit(record, json, show)
