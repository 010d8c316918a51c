"""Parts of a training with a network of one's own: how it is called, its optimizer, its metrics."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gradlab.data.fields.table import Table
from gradlab.data.fields.values import Values
from gradlab.data.loader import Batch
from gradlab.data.streamed import Streamed
from gradlab.errors import UserError
from gradlab.tasks.baselines import _SIMPLE, Baselines, Guess, measured
from gradlab.tasks.metrics import Metric

MOST_KEPT = 50_000_000
"""Numbers of outputs and targets that a metric of one's own is given at once."""

_RESERVED = ("loss", "step", "epoch", "split", "seconds", "steps", "examples", "lr", "event")


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


# metrics of one's own


class OwnMetric(Metric):
    """A person's function of the outputs and targets of a whole split.

    Of more than `MOST_KEPT` numbers it is the mean over batches, weighted by their examples.
    """

    function: Callable[[Any, Any], Any]

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.kept: list[tuple[Any, Any]] = []
        self.held = self.count = 0
        self.total = 0.0

    def update(self, output: Any, batch: Batch) -> None:
        """Keep a batch, or add it to the mean."""
        pair = (_on_processor(output), _on_processor(self.task.y(batch)))
        self.count += len(batch)
        self.held += sum(_size(part) for part in pair)
        self.kept.append(pair)
        if self.held > MOST_KEPT:
            self.total += sum(self._of(*one) * _length(one[0]) for one in self.kept)
            self.kept = []

    def compute(self) -> float | None:
        """The number, of all examples."""
        if not self.count:
            return None
        if self.held <= MOST_KEPT:
            return self._of(*(_joined(parts) for parts in zip(*self.kept, strict=True)))
        self.total += sum(self._of(*one) * _length(one[0]) for one in self.kept)
        self.kept = []
        return self.total / self.count

    def _of(self, output: Any, y: Any) -> float:
        try:
            return float(type(self).function(output, y))
        except Exception as error:
            raise UserError(
                f"metrics: {self.name!r} failed on outputs and targets of a split: "
                f"{type(error).__name__}: {error}. It is called as f(output, y) and gives a number"
            ) from error


def given_metrics(
    given: Mapping[str, Callable[[Any, Any], Any]], recorded: Sequence[str]
) -> tuple[type[Metric], ...]:
    """A person's functions as metrics; those of a run that were not given again are left out."""
    for name, function in given.items():
        if not isinstance(name, str) or not name.isidentifier() or name in _RESERVED:
            raise UserError(
                f"metrics: expected a name like 'mape' for each, found {name!r} (these are taken: "
                f"{', '.join(_RESERVED)})"
            )
        if not callable(function):
            raise UserError(
                f"metrics: {name!r} is {type(function).__name__}: expected f(output, y)"
            )
    return tuple(
        type("OwnMetric", (OwnMetric,), {"name": name, "function": staticmethod(function)})
        for name, function in given.items()
    )


def _on_processor(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {key: _on_processor(part) for key, part in value.items()}
    return tuple(map(_on_processor, value)) if isinstance(value, tuple | list) else value


def _size(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel()
    parts = value.values() if isinstance(value, dict) else value
    return sum(map(_size, parts)) if isinstance(value, dict | tuple) else 0


def _length(value: Any) -> int:
    while not isinstance(value, Tensor):
        value = next(iter(value.values() if isinstance(value, dict) else value))
    return len(value)


def _joined(parts: Sequence[Any]) -> Any:
    """Batches one after the other, in whatever they stand."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(list(parts)) if first.ndim else torch.stack(list(parts))
    if isinstance(first, dict):
        return {key: _joined([part[key] for part in parts]) for key in first}
    if isinstance(first, tuple):
        return tuple(_joined(part) for part in zip(*parts, strict=True))
    return list(parts)


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
