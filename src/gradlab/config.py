"""Every configuration of gradlab, as frozen pydantic models that refuse unknown keys.

A `Recipe` is all that is needed to repeat a training. The command line, the JSON in a run and
every form are derived from these classes; nothing here imports torch.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Config(BaseModel):
    """The base of all: frozen, unknown keys forbidden."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )


class Choice(BaseModel):
    """A registered name with options of its own, which its registry checks."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = Field(description="the registered name")

    @property
    def options(self) -> dict[str, Any]:
        """What is given beside the name."""
        return dict(self.model_extra or {})


LARGEST_SIDE = 4096
"""Pixels."""

MOST = 10**9
"""Of epochs, updates, examples: more than anybody waits for."""


class Augment(Config):
    """Random changes of training images; each works on a whole batch, and 0 leaves it out."""

    shift: int = Field(
        0, ge=0, le=LARGEST_SIDE, description="move by up to this many pixels, edges filled black"
    )
    crop: int = Field(
        0, ge=0, le=LARGEST_SIDE, description="pad by this many pixels and cut out at random"
    )
    flip: bool = Field(False, description="mirror left to right, half of the images")
    rotate: float = Field(0.0, ge=0, le=180, description="turn by up to this many degrees")
    scale: float = Field(0.0, ge=0, lt=1, description="resize by a factor of 1 -+ this")
    brightness: float = Field(0.0, ge=0, description="multiply by a factor of 1 -+ this")
    contrast: float = Field(0.0, ge=0, description="spread around the mean by 1 -+ this")
    saturation: float = Field(0.0, ge=0, description="spread colours around grey by 1 -+ this")
    hue: float = Field(0.0, ge=0, le=0.5, description="turn colours by up to this share of a turn")
    resized_crop: float = Field(
        0.0, ge=0, le=1, description="cut out at least this share of the area and enlarge it"
    )
    cutout: int = Field(
        0, ge=0, le=LARGEST_SIDE, description="blacken a square of this many pixels a side"
    )
    mixup: float = Field(0.0, ge=0, description="mix pairs of examples by Beta(this, this)")


def _typed(value: Any) -> Any:
    """A whole number typed on a command line; a Literal alone takes no text."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _image_size(value: Any) -> int | str:
    """A side in pixels, or WIDTHxHEIGHT; a square is always written as its side."""
    found = re.fullmatch(r"([0-9]{1,9})(?:x([0-9]{1,9}))?", str(value).strip().lower())
    width, height = (int(side or found[1]) for side in found.groups()) if found else (-1, -1)
    least = 1 if found and found[2] else 0
    if not least <= min(width, height) <= max(width, height) <= LARGEST_SIDE:
        raise ValueError(
            f"expected the side in pixels (32) or WIDTHxHEIGHT (64x48), of at most {LARGEST_SIDE}"
        )
    return width if width == height else f"{width}x{height}"


ImageSize = Annotated[int | str, BeforeValidator(_image_size)]


class TokensConfig(Config):
    """How text is cut into tokens, and which of them make up the vocabulary."""

    name: Literal["character", "word", "space", "bpe"] = Field(
        "word", description="character, word, space (split already), or bpe (learnt pieces)"
    )
    lower: bool = Field(False, description="make capitals small")
    minimum: int = Field(1, ge=1, le=MOST, description="a rarer token is unknown")
    most: int = Field(30_000, ge=1, le=10_000_000, description="the most frequent ones alone")
    longest: int = Field(0, ge=0, le=MOST, description="tokens kept of each text (0: all)")


