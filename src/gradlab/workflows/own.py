"""A person's own network, loss, optimizer and data, put in the form of a recipe and a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradlab.config import Choice, DataConfig, OptimizerConfig, Plan, Recipe
from gradlab.data.dataset import Dataset, SplitName
from gradlab.data.given import dataset_of, raw_dataset, raw_parts, unscaled
from gradlab.data.held import Held, Target
from gradlab.data.streamed import Streamed
from gradlab.engine.updater import evaluating
from gradlab.errors import UserError
from gradlab.recipes import find
from gradlab.runs.run import Run
from gradlab.tasks.base import Own
from gradlab.tasks.own_parts import called_with
from gradlab.workflows.train import begin, divide, located, own_splits, told

_TRIED = 2
"""Examples on which it is tried which types a network takes."""


def fit_own(
    module: nn.Module,
    *,
    data: Any,
    loss: Callable[[Any, Any], Tensor] | None = None,
    target: Target = None,
    val: Any = None,
    test: Any = None,
    optimizer: Any = None,
    schedule: Any = None,
    metrics: Mapping[str, Callable[[Any, Any], Any]] | None = None,
    standardise: bool = False,
    **options: Any,
) -> Run:
    """Train a network of one's own: any `nn.Module`, with any loss, taken as they are.

    `data`: (x, y), arrays or tensors with an entry for each example, of any shape; tuples or
    dictionaries of them for several inputs (arguments of `forward`, in order or by name) or targets
    (given to the loss as they are grouped); a data frame or dictionary with `target`, the name of
    what is to be predicted; a torch `Dataset` or `DataLoader`; a named set or a path. `val` and
    `test` are of the same form; where they are left out, they are held out of the data, and so is
    said. Nothing is scaled, moved or reshaped, unless `standardise` asks for float inputs of mean 0
    and standard deviation 1. Numbers come in the network's own type.

    `loss`: f(output, y), a scalar; None: cross-entropy, binary cross-entropy with logits or squared
    error, by the target. `optimizer`: one of torch made on the module's parameters, a function that
    makes one of them, or a recipe's name; AdamW with lr=1e-3 where it is left out. `schedule`: a
    function that makes one of torch's from the optimizer, or a recipe's name. `metrics`: by name,
    f(output, y), a number, of a whole split. `observers` watch the training
    (`gradlab.engine.Observer`). The other options are those of `gradlab.train`.

    The run is reopened with `gradlab.load(path, model=module)`. `docs/own_network.md` has examples.

    UserError for data, a loss or an optimizer that do not go together, before the first step.
    """
    named = {"optimizer": optimizer, "schedule": schedule}
    own_parts = {key: value for key, value in named.items() if not isinstance(value, str)}
    given = {key: value for key, value in named.items() if isinstance(value, str)}
    others = own_splits(beside := {"val": val, "test": test})
    run_options, fields = divide({**options, **given, **beside})
    _check(module, loss, optimizer, fields)
    recipe, dataset = prepared(
        module, data, fields, target=target, others=others, standardise=standardise
    )
    own = Own(module, loss, metrics=metrics or {}, **own_parts)
    return told(begin(recipe, dataset, own, run_options), run_options)


def prepared(
    module: nn.Module,
    data: Any,
    fields: Mapping[str, Any],
    *,
    target: Target = None,
    others: Mapping[SplitName, Any] | None = None,
    standardise: bool = False,
) -> tuple[Recipe, Dataset]:
    """The recipe and the dataset for a network of one's own; `fields` are changes of the recipe."""
    recipe = located(find(recipe_of(module), {"data": "arrays", **fields}))
    dataset, config, settings = own_dataset(
        module, data, recipe.data, target=target, others=others, standardise=standardise
    )
    plan, size = recipe.plan, settings.pop("batch_size", None)
    if size and not {"batch_size", "plan.batch_size"} & set(fields):
        plan = plan.model_copy(update={"batch_size": size})
    task = Choice(name="own", **{**recipe.task.options, **settings})
    return recipe.model_copy(update={"data": config, "task": task, "plan": plan}), dataset


def recipe_of(module: nn.Module, name: str = "own") -> Recipe:
    """A recipe for a network of one's own: AdamW, ten epochs, until told otherwise."""
    kind = type(module)
    return Recipe(
        name=name,
        summary=f"{kind.__module__}.{kind.__qualname__}",
        model=Choice(name="own"),
        task=Choice(name="own"),
        optimizer=OptimizerConfig(name="adamw", lr=1e-3),
        plan=Plan(epochs=10, batch_size=64),
    )


