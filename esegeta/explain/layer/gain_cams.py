"""CAMs by what a channel gains or loses the target: Score-CAM and Ablation-CAM."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.errors import ConfigError, MapError
from esegeta.explain.backprop.deep_lift import cotangent_between
from esegeta.explain.baseline import Baseline, parse_baseline
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Traits
from esegeta.explain.layer.assemble import LayerFields
from esegeta.explain.layer.cut import Site, changed, value_changed
from esegeta.explain.layer.gradient_cams import blend_weighted, places_by_pass, rectified
from esegeta.explain.layer.method import LayerMethod, LayerResult
from esegeta.explain.meaning import SEEN_THROUGH_ACTIVATION, WEIGHTED_BY_FALL, Meaning
from esegeta.explain.objective import Objective
from esegeta.model import Change, held_still
from esegeta.predict import Pieces, PositionValues, inner

FLAT = 1e-5
CHANNEL = "channel of the layer"


@dataclass(frozen=True)
class ScoreCam(LayerMethod):
    """Activations of a layer, weighted by the target on the image seen through their channel.

        a = sum_k c_k A_k,   c_k = R(x' + H_k (x - x')) - R(x')

    A_k is blended over windows as the logits are; H_k is A_k scaled to 0..1 over the volume and
    resampled to its voxels. No gradients. Positive: what active channels show there raises the
    target over the baseline's. Unit: target times activation.

    Args:
        layer: name of the layer, or a list; the deepest (a U-Net's bottleneck) by default.
        baseline: zero, mean, minimum, blur, or an image file; seen where H_k is zero.
        max_channels: the most channels to use, those that vary most over the volume; null for all.

    Source: Wang et al., Score-CAM, 2020, definition 3 and equation 7. There a softmax over channels
    follows, which of sums over a million logits would leave one channel, and a ReLU. Here c_k is
    the plain increase of definition 3, and the sign is kept.
    """

    baseline: Baseline | str = "blur"
    max_channels: int | None = 64

    name: ClassVar[str] = "score_cam"
    traits: ClassVar[Traits] = Traits("layer", needs_hooks=True, needs_layer=True, by_channel=False)
    meaning: ClassVar[Meaning] = SEEN_THROUGH_ACTIVATION
    zero_hint: ClassVar[str] = (
        "no channel of this layer shows what changes the target; choose another `layer` or "
        "`baseline`"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_channels is not None and self.max_channels < 1:
            raise ConfigError(f"score_cam: max_channels: {self.max_channels} must be at least 1")
        object.__setattr__(self, "baseline", parse_baseline(self.baseline))

    @property
    def cost_of_layer(self) -> Cost:
        """Active windows once for each channel; all windows for every group of units."""
        return Cost.of(1, per=CHANNEL, at_most=self.max_channels) + Cost.of(3)

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the map, the same for all input channels."""
        fields = LayerFields.of(objective, site)
        start = parse_baseline(self.baseline).of(objective.volume)
        lowest = objective.at(start).value()
        total = fields.grid.zeros(1, objective.x)
        passes = fields.by_pass()
        for own in passes:
            for activation in self._activations(own):
                low, high = activation.aminmax()
                if is_flat(float(low), float(high)):  # it hides nothing
                    continue
                mask = fields.grid.to_voxels(((activation - low) / (high - low))[None])
                seen = torch.lerp(start, objective.volume.data, mask)
                total[0].add_(activation, alpha=objective.at(seen).value() - lowest)
        total /= len(passes)
        voxels = fields.grid.to_voxels(total).contiguous()
        used = min(fields.num_units, self.max_channels or fields.num_units)
        more = {"channels_used": used, "num_channels": fields.num_units}
        return LayerResult(voxels, total, fields.grid, more)

    def _activations(self, fields: LayerFields) -> Iterator[PositionValues]:
        for units in fields.groups(self._chosen(fields)):
            yield from fields.activations(units)

    def _chosen(self, fields: LayerFields) -> list[int]:
        """Return the units that are used, in order."""
        if self.max_channels is None or fields.num_units <= self.max_channels:
            return list(range(fields.num_units))
        spreads = [_spreads(fields.activations(units)) for units in fields.groups()]
        best = torch.cat(spreads).topk(self.max_channels).indices
        return sorted(best.tolist())


def is_flat(low: float, high: float) -> bool:
    """Tell whether a channel's range is no more than what blending leaves of a constant."""
    return high - low <= FLAT * max(abs(low), abs(high))


def _spreads(activations: Tensor) -> Tensor:
    """Return the standard deviation over positions of each unit."""
    return activations.flatten(1).double().std(dim=1, correction=0)


@dataclass(frozen=True)
class AblationCam(LayerMethod):
    """Activations of a layer, weighted by how far the target falls when their channel is zeroed.

        a = ReLU(sum_k w_k A_k),   w_k = (R - R with A_k = 0 in every window) / |R|

    No gradients: also for layers that saturate. Only windows that the target touches are run for
    the weights, all of them once to blend A as the logits are; a target that is not linear is
    formed on the whole changed prediction. Not negative; unit: activation, as w has none. Where
    probabilities are averaged, unit k is zeroed in all passes at once, and each has its part in
    the fall: its own change, times the mean slope on the way.

    Args:
        layer: name of the layer, or a list; the deepest (a U-Net's bottleneck) by default.

    Source: Desai and Ramaswamy, Ablation-CAM, 2020, equations 1 and 3; |R| keeps the sign of the
    fall where the target is below zero.
    """

    name: ClassVar[str] = "ablation_cam"
    traits: ClassVar[Traits] = Traits("layer", needs_hooks=True, needs_layer=True, by_channel=False)
    meaning: ClassVar[Meaning] = WEIGHTED_BY_FALL
    zero_hint: ClassVar[str] = (
        "no channel of this layer raises the target overall; choose another `layer`"
    )

    @property
    def cost_of_layer(self) -> Cost:
        """Active windows once for each channel of the layer, then all windows."""
        return Cost.of(1, per=CHANNEL) + Cost.of(1) + Cost.of(1, over="all")

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the map, the same for all input channels.

        Raises:
            MapError: the target is zero, so that a fall cannot be a fraction of it.
        """
        num_units = LayerFields.of(objective, site).num_units
        value = objective.value()
        if value == 0:
            raise MapError(
                "ablation_cam: the target is zero, so a fall cannot be a fraction of it",
                hint="choose another target, or grad_cam",
            )
        find = _falls if objective.apart is None else _shared_falls
        falls = find(objective, site, num_units, value)
        result = rectified(blend_weighted(objective, site, falls / abs(value)))
        return replace(result, more={"num_channels": num_units})


def _falls(objective: Objective, site: Site, num_units: int, value: float) -> Tensor:
    """Return by how much the target falls without each unit in each pass, `passes x K`."""
    falls = torch.zeros(len(objective.windows.passes), num_units, dtype=torch.float64)
    for number, own in enumerate(falls):
        among = None if len(falls) == 1 else objective.windows.of_pass(number)
        # Of one pass among several, its own part of a linear target is all that can fall.
        whole = value
        if among is not None and objective.target.is_linear:
            whole = value_changed(objective, site, _unchanged, among=among)
        for unit in range(num_units):
            zeroed = partial(_zeroed, unit, among)
            own[unit] = whole - value_changed(objective, site, zeroed, among=among)
    return falls


def _shared_falls(objective: Objective, site: Site, num_units: int, value: float) -> Tensor:
    """Return the same where probabilities are averaged: each pass's part in the fall of all."""
    windows = objective.windows
    falls = torch.zeros(len(windows.passes), num_units, dtype=torch.float64)
    whole = objective.moment(objective.run_pieces)
    for unit, own in enumerate(falls.unbind(dim=1)):
        run = changed(objective, site, partial(_zeroed, unit, None))
        objective.tally.evaluations += 1
        cotangent, _ = cotangent_between(objective, objective.moment(run), whole)
        shares = cotangent.shares
        with held_still(objective.predictor.network), torch.no_grad():
            active = objective.active(cotangent)
            for pieces in objective.predictor.pieces(objective.x, windows, active):
                share = shares.of(pieces, pieces.crops.device)
                parts = inner(whole.run(pieces) - run(pieces), share) * shares.scale
                for number, places in places_by_pass(pieces, windows).items():
                    own[number] += float(parts[places].sum())
    return falls


def _zeroed(unit: int, among: range | None, pieces: Pieces) -> Change:
    """Zero one unit of the layer in every window, or in those of one pass."""
    places = [
        place for place, window in enumerate(pieces.windows) if among is None or window in among
    ]

    def change(output: Tensor) -> Tensor:
        rest = output.clone()
        rest[places, unit] = 0
        return rest

    return change


def _unchanged(pieces: Pieces) -> Change:
    return lambda output: output
