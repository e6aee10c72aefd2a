"""A layer along a path of its own activations: integrated gradients and gradient SHAP."""

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
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import RawMap, Traits, generator_for, standard_deviation
from esegeta.explain.layer.assemble import LayerSum
from esegeta.explain.layer.bypass import completeness
from esegeta.explain.layer.cut import (
    Site,
    changed,
    find_sites,
    read,
    slope_at,
    value_changed,
)
from esegeta.explain.layer.from_baseline import FromBaseline, Node, crops_of, legs
from esegeta.explain.layer.method import LayerMethod, LayerResult
from esegeta.explain.meaning import CONTRIBUTION, Meaning
from esegeta.explain.objective import AnyCotangent, Objective
from esegeta.explain.standard_error import confidence
from esegeta.model import Change
from esegeta.predict import Pieces, line_nodes


@dataclass(frozen=True)
class LayerIntegratedGradients(FromBaseline):
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

    tolerance: float = 0.05

    name: ClassVar[str] = "layer_integrated_gradients"
    traits: ClassVar[Traits] = Traits(
        "layer", additive=True, needs_hooks=True, needs_layer=True, by_channel=False
    )
    meaning: ClassVar[Meaning] = CONTRIBUTION

    @property
    def cost_of_layer(self) -> Cost:
        """For each layer; a target that is not linear is predicted at every step."""
        return Cost.of(self.steps + 5, self.steps, not_linear=6 * self.steps + 3)

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the map and how far it is from adding up.

        Raises:
            MapError: the target's change from the baseline overflows.
        """
        start = self.start(objective)
        path = _Path(objective, site, start)
        total = LayerSum(objective, site)
        for nodes, cotangent in legs(objective, line_nodes(self.steps), path.cotangent):
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

    def cotangent(self, node: float) -> AnyCotangent:
        """Return dR/dy of the prediction with the layer part of the way."""
        run = changed(self.objective, self.site, partial(self._at, node))
        return self.objective.cotangent_of(run)

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


@dataclass(frozen=True)
class LayerGradientShap(LayerMethod):
    """A layer's gradient at random points between baselines and the noisy image, times its change.

        a = mean_i sum_k (A_k(z_i) - A_k(x'_i)) * dR/dA_k (x'_i + alpha_i (z_i - x'_i))

    z_i = x + e_i with Gaussian e_i, alpha_i ~ U(0, 1), x'_i any of the baselines. Positive: the
    position raises the target. Unit: target; sums are kept on the way to voxels, and what lies on
    padding goes to the nearest voxels of the volume.

    Args:
        layer: name of the layer, or a list; the deepest (a U-Net's bottleneck) by default.
        baselines: zero, mean, minimum, blur or image files; one is drawn for each sample.
        samples: number of points.
        noise: standard deviation of e, in standard deviations of the image.
        seed: random seed for the draws.
        spread: also return the standard error of the map.

    Source: Erion et al., Learning Explainable Models Using Attribution Priors, 2019, equation 3,
    at a layer, as captum's LayerGradientShap; units are summed here.
    """

    baselines: tuple[Baseline | str, ...] = ("blur", "mean")
    samples: int = 16
    noise: float = 0.0
    seed: int = 0
    spread: bool = False

    name: ClassVar[str] = "layer_gradient_shap"
    traits: ClassVar[Traits] = Traits(
        "layer", needs_hooks=True, needs_layer=True, stochastic=True, by_channel=False
    )
    meaning: ClassVar[Meaning] = CONTRIBUTION
    zero_hint: ClassVar[str] = (
        "is the layer's output the same for image and baselines? choose other `baselines` or "
        "another `layer`"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        parsed = tuple(parse_baseline(baseline) for baseline in self.baselines)
        if not parsed:
            raise ConfigError(
                f"{self.name}: baselines: at least one is needed",
                hint="such as baselines: [blur, mean]",
            )
        if self.noise < 0:
            raise ConfigError(f"{self.name}: noise: {self.noise:g} must be 0 or more")
        least = 2 if self.spread else 1
        if self.samples < least:
            raise ConfigError(
                f"{self.name}: samples: {self.samples} must be at least {least}"
                f"{' for a standard error' if self.spread else ''}"
            )
        object.__setattr__(self, "baselines", parsed)

    @property
    def cost_of_layer(self) -> Cost:
        """For each layer; a target that is not linear is predicted at every sample."""
        return self.samples * Cost.of(3, 1, not_linear=4)

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the mean over samples of one layer's map."""
        return self._sampled(objective, (site,))[0][0]

    def attribute(self, objective: Objective) -> RawMap:
        """Return the mean over samples, and its standard error over the same where asked."""
        sites = find_sites(objective, self.layer)
        results, error = self._sampled(objective, sites)
        found = self.gather(objective, sites, results)
        if error is None:
            return found
        more = {**found.more, **confidence(self.samples - 1)}
        return replace(found, more=more, standard_error=error)

    def _sampled(
        self, objective: Objective, sites: Sequence[Site]
    ) -> tuple[list[LayerResult], Tensor | None]:
        """Return each layer's mean map, and the standard error of the mean over layers."""
        x = objective.volume.data
        generator = generator_for(x, self.seed)
        sigma = self.noise * standard_deviation(x) if self.noise > 0 else 0.0
        results: list[LayerResult] = []
        mean = squares = torch.zeros((), dtype=torch.float64, device=x.device)
        for count in range(1, self.samples + 1):
            draw = self._draw(objective, sigma, generator)
            found = [draw.result(site) for site in sites]
            pairs = zip(results, found, strict=True) if results else ()
            results = [_add(*pair) for pair in pairs] or found
            if self.spread:  # Welford's update
                voxels = torch.stack([result.voxels for result in found]).double().mean(dim=0)
                gap = voxels - mean
                mean = mean + gap / count
                squares = squares + gap * (voxels - mean)
        means = [_scaled(result, 1 / self.samples) for result in results]
        if not self.spread:
            return means, None
        return means, (squares / (self.samples - 1)).sqrt() / math.sqrt(self.samples)

    def _draw(self, objective: Objective, sigma: float, generator: torch.Generator) -> _Draw:
        x = objective.volume.data
        place, alpha = torch.rand(2, generator=generator, device=x.device).tolist()
        baseline = self.baselines[int(place * len(self.baselines))]
        noisy = x
        if sigma > 0:
            bump = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
            noisy = x + sigma * bump
        return _Draw(objective, parse_baseline(baseline).of(objective.volume), noisy, alpha)


@dataclass(frozen=True, eq=False)
class _Draw:
    """A point between a baseline and a noisy image."""

    objective: Objective
    start: Image
    noisy: Image
    alpha: float

    def result(self, site: Site) -> LayerResult:
        """Return the change of a layer from end to end, times its slope at the point."""
        here = self.objective.at(torch.lerp(self.start, self.noisy, self.alpha))
        total = LayerSum(here, site)
        total.add_windows(partial(self._patches, here, site))
        return total.result()

    def _patches(self, here: Objective, site: Site, pieces: Pieces, share: Tensor) -> Tensor:
        _, before = read(here, site, crops_of(here, self.start, pieces))
        _, after = read(here, site, crops_of(here, self.noisy, pieces))
        _, slope = slope_at(here, site, pieces.crops, share)
        return ((after - before) * slope).sum(dim=1, keepdim=True)


def _add(one: LayerResult, other: LayerResult) -> LayerResult:
    """Add two maps of a layer; a draw that touched no window has none on the layer's grid."""
    if one.positions is None or other.positions is None:
        known = other if one.positions is None else one
        return replace(known, voxels=one.voxels + other.voxels)
    return replace(one, voxels=one.voxels + other.voxels, positions=one.positions + other.positions)


def _scaled(result: LayerResult, factor: float) -> LayerResult:
    positions = None if result.positions is None else result.positions * factor
    return replace(result, voxels=result.voxels * factor, positions=positions)