def own_dataset(
    module: nn.Module,
    data: Any,
    config: DataConfig,
    *,
    target: Target = None,
    others: Mapping[SplitName, Any] | None = None,
    standardise: bool = False,
) -> tuple[Dataset, DataConfig, dict[str, Any]]:
    """The dataset for a network, in the types that it takes, and what its task must know of it."""
    if isinstance(target, str):
        config = config.model_copy(update={"target": target})
    held = raw_parts(data, target, others, standardise)
    if held is None:
        dataset, config = dataset_of(data, config, others)
        return (dataset if standardise else unscaled(dataset)), config, {}
    train = held["train"]
    types, notes = _types(module, train)
    for split in held:
        said = notes if split == "train" else ()
        held[split] = held[split].saying(said)
    dataset, config = raw_dataset(held, config, types, standardise=standardise)
    scaled = [name for name, field in dataset.schema.inputs.items() if getattr(field, "mean", ())]
    said = tuple(
        f"{name}: standardised by the training split, mean 0 and standard deviation 1 of each "
        f"place of the {'first' if len(dataset.schema.inputs[name].shape) > 2 else 'last'} axis; "
        "the network alone does not do that"
        for name in scaled
    )
    dataset = replace(dataset, notes=(*dataset.notes, *said))
    settings: dict[str, Any] = {"inputs": train.inputs_as, "targets": train.targets_as}
    if train.batch_size:
        settings["batch_size"] = train.batch_size
    return dataset, config, settings


def _check(module: Any, loss: Any, optimizer: Any, fields: Mapping[str, Any]) -> None:
    """UserError for what is no network or loss, or two optimizers."""
    if not isinstance(module, nn.Module):
        raise UserError(
            f"expected a network, a torch.nn.Module, found {type(module).__name__}"
            + (": make an instance of it" if isinstance(module, type) else "")
        )
    if isinstance(loss, type) or (loss is not None and not callable(loss)):
        found = f"the class {loss.__name__}" if isinstance(loss, type) else type(loss).__name__
        raise UserError(
            f"loss: expected f(output, y), such as nn.MSELoss() or functional.mse_loss, found "
            f"{found}" + (": make an instance of it" if isinstance(loss, type) else "")
        )
    names = {"lr", "optimizer"}
    twice = [key for key in fields if key.split(".")[0] in names and key != "optimizer"]
    if optimizer is not None and not isinstance(optimizer, str) and twice:
        raise UserError(f"{', '.join(twice)}: the optimizer is one of your own: set it there")


def _types(module: nn.Module, train: Held) -> tuple[dict[str, str], tuple[str, ...]]:
    """The type in which each input is given to the network, and what is said of it.

    Floats come in the type of the network's weights. Whole numbers stay so where the network takes
    them (tokens), else become floats; floats become whole numbers where it takes nothing else.
    """
    weights = [p.dtype for p in module.parameters() if p.is_floating_point()]
    floats = str(weights[0]).removeprefix("torch.") if weights else "float32"
    options = []
    for value in train.inputs.values():
        kind = value.dtype.kind
        own = str(value.dtype.name)
        if kind == "f":
            examples = value[:_TRIED] if isinstance(value, np.ndarray) else None
            whole = examples is not None and np.array_equal(examples, np.rint(examples))
            options.append([floats, "int64"] if whole else [floats])
        else:
            options.append([own] if kind == "c" else list(dict.fromkeys([own, "int64", floats])))
    names = list(train.inputs)
    chosen = next(iter(product(*options)))
    for kinds in product(*options):
        if _takes(module, train, dict(zip(names, kinds, strict=True))):
            chosen = kinds
            break
    types = dict(zip(names, chosen, strict=True))
    said = [
        f"{name}: {train.inputs[name].dtype.name}, given to the network as {kind}"
        for name, kind in types.items()
        if kind != train.inputs[name].dtype.name
    ]
    return types, tuple(said)


def _takes(module: nn.Module, train: Held, types: dict[str, str]) -> bool:
    """Whether a network takes some examples in these types."""
    values = {}
    for name, value in train.inputs.items():
        some = (
            value.items.read(value.numbers[:_TRIED].tolist())[name]
            if isinstance(value, Streamed)
            else torch.from_numpy(np.ascontiguousarray(value[:_TRIED]))
        )
        values[name] = some.to(getattr(torch, types[name]))
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    values = {name: value.to(device) for name, value in values.items()}
    args, kwargs = called_with(module, values, train.inputs_as)
    try:
        with torch.random.fork_rng(devices=[]), evaluating(module):
            module(*args, **kwargs)
    except Exception:
        return False
    return True
