"""Memory of the device or of the host: how much is free, held and allowed; and giving it back."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from pathlib import Path

import torch

from esegeta.model import modules_in_use

MEMINFO = Path("/proc/meminfo")
STATUS = Path("/proc/self/status")
LIMITS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)
"""What a container may use and does use, of both versions of control groups."""


def free_bytes(device: torch.device) -> float:
    """Return the memory that is free where the network runs; infinite where it cannot be told."""
    if device.type != "cpu":
        return float(torch.get_device_module(device).mem_get_info(device)[0])
    known = [_meminfo_bytes("MemAvailable"), *(_left_bytes(*paths) for paths in LIMITS)]
    return min((value for value in known if value is not None), default=float("inf"))


def limit_memory(device: torch.device, limit: float) -> None:
    """Let torch refuse bytes of a device beyond a limit, so that a smaller batch is tried."""
    if device.type != "cpu":
        module = torch.get_device_module(device)
        total = module.get_device_properties(device).total_memory
        module.set_per_process_memory_fraction(min(1.0, limit / total), device)


def release_unused() -> None:
    """Let go of what nothing holds any more: objects in circles, and what devices keep cached."""
    gc.collect()
    for module in modules_in_use():
        module.empty_cache()


def release_heap() -> None:
    """Give the system back what was freed and is kept, where the C library can.

    What is used again from there would not be seen by whoever measures.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def held_bytes(device: torch.device) -> float:
    """Return the memory that the process holds by now: torch's on a device, else all of it."""
    if device.type != "cpu":
        return float(torch.get_device_module(device).memory_reserved(device))
    try:
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmRSS:"):
                return float(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024)


def _meminfo_bytes(key: str) -> float | None:
    try:
        lines = MEMINFO.read_text().splitlines()
    except OSError:
        return None
    found = (float(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))
    return next(found, None)


def _left_bytes(limit: Path, used: Path) -> float | None:
    try:
        return float(limit.read_text()) - float(used.read_text())
    except (OSError, ValueError):  # "max" is no limit
        return None