class DataConfig(Config):
    """Where the examples come from, and how they become three splits."""

    name: str = Field("digits", description="a named set, or the path of one's own data")
    target: str | None = Field(None, description="the column to predict, for a table")
    target_kind: Literal["auto", "class", "number", "none"] = Field(
        "auto",
        description="what is predicted (auto: by a table's values; none: images need no class)",
    )
    group: str | None = Field(
        None, description="a table's column whose equal values stay in one split; no input"
    )
    time: str | None = Field(
        None, description="a table's column by which the last examples are held out; no input"
    )
    text: str | None = Field(None, description="a table's column of texts, the only input")
    series: str | None = Field(
        None, description="a table's column that tells its series apart, for forecasts"
    )
    window: int = Field(
        0, ge=0, le=100_000, description="steps of a series that are looked back on (0: by season)"
    )
    horizon: int = Field(
        0, ge=0, le=100_000, description="steps of a series to forecast (0: the table is no series)"
    )
    drop: tuple[str, ...] = Field((), description="a table's columns that are no inputs: a,b")
    header: Literal["first", "none"] = Field(
        "first", description="a CSV's line of column names (none: they are column_1, column_2, ...)"
    )
    val_file: str = Field("", description="a table of its own for val")
    test_file: str = Field("", description="a table of its own for test")
    val: float = Field(0.1, ge=0, lt=1, description="share of train held out when there is no val")
    test: float = Field(0.15, ge=0, lt=1, description="share held out when there is no test")
    split_seed: int = Field(
        0, ge=0, le=MOST, description="owner of the random split; not the run's seed"
    )
    limit: int = Field(
        0, ge=0, le=MOST, description="keep so many training examples (0: all of them)"
    )
    image_size: ImageSize = Field(
        0, description="pixels: the side of a square (32) or WIDTHxHEIGHT (64x48); 0: as they are"
    )
    channels: Annotated[Literal[0, 1, 3], BeforeValidator(_typed)] = Field(
        0, description="1 grey, 3 colour (0: as they are)"
    )
    unreadable: Literal["skip", "any", "refuse"] = Field(
        "skip",
        description="images that cannot be read (skip: left out, but more than a tenth of all is "
        "refused; any: left out, however many; refuse: none may be there)",
    )
    augment: Augment = Field(Augment(), description="random changes of the training images")
    tokens: TokensConfig = Field(TokensConfig(), description="how text becomes numbers")
    encoding: str = Field("utf-8", description="of text files")

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width that images are brought to; None: as they are."""
        sides = [int(side) for side in str(self.image_size).split("x")]
        return (sides[-1], sides[0]) if sides[0] else None


Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimizerConfig(Config):
    """How parameters follow their gradients."""

    name: Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"] = Field(
        "adamw", description="the rule of the update"
    )
    lr: float = Field(1e-3, gt=0, description="learning rate, the peak of the schedule")
    momentum: float = Field(0.9, ge=0, lt=1, description="for momentum and nesterov")
    betas: tuple[Beta, Beta] = Field((0.9, 0.999), description="for adam and adamw")
    eps: float | None = Field(None, gt=0, description="for the adaptive rules (their default)")
    weight_decay: float = Field(0.0, ge=0, description="strength of weight decay")
    decay_all: bool = Field(False, description="decay biases and normalisation parameters too")


class ScheduleConfig(Config):
    """How the learning rate goes over the training."""

    name: Literal["constant", "linear", "step", "cosine", "one_cycle", "plateau"] = Field(
        "constant", description="the shape"
    )
    warmup: float = Field(0.0, ge=0, description="epochs of linear warm-up from 0")
    milestones: tuple[float, ...] = Field((0.5, 0.75), description="step: shares of the training")
    gamma: float = Field(0.1, gt=0, lt=1, description="step and plateau: factor of each fall")
    patience: int = Field(
        3, ge=0, le=MOST, description="plateau: epochs without improvement before a fall"
    )
    rise: float = Field(0.3, gt=0, lt=1, description="one_cycle: share of the training that rises")
    start: float = Field(
        0.04, gt=0, le=1, description="one_cycle: first learning rate, of the peak"
    )
    end: float = Field(
        0.0, ge=0, le=1, description="linear, cosine, one_cycle: last one, of the peak"
    )


class Transfer(Config):
    """What a training begins with: initial values, or pretrained weights."""

    init: Literal["default", "zeros", "constant", "normal", "xavier", "he", "orthogonal"] = Field(
        "default", description="initial values (default: those that fit the family)"
    )
    weights: str = Field(
        "", description="to begin with: a run, a .safetensors or .pth file, or a published name"
    )
    embedding: str = Field(
        "", description="word vectors to begin with: a run of word2vec, or a file of vectors"
    )
    freeze: Literal["nothing", "features", "embedding"] = Field(
        "nothing",
        description="features: train only the last layer; embedding: all but the word vectors",
    )
    unfreeze_after: int = Field(
        0, ge=0, le=MOST, description="epochs after which all is trained (0: never)"
    )
    backbone_lr: float = Field(
        1.0, ge=0, description="learning rate of all but the last layer (the head), times"
    )
    unfrozen_lr: float = Field(
        1.0, gt=0, description="learning rate of everything once all is trained, times"
    )
    keep_batch_norm: bool = Field(
        False, description="batch norm keeps the figures that the weights came with"
    )
    views: int = Field(
        1,
        ge=0,
        le=1000,
        description="frozen layers are asked once for so many views of each example, of which "
        "all but the first are augmented (0: anew in each epoch)",
    )


class Plan(Config):
    """How long to train, in what portions, and when to stop, log and save."""

    epochs: int = Field(10, ge=1, le=MOST, description="passes over the training split")
    updates: int = Field(
        0,
        ge=0,
        le=MOST,
        description="at least so many updates: a small dataset is gone through more often",
    )
    batch_size: int = Field(64, ge=1, le=MOST, description="examples in one update")
    accumulate: int = Field(
        1, ge=1, le=MOST, description="parts a batch is cut into, to save memory"
    )
    clip_norm: float = Field(0.0, ge=0, description="largest norm of the gradient (0: no limit)")
    patience: int = Field(
        0, ge=0, le=MOST, description="stop after so many epochs without improvement"
    )
    min_epochs: int = Field(
        0, ge=0, le=MOST, description="epochs before patience may stop the training"
    )
    monitor: str | None = Field(None, description="the val metric that decides (None: the task's)")
    goal: Literal["min", "max"] | None = Field(None, description="which way it improves")
    keep: Literal["best", "last"] = Field(
        "best", description="the epoch whose weights are the result (last: val chooses none)"
    )
    log_steps: int = Field(50, ge=1, le=MOST, description="steps between two lines of the log")
    checkpoint_seconds: float = Field(60.0, ge=0, description="time between two checkpoints")
    divergence: float = Field(20.0, gt=1, description="stop at so many times the first loss")


class Target(Config):
    """A published figure that a recipe must reach."""

    dataset: str = Field(description="the named set it was measured on")
    metric: str = Field(description="the test metric")
    value: float = Field(description="the figure to reach")
    goal: Literal["min", "max"] | None = Field(
        None, description="which way is better (None: the metric's own)"
    )
    source: str = Field(description="who published it, or why it is set")


class Recipe(Config):
    """A training as a value: model, dataset, task, optimizer and plan."""

    name: str = Field(description="the recipe's name")
    summary: str = Field("", description="what it is, in a line")
    kind: str = Field("my own", description="the kind of problem, for the list of recipes")
    paper: str = Field("", description="where it comes from")
    departures: tuple[str, ...] = Field((), description="what is done otherwise than in the paper")
    targets: tuple[Target, ...] = Field((), description="published figures to reach")
    model: Choice = Field(description="the network and its options")
    task: Choice = Field(Choice(name="auto"), description="what is asked, and its options")
    data: DataConfig = Field(DataConfig(), description="the dataset")
    transfer: Transfer = Field(Transfer(), description="what the training begins with")
    optimizer: OptimizerConfig = Field(OptimizerConfig(), description="the optimizer")
    schedule: ScheduleConfig = Field(ScheduleConfig(), description="the learning rate over time")
    plan: Plan = Field(Plan(), description="how long, in what portions")
    seed: int = Field(0, ge=0, lt=2**31, description="owner of all randomness but the split")


class Runtime(Config):
    """The machine's part of a training: chosen when a run is started or opened.

    It is recorded beside the recipe and never part of it.
    """

    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="of arithmetic")
    threads: int = Field(
        0, ge=0, le=1024, description="of the processor (0: by the size of a batch's work)"
    )
