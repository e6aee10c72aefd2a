"""Seconds and peak memory of a piece of work."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")


@dataclass
class Meter:
    """What a piece of work took; filled in when it ends.

    Args:
        seconds: wall clock.
        peak_memory_mb: on an accelerator what torch allocated at most; on the CPU the largest
            resident size of the whole process, since the start of the work where the system lets
            it be reset.
    """

    seconds: float = 0.0
    peak_memory_mb: float = 0.0


@contextmanager
def measure(device: torch.device) -> Iterator[Meter]:
    """Measure the block; on an accelerator it waits for the work to be done."""
    meter = Meter()
    _reset_peak(device)
    start = time.perf_counter()
    yield meter
    if device.type != "cpu":
        torch.get_device_module(device).synchronize(device)
    meter.seconds = time.perf_counter() - start
    meter.peak_memory_mb = _peak_mb(device)


def _reset_peak(device: torch.device) -> None:
    if device.type != "cpu":
        torch.get_device_module(device).reset_peak_memory_stats(device)
        return
    try:
        CLEAR_REFS.write_text("5")  # Linux: resets VmHWM, the high-water mark of resident memory
    except OSError:
        return


def _peak_mb(device: torch.device) -> float:
    if device.type != "cpu":
        return float(torch.get_device_module(device).max_memory_allocated(device) / 2**20)
    try:
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) / 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024
