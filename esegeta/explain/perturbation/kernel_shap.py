"""KernelSHAP: Shapley values as a weighted regression on coalitions of features."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float64
from scipy.optimize import nnls
from torch import Tensor

from esegeta.errors import ConfigError
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import RawMap, Traits, generator_for
from esegeta.explain.meaning import WORTH, Meaning
from esegeta.explain.objective import Objective
from esegeta.explain.perturbation.masked_target import OverFeatures
from esegeta.explain.perturbation.shapley import efficiency
from esegeta.explain.standard_error import confidence

FEW_PER_FEATURE = 4
"""Coalitions per feature below which a map with standard errors carries a warning."""

LEAST_FREE = 1e-9
"""Share of a residual that is left free; less is rounding."""


@dataclass(frozen=True)
class KernelShap(OverFeatures):
    """Shapley values of features, as the solution of a weighted least-squares problem.

        min_a  sum over coalitions z of  k(|z|) (v(z) - v(none) - sum_{i in z} a_i)^2,
        k(s) = (n - 1) / (C(n, s) s (n - s)),   with  sum_i a_i = v(all) - v(none)  exactly

    Positive: the feature raises the target. Each voxel holds the value of its whole feature, in
    the target's unit. Exact when all 2^n - 2 coalitions are within `samples`.

    Args:
        features: blocks, supervoxels, channels, a label map, or a block of keys.
        baseline: zero, mean, minimum, blur, or an image file.
        samples: coalitions, besides none and all; the smallest and largest are all taken where
            there is room, the rest are drawn in pairs of a coalition and its complement.
        seed: random seed for the draws.
        spread: also give the standard error, of the pairs drawn; see `kernel_shap_errors`.

    Source: Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, 2017, theorem
    2; pairs: Covert and Lee, 2021. Features out of the target's reach are left out: they are 0.
    """

    samples: int = 512
    seed: int = 0
    spread: bool = False

    name: ClassVar[str] = "kernel_shap"
    traits: ClassVar[Traits] = Traits("perturbation", stochastic=True, by_channel=False)
    meaning: ClassVar[Meaning] = WORTH

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 2:
            raise ConfigError(f"{self.name}: samples: {self.samples} must be at least 2")

    @property
    def cost(self) -> Cost:
        """One forward pass per coalition."""
        return Cost.of(self.samples + 2)

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map.

        Raises:
            ConfigError: the coalitions are too few to tell the features apart.
        """
        masked_target = self.masked_target(objective)
        drawn = draw_coalitions(len(masked_target.players), self.samples, seed=self.seed)
        ends = torch.tensor([[False], [True]]).expand(2, len(masked_target.players))
        none, everyone = masked_target.changes(masked_target.with_dummies(ends))
        values = masked_target.changes(masked_target.with_dummies(drawn.coalitions))
        found = solve_kernel_shap(
            drawn.coalitions, values, none=none, everyone=everyone, weights=drawn.weights
        )
        more = {
            **efficiency(none, everyone),
            "coalitions": len(values),
            "exact": drawn.num_pairs == 0,
        }
        if not self.spread:
            return masked_target.map(found, more=more)
        errors = kernel_shap_errors(drawn, values - none, found)
        count = len(masked_target.players)
        warnings: tuple[str, ...] = ()
        if drawn.num_pairs:
            more |= confidence(degrees_of_freedom(drawn))
            if len(values) < FEW_PER_FEATURE * count:
                warnings = (
                    f"standard errors are rough: {len(values)} coalitions are few for {count} "
                    f"features; {FEW_PER_FEATURE * count} or more are better",
                )
        return masked_target.map(found, errors=errors, more=more, warnings=warnings)


@dataclass(frozen=True, eq=False)
class DrawnCoalitions:
    """Coalitions of players with the weight of each in the regression.

    Args:
        coalitions: rows of players that are kept.
        weights: weight of each row.
        num_pairs: rows at the end that were drawn at random, a coalition and its complement in
            turn, in pairs; all before them stand for themselves.
    """

    coalitions: Bool[Tensor, "M P"]
    weights: Float64[Tensor, " M"]
    num_pairs: int


