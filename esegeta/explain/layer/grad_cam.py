"""Grad-CAM of the whole sliding-window prediction.

Each window has its own activations A_t of the layer, so that R is a function of all of them. The
channel weights are formed over the whole volume, never window by window, and the activations are
blended as the logits are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.explain.explainer import Traits
from esegeta.explain.layer.assemble import blend_layer
from esegeta.explain.layer.cut import Site, slope_at
from esegeta.explain.layer.method import LayerMethod, LayerResult
from esegeta.explain.objective import Objective
from esegeta.model import held_still


@dataclass(frozen=True)
class GradCam(LayerMethod):
    """Activations of a layer, weighted by their channel's mean gradient over the whole volume.

        alpha_k = 1/Z sum_t sum_i dR/dA_t[k, i],   a = ReLU(sum_k alpha_k * A_k)

    A_k are the windows' activations, resampled to voxels and blended as the logits are; Z is the
    number of the layer's positions in the volume. Not negative; unit: target per layer position.

    Args:
        layer: name of the layer, or a list; the deepest (a U-Net's bottleneck) by default.

    Source: Selvaraju et al., Grad-CAM, 2017, equations 1 and 2.
    """

    name: ClassVar[str] = "grad_cam"
    traits: ClassVar[Traits] = Traits(
        "layer", needs_hooks=True, needs_layer=True, by_channel=False, unit="{target} / position"
    )
    zero_hint: ClassVar[str] = (
        "nothing in this layer raises the target on the whole; choose another `layer`"
    )

    @property
    def cost(self) -> str:
        """Active windows forward and back, then all windows forward."""
        return "2 F + 1 B"

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the map, the same for all input channels."""
        weights = channel_weights(objective, site)
        if weights is None:
            return LayerResult(torch.zeros_like(objective.volume.data[:1]))
        return rectified(blend_weighted(objective, site, weights))


def channel_weights(objective: Objective, site: Site) -> Tensor | None:
    """Return alpha, the mean slope of each channel over the volume, or None if nothing is active.

    The last is so where a target is saturated.
    """
    predictor, windows = objective.predictor, objective.windows
    cotangent = objective.cotangent()
    shares = predictor.shares(windows, cotangent)
    objective.tally.evaluations += 1
    total: Tensor | None = None
    positions = 0.0
    with held_still(predictor.network):
        for pieces in predictor.pieces(objective.x, windows, objective.active(cotangent)):
            share = shares.of(pieces, pieces.crops.device)
            activation, slope = slope_at(objective, site, pieces.crops, share)
            summed = slope.transpose(0, 1).flatten(1).sum(dim=1, dtype=torch.float64)
            total = summed if total is None else total + summed
            positions = activation[0, 0].numel() / windows.num_window_voxels
    if total is None:
        return None
    return total * (shares.scale / (positions * objective.volume.data[0].numel()))


def blend_weighted(objective: Objective, site: Site, weights: Tensor) -> LayerResult:
    """Return `sum_k weights_k A_k` over the whole volume, blended as the logits are."""

    def combine(activation: Tensor) -> Tensor:
        return torch.einsum("nk...,k->n...", activation, weights.to(activation))[:, None]

    return blend_layer(objective, site, combine)


def rectified(result: LayerResult) -> LayerResult:
    """Return the positive part of a layer's maps."""
    positions = None if result.positions is None else result.positions.relu()
    return replace(result, voxels=result.voxels.relu(), positions=positions)
