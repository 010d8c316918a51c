"""Networks of one's own, out of a Python file: `path/to/net.py:make_net`.

Such a file is run, when a training begins and whenever its run is opened again; so it is only done
for a path that was typed, or that a run of one's own recorded together with the file's hash.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import create_model
from torch import nn

from gradlab.config import Config
from gradlab.dotted import is_sequence, split_typed, validate
from gradlab.errors import UserError, unknown
from gradlab.models import Shape
from gradlab.text import printable

MARK = ".py:"


def is_file(name: str) -> bool:
    """Whether a model's name is a file and a function in it."""
    return MARK in name


def parts(name: str) -> tuple[Path, str]:
    """Path and function of a name; UserError when there is no such file."""
    file, _, function = name.rpartition(":")
    path = Path(file).expanduser()
    if not path.is_file():
        raise UserError(f"model {name}: there is no file {path}")
    return path, function


def hash_of(path: Path) -> str:
    """The hash of a file's content."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None


def create_from(
    name: str, inputs: Shape, outputs: int, *, sha256: str, **options: Any
) -> nn.Module:
    """The network that a function in a file makes; `sha256` is the one that the file must have.

    The function gets `inputs` (the shape of an example), `outputs` (how many numbers are asked
    for) and options where it has parameters of these names. UserError when it is not there, raises,
    or gives no `nn.Module`.
    """
    path, function = parts(name)
    if hash_of(path) != sha256:
        raise UserError(
            f"{path} has changed since this run was made (its SHA-256 differs): put it back as it "
            "was, or train a new run"
        )
    print(printable(f"running {path}: the network is its {function}"), file=sys.stderr)
    spec = importlib.util.spec_from_file_location(f"gradlab_own_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{path} cannot be run: {type(error).__name__}: {error}") from None
    make = getattr(module, function, None)
    if not callable(make):
        known = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise unknown(f"function of {path}:", function, known)
    shape = {"inputs": inputs, "outputs": outputs}
    taken = inspect.signature(make).parameters
    given = {key: value for key, value in shape.items() if key in taken}
    try:
        made = make(**given, **_typed(make, options, name))
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{name} raised {type(error).__name__}: {error}") from None
    if not isinstance(made, nn.Module):
        raise UserError(f"{name} gave {type(made).__name__}: expected a torch.nn.Module")
    return made


def _typed(make: Any, options: dict[str, Any], name: str) -> dict[str, Any]:
    """Options as a function's annotations, or else its default values, ask for them."""
    hints = get_type_hints(make)
    kinds: dict[str, Any] = {}
    for key, parameter in inspect.signature(make).parameters.items():
        if key in ("inputs", "outputs") or parameter.kind in (
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.VAR_KEYWORD,
        ):
            continue
        default = parameter.default
        known = default is not inspect.Parameter.empty
        kind = type(default) if known and default is not None else Any
        kinds[key] = (hints.get(key, kind), default if known else ...)
    for key in options:
        if key not in kinds:
            raise unknown(f"option of {name}:", key, kinds)
    many = {key for key, (kind, _) in kinds.items() if is_sequence(kind) or kind in (tuple, list)}
    tree = {key: split_typed(value) if key in many else value for key, value in options.items()}
    checked = validate(create_model("Options", __base__=Config, **kinds), tree, name)
    return {key: getattr(checked, key) for key in options}
