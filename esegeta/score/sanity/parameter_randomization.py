"""How a map changes when the network's weights are made random: MPRT and efficient MPRT."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.errors import ConfigError, EsegetaError, ModelError
from esegeta.explain import Attribution
from esegeta.score.sanity.weights import RandomWeights, WeightLayer, evenly
from esegeta.score.score import Curve, Judgement, Metric, Score, ScoreContext
from esegeta.score.similarity import (
    MapSimilarity,
    Measure,
    compare_maps,
    hog,
    is_constant,
    known,
    left_out,
    rank_similarity,
    reached,
    ssim,
)

LayerOrder = Literal["cascading", "independent"]

MEASURES: dict[str, Measure] = {"spearman": rank_similarity, "ssim": ssim, "hog": hog}
"""How similar the map is to that of a random network."""

SUFFIXES = {
    "cascading": "",
    "independent": "_independent",
    "spearman": "",
    "ssim": "_ssim",
    "hog": "_hog",
}
"""Suffixes of the figures' names."""

X_LABELS: dict[LayerOrder, str] = {
    "cascading": "random up to this layer, from the output",
    "independent": "random layer, from the output",
}


@dataclass(frozen=True)
class ParameterRandomization(Score):
    """How similar the map stays when layers of the network get random weights.

        mean_k |s(a(net), a(net_k))|,   s: Spearman of signed maps, SSIM and HOG of magnitudes

    Cascading: net_k is random from the output down to layer k; independent: in layer k alone.
    0..1; near 0 for a map that depends on what was learned, 1 for one that depends on the image
    alone, whether or not its sign flips. Only voxels where one of the maps is not zero count.
    Curves keep the sign; layers whose random network gives no map are NaN there.

    Args:
        modes: cascading, independent or both; the other's figures are NaN.
        max_layers: largest number of layers, evenly chosen, first and last included; each costs an
            explanation per mode.
        seed: random seed for the weights.

    Source: Adebayo et al., Sanity Checks for Saliency Maps, 2018, section 3; there |a| is ranked
    too. Over a segmentation that ranks how far a voxel is from the target, as any network would.
    """

    modes: Literal["cascading", "independent", "both"] = "both"
    max_layers: int = 6
    seed: int = 0

    name: ClassVar[str] = "parameter_randomization"
    family: ClassVar[str] = "sanity"
    needs_layers: ClassVar[bool] = True
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("parameter_randomization", "lower", high=1.0),
        Metric("parameter_randomization_ssim", "lower", high=1.0),
        Metric("parameter_randomization_hog", "lower", high=1.0),
        Metric("parameter_randomization_independent", "lower", high=1.0),
        Metric("parameter_randomization_independent_ssim", "lower", high=1.0),
        Metric("parameter_randomization_independent_hog", "lower", high=1.0),
    )

    def __post_init__(self) -> None:
        if self.max_layers < 2:
            raise ConfigError(
                f"{self.name}: max_layers: {self.max_layers} must be at least 2",
                hint="the first and the last layer are always among them",
            )

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return the mean similarities and their curves over the layers."""
        context.predictor.capability.require_hooks(self.name)
        target, volume = attribution.target, attribution.volume
        try:
            weights = RandomWeights(context.predictor, target, volume, self.seed)
        except ModelError as error:
            return self.undefined(error.message)
        places = evenly(range(len(weights.layers)), self.max_layers)
        trials = Trials(attribution, context, weights)
        runs: dict[LayerOrder, list[MapSimilarity]] = {"cascading": [], "independent": []}
        if self.modes != "independent":
            runs["cascading"] = [trials.of(weights.layers[: place + 1]) for place in places]
        if self.modes != "cascading":
            runs["independent"] = [trials.of([weights.layers[place]]) for place in places]
        return self._summary(runs, tuple(place + 1.0 for place in places))

    def _summary(
        self, runs: dict[LayerOrder, list[MapSimilarity]], places: tuple[float, ...]
    ) -> Judgement:
        values: dict[str, float] = {}
        reasons: dict[str, str] = {}
        curves = []
        for mode, comparisons in runs.items():
            ticks = tuple(comparison.other for comparison in comparisons)
            for measure in MEASURES:
                name = self.name + SUFFIXES[mode] + SUFFIXES[measure]
                found = known(comparisons, measure)
                values[name] = statistics.fmean(map(abs, found)) if found else math.nan
                if not comparisons:
                    reasons[name] = f"not asked for: modes: {self.modes}"
                    continue
                missing = left_out(comparisons, measure)
                reasons |= {name: missing} if missing else {}
                y = tuple(comparison.similarities[measure] for comparison in comparisons)
                curve = Curve(f"{mode}_{measure}", X_LABELS[mode], measure, places, y, ticks)
                curves.append(curve)
        return Judgement(values, reasons, tuple(curves))


@dataclass
class Trials:
    """Explains random networks and compares their maps; results are kept.

    Args:
        attribution: the map of the trained network.
        context: context of its network and method.
        weights: networks with random weights.
        tried: what was tried, by the names of the random layers.
    """

    attribution: Attribution
    context: ScoreContext
    weights: RandomWeights
    tried: dict[tuple[str, ...], MapSimilarity] = field(default_factory=dict)

    def of(self, layers: Sequence[WeightLayer]) -> MapSimilarity:
        """Compare with the map of a network whose weights are random in these layers."""
        names = tuple(layer.name for layer in layers)
        if names not in self.tried:
            one, explainer = self.attribution, self.context.explainer.unlearned()
            predictor = self.weights.predictor_with(layers)
            explain = partial(explainer.explain, predictor, one.volume, one.target)
            self.tried[names] = compare_maps(one, names[-1], explain, measures=MEASURES)
        return self.tried[names]


@dataclass(frozen=True)
class EfficientMprt(Score):
    """How much more complex the map becomes when the whole network is random.

        (H(a_random) - H(a)) / H(a),   H = -sum_i p_i log p_i of the histogram of |a|

    -1 or more; above 0 if the map of the trained network has more structure than that of a
    random one, 0 if the weights do not matter. Bins have equal widths from the smallest to the
    largest |a| of a map; voxels where both maps are zero are left out.

    Args:
        bins: bins of the histogram.
        seed: random seed for the random weights.

    Source: Hedström et al., Sanity Checks Revisited: An Exploration to Repair the Model Parameter
    Randomisation Test, 2024, section 4.2.
    """

    bins: int = 100
    seed: int = 0

    name: ClassVar[str] = "efficient_mprt"
    family: ClassVar[str] = "sanity"
    needs_layers: ClassVar[bool] = True
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("efficient_mprt", "higher", low=-1.0),)

    def __post_init__(self) -> None:
        if self.bins < 2:
            raise ConfigError(f"{self.name}: bins: {self.bins} must be at least 2")

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return the relative rise of the entropy."""
        context.predictor.capability.require_hooks(self.name)
        target, volume = attribution.target, attribution.volume
        try:
            weights = RandomWeights(context.predictor, target, volume, self.seed)
            predictor = weights.predictor_with(weights.layers)
            random = context.explainer.unlearned().explain(predictor, volume, target)
        except EsegetaError as error:
            return self.undefined(f"the random network has no map: {error.message}")
        where = reached(attribution.data, random.data)
        before, after = (
            histogram_entropy(map_[:, where].flatten(), self.bins)
            for map_ in (attribution.data, random.data)
        )
        if before == 0:
            return self.undefined("the map has a single magnitude, so its entropy cannot rise")
        return Judgement({self.name: (after - before) / before})


def histogram_entropy(values: Float[Tensor, " N"], bins: int) -> float:
    """Return the entropy in nats of the histogram of magnitudes; 0 where there is only one."""
    if is_constant(values.abs()):
        return 0.0
    counts = torch.histc(values.double().abs(), bins=bins)
    shares = counts[counts > 0] / counts.sum()
    return max(0.0, -float((shares * shares.log()).sum()))
