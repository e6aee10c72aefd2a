"""What torch draws without a generator: initial weights, dropout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

HOST = torch.device("cpu")


@contextmanager
def seeded(seed: int, device: torch.device = HOST) -> Iterator[None]:
    """Seed torch's own generators of the host and of one device; their states come back on leaving.

    `torch.manual_seed` would seed those of all devices, which nothing would bring back.
    """
    devices = [] if device.type == HOST.type else [device]
    with torch.random.fork_rng(devices=devices, device_type=device.type):
        torch.default_generator.manual_seed(seed)
        for one in devices:
            module = torch.get_device_module(one)
            with module.device(one):
                module.manual_seed(seed)
        yield
