"""What `auto` means on this machine: device, precision and threads, resolved once and recorded."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gradlab.config import Recipe
from gradlab.errors import UserError

Precision = Literal["float32", "bfloat16"]

# Below this many operations for one example, autocast costs more than bfloat16 saves (LeNet-5 has
# 0.8 million, ResNet-18 at 32x32 1,100 million).
WORTH_BFLOAT16 = 20_000_000

# Below this many operations for the forward pass of a batch, threads wait for each other longer
# than they work; beside other programs they stall for many times that.
WORTH_THREADS = 50_000_000


@dataclass(frozen=True)
class Setup:
    """Where and how arithmetic is done; no `auto` is left in it."""

    device: torch.device
    precision: Precision
    threads: int

    @property
    def autocast(self) -> Callable[[], contextlib.AbstractContextManager[Any]]:
        """Makes the context in which a forward pass and its loss run."""
        if self.precision == "float32":
            return contextlib.nullcontext
        return lambda: torch.autocast(self.device.type, dtype=torch.bfloat16)

    def apply(self) -> None:
        """Set the number of threads of this process."""
        torch.set_num_threads(self.threads)


def resolve(recipe: Recipe, model: nn.Module, example: Tensor) -> Setup:
    """The setup of a recipe; what `model` costs for an `example` batch of one decides `auto`."""
    device = _device(recipe.device)
    precision, threads = recipe.precision, recipe.threads
    cost = flops(model, example) if precision == "auto" or not threads else 0
    if precision == "auto":
        worth = cost >= WORTH_BFLOAT16 and has_bfloat16(device)
        precision = "bfloat16" if worth else "float32"
    if not threads:
        several = cost * recipe.plan.batch_size >= WORTH_THREADS
        threads = int(os.environ.get("OMP_NUM_THREADS") or cores()) if several else 1
    return Setup(device, precision, threads)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device: expected auto, cpu, cuda or cuda:N, found {name!r}") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device: expected auto, cpu, cuda or cuda:N, found {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device: {name!r} is not there (GPUs found: {torch.cuda.device_count()}); "
            "use --device cpu or auto"
        )
    return device


def cores() -> int:
    """How many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 numbers in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def flops(model: nn.Module, example: Tensor) -> int:
    """Floating-point operations of one forward pass of `example` (a batch of one)."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(example)
    for module, mode in modes:
        module.training = mode
    return int(counter.get_total_flops())


def machine() -> dict[str, Any]:
    """The hardware and software that a run records."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": cores(),
        "gpus": gpus,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
