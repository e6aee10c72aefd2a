"""Which columns of a table of activations are whose: the units of several layers side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class UnitLayout:
    """The units of several layers, side by side.

    Args:
        widths: number of units of each layer.
    """

    widths: tuple[int, ...]

    @property
    def num_layers(self) -> int:
        """Number of layers L."""
        return len(self.widths)

    @property
    def num_units(self) -> int:
        """Number of units D of all layers."""
        return sum(self.widths)

    @cached_property
    def columns(self) -> tuple[slice, ...]:
        """The columns of each layer."""
        ends = [sum(self.widths[: place + 1]) for place in range(self.num_layers)]
        return tuple(slice(end - width, end) for end, width in zip(ends, self.widths, strict=True))

    @cached_property
    def members(self) -> Float[Tensor, "D L"]:
        """1 where a unit belongs to a layer, else 0."""
        table = torch.zeros((self.num_units, self.num_layers), dtype=torch.float64)
        for layer, own in enumerate(self.columns):
            table[own, layer] = 1
        return table

    def sums(self, values: Float[Tensor, "D *K"]) -> Float[Tensor, "L *K"]:
        """Return sums over the units of each layer."""
        return torch.stack([values[own].sum(dim=0) for own in self.columns])

    def block_sums(self, table: Float[Tensor, "D D"]) -> Float[Tensor, "L L"]:
        """Return the sum over each pair of layers of a table of units by units."""
        return self.sums(self.sums(table).T).T

    @staticmethod
    def of(parts: Sequence[Float[Tensor, "N _"]]) -> UnitLayout:
        """Return the layout of tables of positions by units that are put side by side."""
        return UnitLayout(tuple(int(part.shape[1]) for part in parts))
