"""What this machine has to work with: processors and memory."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def cores() -> int:
    """How many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def threads() -> int:
    """How many threads to work with: OMP_NUM_THREADS, else one for each core.

    Like OpenMP itself, a value that is no whole number of 1 or more is passed over, and of a list
    (one number for each level of nesting) the first counts.
    """
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    with contextlib.suppress(ValueError):
        return int(given) if int(given) > 0 else cores()
    return cores()


def memory() -> int | None:
    """Bytes of memory that can still be had; None where the system does not say.

    Linux: what is available without swapping, in the bounds of a container. Elsewhere: all there
    is, which is at least an upper bound.
    """
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return min(int(line.split()[1]) * 1024, _container())
    with contextlib.suppress(AttributeError, OSError, ValueError):
        return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return None


def _container() -> int:
    """What the limit of a Linux container (cgroup 2) leaves; a very large number without one."""
    folder = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):  # "max" is no number
        most, used = (int((folder / f"memory.{name}").read_text()) for name in ("max", "current"))
        return max(most - used, 0)
    return 1 << 62
