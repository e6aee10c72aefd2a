"""Units of all layers, cut into parts that fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from esegeta.model import UnitLayer
from esegeta.predict import Units

BYTES_OF_FLOAT, BYTES_OF_COUNT = 4, 8
MB = 2**20


@dataclass(frozen=True, eq=False)
class UnitParts:
    """Units that are handled at a time, layer by layer.

    Args:
        parts: each a range of units of one layer; together, all units of all layers in order.
        room_mb: memory in MB that the maps or the counts of a part may take up.
    """

    parts: tuple[Units, ...]
    room_mb: float

    @classmethod
    def of(
        cls, layers: Sequence[UnitLayer], values_of_unit: Sequence[int], *, room_mb: float
    ) -> UnitParts:
        """Cut the units of layers into as few parts as there is room for.

        Args:
            layers: the layers, in the order of their units.
            values_of_unit: the largest map of a unit of each layer, in activations.
            room_mb: memory in MB that the maps of a part may take up.
        """
        found: list[Units] = []
        for layer, num_values in zip(layers, values_of_unit, strict=True):
            step = max(int(room_mb * MB / (BYTES_OF_FLOAT * num_values)), 1)
            found.extend(
                Units(layer.name, first, min(first + step, layer.num_units))
                for first in range(0, layer.num_units, step)
            )
        return cls(tuple(found), room_mb)

    @property
    def num_units(self) -> int:
        """Units of all parts."""
        return sum(len(part) for part in self.parts)

    @cached_property
    def starts(self) -> dict[Units, int]:
        """The number of each part's first unit among the units of all layers."""
        starts, total = {}, 0
        for part in self.parts:
            starts[part] = total
            total += len(part)
        return starts
