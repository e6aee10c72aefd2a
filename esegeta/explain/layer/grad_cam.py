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

from esegeta.errors import MapError
from esegeta.explain.explainer import Traits
from esegeta.explain.layer.assemble import blend_layer
from esegeta.explain.layer.cut import Site, slope_at
from esegeta.explain.layer.method import LayerMethod, LayerResult
from esegeta.explain.objective import Objective
from esegeta.model import held_still
from esegeta.predict import Precision


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
    size: Tensor | None = None
    positions = 0.0
    with held_still(predictor.network):
        for pieces in predictor.pieces(objective.x, windows, objective.active(cotangent)):
            share = shares.of(pieces, pieces.crops.device)
            activation, slope = slope_at(objective, site, pieces.crops, share)
            summed = slope.transpose(0, 1).flatten(1).sum(dim=1, dtype=torch.float64)
            total = summed if total is None else total + summed
            sizes = slope.abs().transpose(0, 1).flatten(1).sum(dim=1, dtype=torch.float64)
            size = sizes if size is None else size + sizes
            positions = activation[0, 0].numel() / windows.num_window_voxels
    if total is None or size is None:
        return None
    _require_more_than_rounding(total, size, site, objective.predictor.precision)
    return total * (shares.scale / (positions * objective.volume.data[0].numel()))


def _require_more_than_rounding(
    total: Tensor, size: Tensor, site: Site, precision: Precision
) -> None:
    """Refuse channel weights that are sums of slopes which cancel.

    So it is before an instance norm, which takes out the mean: whatever is added to a channel
    as a whole changes nothing, its mean slope is zero, and what is left is rounding.
    """
    rounding = 1e-5 if precision == "fp32" else 1e-2
    if bool(size.max() > 0) and bool(total.abs().max() < rounding * size.max()):
        raise MapError(
            f"grad_cam: the slopes by layer {site.name} cancel in every channel, so that their "
            "mean is rounding",
            hint="the norm behind this layer takes out its mean; name a layer behind the norm, "
            "or use hires_cam",
        )


def blend_weighted(objective: Objective, site: Site, weights: Tensor) -> LayerResult:
    """Return `sum_k weights_k A_k` over the whole volume, blended as the logits are."""

    def combine(activation: Tensor) -> Tensor:
        return torch.einsum("nk...,k->n...", activation, weights.to(activation))[:, None]

    return blend_layer(objective, site, combine)


def rectified(result: LayerResult) -> LayerResult:
    """Return the positive part of a layer's maps."""
    positions = None if result.positions is None else result.positions.relu()
    return replace(result, voxels=result.voxels.relu(), positions=positions)
