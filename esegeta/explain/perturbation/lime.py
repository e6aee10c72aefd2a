"""LIME: a sparse or ridge regression of the target on which features are left."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from esegeta.errors import ConfigError
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import RawMap, Traits, generator_for
from esegeta.explain.meaning import WORTH, Meaning
from esegeta.explain.objective import Objective
from esegeta.explain.perturbation.masked_target import OverFeatures
from esegeta.explain.standard_error import confidence

CoalitionDistance = Literal["cosine", "hamming"]
Regression = Literal["ridge", "lasso"]

BOOTSTRAPS = 100
LASSO_ITERATIONS = 100_000


@dataclass(frozen=True)
class Lime(OverFeatures):
    """The coefficients of a linear model of the target near the image, over its features.

        min_a  sum over coalitions z of  exp(-D(z, 1)^2 / width^2) (v(z) - a_0 - a . z)^2  + penalty

    Each feature is kept with probability 1/2. Positive: the feature raises the target. Each voxel
    holds the coefficient of its whole feature, in the target's unit. Intercept and r2 are facts.

    Args:
        features: blocks, supervoxels, channels, a label map, or a block of keys.
        baseline: zero, mean, minimum, blur, or an image file.
        samples: number of coalitions.
        regression: `ridge`, or `lasso`, which sets weak features to zero.
        alpha: factor of the penalty: alpha |a|^2, or alpha |a|_1 for lasso, in deviations of v.
        distance: D of z from all: `cosine`, 1 - sqrt(share kept), or `hamming`, the share left out.
        width: width of the kernel, in distances.
        seed: random seed for the coalitions.
        spread: also give the standard error, by 100 bootstraps of the coalitions.

    Source: Ribeiro et al., "Why Should I Trust You?", 2016, equations 1 and 2, fitted by
    scikit-learn. Features out of the target's reach are left out of z: they are 0.
    """

    samples: int = 512
    regression: Regression = "ridge"
    alpha: float = 1.0
    distance: CoalitionDistance = "cosine"
    width: float = 0.25
    seed: int = 0
    spread: bool = False

    name: ClassVar[str] = "lime"
    traits: ClassVar[Traits] = Traits("perturbation", stochastic=True, by_channel=False)
    meaning: ClassVar[Meaning] = WORTH

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, least in (("samples", 2), ("alpha", 0), ("width", 0)):
            value = getattr(self, key)
            if value < least or (key == "width" and value == 0):
                least_text = "above zero" if key == "width" else f"at least {least}"
                raise ConfigError(f"{self.name}: {key}: {value:g} must be {least_text}")

    @property
    def cost(self) -> Cost:
        """One forward pass per coalition."""
        return Cost.of(self.samples)

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map.

        Raises:
            ConfigError: there are too few samples for the features.
        """
        masked_target = self.masked_target(objective)
        if not masked_target.players:
            return masked_target.map(torch.zeros(0, dtype=torch.float64))
        generator = generator_for(torch.empty(0), self.seed)
        if self.samples < len(masked_target.players) + 2:
            raise ConfigError(
                f"lime: samples: {self.samples} are too few for "
                f"{len(masked_target.players)} features",
                hint=f"a linear model needs {len(masked_target.players) + 2} or more; "
                "several times as many are usual",
            )
        draws = torch.rand((self.samples, len(masked_target.players)), generator=generator)
        coalitions = draws < 0.5
        values = masked_target.values(masked_target.with_dummies(coalitions))
        weights = closeness(coalitions, self.distance, self.width)
        fit = self._fit(coalitions, values, weights)
        errors = None
        if self.spread:
            picks = torch.randint(self.samples, (BOOTSTRAPS, self.samples), generator=generator)
            again = [self._fit(coalitions[p], values[p], weights[p]).values for p in picks]
            errors = torch.stack(again).std(dim=0)
        more = {"intercept": fit.intercept, "r2": fit.r2}
        if self.spread:
            more |= confidence(self.samples - len(masked_target.players) - 1)
        return masked_target.map(fit.values, errors=errors, more=more)

    def _fit(self, coalitions: Tensor, values: Tensor, weights: Tensor) -> LinearFit:
        return fit_linear(
            coalitions, values, weights=weights, regression=self.regression, alpha=self.alpha
        )


class LinearFit(NamedTuple):
    """A linear model of a masked target: the players' values, the rest, and how well it fits."""

    values: Tensor
    intercept: float
    r2: float


def closeness(
    coalitions: Bool[Tensor, "M P"], distance: CoalitionDistance, width: float
) -> Float64[Tensor, " M"]:
    """Return the weight of each coalition, 1 for the whole image: `exp(-D^2 / width^2)`."""
    kept = coalitions.double().mean(dim=1)
    gap = 1 - (kept.sqrt() if distance == "cosine" else kept)
    return (-((gap / width) ** 2)).exp()


def fit_linear(
    coalitions: Bool[Tensor, "M P"],
    values: Float64[Tensor, " M"],
    *,
    weights: Float64[Tensor, " M"],
    regression: Regression,
    alpha: float,
) -> LinearFit:
    """Fit a weighted linear model with an intercept.

    Ridge minimises `sum w (v - a_0 - a.z)^2 + alpha |a|^2`; lasso `sum w (...)^2 / (2 sum w) +
    alpha std(v) |a|_1`, so that its alpha does not depend on the target's unit.
    """
    from sklearn.linear_model import Lasso, Ridge

    z, v, w = (np.asarray(tensor, dtype=np.float64) for tensor in (coalitions, values, weights))
    mean = np.average(v, weights=w)
    variance = float(np.average((v - mean) ** 2, weights=w))
    # Nothing to explain, or nothing that the penalty could be scaled by; the mean is rounded.
    if variance == 0 or v.min() == v.max():
        return LinearFit(torch.zeros(z.shape[1], dtype=torch.float64), float(mean), 0.0)
    scale = math.sqrt(variance)
    model = (
        Ridge(alpha=alpha)
        if regression == "ridge"
        else Lasso(alpha=alpha, max_iter=LASSO_ITERATIONS)
    )
    model.fit(z, (v - mean) / scale, sample_weight=w)
    found = torch.from_numpy(np.asarray(model.coef_, dtype=np.float64) * scale)
    r2 = float(model.score(z, (v - mean) / scale, sample_weight=w))
    return LinearFit(found, float(model.intercept_ * scale + mean), r2)
