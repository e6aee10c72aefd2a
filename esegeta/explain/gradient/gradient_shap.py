"""Expected gradients (GradientSHAP): integrated gradients from several baselines, by sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.axes import Image
from esegeta.errors import ConfigError, MapError
from esegeta.explain.baseline import Baseline, parse_baseline
from esegeta.explain.explainer import (
    Explainer,
    RawMap,
    Traits,
    generator_for,
    standard_deviation,
)
from esegeta.explain.objective import Objective

LEAST_FOR_SPREAD = 3


@dataclass(frozen=True)
class GradientShap(Explainer):
    """Gradients at random points on the ways from several baselines to the noisy image.

        a = mean_i (z_i - x'_i) * dR/dx (x'_i + alpha_i (z_i - x'_i)),    z_i = x + e_i

    alpha_i ~ U(0, 1), x'_i one of the baselines, e_i Gaussian. Positive raises the target. Unit:
    target; its expectation without noise adds up to R(x) - mean R(x'): the gap is reported.

    Args:
        baselines: zero, mean, minimum, blur or image files; each has an equal part.
        samples: draws over all baselines.
        noise: standard deviation of e, in standard deviations of the image.
        seed: of the draws.
        spread: also return the standard error of the map.
        tolerance: relative gap above which the map carries a warning.

    Source: Erion et al., Learning Explainable Models Using Attribution Priors, 2019, equation 3,
    with noise as captum's. The alphas of a baseline are drawn one from each of as many equal parts
    of (0, 1), the baselines in turn: the same expectation at a lower variance.
    """

    baselines: tuple[Baseline | str, ...] = ("blur", "mean")
    samples: int = 16
    noise: float = 0.0
    seed: int = 0
    spread: bool = False
    tolerance: float = 0.1

    name: ClassVar[str] = "gradient_shap"
    traits: ClassVar[Traits] = Traits("gradient", stochastic=True)
    zero_hint: ClassVar[str] = "is the image equal to its baselines? choose other `baselines`"

    def __post_init__(self) -> None:
        parsed = tuple(parse_baseline(baseline) for baseline in self.baselines)
        if not parsed:
            raise ConfigError(
                "gradient_shap: baselines: none is given", hint="such as baselines: [blur, mean]"
            )
        if self.noise < 0:
            raise ConfigError(f"gradient_shap: noise: {self.noise:g} must not be below zero")
        least = len(parsed) * (LEAST_FOR_SPREAD if self.spread else 1)
        if self.samples < least:
            raise ConfigError(
                f"gradient_shap: samples: {self.samples} for {len(parsed)} baselines"
                f"{' and a standard error' if self.spread else ''}",
                hint=f"use at least {least}",
            )
        object.__setattr__(self, "baselines", parsed)

    @property
    def cost(self) -> str:
        """A forward and backward pass a sample; the values of the image and of each baseline."""
        return f"{self.samples + 1 + len(self.baselines)} F + {self.samples} B"

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map, and how far its sum is from the change of the target."""
        x = objective.volume.data
        generator = generator_for(x, self.seed)
        sigma = self.noise * standard_deviation(x) if self.noise > 0 else 0.0
        total = torch.zeros_like(x)
        variance = torch.zeros_like(x) if self.spread else None
        change = objective.value()
        shares = _share_out(self.samples, len(self.baselines))
        for baseline, count in zip(self.baselines, shares, strict=True):
            start = parse_baseline(baseline).of(objective.volume)
            change -= objective.at(start).value() / len(shares)
            roughness = _Roughness(x) if self.spread else None
            for alpha in _stratified(count, generator):
                part = _draw(objective, start, alpha, sigma, generator)
                total.add_(part, alpha=1 / (count * len(shares)))
                if roughness is not None:
                    roughness.add(part)
            if variance is not None and roughness is not None:
                variance.add_(roughness.variance(), alpha=1 / (count * len(shares) ** 2))
        error = variance.sqrt_() if variance is not None else None
        return self._judged(total, change, error)

    def _judged(self, data: Tensor, change: float, error: Tensor | None) -> RawMap:
        if not math.isfinite(change) and bool(data.isfinite().all()):
            raise MapError(
                f"gradient_shap: the target changes by {change} from the baselines to the image",
                hint="its values overflow; use precision: fp32 or reduce: mean",
            )
        delta = float(data.sum(dtype=torch.float64)) - change
        relative = abs(delta) / max(abs(change), 1e-12)
        warning = (
            f"completeness: the map adds up to {change + delta:.4g}, the target changes by "
            f"{change:.4g} from the baselines' mean ({relative:.1%} apart, tolerance "
            f"{self.tolerance:.1%}); use more samples, less noise or other baselines"
        )
        return RawMap(
            data,
            more={"completeness_delta": delta, "completeness_relative": relative},
            warnings=(warning,) if not relative <= self.tolerance else (),
            standard_error=error,
        )


def _draw(
    objective: Objective, start: Image, alpha: float, sigma: float, generator: torch.Generator
) -> Image:
    """Return the map of one draw: the way from baseline to noisy image, times the gradient."""
    x = objective.volume.data
    path = x - start
    if sigma > 0:
        bump = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        path.add_(bump, alpha=sigma)
    return path * objective.at(torch.add(start, path, alpha=alpha)).gradient()


class _Roughness:
    """The variance of draws about their trend over alpha, by second differences.

    One draw lies in each part of (0, 1), so that their plain variance would count the trend, which
    the parts have taken out. `(y_1 - 2 y_2 + y_3)^2 / 6` of neighbours knows no straight trend.

    Source: Wolter, Introduction to Variance Estimation, 2007, section 8.2.
    """

    def __init__(self, like: Tensor) -> None:
        self.total = torch.zeros_like(like)
        self.recent: list[Tensor] = []
        self.num_triples = 0

    def add(self, draw: Tensor) -> None:
        """Take in the next draw; at most two earlier ones are held."""
        if len(self.recent) == LEAST_FOR_SPREAD - 1:
            before, last = self.recent
            self.total += (before - 2 * last + draw).square_()
            self.num_triples += 1
            self.recent = [last, draw]
        else:
            self.recent.append(draw)

    def variance(self) -> Tensor:
        """Return the variance of one draw within its part."""
        return self.total / (6 * self.num_triples)


def _share_out(samples: int, num_baselines: int) -> list[int]:
    """Return how many draws each baseline gets; they differ by one at most."""
    base, rest = divmod(samples, num_baselines)
    return [base + (place < rest) for place in range(num_baselines)]


def _stratified(count: int, generator: torch.Generator) -> list[float]:
    """Return one uniform draw from each of `count` equal parts of (0, 1)."""
    draws = torch.rand(count, generator=generator, device=generator.device, dtype=torch.float64)
    return [(place + draw) / count for place, draw in enumerate(draws.tolist())]
