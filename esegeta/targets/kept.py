"""What passes of a network over one volume gave, kept for other methods on the same volume."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from torch import Tensor

KEPT_MB = 64
MB = 1 << 20


@dataclass(eq=False)
class KeptPasses:
    """Tensors by name, as many as there is room for; the first that come stay.

    They are of one state of the network and its input: those of another are forgotten.

    Args:
        room_mb: memory that they may take, in MB.
    """

    room_mb: float = KEPT_MB
    _state: Hashable = None
    _tensors: dict[Hashable, Tensor] = field(default_factory=dict)
    _size: int = 0

    def of(self, state: Hashable) -> KeptPasses:
        """Return this, emptied if what it holds is of another state."""
        if state != self._state:
            self._state = state
            self._tensors.clear()
            self._size = 0
        return self

    def find(self, *names: Hashable) -> list[Tensor] | None:
        """Return the tensors of some names, or None unless all are here; not to be changed."""
        if all(name in self._tensors for name in names):
            return [self._tensors[name] for name in names]
        return None

    def keep(self, name: Hashable, tensor: Tensor) -> None:
        """Keep a copy of a tensor, if there is room."""
        size = tensor.numel() * tensor.element_size()
        if name not in self._tensors and self._size + size <= self.room_mb * MB:
            self._tensors[name] = tensor.detach().clone()
            self._size += size
