"""How alike cases are to a layer, and where positions and cases lie in the layer's space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.similarity.kernels import gram_cka
from esegeta.similarity.moments import Moments


def cka_of_cases(parts: Sequence[Moments], layer: int) -> Float[Tensor, "C C"]:
    """Return how alike two cases make the units of a layer vary together: unbiased CKA.

    Positions of two cases are not the same, but the units are: they are what is compared, each by
    its activations over the case, about their mean. The Gram matrix of a case is the covariance
    of its units. NaN for fewer than four units.

    Args:
        parts: moments of each case.
        layer: place of the layer among all layers.
    """
    own = parts[0].layout.columns[layer]
    grams = [part.second[own, own] / part.count.clamp(min=1) for part in parts]
    return gram_cka(torch.stack(grams))


@dataclass(frozen=True, eq=False)
class PrincipalPlane:
    """The directions in which a layer varies most.

    Args:
        mean: mean of the units.
        axes: two directions, units by two; one where the layer has one unit.
        shares: share of the layer's variance along each direction.
    """

    mean: Float[Tensor, " D"]
    axes: Float[Tensor, "D A"]
    shares: Float[Tensor, " A"]

    @classmethod
    def of(cls, moments: Moments, layer: int) -> PrincipalPlane:
        """Return the plane of a layer; each axis points where its largest entry is positive."""
        own = moments.layout.columns[layer]
        values, vectors = torch.linalg.eigh(moments.second[own, own])
        values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
        axes = vectors[:, :2]
        largest = axes.abs().argmax(dim=0)
        axes = axes * axes[largest, torch.arange(axes.shape[1])].sign()
        return cls(moments.mean[own], axes, (values / values.sum())[:2])

    def coordinates(self, data: Float[Tensor, "N D"]) -> Float[Tensor, "N 2"]:
        """Return where activations lie in the plane; a missing second axis is zero."""
        found = (data.double() - self.mean) @ self.axes
        missing = 2 - found.shape[1]
        return torch.nn.functional.pad(found, (0, missing)) if missing else found
