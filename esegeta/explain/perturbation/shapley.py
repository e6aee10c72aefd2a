"""Shapley values of features: exact by all coalitions, or by random orders of joining."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from esegeta.errors import ConfigError
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import RawMap, Traits, generator_for
from esegeta.explain.meaning import WORTH, Meaning
from esegeta.explain.objective import Objective
from esegeta.explain.perturbation.features import Features
from esegeta.explain.perturbation.masked_target import MaskedTarget, OverFeatures
from esegeta.explain.standard_error import confidence

MOST_FEATURES = 12


@dataclass(frozen=True)
class ExactShapley(OverFeatures):
    """The exact Shapley value of each feature, from all coalitions; up to 12 features.

        a_i = sum over coalitions S without i of  |S|! (n - |S| - 1)! / n!  (v(S + i) - v(S))

    where v(S) is the target with all features outside of S replaced. Positive: the feature raises
    the target. The features' values add up to R(x) - R(baseline); each voxel holds that of its
    whole feature, in the target's unit.

    Args:
        features: blocks, supervoxels, channels, a label map, or a block of keys; only those
            in windows of the target count towards the 12.
        baseline: zero, mean, minimum, blur, or an image file.

    Source: Shapley, A Value for n-Person Games, 1953, equation 12.
    """

    features: Features | str = "channels"

    name: ClassVar[str] = "exact_shapley"
    traits: ClassVar[Traits] = Traits("perturbation")
    meaning: ClassVar[Meaning] = WORTH

    @property
    def cost(self) -> Cost:
        """One forward pass per coalition."""
        return Cost.of(1, per="of the 2^n coalitions of n features")

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map.

        Raises:
            ConfigError: there are more than 12 features in reach of the target.
        """
        masked_target = self.masked_target(objective)
        count = len(masked_target.players)
        if count > MOST_FEATURES:
            raise ConfigError(
                f"exact_shapley: {count} features can change the target, which makes 2^{count} "
                f"coalitions; {MOST_FEATURES} features are the limit",
                hint="use features: channels, larger blocks or fewer supervoxels, or "
                "shapley_value_sampling or kernel_shap for this many",
            )
        values = masked_target.changes(masked_target.with_dummies(all_coalitions(count)))
        return masked_target.map(
            exact_shapley_values(values), more=efficiency(values[0], values[-1])
        )


ENOUGH_ORDERS = 64
"""Orders below which a map with standard errors carries a warning: of 16, 95 % cover 77 to 97 %."""


