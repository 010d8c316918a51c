"""The one option to try, as a person would type it."""

from __future__ import annotations

from typing import Any

from gradlab.config import Recipe
from gradlab.recipes.options import shortest

ADAPTIVE = frozenset({"adam", "adamw", "rmsprop"})
"""Rules that divide by the size of the gradient: one rate suits nearly all networks."""
USUAL = 1e-3
"""That rate."""


class Fixes:
    """Options of one recipe: on the command line `--lr 0.01`, in Python `lr=0.01`.

    Python is where the network was brought along in Python.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.python = recipe.model.name == "own"

    def option(self, dotted: str, value: Any) -> str:
        """A field or option with a value."""
        name = shortest(dotted)
        if self.python:
            text = f"{value:.3g}" if isinstance(value, float) else repr(value)
            return f"{name}={text}" if "." not in name else f'**{{"{name}": {text}}}'
        text = f"{value:.3g}" if isinstance(value, float) else str(value).lower()
        return f"--{name.replace('_', '-')} {text}"

    def lr(self, factor: float) -> str:
        """The learning rate times a factor; what an adaptive rule bears is known without trying."""
        chosen = self.recipe.optimizer
        lr = chosen.lr * factor
        if chosen.name in ADAPTIVE:
            lr = max(lr, USUAL) if factor > 1 else min(lr, 3 * USUAL)
        return self.option("optimizer.lr", float(f"{lr:.3g}"))

    def has(self, option: str) -> bool:
        """Whether the recipe's network is a registered one with such an option."""
        from gradlab.models import models

        name = self.recipe.model.name
        return name in models and option in models.options(name).model_fields

    def model(self, option: str) -> Any:
        """The value of an option of the network, given or not; None where it has no such."""
        from gradlab.models import models

        if not self.has(option):
            return None
        default = models.options(self.recipe.model.name).model_fields[option].default
        return self.recipe.model.options.get(option, default)

    def regularise(self) -> str:
        """More dropout where the network has it; else more weight decay."""
        dropout = self.model("dropout")
        if dropout is not None and dropout < 0.5:
            return self.option("model.dropout", 0.5)
        decay = self.recipe.optimizer.weight_decay
        return self.option("optimizer.weight_decay", min(max(10 * decay, 0.1), 1.0))

    def more_room(self) -> str:
        """Less of what holds a network back: decay, dropout, small layers, a short training."""
        plan, decay = self.recipe.plan, self.recipe.optimizer.weight_decay
        dropout, widths = self.model("dropout"), self.model("widths")
        if decay > 0.3:
            return self.option("optimizer.weight_decay", 0.01)
        if dropout is not None and dropout > 0.5:
            return self.option("model.dropout", 0.2)
        if self.model("activation") is not None and widths and min(widths) < 32:
            return self.option("model.widths", "128,128")
        return self.option("plan.epochs", 3 * plan.epochs)

    def awake(self, factor: float = 0.1) -> str:
        """An activation that never dies where the network has one; else a smaller rate."""
        if self.model("activation") == "relu":
            return self.option("model.activation", "leaky_relu")
        return self.lr(factor)

    def gradients(self) -> str:
        """What lets the gradient through a deep network."""
        if self.model("activation") in ("sigmoid", "tanh"):
            return self.option("model.activation", "relu")
        if self.model("batch_norm") is False:
            return self.option("model.batch_norm", True)
        return self.option("transfer.init", "he")
