"""Commands that ask something of a finished run; each opens it, asks, and prints the answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from gradlab.cli import printing
from gradlab.cli.options import NO_MACHINE, Json, Machine, Split
from gradlab.errors import UserError

if TYPE_CHECKING:
    from gradlab.runs import Run

Layer = Annotated[str | None, Parameter(help="a module's name (before the last linear)")]


def features(
    run: Path,
    /,
    *,
    data: Annotated[str | None, Parameter(help="a dataset, or images (the run's own)")] = None,
    layer: Layer = None,
    split: Annotated[Split | None, Parameter(help="one (all)")] = None,
    pool: Annotated[Literal["mean", "max", "none"], Parameter(help="of maps, over space")] = "mean",
    machine: Machine = NO_MACHINE,
    out: Annotated[Path, Parameter(help="the file to write: .parquet or .npz")],
    json: Json = False,
) -> None:
    """Write what a layer of a run's network makes of each example."""
    from gradlab.explore import features as asked
    from gradlab.runs import load

    asked.check_suffix(out)
    found = asked.features(
        load(run, runtime=machine.runtime), data, layer=layer, split=split, pool=pool
    )
    printing.answer(found, (out,), json)


def similar(
    run: Path,
    image: str,
    /,
    *,
    data: Annotated[str | None, Parameter(help="where to look (the run's own train)")] = None,
    count: Annotated[int, Parameter(help="how many neighbours")] = 8,
    layer: Layer = None,
    split: Annotated[Split | None, Parameter(help="one (all)")] = None,
    machine: Machine = NO_MACHINE,
    out: Annotated[Path | None, Parameter(help="a picture of them: .png")] = None,
    json: Json = False,
) -> None:
    """Find the images that a network takes for the most like one."""
    from gradlab.explore import similar as asked
    from gradlab.runs import load

    if out is not None:
        asked.check_png(out)
    opened = load(run, runtime=machine.runtime)
    found = asked.similar(opened, image, data, count=count, layer=layer, split=split)
    printing.answer(found, (out,), json)


def explain(
    run: Path,
    text: str,
    /,
    *,
    machine: Machine = NO_MACHINE,
    out: Annotated[Path | None, Parameter(help="the text in colours: .png")] = None,
    json: Json = False,
) -> None:
    """Show which words of a text (or a .txt file) move a network's answer."""
    from gradlab.explore import explain as asked
    from gradlab.runs import load

    if out is not None:
        asked.check_out(out)
    printing.answer(asked.explain(load(run, runtime=machine.runtime), text), (out,), json)


def generate(
    run: Path,
    /,
    *,
    count: Annotated[int | None, Parameter(help="how many images (64)")] = None,
    interpolate: Annotated[
        bool, Parameter(negative="", help="rows of 8 images between random pairs")
    ] = False,
    prompt: Annotated[str | None, Parameter(help="the text to be written on (none)")] = None,
    temperature: Annotated[
        float | None, Parameter(help="below 1 likelier tokens alone, 0 the likeliest (1)")
    ] = None,
    top_k: Annotated[
        int | None, Parameter(help="draw among so many likeliest tokens (all)")
    ] = None,
    length: Annotated[int | None, Parameter(help="tokens to write (500)")] = None,
    seed: Annotated[int, Parameter(help="owner of all that is drawn")] = 0,
    out: Annotated[
        Path | None,
        Parameter(help="images: a grid (.png), arrays (.npz) or a folder of PNGs; a text: .txt"),
    ] = None,
    machine: Machine = NO_MACHINE,
    json: Json = False,
) -> None:
    """Make images with the run of a generator, or text with that of a language model."""
    from gradlab.explore import write
    from gradlab.runs import load

    opened = load(run, runtime=machine.runtime)
    images = {"count": count, "interpolate": interpolate or None}
    text = {"prompt": prompt, "temperature": temperature, "top_k": top_k, "length": length}
    made, other = (text, images) if write.writes(opened) else (images, text)
    for name, value in other.items():
        if value is not None:
            what = "text" if made is text else "images"
            raise UserError(f"--{name.replace('_', '-')}: {run} makes {what}: leave it out")
    given = {name: value for name, value in made.items() if value is not None}
    if made is text:
        _write(opened, given, seed, out, json)
    else:
        _images(opened, given, seed, out, json)


def _images(run: Run, given: dict[str, Any], seed: int, out: Path | None, json: bool) -> None:
    from gradlab.explore import generate as asked

    if out is None:
        raise UserError(f"--out: expected where the images go: {asked.KINDS}")
    asked.check_out(out)
    printing.answer(asked.generate(run, seed=seed, **given), (out,), json)


def _write(run: Run, given: dict[str, Any], seed: int, out: Path | None, json: bool) -> None:
    """Text on the terminal as it comes."""
    from gradlab.explore import write as asked

    if out is not None:
        asked.check_out(out)
    usual = {"prompt": "", "temperature": 1.0, "top_k": 0, "length": asked.LENGTH}
    writer = asked.writer(run, seed=seed, **{**usual, **given})
    for line in writer.notes:
        printing.note(line)
    text = printing.stream(writer.prompt, writer.pieces(), silent=json)
    printing.answer(writer.record(text), (out,), json, show_tables=False)


