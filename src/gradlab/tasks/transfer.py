"""Pretrained weights: reading them, fitting them to a network, training part of it.

Yosinski et al. (2014), "How transferable are features in deep neural networks?".
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gradlab.config import Transfer
from gradlab.data import Schema
from gradlab.data.fields.image import Image
from gradlab.data.fields.label import Label
from gradlab.dotted import validate
from gradlab.engine import pack
from gradlab.engine.run import RunFolder
from gradlab.errors import UserError
from gradlab.tasks import published
from gradlab.tasks.embedding import embedding_of

Weights = dict[str, Tensor]


def head_of(model: nn.Module) -> str:
    """The name of the last linear layer (the last convolution where there is none)."""
    for kind in (nn.Linear, nn.Conv2d):
        names = [name for name, module in model.named_modules() if isinstance(module, kind)]
        if names:
            return str(names[-1])
    raise UserError("this network has no linear layer or convolution to call its last layer")


def read_weights(path: str) -> tuple[Weights, tuple[str, ...]]:
    """(weights by name, class names or nothing) of a run, a file, or published weights by name.

    A .pth is read as tensors alone (`weights_only=True`): nothing in it is executed.
    """
    place = published.located(path)
    if place.is_dir():
        labels = [f for f in _schema(place).targets.values() if isinstance(f, Label)]
        weights = RunFolder.open(place).load("best")[1]["model"]
        return weights, labels[0].classes if labels else ()
    if not place.is_file():
        raise UserError(
            f"--weights: there is no file or run {path}, and no published weights of that name "
            "('gradlab weights list' names them)"
        )
    try:
        if place.suffix == ".safetensors":
            return pack.from_bytes(place.read_bytes()), ()
        found = torch.load(place, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).split("\n")[0]
        raise UserError(
            f"--weights: {path} cannot be read as weights ({reason}): expected a run, a "
            ".safetensors file, or a .pth file of tensors"
        ) from None
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()
    ):
        raise UserError(f"--weights: {path} holds no tensors by name (a state_dict)")
    return {published.own_name(name): value for name, value in found.items()}, ()


def normalised(schema: Schema, path: str) -> Schema:
    """The schema with the normalisation that weights were learnt with, as far as it is known.

    It is known of a run on images and of published weights; otherwise the training split's stays.
    """
    known = normalisation(path)
    if known is None:
        return schema
    taken = {
        name: field.model_copy(update={"mean": known[0], "std": known[1]})
        for name, field in schema.inputs.items()
        if isinstance(field, Image) and len(known[0]) == field.channels
    }
    return schema.model_copy(update={"inputs": {**schema.inputs, **taken}}) if taken else schema


def normalisation(path: str) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation per channel of the images that weights were learnt from."""
    place = published.located(path)
    if place.is_dir():
        fields = list(_schema(place).inputs.values())
        images = [field for field in fields if isinstance(field, Image)]
        return (images[0].mean, images[0].std) if len(images) == len(fields) == 1 else None
    found = published.by_file(place)
    return None if found is None else (found.mean, found.std)


def _schema(place: Path) -> Schema:
    """The schema of a run."""
    return validate(Schema, RunFolder.open(place).record["schema"], f"run {place}: recipe.json")


