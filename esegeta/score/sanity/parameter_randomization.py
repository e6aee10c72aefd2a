"""Parameter randomisation: does the map change when the network forgets what it learned?"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal

from esegeta.errors import ConfigError, ModelError
from esegeta.explain import Attribution
from esegeta.score.sanity.comparison import Comparison, Measure, compare, known, left_out
from esegeta.score.sanity.layers import WeightLayer, evenly
from esegeta.score.sanity.similarity import hog, rank_similarity, ssim
from esegeta.score.sanity.weights import RandomWeights
from esegeta.score.score import Curve, Judgement, Quality, Score, ScoreContext

Mode = Literal["cascading", "independent"]

MEASURES: dict[str, Measure] = {"spearman": rank_similarity, "ssim": ssim, "hog": hog}
"""How alike the map is to that of a random network."""

SUFFIXES = {
    "cascading": "",
    "independent": "_independent",
    "spearman": "",
    "ssim": "_ssim",
    "hog": "_hog",
}
"""Of the figures' names."""

X_LABELS: dict[Mode, str] = {
    "cascading": "random up to this layer, from the output",
    "independent": "random layer, from the output",
}


@dataclass(frozen=True)
class ParameterRandomization(Score):
    """How alike the map stays when layers of the network get random weights.

        mean_k s(a(net), a(net_k)),   s: Spearman of signed maps, SSIM and HOG of their magnitudes

    Cascading: net_k is random from the output down to layer k; independent: in layer k alone. In
    -1..1; near 0 for a map of what was learned, 1 for one of the image alone. Only voxels that
    either map reaches count. Layers whose random network has no map are NaN in the curves.

    Args:
        modes: cascading, independent or both; the other's figures are NaN.
        max_layers: evenly chosen, first and last included; each costs an explanation a mode.
        seed: of the weights.

    Source: Adebayo et al., Sanity Checks for Saliency Maps, 2018, section 3; there |a| is ranked
    too. Over a segmentation that ranks how far a voxel is from the target, as any network would.
    """

    modes: Literal["cascading", "independent", "both"] = "both"
    max_layers: int = 6
    seed: int = 0

    name: ClassVar[str] = "parameter_randomization"
    family: ClassVar[str] = "sanity"
    qualities: ClassVar[tuple[Quality, ...]] = (
        Quality("parameter_randomization", "lower", low=-1.0, high=1.0),
        Quality("parameter_randomization_ssim", "lower", low=-1.0, high=1.0),
        Quality("parameter_randomization_hog", "lower", low=-1.0, high=1.0),
        Quality("parameter_randomization_independent", "lower", low=-1.0, high=1.0),
        Quality("parameter_randomization_independent_ssim", "lower", low=-1.0, high=1.0),
        Quality("parameter_randomization_independent_hog", "lower", low=-1.0, high=1.0),
    )

    def __post_init__(self) -> None:
        if self.max_layers < 2:
            raise ConfigError(
                f"{self.name}: max_layers: {self.max_layers} is below 2",
                hint="the first and the last layer are always among them",
            )

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return the mean similarities and their curves over the layers."""
        target, volume = attribution.target, attribution.volume
        try:
            weights = RandomWeights(context.predictor, target, volume, self.seed)
        except ModelError as error:
            return self.undefined(error.message)
        places = evenly(range(len(weights.layers)), self.max_layers)
        trials = Trials(attribution, context, weights)
        runs: dict[Mode, list[Comparison]] = {"cascading": [], "independent": []}
        if self.modes != "independent":
            runs["cascading"] = [trials.of(weights.layers[: place + 1]) for place in places]
        if self.modes != "cascading":
            runs["independent"] = [trials.of([weights.layers[place]]) for place in places]
        return self._summary(runs, tuple(place + 1.0 for place in places))

    def _summary(self, runs: dict[Mode, list[Comparison]], places: tuple[float, ...]) -> Judgement:
        values: dict[str, float] = {}
        reasons: dict[str, str] = {}
        curves = []
        for mode, comparisons in runs.items():
            ticks = tuple(comparison.other for comparison in comparisons)
            for measure in MEASURES:
                name = self.name + SUFFIXES[mode] + SUFFIXES[measure]
                found = known(comparisons, measure)
                values[name] = statistics.fmean(found) if found else math.nan
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
    """Explains random networks and compares; what was tried is known.

    Args:
        attribution: the map of the trained network.
        context: of its network and method.
        weights: the random ones.
        tried: by the names of the random layers.
    """

    attribution: Attribution
    context: ScoreContext
    weights: RandomWeights
    tried: dict[tuple[str, ...], Comparison] = field(default_factory=dict)

    def of(self, layers: Sequence[WeightLayer]) -> Comparison:
        """Compare with the map of a network whose weights are random in these layers."""
        names = tuple(layer.name for layer in layers)
        if names not in self.tried:
            one, explainer = self.attribution, self.context.explainer.unlearned()
            predictor = self.weights.predictor_with(layers)
            explain = partial(explainer.explain, predictor, one.volume, one.target)
            self.tried[names] = compare(one, names[-1], explain, measures=MEASURES)
        return self.tried[names]
