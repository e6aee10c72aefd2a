"""Layer-wise relevance propagation through the whole prediction, in 2D and 3D.

Rules are by function and not by module, norms are folded or frozen sample by sample, and every
linear operation is served by its own transpose: captum has no rule for Conv3d, transposed
convolutions, instance norms, or sums and concatenations inside a forward method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.errors import ConfigError, DataError
from esegeta.explain.backprop.operations import LinearCall
from esegeta.explain.backprop.propagation import Propagation, scale_of
from esegeta.explain.backprop.relevance import Rules, SumCall
from esegeta.explain.backprop.rules import (
    COMPOSITES,
    RULES,
    Composite,
    CompositeName,
    RuleName,
    Settings,
    divide,
    one_rule,
    share_out,
    weightless,
)
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Explainer, RawMap, Traits
from esegeta.explain.meaning import CONTRIBUTION, Meaning
from esegeta.explain.objective import Objective, sum_over_windows


@dataclass(frozen=True)
class LayerwiseRelevance(Explainer):
    """Relevance R = y dR/dy, propagated from the logits to the image, layer by layer.

        R_i = sum_j c_ij / (sum_i' c_i'j + b_j + epsilon) R_j

    The rule says what the contributions c_ij are. Positive: speaks for the target. Unit: target.
    The map adds up to <dR/dy, y> but for what biases keep; both are facts of the map.

    Args:
        composite: epsilon_plus_flat, epsilon_gamma_box or deep_taylor; none for one `rule`.
        rule: for all layers: epsilon, gamma, z_plus, alpha_beta, w_square, flat, z_box (first
            layer, then z_plus). Instead of a composite.
        epsilon: in units of the mean magnitude of a layer's outputs.
        gamma: how much more positive contributions count.
        alpha: weight of positive contributions.
        beta: weight of negative ones; alpha - beta must be 1.
        low: least value of the box; each channel's minimum by default.
        high: largest value of the box; each channel's maximum by default.

    Source: Bach 2015; Montavon 2019, table 10.1. Epsilon is relative, norms are frozen here.
    """

    composite: CompositeName | None = None
    rule: RuleName | None = None
    epsilon: float = 1e-6
    gamma: float = 0.25
    alpha: float = 2.0
    beta: float = 1.0
    low: float | None = None
    high: float | None = None

    name: ClassVar[str] = "lrp"
    traits: ClassVar[Traits] = Traits("backprop", additive=True, needs_hooks=True)
    meaning: ClassVar[Meaning] = CONTRIBUTION
    zero_hint: ClassVar[str] = "is the target's logit zero, or its cotangent? choose another target"

    def __post_init__(self) -> None:
        if self.rule is not None and self.composite not in (None, "none"):
            raise ConfigError(
                f"lrp: rule: {self.rule} and composite: {self.composite} exclude each other",
                hint="give one of them",
            )
        if self.epsilon <= 0 or self.gamma < 0:
            raise ConfigError(
                f"lrp: epsilon: {self.epsilon:g} must be above 0, gamma: {self.gamma:g} not below 0"
            )
        if self.beta < 0 or abs(self.alpha - self.beta - 1) > 1e-9:
            raise ConfigError(
                f"lrp: alpha: {self.alpha:g}, beta: {self.beta:g}: alpha - beta must be 1, and "
                "beta not below 0",
                hint="as alpha: 2, beta: 1 or alpha: 1, beta: 0",
            )
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ConfigError(f"lrp: low: {self.low:g} must be below high: {self.high:g}")

    @property
    def cost(self) -> Cost:
        """One forward pass, and a backward pass in which each layer runs again."""
        return Cost.of(1, 2, extra_backwards=2)

    def chosen(self) -> Composite:
        """Return the rule of each layer."""
        if self.rule is not None:
            return one_rule(self.rule)
        if self.composite == "none":
            return one_rule("epsilon")
        return COMPOSITES[self.composite or "epsilon_plus_flat"]

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map, with the relevance that came in, went out and was kept on the way."""
        low, high = self._box(objective)
        given = Settings(self.epsilon, self.gamma, self.alpha, self.beta, low, high)
        propagation = Propagation(LrpRules(self.chosen(), given), torch.mul)
        data = sum_over_windows(objective, propagation.window_map(objective))
        scale = scale_of(objective)
        start, arrived = propagation.started * scale, propagation.arrived * scale
        end = float(data.sum(dtype=torch.float64))
        biases, constants = (given.ledger.total(what) * scale for what in ("biases", "constants"))
        facts = {
            "relevance_in": start,
            "relevance_out": end,
            "kept_by_biases": biases,
            "kept_by_constants": constants,
            "fell_on_padding": arrived - end,
            "unaccounted": start - arrived - biases - constants,
        }
        return RawMap(data, more=facts, warnings=propagation.warnings())

    def _box(self, objective: Objective) -> tuple[Tensor, Tensor]:
        """Return the least and the largest value of each channel, zeros around it included."""
        data = objective.volume.data
        axes = tuple(range(1, data.ndim))
        low, high = data.amin(dim=axes), data.amax(dim=axes)
        if objective.windows.adds_zeros:
            low, high = low.clamp(max=0), high.clamp(min=0)
        for bound, found, word in ((self.low, low.min(), "low"), (self.high, high.max(), "high")):
            outside = bound is not None and (found < bound if word == "low" else found > bound)
            if outside:
                raise DataError(
                    f"lrp: {word}: {bound:g}: the network's input reaches {float(found):g}",
                    hint="leave low and high out to use the image's own range",
                )
        low = low if self.low is None else torch.full_like(low, self.low)
        high = high if self.high is None else torch.full_like(high, self.high)
        return low, high


class LrpRules(Rules):
    """Each linear operation by the rule of a composite; all else by the epsilon rule.

    Args:
        composite: the rule of each linear operation.
        given: the numbers in the rules.
    """

    def __init__(self, composite: Composite, given: Settings) -> None:
        self.composite = composite
        self.given = given

    def linear(self, call: LinearCall, x: Tensor, relevance: Tensor) -> Tensor:
        """Return the relevance of the input of a linear operation."""
        return RULES[self.composite(call)](call, x, relevance, self.given)

    def total(self, call: SumCall, relevance: Tensor) -> Sequence[Tensor]:
        """Return the relevance of each term, in proportion to it; a constant keeps its own."""
        ratio = divide(relevance, call.terms[0] + call.terms[1], self.given.epsilon)
        parts = [term * ratio for term in call.terms]
        for part, wanted in zip(parts, call.tracked, strict=True):
            if not wanted:
                self.given.ledger.keep("constants", part)
        return parts

    def mapped(self, function: Callable[[Tensor], Tensor], x: Tensor, relevance: Tensor) -> Tensor:
        """Return the relevance of the input, in proportion to its part in each output."""
        call = weightless(function)
        return share_out(call, [(x, call.weight)], None, relevance, self.given)
