"""The memory of the second device of the tests: what it says of it, as `torch.cuda` does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

MEMORY = 2**36
"""How many bytes the device says that it has."""

PEAK_MB = 3
"""What the device says that it took at most."""


class SecondMemory:
    """The part of `torch.testdevice` that is about memory."""

    def __init__(self) -> None:
        self.empties = 0
        self.share = 1.0

    def reset_peak_memory_stats(self, device: Any = None) -> None:
        pass

    def mem_get_info(self, device: Any = None) -> tuple[int, int]:
        return MEMORY, MEMORY

    def get_device_properties(self, device: Any = None) -> SimpleNamespace:
        return SimpleNamespace(total_memory=MEMORY)

    def memory_reserved(self, device: Any = None) -> int:
        return 0

    def set_per_process_memory_fraction(self, share: float, device: Any = None) -> None:
        self.share = share

    def empty_cache(self) -> None:
        self.empties += 1

    def max_memory_allocated(self, device: Any = None) -> int:
        return PEAK_MB * 2**20
