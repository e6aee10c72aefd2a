"""What the units of a layer do over cases: dead, sparse, in which range; counted case by case."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

STILL = 1e-6
"""Of a unit's largest magnitude: what is smaller counts as zero."""
SAME = 2e-6
"""Of a unit's largest magnitude: values that differ by less are one value, blended over windows."""


@dataclass(frozen=True, eq=False)
class UnitTotals:
    """Sums over the positions of cases, a number a unit, float64.

    Args:
        count: positions.
        total: sum of activations.
        squares: sum of their squares.
        magnitude: sum of their magnitudes.
        silent: positions at which the activation is zero.
        low: smallest activation.
        high: largest activation.
    """

    count: Float[Tensor, " U"]
    total: Float[Tensor, " U"]
    squares: Float[Tensor, " U"]
    magnitude: Float[Tensor, " U"]
    silent: Float[Tensor, " U"]
    low: Float[Tensor, " U"]
    high: Float[Tensor, " U"]

    @classmethod
    def of(cls, maps: Float[Tensor, "U *G"]) -> UnitTotals:
        """Return the totals of one case, on the host."""
        flat = maps.flatten(1)
        wide = flat.double()
        magnitude = wide.abs()
        still = STILL * magnitude.max(1, keepdim=True).values
        parts = (
            torch.full((len(flat),), flat.shape[1], device=flat.device, dtype=torch.float64),
            wide.sum(1),
            wide.square().sum(1),
            magnitude.sum(1),
            (magnitude <= still).double().sum(1),
            wide.min(1).values,
            wide.max(1).values,
        )
        return cls(*(part.cpu() for part in parts))

    def __add__(self, other: UnitTotals) -> UnitTotals:
        return UnitTotals(
            self.count + other.count,
            self.total + other.total,
            self.squares + other.squares,
            self.magnitude + other.magnitude,
            self.silent + other.silent,
            torch.minimum(self.low, other.low),
            torch.maximum(self.high, other.high),
        )

    @property
    def mean(self) -> Tensor:
        """Mean activation."""
        return self.total / self.count

    @property
    def variance(self) -> Tensor:
        """Variance over all positions."""
        return (self.squares / self.count - self.mean.square()).clamp(min=0)

    @property
    def sparsity(self) -> Tensor:
        """Part of the positions at which a unit is silent."""
        return self.silent / self.count

    @property
    def concentration(self) -> Tensor:
        """Hoyer's measure: 0 where all positions are as active, 1 where one alone is.

            (sqrt n - |a|_1 / |a|_2) / (sqrt n - 1)

        Source: Hoyer 2004, eq. 6.
        """
        root = self.count.sqrt()
        ratio = self.magnitude / self.squares.sqrt().clamp(min=1e-300)
        found = (root - ratio) / (root - 1).clamp(min=1e-12)
        return torch.where(self.squares > 0, found.clamp(0, 1), 0.0)

    @property
    def dead(self) -> Tensor:
        """Units that say the same everywhere, in every case."""
        return self.high - self.low <= SAME * torch.maximum(self.high.abs(), self.low.abs())

    def tensors(self) -> dict[str, Tensor]:
        """Return all of it by name."""
        return dict(vars(self))

    def by_variance(self, count: int) -> list[int]:
        """Return the units that vary most, the first ahead; dead ones are left out."""
        order = self.variance.argsort(descending=True, stable=True).tolist()
        dead = self.dead.tolist()
        return [unit for unit in order if not dead[unit]][:count]