@dataclass(frozen=True)
class ShapleyValueSampling(OverFeatures):
    """Shapley values of features, estimated by random orders in which they join the baseline.

        a_i = mean over orders of  v(those before i, and i) - v(those before i)

    where v(S) is the target with all features outside of S replaced. Positive: the feature raises
    the target. Whatever the number of orders, the features' values add up to R(x) - R(baseline).
    Each voxel holds the value of its whole feature, in the target's unit.

    Args:
        features: blocks, supervoxels, channels, a label map, or a block of keys.
        baseline: zero, mean, minimum, blur, or an image file.
        samples: number of orders; each runs, for each feature, the windows that it touches.
        antithetic: follow each order by its reverse, which lowers the variance.
        seed: random seed for the orders.
        spread: also give the standard error, from orders (or pairs of them) as the sample; rough
            with fewer than 64, which the map says.

    Source: Castro et al., Polynomial Calculation of the Shapley Value Based on Sampling, 2009;
    antithetic pairs: Mitchell et al., Sampling Permutations for Shapley Value Estimation, 2022.
    """

    samples: int = 16
    antithetic: bool = True
    seed: int = 0
    spread: bool = False

    name: ClassVar[str] = "shapley_value_sampling"
    traits: ClassVar[Traits] = Traits("perturbation", stochastic=True, by_channel=False)
    meaning: ClassVar[Meaning] = WORTH

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 1:
            raise ConfigError(f"{self.name}: samples: {self.samples} must be at least 1")
        if self.antithetic and self.samples % 2:
            raise ConfigError(
                f"{self.name}: samples: {self.samples} is odd, but antithetic orders come in pairs",
                hint="use an even number, or antithetic: false",
            )
        if self.spread and self.samples < (4 if self.antithetic else 2):
            raise ConfigError(
                f"{self.name}: samples: {self.samples} are too few for a standard error",
                hint="use more, or spread: false",
            )

    @property
    def cost(self) -> Cost:
        """For each order and feature the active windows that the feature touches."""
        return self.samples * Cost.of(1, over="touched", per="feature")

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map."""
        masked_target = self.masked_target(objective)
        orders = draw_orders(
            self.samples, len(masked_target.players), antithetic=self.antithetic, seed=self.seed
        )
        gains = torch.stack([_gains(masked_target, order) for order in orders])
        values = gains.mean(dim=0)
        errors, more = None, {}
        warnings = _rough_errors(self.samples) if self.spread else ()
        if self.spread:
            units = (gains[::2] + gains[1::2]) / 2 if self.antithetic else gains
            errors = units.std(dim=0) / math.sqrt(len(units))
            more = confidence(len(units) - 1)
        ends = masked_target.changes(
            masked_target.with_dummies(_none_and_all(len(masked_target.players)))
        )
        return masked_target.map(
            values,
            errors=errors,
            more={**efficiency(ends[0], ends[1]), **more},
            warnings=warnings,
        )


def _rough_errors(samples: int) -> tuple[str, ...]:
    if samples >= ENOUGH_ORDERS:
        return ()
    return (
        f"standard errors are rough: of {samples} orders, intervals are too short for features "
        f"that matter in few of them; {ENOUGH_ORDERS} or more are better",
    )


def all_coalitions(count: int) -> Bool[Tensor, "M P"]:
    """Return all coalitions; row k keeps the features whose bits are set in k."""
    return (torch.arange(2**count)[:, None] >> torch.arange(count) & 1).bool()


def exact_shapley_values(values: Float64[Tensor, " M"]) -> Float64[Tensor, " P"]:
    """Return the Shapley values of a masked target, given v of `all_coalitions` in their order."""
    count = len(values).bit_length() - 1
    sizes = all_coalitions(count).sum(dim=1)
    weights = torch.tensor(
        [1 / (count * math.comb(count - 1, size)) for size in range(count)], dtype=torch.float64
    )
    rows = torch.arange(len(values))
    found = []
    for player in range(count):
        without = rows[rows >> player & 1 == 0]
        gains = values[without + 2**player] - values[without]
        found.append((weights[sizes[without]] * gains).sum())
    return torch.stack(found) if found else values.new_zeros(0)


def draw_orders(
    samples: int, count: int, *, antithetic: bool, seed: int
) -> list[Int[Tensor, " P"]]:
    """Return random orders of players; antithetic ones are each followed by their reverse."""
    generator = generator_for(torch.empty(0), seed)
    orders: list[Tensor] = []
    while len(orders) < samples:
        order = torch.randperm(count, generator=generator)
        orders.extend([order, order.flip(0)] if antithetic else [order])
    return orders


def efficiency(none: Tensor, everyone: Tensor) -> dict[str, float]:
    """Return as a fact what the features' values add up to."""
    return {"values_add_up_to": float(everyone - none)}


def _gains(masked_target: MaskedTarget, order: Int[Tensor, " P"]) -> Float64[Tensor, " P"]:
    """Return by how much the target rises as each player joins, in the players' order."""
    count = len(order)
    joined = torch.zeros((count + 1, count), dtype=torch.bool)
    for place, player in enumerate(order.tolist()):
        joined[place + 1 :, player] = True
    rises = masked_target.changes(masked_target.with_dummies(joined)).diff()
    gains = torch.empty_like(rises)
    gains[order] = rises
    return gains


def _none_and_all(count: int) -> Bool[Tensor, "2 P"]:
    return torch.tensor([[False], [True]]).expand(2, count)
