"""Parts of a training with a network of one's own: how it is called, its optimizer, its metrics."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gradlab.data.fields.table import Table
from gradlab.data.fields.values import Values
from gradlab.data.streamed import Streamed
from gradlab.errors import UserError
from gradlab.tasks.baselines import _SIMPLE, Baselines, Guess, measured


def called_with(
    model: nn.Module, values: dict[str, Any], grouped: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments and keyword arguments with which a network's `forward` gets its inputs.

    Several inputs are arguments in their order, or by the names of `forward`'s parameters; one
    whole tuple or dictionary where `forward` takes a single argument.
    """
    inputs = tuple(values.values())
    if grouped == "one" or (grouped == "tuple" and len(inputs) == 1):
        return inputs, {}
    parameters = inspect.signature(model.forward).parameters.values()
    several = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    alone = len(named) == 1 and not several and not any(p.kind is p.VAR_KEYWORD for p in parameters)
    if grouped == "tuple":
        return ((inputs,), {}) if alone else (inputs, {})
    known = {p.name for p in named}
    if alone and not set(values) <= known:
        return (dict(values),), {}
    missing = [p.name for p in named if p.default is p.empty and p.name not in values]
    extra = set() if any(p.kind is p.VAR_KEYWORD for p in parameters) else set(values) - known
    if missing or extra:
        raise UserError(
            f"the network's forward takes {', '.join(sorted(known))}, but the data has "
            f"{', '.join(values)}: give the data a dictionary with the names of its parameters"
        )
    return (), dict(values)


def own_optimizer(
    given: Any, groups: Sequence[tuple[float, list[tuple[str, nn.Parameter]]]], before: str
) -> torch.optim.Optimizer | None:
    """A person's optimizer, or what their function makes of the parameters; None: the recipe's.

    before: what the run that is continued was trained with.
    """
    if given is None:
        if before:
            raise UserError(
                f"this training has an optimizer of your own ({before}): give it with optimizer=, "
                "as before, made from the network's parameters"
            )
        return None
    parameters = [value for _, named in groups for _, value in named if value.requires_grad]
    made = given if isinstance(given, torch.optim.Optimizer) else given(parameters)
    if not isinstance(made, torch.optim.Optimizer):
        raise UserError(
            "optimizer: expected a name, a torch.optim.Optimizer, or a function that makes one of "
            f"the parameters, found {type(made).__name__}"
        )
    name = type(made).__name__
    closure = inspect.signature(type(made).step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise UserError(
            f"optimizer: {name} evaluates the loss several times in a step (a closure), which "
            "gradlab's step does not: use another one"
        )
    if before not in ("", name):
        raise UserError(f"optimizer: this training has {before}, found {name}")
    return made


def widened(output: Any) -> Any:
    """Tensors of half precision as float32, in whatever they stand."""
    if isinstance(output, Tensor):
        return output.float() if output.dtype in (torch.float16, torch.bfloat16) else output
    if isinstance(output, dict):
        return {key: widened(value) for key, value in output.items()}
    if isinstance(output, tuple | list):
        return tuple(widened(value) for value in output)
    return output


# baselines


def guesses(task: Any, splits: Iterable[str]) -> Baselines:
    """What guessing, and a simple model of one input of floats, reach on these splits.

    Nothing where only the loss knows what outputs mean, or the examples are read anew each time.
    """
    train = task.dataset.split("train")
    if task.targets_as != "one" or isinstance(train[task.target], Streamed):
        return {}
    examples = train.only([task.target])
    loader = task.loader_of(examples, [task.target])
    y = torch.cat([task.y(batch) for batch in loader.in_order(1 << 16)])
    kind, classes = task.meaning.kind, len(task.meaning.classes)
    if kind == "class" and (
        y.squeeze().ndim != 1 or y.is_floating_point() or y.min() < 0 or y.max() >= classes
    ):
        return {}
    y = y.squeeze().long() if kind == "class" else y
    found: dict[str, Guess] = {}
    if kind == "yes_no":
        share = y.reshape(len(y)).double().mean()
        found["majority class"] = _constant(torch.stack([1 - share, share]))
    else:
        found |= {name: _constant(value) for name, value in task.meaning.baselines(y).items()}
    fields = list(task.schema.inputs.items())
    flat = y.reshape(len(y)) if y.numel() == len(y) else None
    if found and len(fields) == 1 and flat is not None and kind != "labels":
        name, field = fields[0]
        usable = isinstance(field, Table) or (
            isinstance(field, Values) and field.torch_dtype.is_floating_point
        )
        simple = _SIMPLE["linear"] if usable else None
        truths = flat if kind == "numbers" else flat.long()
        many = {"class": classes, "yes_no": 2}.get(kind, 0)
        model = simple(task, task.in_order("train"), name, truths, many) if simple else None
        if model is not None:
            found[model[0]] = model[1]
    return {
        split: {name: measured(task, split, guess) for name, guess in found.items()}
        for split in splits
    }


def _constant(answer: Tensor) -> Guess:
    """The same answer for every example."""
    return lambda batch: answer.expand(len(batch), *answer.shape)
