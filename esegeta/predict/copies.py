"""Copies of a network on further devices, kept equal to it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from esegeta.model import state_of, without_wrappers


@dataclass(frozen=True, eq=False)
class Copies:
    """A network, and its copies on further devices.

    Args:
        network: the network that they are copies of; what runs another has no use for them.
        modules: one on each further device.
    """

    network: nn.Module
    modules: tuple[nn.Module, ...]
    _made_of: list[Any] = field(default_factory=list, repr=False)

    @classmethod
    def on(cls, devices: Sequence[torch.device], network: nn.Module) -> Copies | None:
        """Copy a network to devices; None where there are no further ones."""
        network = without_wrappers(network)
        if not devices:
            return None
        return cls(network, tuple(copy.deepcopy(network).to(device) for device in devices))

    def of(self, network: nn.Module) -> tuple[nn.Module, ...]:
        """Return the copies of a network, with its parameters and buffers as they are now."""
        if network is not self.network:
            return ()
        own = state_of(network)
        found = [(id(tensor), tensor._version) for tensor in own.values()]
        if found != self._made_of:
            with torch.no_grad():
                for module in self.modules:
                    for name, tensor in state_of(module).items():
                        tensor.copy_(own[name])
            self._made_of[:] = found
        return self.modules