def judge(
    run: Path,
    /,
    *,
    by: Annotated[Path, Parameter(help="the run of a classifier of such images")],
    split: Annotated[Literal["val", "test"], Parameter(help="the real images")] = "test",
    count: Annotated[int, Parameter(help="images made (at most as many as the split has)")] = 10000,
    machine: Machine = NO_MACHINE,
    out: Annotated[Path | None, Parameter(help="a file of the figures: .json")] = None,
    json: Json = False,
) -> None:
    """Measure a generator's images in the features of a classifier."""
    from gradlab.explore import judge as asked
    from gradlab.runs import load

    if out is not None:
        asked.check_out(out)
    opened = load(run, runtime=machine.runtime)
    printing.answer(asked.judge(opened, by, split=split, count=count), (out,), json)


def latent(
    run: Path,
    /,
    *,
    split: Annotated[Split, Parameter(help="which split")] = "val",
    machine: Machine = NO_MACHINE,
    out: Annotated[Path | None, Parameter(help="a picture of both maps: .png")] = None,
    json: Json = False,
) -> None:
    """Measure an autoencoder beside PCA of the same size, and draw both maps of its examples."""
    from gradlab.explore import latent as asked
    from gradlab.runs import load

    if out is not None:
        asked.check_out(out)
    found = asked.latent(load(run, runtime=machine.runtime), split)
    printing.answer(found, (out,), json)


def play(
    run: Path,
    /,
    *,
    episodes: Annotated[int, Parameter(help="how many")] = 10,
    split: Annotated[
        Literal["play", "val", "test"],
        Parameter(help="whose seeds: kept for play alone, or those of an evaluation"),
    ] = "play",
    gif: Annotated[Path | None, Parameter(help="a film of the first episode: .gif")] = None,
    figure: Annotated[
        Path | None, Parameter(help="the values of the actions along it: .png")
    ] = None,
    machine: Machine = NO_MACHINE,
    json: Json = False,
) -> None:
    """Let a Q-network play, and say what it gained."""
    from gradlab.explore import play as asked
    from gradlab.runs import load

    places = {".gif": gif, ".png": figure}
    for kind, place in places.items():
        if place is not None and asked.file_kind(place) != kind:
            raise UserError(f"expected a file ending in {kind}, found {str(place)!r}")
    opened = load(run, runtime=machine.runtime)
    found = asked.play(opened, episodes, split=split, film=gif is not None)
    printing.answer(found, (gif, figure), json)


def words(
    run: Path,
    question: Literal["similar", "analogy", "odd", "eval", "map"],
    /,
    *of: Annotated[str, Parameter(help="the words that are asked about")],
    count: Annotated[int | None, Parameter(help="how many words (10; of a map 300)")] = None,
    analogies: Annotated[Path | None, Parameter(help="eval: a file (the usual one)")] = None,
    pairs: Annotated[Path | None, Parameter(help="eval: a file (WordSim-353)")] = None,
    out: Annotated[Path | None, Parameter(help="the figure: .png")] = None,
    json: Json = False,
) -> None:
    """Ask vectors of words: similar WORD, analogy A B C, odd WORD WORD WORD ..., eval, map."""
    from gradlab.explore import words as asked

    if out is not None:
        asked.check_out(out)
    found = asked.words(run, question, of, count=count, analogies=analogies, pairs=pairs)
    printing.answer(found, (out,), json, show_tables=question != "map" or out is None)


def vectors(
    run: Path,
    /,
    *,
    out: Annotated[
        Path, Parameter(help="the file to write: .txt or .vec (text), .bin (binary), .npz")
    ],
    json: Json = False,
) -> None:
    """Write the vectors of a run's words in the formats of word2vec."""
    from gradlab.explore import vectors as asked
    from gradlab.models.word_vectors import check_out

    check_out(out)
    printing.answer(asked.vectors(run), (out,), json)


def backtest(
    run: Path,
    /,
    *,
    windows: Annotated[int, Parameter(help="moments of each series to forecast from")] = 10,
    split: Annotated[Literal["val", "test"], Parameter(help="of which times")] = "test",
    data: Annotated[str | None, Parameter(help="a table of your own instead")] = None,
    every: Annotated[int | None, Parameter(help="steps between two (the horizon)")] = None,
    machine: Machine = NO_MACHINE,
    out: Annotated[
        Path | None, Parameter(help="the forecasts (.csv, .parquet), or a picture (.png)")
    ] = None,
    json: Json = False,
) -> None:
    """Forecast a series from moments of its past, beside what came and what guessing reaches."""
    from gradlab.explore import backtest as asked
    from gradlab.runs import load

    if out is not None:
        asked.check_out(out)
    opened = load(run, runtime=machine.runtime)
    found = asked.backtest(opened, windows, split=split, data=data, every=every)
    for line in found.notes:
        printing.note(line)
    printing.answer(found, (out,), json)


COMMANDS = (
    features, similar, explain, generate, judge, latent, play, words, vectors, backtest,
)  # fmt: skip