def begin_with(model: nn.Module, path: str, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Put pretrained weights into `model`, and say what was done.

    A last layer for other classes is left at its initial values; anything else that does not fit
    is refused.
    """
    weights, learnt = read_weights(path)
    own, head = model.state_dict(), head_of(model)
    # Older files do not count batches; the count decides nothing with a fixed momentum.
    counts = {name: own[name] for name in own if name.endswith("num_batches_tracked")}
    weights = {**counts, **weights}
    mine = {name for name in own if name.startswith(f"{head}.")}
    fits = all(name in weights and weights[name].shape == own[name].shape for name in mine)
    new_head = not fits or bool(learnt and learnt != classes)
    # Auxiliary heads end in the number of classes too; they are as new as the last layer.
    heads = {n for n in own if new_head and (n in mine or _is_other_head(own, weights, n, mine))}
    wrong = [
        f"{name}: expected {tuple(value.shape)}, found "
        f"{tuple(weights[name].shape) if name in weights else 'nothing'}"
        for name, value in own.items()
        if name not in heads and (name not in weights or weights[name].shape != value.shape)
    ]
    wrong += [f"{name}: not in this network" for name in weights if name not in own]
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise UserError(
            f"--weights {path}: these are the weights of another network: "
            f"{'; '.join(wrong[:3])}{more}. Use the model, image size and channels that they were "
            "trained with (published weights want --data.image_size 64 or more)"
        )
    model.load_state_dict({**own, **{k: v for k, v in weights.items() if k not in heads}})
    said = [f"weights: begun with {path}"]
    if known := normalisation(path):
        mean, std = (", ".join(f"{value:.3g}" for value in values) for values in known)
        said.append(
            f"weights: learnt from images normalised by mean {mean}, standard deviation {std}"
        )
    if new_head:
        before = (
            f"{len(learnt)} classes: {json.dumps(list(learnt[:3]))} ..." if learnt else "others"
        )
        said.append(f"weights: the last layer {head!r} is new (it was for {before})")
    return tuple(said)


def _is_other_head(own: Weights, weights: Weights, name: str, head: set[str]) -> bool:
    """Whether a weight has one row for each class, as the last layer has, and does not fit."""
    rows = {own[n].shape[0] for n in head}
    same = name in weights and weights[name].shape == own[name].shape
    return not same and own[name].ndim > 0 and own[name].shape[0] in rows and name in weights


def freeze(model: nn.Module, transfer: Transfer, epoch: int) -> None:
    """Let an epoch train what it should: the last layer, or all. A pure function of the epoch.

    Frozen layers are in evaluation mode, so that batch norm keeps what it has learnt.
    """
    if transfer.freeze == "features":
        frozen, head = is_frozen(transfer, epoch), head_of(model)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not frozen or name.startswith(f"{head}."))
        model.train(not frozen)
        model.get_submodule(head).train()
    if transfer.freeze == "embedding":
        embedding_of(model).requires_grad_(False)
    if transfer.keep_batch_norm:
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def is_frozen(transfer: Transfer, epoch: int) -> bool:
    """Whether an epoch (from 0) trains the last layer alone."""
    return transfer.freeze == "features" and not 0 < transfer.unfreeze_after <= epoch


def thaw(transfer: Transfer, steps: int) -> tuple[int, float]:
    """The step from which on all is trained, and the factor of the learning rate from then on.

    `steps` are those of an epoch. (0, 1) where nothing changes.
    """
    if transfer.freeze != "features" or not transfer.unfreeze_after:
        return 0, 1.0
    return transfer.unfreeze_after * steps, transfer.unfrozen_lr


def phases(transfer: Transfer, epochs: int) -> tuple[str, ...]:
    """What is trained when, in words; nothing where all is trained from the first epoch on."""
    if transfer.freeze == "embedding":
        return ("transfer: all is trained but the word vectors",)
    if transfer.freeze == "nothing":
        return ()
    kept = f"of {transfer.views} view{'s' * (transfer.views > 1)} of each example, computed once"
    first = min(transfer.unfreeze_after or epochs, epochs)
    said = f"transfer: {first} epochs train the last layer on features"
    said += f" {kept}" if transfer.views else ""
    if first < epochs:
        said += f"; then {epochs - first} train everything, at {transfer.unfrozen_lr:g} of the rate"
    return (said,)


def groups(
    model: nn.Module, transfer: Transfer
) -> list[tuple[float, list[tuple[str, nn.Parameter]]]]:
    """Parameters with the factor of their learning rate: `backbone_lr`, or 1 for the last layer."""
    named = list(model.named_parameters())
    if transfer.backbone_lr == 1:
        return [(1.0, named)]
    head = head_of(model)
    backbone = [(name, value) for name, value in named if not name.startswith(f"{head}.")]
    last = [(name, value) for name, value in named if name.startswith(f"{head}.")]
    return [(1.0, last), (transfer.backbone_lr, backbone)]
