"""Means, variances and standard errors of maps that come one at a time; none is kept."""

from __future__ import annotations

import torch
from torch import Tensor


class Moments:
    """The moments of a sequence of maps, updated map by map, in float64.

    Maps that are all equal have a variance of exactly zero.

    Args:
        order: the highest central moment wanted: 1 (the mean alone), 2 or 4. One tensor of the
            map's size is held for each moment.

    Source: Pebay, Formulas for Robust, One-Pass Parallel Computation of Covariances and
    Arbitrary-Order Statistical Moments, 2008, equation 2.1 with sets of one.
    """

    def __init__(self, order: int) -> None:
        self.order = order
        self.count = 0
        self.mean = torch.zeros(())
        # Sums of the second, third and fourth powers of the distances from the mean.
        self._squares = torch.zeros(())
        self._cubes = torch.zeros(())
        self._fourths = torch.zeros(())

    def add(self, map_: Tensor) -> None:
        """Take in the next map."""
        map_ = map_.double()
        if self.count == 0:
            self.mean = torch.zeros_like(map_)
            self._squares = torch.zeros_like(map_ if self.order > 1 else map_.new_zeros(()))
            high = map_ if self.order > 2 else map_.new_zeros(())
            self._cubes, self._fourths = torch.zeros_like(high), torch.zeros_like(high)
        self.count += 1
        n = self.count
        gap = map_ - self.mean
        step = gap / n
        self.mean += step
        if self.order < 2:
            return
        growth = gap.mul_(step).mul_(n - 1)
        if self.order > 2:
            self._fourths += growth * step.square() * (n * n - 3 * n + 3)
            self._fourths += 6 * step.square() * self._squares - 4 * step * self._cubes
            self._cubes += growth * step * (n - 2) - 3 * step * self._squares
        self._squares += growth

    def variance(self) -> Tensor:
        """Return the mean square distance from the mean."""
        return self._squares / self.count

    def error_of_mean(self) -> Tensor:
        """Return the standard error of the mean; for two maps or more."""
        return (self.variance() / (self.count - 1)).sqrt()

    def error_of_variance(self) -> Tensor:
        """Return the standard error of the variance, whatever the maps' distribution.

            SE^2 = (m_4 - (n - 3) / (n - 1) m_2^2) / n * ((n - 1) / n)^2

        with the sample's own central moments m_2 and m_4, which few maps know only roughly.
        """
        n = self.count
        fourth = self._fourths / n
        spread = fourth - (n - 3) / (n - 1) * self.variance().square()
        return spread.clamp(min=0).div(n).sqrt() * ((n - 1) / n)
