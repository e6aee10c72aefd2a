"""Expected gradients (GradientSHAP): integrated gradients from several baselines, by sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.axes import Image
from esegeta.errors import ConfigError, MapError
from esegeta.explain.attribution import Way
from esegeta.explain.baseline import Baseline, parse_baseline
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import (
    Explainer,
    RawMap,
    Traits,
    generator_for,
    standard_deviation,
)
from esegeta.explain.meaning import CONTRIBUTION, Meaning
from esegeta.explain.objective import Objective
from esegeta.explain.standard_error import confidence


@dataclass(frozen=True)
class GradientShap(Explainer):
    """Gradients at random points on the paths from several baselines to the noisy image.

        a = mean_i (z_i - x'_i) * dR/dx (x'_i + alpha_i (z_i - x'_i)),    z_i = x + e_i

    alpha_i ~ U(0, 1), x'_i one of the baselines, e_i Gaussian. Positive: raises the target. Unit:
    target; its expectation without noise adds up to R(x) - mean R(x'): the gap is reported.

    Args:
        baselines: zero, mean, minimum, blur or image files; all have equal weight.
        samples: draws over all baselines; even where `spread` is asked for.
        noise: standard deviation of e, in standard deviations of the image.
        seed: random seed for the draws.
        spread: also return the standard error of the map: (0, 1) has half as many parts, with two
            draws in each, and their difference gives the error.
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
    meaning: ClassVar[Meaning] = CONTRIBUTION
    zero_hint: ClassVar[str] = (
        "no draw has a slope; is the image equal to its baselines? choose other `baselines`"
    )

    def __post_init__(self) -> None:
        parsed = tuple(parse_baseline(baseline) for baseline in self.baselines)
        if not parsed:
            raise ConfigError(
                "gradient_shap: baselines: at least one is needed",
                hint="such as baselines: [blur, mean]",
            )
        if self.noise < 0:
            raise ConfigError(f"gradient_shap: noise: {self.noise:g} must be 0 or more")
        least = len(parsed) * self._draws_a_part
        if self.samples < least:
            raise ConfigError(
                f"gradient_shap: samples: {self.samples} for {len(parsed)} baselines"
                f"{' and a standard error' if self.spread else ''}",
                hint=f"use at least {least}",
            )
        if self.samples % self._draws_a_part:
            raise ConfigError(
                f"gradient_shap: samples: a standard error needs pairs of draws, but "
                f"{self.samples} is odd",
                hint=f"use {self.samples + 1} or spread: false",
            )
        object.__setattr__(self, "baselines", parsed)

    @property
    def _draws_a_part(self) -> int:
        # One draw a part is the better map, but leaves no way to tell its error from its trend.
        return 2 if self.spread else 1

    @property
    def cost(self) -> Cost:
        """A forward and backward pass per sample; the values of the image and of each baseline."""
        return Cost.of(self.samples + 1 + len(self.baselines), self.samples)

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map, and how far its sum is from the change of the target."""
        x = objective.volume.data
        generator = generator_for(x, self.seed)
        sigma = self.noise * standard_deviation(x) if self.noise > 0 else 0.0
        total = torch.zeros_like(x)
        variance = torch.zeros_like(x) if self.spread else None
        slopes: list[Way] = []
        change = objective.value()
        each, ways = self._draws_a_part, len(self.baselines)
        shares = _share_out(self.samples // each, ways)
        for baseline, parts in zip(self.baselines, shares, strict=True):
            start = parse_baseline(baseline).of(objective.volume)
            change -= objective.at(start).value() / ways
            slopes.append(Way(torch.zeros_like(x), start))
            for alphas in _stratified(parts, each, generator):
                draws = [_draw(objective, start, alpha, sigma, generator) for alpha in alphas]
                for path, slope in draws:
                    total.add_(path * slope, alpha=1 / (each * parts * ways))
                    slopes[-1].slope.add_(slope, alpha=1 / (each * parts * ways))
                if variance is not None:
                    # (d1 - d2)^2 / 2 is the variance of one draw, / 4 that of the pair's mean.
                    one, other = (path * slope for path, slope in draws)
                    variance.add_((one - other).square_(), alpha=1 / (2 * parts * ways) ** 2)
        error = variance.sqrt_() if variance is not None else None
        # Noise moves the end of each way, and errors are known of the map, not of its slopes.
        straight = sigma == 0 and not self.spread
        return replace(self._judged(total, change, error), ways=tuple(slopes) if straight else ())

    def _judged(self, data: Tensor, change: float, error: Tensor | None) -> RawMap:
        if not math.isfinite(change) and bool(data.isfinite().all()):
            raise MapError(
                f"gradient_shap: the target changes by {change} from the baselines to the image",
                hint="its values overflow; use precision: fp32 or reduce: mean",
            )
        delta = float(data.sum(dtype=torch.float64)) - change
        relative = abs(delta) / max(abs(change), 1e-12)
        certainty = confidence(self.samples // 2) if error is not None else {}
        warning = (
            f"completeness: the map adds up to {change + delta:.4g}, the target changes by "
            f"{change:.4g} from the baselines' mean ({relative:.1%} apart, tolerance "
            f"{self.tolerance:.1%}); use more samples, less noise or other baselines"
        )
        return RawMap(
            data,
            more={"completeness_delta": delta, "completeness_relative": relative, **certainty},
            warnings=(warning,) if not relative <= self.tolerance else (),
            standard_error=error,
        )


def _draw(
    objective: Objective, start: Image, alpha: float, sigma: float, generator: torch.Generator
) -> tuple[Image, Image]:
    """Return the way from the baseline to the noisy image, and the gradient at a point of it."""
    x = objective.volume.data
    path = x - start
    if sigma > 0:
        bump = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        path.add_(bump, alpha=sigma)
    return path, objective.at(torch.add(start, path, alpha=alpha)).gradient()


def _share_out(parts: int, num_baselines: int) -> list[int]:
    """Return how many parts the way from each baseline has; they differ by one at most."""
    base, rest = divmod(parts, num_baselines)
    return [base + (place < rest) for place in range(num_baselines)]


def _stratified(parts: int, each: int, generator: torch.Generator) -> list[list[float]]:
    """Return `each` uniform draws from every one of `parts` equal parts of (0, 1)."""
    draws = torch.rand(
        (parts, each), generator=generator, device=generator.device, dtype=torch.float64
    )
    return [[(place + draw) / parts for draw in row] for place, row in enumerate(draws.tolist())]
