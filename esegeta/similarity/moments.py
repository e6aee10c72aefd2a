"""All that linear similarity needs to know about positions, as sums that merge in any order.

With x_l the activations of layer l at a position, about their mean, and sums over positions:

    second = sum x x^T        third_l = sum x |x_l|^2        fourth_lm = sum |x_l|^2 |x_m|^2

Their size depends on the number of units alone. Two sets of positions are merged by moving both to
their common mean, so that nothing is lost where activations lie far from zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.similarity.layout import UnitLayout

ROWS_AT_A_TIME = 1 << 15
FIELDS = ("count", "mean", "second", "third", "fourth")


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over positions, about their mean.

    Args:
        layout: layout of the units.
        count: number of positions.
        mean: mean of each unit.
        second: sums over pairs of units.
        third: sums over units and the squared lengths of layers.
        fourth: sums over pairs of squared lengths.
    """

    layout: UnitLayout
    count: Float[Tensor, ""]
    mean: Float[Tensor, " D"]
    second: Float[Tensor, "D D"]
    third: Float[Tensor, "D L"]
    fourth: Float[Tensor, "L L"]

    @classmethod
    def of(cls, data: Float[Tensor, "N D"], layout: UnitLayout) -> Moments:
        """Return the moments of activations at positions, summed in float64."""
        total = cls.nothing(layout, data.device)
        for rows in torch.split(data, ROWS_AT_A_TIME):
            total = total.plus(cls._of_rows(rows.double(), layout))
        return total

    @classmethod
    def nothing(cls, layout: UnitLayout, device: torch.device | str = "cpu") -> Moments:
        """Return the moments of no position."""
        num_units, num_layers = layout.num_units, layout.num_layers
        zeros = torch.zeros((num_units, num_units), dtype=torch.float64, device=device)
        return cls(
            layout,
            zeros.new_zeros(()),
            zeros.new_zeros(num_units),
            zeros,
            zeros.new_zeros((num_units, num_layers)),
            zeros.new_zeros((num_layers, num_layers)),
        )

    @classmethod
    def _of_rows(cls, rows: Float[Tensor, "N D"], layout: UnitLayout) -> Moments:
        mean = rows.mean(dim=0)
        rows = rows - mean
        lengths = rows.square() @ layout.members.to(rows)  # sums over columns would crawl
        return cls(
            layout,
            mean.new_tensor(len(rows)),
            mean,
            rows.T @ rows,
            rows.T @ lengths,
            lengths.T @ lengths,
        )

    @property
    def squares(self) -> Float[Tensor, " L"]:
        """Sum of the squared lengths of each layer."""
        return self.layout.sums(self.second.diagonal())

    def tensors(self) -> dict[str, Tensor]:
        """Return the sums by name."""
        return {name: getattr(self, name) for name in FIELDS}

    def times(self, copies: float) -> Moments:
        """Return the moments of so many copies of each position."""
        return Moments(
            self.layout,
            self.count * copies,
            self.mean,
            self.second * copies,
            self.third * copies,
            self.fourth * copies,
        )

    def plus(self, other: Moments) -> Moments:
        """Return the moments of both sets of positions."""
        if float(self.count) == 0:
            return other
        if float(other.count) == 0:
            return self
        count = self.count + other.count
        mean = (self.count * self.mean + other.count * other.mean) / count
        first, second = self._about(mean), other._about(mean)
        summed = [one + two for one, two in zip(first, second, strict=True)]
        return Moments(self.layout, count, mean, *summed)

    def _about(self, mean: Float[Tensor, " D"]) -> tuple[Tensor, Tensor, Tensor]:
        """Return second, third and fourth about another mean."""
        shift = self.mean - mean
        shifts = shift[:, None] * self.layout.members.to(shift)  # each layer's in its own column
        lengths = (shifts**2).sum(dim=0)
        moved = self.second @ shifts
        squares = self.squares
        second = self.second + self.count * torch.outer(shift, shift)
        third = self.third + 2 * moved + torch.outer(shift, squares + self.count * lengths)
        along = shifts.T @ self.third
        cross = torch.outer(squares, lengths)
        fourth = (
            self.fourth
            + 2 * (along + along.T)
            + cross
            + cross.T
            + 4 * shifts.T @ moved
            + self.count * torch.outer(lengths, lengths)
        )
        return second, third, fourth


def merged(parts: Iterable[Moments]) -> Moments:
    """Return the moments of all positions of several sets.

    Raises:
        ValueError: there is no set.
    """
    total: Moments | None = None
    for part in parts:
        total = part if total is None else total.plus(part)
    if total is None:
        raise ValueError("there is nothing to merge")
    return total
