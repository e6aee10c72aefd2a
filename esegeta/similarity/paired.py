"""Layers at some positions against layers at the positions that these are paired with.

Every measure is in the scale of these positions themselves: pairs of cases that lack a label are of
other places than all positions are, and vary more or less.
"""

from __future__ import annotations

from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from esegeta.similarity.alignment import paired_hsic, unbiased_hsic
from esegeta.similarity.correlation import Whitened
from esegeta.similarity.kernels import Grams, hollow_hsic
from esegeta.similarity.layout import UnitLayout
from esegeta.similarity.moments import Moments


class Paired:
    """Layers on the left by layers on the right.

    Args:
        left: activations of all layers at some positions.
        right: those at the positions that they are paired with.
        layout: layout of the units.
    """

    def __init__(
        self, left: Float[Tensor, "N D"], right: Float[Tensor, "N D"], layout: UnitLayout
    ) -> None:
        self._hsic, self._cross = paired_hsic(left, right, layout)
        self._left, self._right = Moments.of(left, layout), Moments.of(right, layout)

    @property
    def cka(self) -> Float[Tensor, "L L"]:
        """The unbiased linear CKA; NaN where a layer has no HSIC_1 above zero."""
        return in_scale(
            self._hsic,
            unbiased_hsic(self._left).diagonal(),
            unbiased_hsic(self._right).diagonal(),
        )

    def correlation(self, name: str) -> Float[Tensor, "L L"]:
        """Return a measure by canonical correlations: `cca`, `svcca` or `pwcca`."""
        measures = {
            "cca": self._whitened.cca,
            "svcca": self._whitened.svcca,
            "pwcca": self._whitened.pwcca,
        }
        return measures[name](self._cross)

    @cached_property
    def _whitened(self) -> Whitened:
        return Whitened(self._left, self._right)


def paired_gram_cka(
    grams: Grams, left: Int[Tensor, " M"], right: Int[Tensor, " M"]
) -> Float[Tensor, "L L"]:
    """Return the unbiased CKA of positions on the left with those on the right, by any kernel.

    Args:
        grams: of all positions, with zeros in their diagonals.
        left: rows of some positions.
        right: rows of those that they are paired with.
    """
    first, second = grams[:, left[:, None], left], grams[:, right[:, None], right]
    own, others = (hollow_hsic(side, side).diagonal() for side in (first, second))
    return in_scale(hollow_hsic(first, second), own, others)


def in_scale(
    hsic: Float[Tensor, "L L"], left: Float[Tensor, " L"], right: Float[Tensor, " L"]
) -> Float[Tensor, "L L"]:
    """Return HSIC over the geometric mean of those of either side; NaN where one is not above 0."""
    first, second = (torch.where(own > 0, own, torch.nan).sqrt() for own in (left, right))
    return hsic / torch.outer(first, second)
