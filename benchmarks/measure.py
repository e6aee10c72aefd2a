"""Seconds and peak memory of a piece of work, printed as one line of JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch

CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")
Result = TypeVar("Result")


@dataclass
class Memory:
    """Peak memory in MB; of the process on the CPU, of torch's allocator on CUDA."""

    device: torch.device
    peaks: dict[str, float] = field(default_factory=dict)

    def now(self) -> float:
        if self.device.type == "cuda":
            return torch.cuda.memory_allocated(self.device) / 2**20
        return _status_mb("VmRSS")

    def reset(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        try:
            CLEAR_REFS.write_text("5")  # Linux: resets VmHWM
        except OSError:
            warnings.warn("the peak of memory cannot be reset here", stacklevel=2)

    def note(self, name: str) -> None:
        if self.device.type == "cuda":
            self.peaks[name] = torch.cuda.max_memory_allocated(self.device) / 2**20
        else:
            self.peaks[name] = _status_mb("VmHWM")


def _status_mb(key: str) -> float:
    if not STATUS.exists():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 1024
    lines = STATUS.read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def measure(work: Callable[[], Result], memory: Memory, *, base_mb: float) -> Result:
    """Return what the work returns, and print its seconds and its peak of memory."""
    synchronize(memory.device)
    memory.reset()
    start, cpu_start = time.perf_counter(), time.process_time()
    result = work()
    synchronize(memory.device)
    took = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu_start,
        "base_mb": base_mb,
    }
    memory.note("work")
    peaks = memory.peaks
    print(json.dumps({**took, "peak_mb": max(peaks.values()), "peaks": peaks}))
    return result


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
