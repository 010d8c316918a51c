"""What `auto` means on this machine: device, precision and threads, resolved once and recorded.

Nothing global is changed by resolving; `Setup.applied` sets the number of threads for as long as
it is entered.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gradlab.config import Runtime
from gradlab.errors import UserError
from gradlab.machine import cores
from gradlab.machine import threads as allowed

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

    @property
    def runtime(self) -> Runtime:
        """What a run records."""
        return Runtime(device=str(self.device), precision=self.precision, threads=self.threads)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The number of threads of this process, until the end."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's generators begin at `seed`, and go on as they were at the end."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


class Generators:
    """The part of a training's state that random numbers are: torch's own generators."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def state(self) -> dict[str, Tensor]:
        """The processor's generator, and the GPU's where one is trained on."""
        state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state` returned."""
        torch.set_rng_state(state["cpu"])
        if "cuda" in state and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"], self.device)


def resolve(runtime: Runtime, model: nn.Module, example: Sequence[Any], batch_size: int) -> Setup:
    """The setup of a runtime; what `model` costs for `example` (a batch of one) decides `auto`."""
    device = device_of(runtime.device)
    precision, threads = runtime.precision, runtime.threads
    cost = flops(model, example) if precision == "auto" or not threads else 0
    if precision == "auto":
        worth = cost >= WORTH_BFLOAT16 and has_bfloat16(device)
        precision = "bfloat16" if worth else "float32"
    if not threads:
        threads = allowed() if cost * batch_size >= WORTH_THREADS else 1
    return Setup(device, precision, threads)


def device_of(name: str) -> torch.device:
    """The device of a name; UserError when there is none."""
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


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 numbers in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def flops(model: nn.Module, example: Sequence[Any]) -> int:
    """Floating-point operations of one forward pass of `example` (the inputs of a batch of one).

    0 where the network does not take it: the preflight says why.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            model(*example)
    except Exception:
        return 0
    finally:
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
