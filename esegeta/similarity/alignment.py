"""Centred kernel alignment of layers with linear kernels, from sums over positions.

    CKA(X, Y) = HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y))

HSIC_1 is unbiased: zero on average for layers that have nothing to do with each other, however
few the positions. The usual, biased one is near 1 for any two layers of more units than positions.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.similarity.layout import UnitLayout
from esegeta.similarity.moments import Moments

LEAST_POSITIONS = 4
"""Fewer have no unbiased estimate."""
ROUNDING = 1e-12
"""A layer whose variance is less than this part of its squared mean never changes."""


def unbiased_hsic(moments: Moments) -> Float[Tensor, "L L"]:
    """Return HSIC_1 of each pair of layers; NaN for fewer than four positions.

    With K and L the Gram matrices about the common mean and zeros in their diagonals, of n
    positions:

        HSIC_1 = [tr KL + 1'K1 1'L1 / ((n-1)(n-2)) - 2/(n-2) 1'KL1] / (n(n-3))

    Rows of K add up to -|x_i|^2, so that all of it is known from sums of second and fourth order.

    Source: Song et al. 2012, Feature Selection via Dependence Maximization, equation 5; for
    minibatches Nguyen et al. 2021, which adds HSIC_1 of batches up where this is exact.
    """
    count = float(moments.count)
    if count < LEAST_POSITIONS:
        return torch.full_like(moments.fourth, torch.nan)
    squares = moments.squares
    trace = moments.layout.block_sums(moments.second**2) - moments.fourth
    rows = torch.outer(squares, squares) / ((count - 1) * (count - 2))
    both = 2 / (count - 2) * moments.fourth
    return (trace + rows - both) / (count * (count - 3))


def paired_hsic(
    left: Float[Tensor, "N D"], right: Float[Tensor, "N D"], layout: UnitLayout
) -> tuple[Float[Tensor, "L L"], Float[Tensor, "D D"]]:
    """Return HSIC_1 of layers at some positions with layers at the positions paired with them.

    Args:
        left: the activations of all layers at some positions.
        right: those at the positions that they are paired with.
        layout: layout of the units.

    Returns:
        Layers on the left by layers on the right; and the cross-covariance of all units, summed.
    """
    count = len(left)
    left, right = (part.double() - part.double().mean(dim=0) for part in (left, right))
    cross = left.T @ right
    if count < LEAST_POSITIONS:
        nothing = cross.new_full((layout.num_layers, layout.num_layers), torch.nan)
        return nothing, cross
    first, second = (layout.sums((part**2).T) for part in (left, right))
    fourth = first @ second.T
    rows = torch.outer(first.sum(dim=1), second.sum(dim=1)) / ((count - 1) * (count - 2))
    trace = layout.block_sums(cross**2) - fourth
    return (trace + rows - 2 / (count - 2) * fourth) / (count * (count - 3)), cross


def linear_cka(moments: Moments) -> Float[Tensor, "L L"]:
    """Return the unbiased linear CKA of each pair of layers.

    1: the same up to a rotation and a factor. 0: nothing to do with each other; estimates lie on
    either side of it. NaN where a layer never changes.

    Source: Kornblith et al. 2019, Similarity of Neural Network Representations Revisited,
    equation 4, with HSIC_1 for its biased HSIC.
    """
    return normalised(_without_still_layers(unbiased_hsic(moments), moments))


def biased_linear_cka(moments: Moments) -> Float[Tensor, "L L"]:
    """Return the CKA of each pair of layers as other tools have it; for comparison only."""
    hsic = moments.layout.block_sums(moments.second**2)
    return normalised(_without_still_layers(hsic, moments))


def normalised(hsic: Float[Tensor, "L L"]) -> Float[Tensor, "L L"]:
    """Return HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y)); NaN where one of these is not above zero."""
    own = hsic.diagonal()
    scale = torch.where(own > 0, own, torch.nan).sqrt()
    return hsic / torch.outer(scale, scale)


def is_still(moments: Moments) -> Tensor:
    """Tell for each layer whether it never changes, but for rounding."""
    means = moments.layout.sums(moments.mean**2)
    still: Tensor = moments.squares <= ROUNDING * moments.count * means
    return still


def _without_still_layers(hsic: Tensor, moments: Moments) -> Tensor:
    still = is_still(moments)
    return hsic.masked_fill(still[:, None] | still[None], torch.nan)
