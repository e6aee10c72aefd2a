"""CAMs that weigh each channel of a layer by its gradient: Grad-CAM and Grad-CAM++.

Each window has its own activations A_t of the layer, so that R is a function of all of them. The
channel weights are formed over the whole volume, never window by window, and the activations are
blended as the logits are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.errors import MapError
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Traits
from esegeta.explain.layer.assemble import LayerFields, blend_layer
from esegeta.explain.layer.cut import Site
from esegeta.explain.layer.method import LayerMethod, LayerResult
from esegeta.explain.layer.shared import slope_in
from esegeta.explain.meaning import CLASS_ACTIVATION, WEIGHTED_BY_POSITION, Meaning
from esegeta.explain.objective import Objective
from esegeta.model import held_still
from esegeta.predict import LayerGrid, Pieces, PositionValues, Precision, Windows

GROUP = "group of units that fills a quarter of a volume"


@dataclass(frozen=True)
class GradCam(LayerMethod):
    """Activations of a layer, weighted by their channel's mean gradient over the whole volume.

        alpha_k = 1/Z sum_t sum_i dR/dA_t[k, i],   a = ReLU(sum_k alpha_k * A_k)

    A_k are the windows' activations, resampled to voxels and blended as the logits are; Z is the
    number of the layer's positions in the volume. Not negative; unit: target per layer position.
    Each mirrored pass, and each network of an ensemble, has weights and activations of its own.

    Args:
        layer: name of the layer, or a list; the deepest (a U-Net's bottleneck) by default.

    Source: Selvaraju et al., Grad-CAM, 2017, equations 1 and 2.
    """

    name: ClassVar[str] = "grad_cam"
    traits: ClassVar[Traits] = Traits("layer", needs_hooks=True, needs_layer=True, by_channel=False)
    meaning: ClassVar[Meaning] = CLASS_ACTIVATION
    zero_hint: ClassVar[str] = (
        "nothing in this layer raises the target overall; choose another `layer`"
    )

    @property
    def cost_of_layer(self) -> Cost:
        """Active windows forward and back, then all windows forward."""
        return Cost.of(1, 1) + Cost.of(1, over="all")

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the map, the same for all input channels."""
        weights = channel_weights(objective, site)
        if weights is None:
            return LayerResult(torch.zeros_like(objective.volume.data[:1]))
        return rectified(blend_weighted(objective, site, weights))


def channel_weights(objective: Objective, site: Site) -> Tensor | None:
    """Return alpha of each pass, the mean slope of each channel, or None if nothing is active.

    None occurs where a target is saturated. The means are over the volume, `passes x K`.
    """
    predictor, windows = objective.predictor, objective.windows
    cotangent = objective.cotangent()
    shares = objective.shares(cotangent)
    objective.tally.evaluations += 1
    total: Tensor | None = None
    size: Tensor | None = None
    positions = 0.0  # of the layer, a voxel
    with held_still(predictor.network):
        for pieces in predictor.pieces(objective.x, windows, objective.active(cotangent)):
            share = shares.of(pieces, pieces.crops.device)
            activation, slope = slope_in(objective, site, pieces, share)
            shape = (len(windows.passes), slope.shape[1])
            if total is None or size is None:
                total, size = slope.new_zeros((2, *shape), dtype=torch.float64).unbind()
            for number, own in _by_pass(pieces, windows, slope).items():
                total[number] += own.transpose(0, 1).flatten(1).sum(dim=1, dtype=torch.float64)
                sizes = own.abs().transpose(0, 1).flatten(1)
                size[number] += sizes.sum(dim=1, dtype=torch.float64)
            grid = LayerGrid.of(windows, activation, site.name)
            positions = 1 / math.prod(grid.stride)
    if total is None or size is None:
        return None
    _require_more_than_rounding(total, size, site, objective.predictor.precision)
    return total * (shares.scale / (positions * objective.volume.data[0].numel()))


def _require_more_than_rounding(
    total: Tensor, size: Tensor, site: Site, precision: Precision
) -> None:
    """Refuse channel weights that are sums of slopes which cancel.

    This happens before an instance norm, which takes out the mean: whatever is added to a channel
    as a whole changes nothing, its mean slope is zero, and what is left is rounding.
    """
    rounding = 1e-5 if precision == "fp32" else 1e-2
    if bool(size.max() > 0) and bool(total.abs().max() < rounding * size.max()):
        raise MapError(
            f"grad_cam: the gradients at layer {site.name} cancel in every channel, so their "
            "mean is rounding error",
            hint="the norm after this layer removes its mean; name a layer after the norm, "
            "or use hires_cam",
        )


def blend_weighted(objective: Objective, site: Site, weights: Tensor) -> LayerResult:
    """Return `sum_k weights_k A_k` over the whole volume, blended as the logits are.

    Args:
        objective: what is explained.
        site: the layer.
        weights: weight of each unit in each pass, `passes x K`; their maps are added up over
            passes.
    """

    windows = objective.windows
    # Blends are means over passes, and the weights of each are of its own part of the prediction.
    table = weights * len(windows.passes)

    def combine(pieces: Pieces, activation: Tensor) -> Tensor:
        combined = torch.empty_like(activation[:, :1])
        for number, places in places_by_pass(pieces, windows).items():
            own = table[number].to(activation)
            chosen = activation[places]
            combined[places] = torch.einsum("nk...,k->n...", chosen, own)[:, None]
        return combined

    return blend_layer(objective, site, combine)


def _by_pass(pieces: Pieces, windows: Windows, values: Tensor) -> dict[int, Tensor]:
    return {number: values[own] for number, own in places_by_pass(pieces, windows).items()}


def places_by_pass(pieces: Pieces, windows: Windows) -> dict[int, list[int]]:
    """Return which windows belong to which mirrored pass of which network."""
    found: dict[int, list[int]] = {}
    for place, window in enumerate(pieces.windows):
        found.setdefault(windows.pass_of(window), []).append(place)
    return found


def rectified(result: LayerResult) -> LayerResult:
    """Return the positive part of a layer's maps."""
    positions = None if result.positions is None else result.positions.relu()
    return replace(result, voxels=result.voxels.relu(), positions=positions)


def rectified_sum(
    fields: LayerFields, of_units: Callable[[LayerFields, Tensor], Tensor]
) -> LayerResult:
    """Return the positive part of a sum over units, a mean over passes.

    Args:
        fields: activations and slopes of the layer.
        of_units: takes the fields of a pass and indices of units; returns their sum `*G`.
    """
    total = fields.grid.zeros(1, fields.objective.x)
    passes = fields.by_pass()
    for own in passes:
        for units in own.groups():
            total[0] += of_units(own, units)
    total /= len(passes)
    voxels = fields.grid.to_voxels(total).contiguous()
    return rectified(LayerResult(voxels, total, fields.grid))


@dataclass(frozen=True)
class GradCamPP(LayerMethod):
    """Grad-CAM with channel weights in which each position has its own coefficient.

        a = ReLU(sum_k w_k A_k),   w_k = sum_i c_ki ReLU(g_ki)
        c_ki = 1 / (2 + g_ki sum_j ReLU(A_kj))

    A is blended over windows as the logits are and g = dR/dA summed over them, on the layer's
    grid, before any weight is formed. Not negative; unit: target. A channel with few positions
    that matter counts as much as one with many. The weights depend on the target's scale.

    Args:
        layer: name of the layer, or a list; the deepest (a U-Net's bottleneck) by default.

    Source: Chattopadhay et al., Grad-CAM++, 2018, equations 10 and 19, whose score exp(R) would
    overflow: the factor exp(R), common to all weights, is left out. There all activations come
    from a ReLU; for others c would have poles, so that only their positive part is summed here.
    """

    name: ClassVar[str] = "grad_cam_pp"
    traits: ClassVar[Traits] = Traits("layer", needs_hooks=True, needs_layer=True, by_channel=False)
    meaning: ClassVar[Meaning] = WEIGHTED_BY_POSITION
    zero_hint: ClassVar[str] = "nothing in this layer raises the target; choose another `layer`"

    @property
    def cost_of_layer(self) -> Cost:
        """Active windows forward and back, all windows forward; again where units fill memory."""
        return Cost.of(1, 1, per=GROUP) + Cost.of(1, over="all", per=GROUP)

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the map, the same for all input channels."""
        return rectified_sum(LayerFields.of(objective, site), _weighted_by_position)


def _weighted_by_position(fields: LayerFields, units: Tensor) -> Tensor:
    """Return `sum_k w_k A_k` of some units, on the layer's grid."""
    rises = fields.slopes(units).relu_()
    activations = fields.activations(units)
    sums = activations.relu().flatten(1).sum(dim=1, dtype=torch.float64)
    return torch.einsum("k,k...->...", _higher_order_weights(rises, sums), activations)


def _higher_order_weights(rises: PositionValues, sums: Tensor) -> Tensor:
    """Return `sum_i g / (2 + g S)` over positions with g > 0, one weight per unit."""
    column = sums.to(rises).reshape(-1, *([1] * (rises.ndim - 1)))
    return (rises / (2 + rises * column)).flatten(1).sum(dim=1)