def draw_coalitions(count: int, samples: int, *, seed: int) -> DrawnCoalitions:
    """Return coalitions for the regression: whole sizes while they fit, then random pairs.

    A size is taken whole when as many coalitions would be expected of it among those left; their
    weights are the kernel's. Random ones share what is left of the kernel's weight evenly.
    """
    sizes = list(range(1, count // 2 + 1))
    mass = {size: _share_of_sizes(size, count) for size in sizes}
    rows: list[Tensor] = []
    weights: list[float] = []
    left = samples
    while sizes:
        size = sizes[0]
        number = math.comb(count, size) * (1 if 2 * size == count else 2)
        everything = 2**count - 2 <= samples
        if not everything and number > left * mass[size] / sum(mass[other] for other in sizes):
            break
        kept = [_keeping(chosen, count) for chosen in itertools.combinations(range(count), size)]
        half = torch.stack(kept)
        rows.append(half if 2 * size == count else torch.cat([half, ~half]))
        weights.extend([mass[size] / number] * number)
        left -= number
        sizes.pop(0)
    num_pairs = max(1, left // 2) if sizes else 0
    if num_pairs:
        masses = torch.tensor([mass[size] for size in sizes], dtype=torch.float64)
        generator = generator_for(torch.empty(0), seed)
        picks = torch.multinomial(masses, num_pairs, replacement=True, generator=generator)
        ranks = torch.rand((num_pairs, count), generator=generator).argsort(dim=1).argsort(dim=1)
        half = ranks < torch.tensor(sizes)[picks][:, None]
        rows.append(torch.stack([half, ~half], dim=1).flatten(0, 1))
        weights.extend([float(masses.sum()) / (2 * num_pairs)] * (2 * num_pairs))
    none = torch.zeros((0, count), dtype=torch.bool)
    return DrawnCoalitions(
        torch.cat([none, *rows]), torch.tensor(weights, dtype=torch.float64), num_pairs
    )


def solve_kernel_shap(
    coalitions: Bool[Tensor, "M P"],
    values: Float64[Tensor, " M"],
    *,
    none: Float64[Tensor, ""],
    everyone: Float64[Tensor, ""],
    weights: Float64[Tensor, " M"] | None = None,
) -> Float64[Tensor, " P"]:
    """Return the weighted least squares solution whose values add up to `everyone - none`.

    The last player's value is put in from the sum, and what is left is solved in float64.

    Args:
        coalitions: rows of players that are kept, neither none nor all of them.
        values: v of each.
        none: v of the baseline.
        everyone: v of the image.
        weights: weight of each row; all alike by default, as for rows drawn from the kernel.

    Raises:
        ConfigError: the coalitions leave more than one solution.
    """
    count = coalitions.shape[1]
    if count < 2:
        return (everyone - none).expand(count).clone()
    root = torch.ones_like(values) if weights is None else weights.sqrt()
    design, wanted = _without_last(coalitions, values - none, everyone - none)
    solution = torch.linalg.lstsq(root[:, None] * design, (root * wanted)[:, None], driver="gelsd")
    if int(solution.rank) < count - 1:
        enough = max(4 * count, 2 * len(values))
        raise ConfigError(
            f"kernel_shap: {len(values)} coalitions cannot separate {count} features",
            hint=f"raise samples, to {enough} or more, or use fewer features",
        )
    first = solution.solution[:, 0]
    return torch.cat([first, (everyone - none - first.sum())[None]])


def kernel_shap_errors(
    drawn: DrawnCoalitions, gains: Float64[Tensor, " M"], found: Float64[Tensor, " P"]
) -> Float64[Tensor, " P"]:
    """Return the standard error of each value, from the residuals of the pairs that were drawn.

    A coalition and its complement have one equation, `w x'a = w y`, with residual e and leverage
    h. Fitted residuals are smaller than true ones, most of all where h is large, which is where
    about half of the features are kept. Two estimates of the variances s^2 of the true ones:
    `e^2 / (1 - h)` (HC2), and `b0 + b1 |z| (n - |z|)` with b0, b1 >= 0 such that the fitted
    residuals are of the size expected, `E e_i^2 = sum_j (I - H)_ij^2 s_j^2`. Each value has the
    larger error. Coalitions not drawn at random add nothing; where none was, the error is zero.

    Source: MacKinnon and White, 1985 (HC2). HC3, `e^2 / (1 - h)^2`, is 1.4 times too large at 512
    coalitions of 100 features and 2.5 times at 256; without correction it is 1.6 and 2.3 times
    too small.

    Raises:
        ConfigError: the pairs are too few for the features.
    """
    count, number = drawn.coalitions.shape[1], drawn.num_pairs
    if number == 0 or count < 2:
        return torch.zeros_like(found)
    design, wanted = _without_last(drawn.coalitions, gains, found.sum())
    bread = torch.linalg.pinv(design.T @ (drawn.weights[:, None] * design), hermitian=True)
    first = slice(len(design) - 2 * number, None, 2)
    second = slice(len(design) - 2 * number + 1, None, 2)
    slack = wanted - design @ found[:-1]
    root = (2 * drawn.weights[first]).sqrt()
    rows = root[:, None] * design[first]
    left = root * (slack[first] - slack[second]) / 2
    maker = torch.eye(number, dtype=torch.float64) - rows @ bread @ rows.T
    free = maker.diagonal()
    if degrees_of_freedom(drawn) < 1 or float(free.min()) < LEAST_FREE:
        raise ConfigError(
            f"kernel_shap: {len(drawn.coalitions)} coalitions of {count} features are too few "
            "to estimate a standard error",
            hint=f"raise samples, to {FEW_PER_FEATURE * count} or more, or use spread: false",
        )
    sizes = drawn.coalitions[first].sum(dim=1).double()
    basis = torch.stack([torch.ones_like(sizes), sizes * (count - sizes) / count], dim=1)
    parts, _ = nnls((maker.square() @ basis).numpy(), left.square().numpy())
    gather = bread @ rows.T
    variances = [
        _with_last((gather * spread) @ gather.T)
        for spread in (left.square() / free, basis @ torch.from_numpy(parts))
    ]
    return torch.maximum(*variances).sqrt()


def degrees_of_freedom(drawn: DrawnCoalitions) -> int:
    """Return how many equations there are beyond the values that they fix.

    A coalition and its complement have one equation, and one value follows from the sum.
    """
    return len(drawn.coalitions) // 2 - (drawn.coalitions.shape[1] - 1)


def _with_last(covariance: Float64[Tensor, "Q Q"]) -> Float64[Tensor, " P"]:
    """Return variances, also that of the last value, which follows from the sum of the others."""
    return torch.cat([covariance.diagonal(), covariance.sum()[None]]).clamp(min=0)


def _without_last(
    coalitions: Bool[Tensor, "M P"], gains: Float64[Tensor, " M"], total: Float64[Tensor, ""]
) -> tuple[Tensor, Tensor]:
    """Return design and values after the last player's value is put in from the sum."""
    kept = coalitions.double()
    return kept[:, :-1] - kept[:, -1:], gains - kept[:, -1] * total


def _share_of_sizes(size: int, count: int) -> float:
    """Return the kernel's weight of all coalitions of a size and of its complement's together."""
    one = (count - 1) / (size * (count - size))
    return one if 2 * size == count else 2 * one


def _keeping(chosen: tuple[int, ...], count: int) -> Bool[Tensor, " P"]:
    row = torch.zeros(count, dtype=torch.bool)
    row[list(chosen)] = True
    return row
