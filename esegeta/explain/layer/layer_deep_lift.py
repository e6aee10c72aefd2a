"""DeepLIFT at a layer: what its activations pass on of the change from a baseline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.explain.backprop.deep_lift import gain, mean_cotangent
from esegeta.explain.backprop.lift import lift
from esegeta.explain.baseline import Baseline, parse_baseline
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Traits
from esegeta.explain.layer.assemble import LayerSum
from esegeta.explain.layer.bypass import checked
from esegeta.explain.layer.cut import Site, no_part, spatial
from esegeta.explain.layer.from_baseline import SAME_AT_BASELINE, crops_of
from esegeta.explain.layer.method import LayerMethod, LayerResult
from esegeta.explain.meaning import CONTRIBUTION, Meaning
from esegeta.explain.objective import Objective
from esegeta.model import cut_at
from esegeta.predict import Pieces


@dataclass(frozen=True)
class LayerDeepLift(LayerMethod):
    """A layer's change from a baseline, times DeepLIFT's multipliers after the layer.

        a = sum_k m_k * (A_k - A'_k),   A' = A(x')

    The multipliers are those of `deep_lift` on its way to the voxels. Where everything goes through
    the layer, the map adds up to R(x) - R(x'); a U-Net's skip connections carry the rest, and both
    numbers are in the facts. Positive: the position's change from the baseline raises the target.
    Unit: target. What lies on padding goes to the nearest voxels of the volume.

    Args:
        layer: name of the layer, or a list; the deepest (a U-Net's bottleneck) by default.
        baseline: zero, mean, minimum, blur, or an image file; an image, run up to the layer.
        tolerance: relative gap above which a map carries a warning, if nothing bypasses the layer.

    Source: Shrikumar et al., Learning Important Features Through Propagating Activation
    Differences, 2017, section 3.5.2, at a layer, as captum's LayerDeepLift; units are summed here.
    """

    baseline: Baseline | str = "blur"
    tolerance: float = 0.05

    name: ClassVar[str] = "layer_deep_lift"
    traits: ClassVar[Traits] = Traits(
        "layer", additive=True, needs_hooks=True, needs_layer=True, by_channel=False
    )
    meaning: ClassVar[Meaning] = CONTRIBUTION
    zero_hint: ClassVar[str] = SAME_AT_BASELINE

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "baseline", parse_baseline(self.baseline))

    @property
    def cost_of_layer(self) -> Cost:
        """For each layer: a pass over the baseline, and one forward and back over the image."""
        return Cost.of(2, 1).at_another_image()

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the map, what it adds up to, and how much the target changes in all."""
        start = parse_baseline(self.baseline).of(objective.volume)
        cotangent, change = mean_cotangent(objective, start)
        scale = objective.shares(cotangent).scale
        changes: list[float] = []

        def patches(pieces: Pieces, share: Tensor) -> Tensor:
            activations: list[Tensor] = []

            def run(crops: Tensor) -> Tensor:
                with cut_at(objective.predictor.network, site.name) as leaves:
                    logits = objective.run(crops)
                activations.append(spatial(site, leaves, objective.windows))
                return logits

            logits, before = lift(run, pieces.crops, crops_of(objective, start, pieces))
            if not logits.requires_grad:
                raise no_part(site.name)
            changes.append(gain(before, logits, share) * scale)
            there, here = activations
            (multiplier,) = torch.autograd.grad(logits, here, share.to(logits.dtype))
            moved = (here - there).detach().float()
            return (moved * multiplier.float()).sum(dim=1, keepdim=True)

        total = LayerSum(objective, site)
        total.add_windows(patches, cotangent=cotangent)
        whole = sum(changes) if change is None else change
        more, warnings = checked(objective, site, total.total, whole, self.tolerance)
        return replace(total.result(), more=more, warnings=warnings)
