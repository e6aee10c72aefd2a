"""Random maps as competitors: would noise, or the edges of the image, have done as well?"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

from esegeta.errors import ConfigError, EsegetaError
from esegeta.explain import Attribution, EdgeMap, Explainer, RandomMap, parameters_of
from esegeta.score.removal_curves import Deletion
from esegeta.score.score import Judgement, Metric, Score, ScoreContext


@dataclass(frozen=True)
class RandomMapBaseline(Score):
    """How many random maps are at least as good as the map on another score.

        p = (1 + #{random maps at least as good}) / (1 + samples)
        z = (mean_random - own) / std_random, of a figure where higher is better with signs changed

    p in 0..1, lower is better; at most 0.05 means that the map is not noise. z still grows where p
    cannot fall further. `_edges` is by how much the map is better than the edge map, in the unit of
    the figure, which is the base score's main one; below 0 the image's edges are better. All
    methods of a target are compared with the same random maps.

    Args:
        base: the score of the comparison; by default `deletion` in 5 steps.
        samples: random maps, at least 2; each costs what the base costs.
        sigmas_mm: widths of their blurs in mm, taken in turn; 0 is white noise.
        seed: random seed for the noise.

    Source: the random ranking of Hooker et al., A Benchmark for Interpretability Methods, 2019; p
    as Phipson and Smyth, Permutation P-values Should Never Be Zero, 2010, equation 2.
    """

    base: Score = field(default_factory=lambda: Deletion(steps=5))
    samples: int = 19
    sigmas_mm: tuple[float, ...] = (0.0, 10.0)
    seed: int = 0

    name: ClassVar[str] = "random_map_baseline"
    family: ClassVar[str] = "sanity"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("random_map_baseline", "lower", high=1.0),
        Metric("random_map_baseline_z", "higher", low=-math.inf),
        Metric("random_map_baseline_edges", "higher", low=-math.inf),
    )

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise ConfigError(f"{self.name}: samples: {self.samples} must be at least 2")
        if not self.sigmas_mm or min(self.sigmas_mm) < 0:
            raise ConfigError(f"{self.name}: sigmas_mm: give widths of 0 or more")
        if isinstance(self.base, RandomMapBaseline):
            raise ConfigError(f"{self.name}: base: {self.name} cannot be judged by itself")
        self.base.headline()

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return the share of random maps that do as well, and by how much the map does better."""
        own = self._worth(attribution, context)
        if own.reason:
            return self.undefined(own.reason)
        key = (self.name, str(parameters_of(self)))
        noise, edges = context.cache.once(key, lambda: self._competitors(attribution, context))
        reasons: dict[str, str] = {}
        leads = [own.value - other.value for other in noise]
        p, z = (1 + sum(lead <= 0 for lead in leads)) / (1 + len(leads)), math.nan
        unknown = next((other.reason for other in noise if other.reason), "")
        if unknown:
            p = math.nan
            reasons |= dict.fromkeys((self.name, f"{self.name}_z"), unknown)
        elif len(set(leads)) == 1:
            reasons[f"{self.name}_z"] = "all random maps score the same"
        else:
            z = statistics.fmean(leads) / statistics.stdev(leads)
        if edges.reason:
            reasons[f"{self.name}_edges"] = edges.reason
        lead = own.value - edges.value
        values = {self.name: p, f"{self.name}_z": z, f"{self.name}_edges": lead}
        return Judgement(values, reasons)

    def _competitors(
        self, attribution: Attribution, context: ScoreContext
    ) -> tuple[list[Worth], Worth]:
        """Return the values of random maps and of the edge map for the same target."""
        noise = [self._worth_of(explainer, attribution, context) for explainer in self._noise()]
        return noise, self._worth_of(EdgeMap(), attribution, context)

    def _noise(self) -> Iterator[Explainer]:
        # Seeded by text: no two seeds share a random map.
        draws = random.Random(f"{self.name} {self.seed}")
        for place in range(self.samples):
            sigma_mm = self.sigmas_mm[place % len(self.sigmas_mm)]
            yield RandomMap(sigma_mm, seed=draws.getrandbits(62))

    def _worth_of(
        self, explainer: Explainer, attribution: Attribution, context: ScoreContext
    ) -> Worth:
        volume, target = attribution.volume, attribution.target
        try:
            other = explainer.explain(context.predictor, volume, target)
            return self._worth(other, replace(context, explainer=explainer))
        except EsegetaError as error:
            return Worth(math.nan, f"{self.base.name} of {explainer.name}: {error.message}")

    def _worth(self, attribution: Attribution, context: ScoreContext) -> Worth:
        figure = self.base.headline()
        judgement = self.base.judge(attribution, context)
        value = judgement.values[figure.name]
        if math.isnan(value):
            reason = judgement.reasons[figure.name]
            return Worth(value, f"{figure.name} of {attribution.method}: {reason}")
        return Worth(value if figure.better == "higher" else -value)


@dataclass(frozen=True)
class Worth:
    """The value of a map under the base score.

    Args:
        value: its figure, with the sign changed where lower is better.
        reason: why it is NaN, or empty.
    """

    value: float
    reason: str = ""
