"""Integrated gradients along the path of a layer's activations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.axes import Image
from esegeta.errors import ConfigError, MapError
from esegeta.explain.baseline import Baseline, parse_baseline
from esegeta.explain.explainer import Traits
from esegeta.explain.layer.assemble import LayerSum
from esegeta.explain.layer.changed import predict_changed, value_changed
from esegeta.explain.layer.cut import Change, Site, read, slope_at
from esegeta.explain.layer.method import LayerMethod, LayerResult
from esegeta.explain.layer.path import Node, completeness, crops_of, gauss_legendre, legs
from esegeta.explain.objective import Objective
from esegeta.predict import Cotangent, Pieces


@dataclass(frozen=True)
class LayerIntegratedGradients(LayerMethod):
    """The gradient along the straight path of a layer's activations, times their change.

        a = sum_k (A_k - A'_k) * integral_0^1 dR/dA_k (A' + alpha (A - A')) dalpha,   A' = A(x')

    Skip connections around the layer see the image. Positive: the position's change from the
    baseline raises the target. Unit: target; the map adds up to R(x) - R(x with A' for A), and
    the gap is reported. What lies on padding goes to the nearest voxels of the volume.

    Args:
        layer: name of the layer, or a list; the deepest (a U-Net's bottleneck) by default.
        steps: Gauss-Legendre nodes.
        baseline: zero, mean, minimum, blur, or an image file; an image, run up to the layer.
        tolerance: relative completeness gap above which the map carries a warning.

    Source: Sundararajan et al., Axiomatic Attribution, 2017, equation 1, at a layer, as captum's
    LayerIntegratedGradients; units are summed here.
    """

    steps: int = 32
    baseline: Baseline | str = "blur"
    tolerance: float = 0.05

    name: ClassVar[str] = "layer_integrated_gradients"
    traits: ClassVar[Traits] = Traits(
        "layer", additive=True, needs_hooks=True, needs_layer=True, by_channel=False
    )
    zero_hint: ClassVar[str] = (
        "is the layer's output the same for image and baseline? choose another `baseline` or "
        "`layer`"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise ConfigError(f"{self.name}: steps: {self.steps} must be at least 1")
        object.__setattr__(self, "baseline", parse_baseline(self.baseline))

    @property
    def cost(self) -> str:
        """For each layer; a target that is not linear is predicted at every step."""
        return f"{self.steps + 5} F + {self.steps} B; not linear: {6 * self.steps + 3} F"

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the map and how far it is from adding up."""
        start = parse_baseline(self.baseline).of(objective.volume)
        path = _Path(objective, site, start)
        total = LayerSum(objective)
        for nodes, cotangent in legs(objective, gauss_legendre(self.steps), path.cotangent):
            total.add_windows(partial(path.patches, nodes), cotangent=cotangent)
        change = objective.value() - value_changed(objective, site, path.start)
        if not math.isfinite(change) and math.isfinite(total.total):
            raise MapError(
                f"{self.name}: the target changes by {change} from baseline to image",
                hint="its values overflow; use precision: fp32 or reduce: mean",
            )
        more = completeness(total.total, change)
        relative = more["completeness_relative"]
        warning = (
            f"completeness: the map adds up to {total.total:.4g}, the target changes by "
            f"{change:.4g} with the layer ({relative:.1%} apart, tolerance {self.tolerance:.1%}); "
            "use more steps or another baseline"
        )
        warnings = (warning,) if not relative <= self.tolerance else ()
        return replace(total.result(), more=more, warnings=warnings)


@dataclass(frozen=True, eq=False)
class _Path:
    """A layer's activations on their way from those of a baseline image to those of the image."""

    objective: Objective
    site: Site
    baseline: Image

    def patches(self, nodes: Sequence[Node], pieces: Pieces, share: Tensor) -> Tensor:
        """Return the nodes' part of the map in these windows, `N 1 *layer`."""
        start, here = self._ends(pieces)
        mean = torch.zeros_like(here)
        for node, weight in nodes:
            change = _constant(torch.lerp(start, here, node))
            _, slope = slope_at(self.objective, self.site, pieces.crops, share, change)
            mean.add_(slope, alpha=weight)
        return ((here - start) * mean).sum(dim=1, keepdim=True)

    def cotangent(self, node: float) -> Cotangent:
        """Return dR/dy of the prediction with the layer part of the way."""
        prepare = partial(self._at, node)
        logits = predict_changed(self.objective, self.site, prepare)
        return self.objective.target.cotangent(logits)

    def start(self, pieces: Pieces) -> Change:
        """Put the layer where it is for the baseline."""
        crops = crops_of(self.objective, self.baseline, pieces)
        return _constant(read(self.objective, self.site, crops)[1])

    def _at(self, node: float, pieces: Pieces) -> Change:
        start, here = self._ends(pieces)
        return _constant(torch.lerp(start, here, node))

    def _ends(self, pieces: Pieces) -> tuple[Tensor, Tensor]:
        crops = crops_of(self.objective, self.baseline, pieces)
        _, start = read(self.objective, self.site, crops)
        _, here = read(self.objective, self.site, pieces.crops)
        return start, here


def _constant(activation: Tensor) -> Change:
    return lambda output: activation
