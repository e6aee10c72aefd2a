"""Peak memory of a process, or of torch's allocator on CUDA."""

from __future__ import annotations

import resource
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch

CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")


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
