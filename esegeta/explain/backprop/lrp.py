"""Layer-wise relevance propagation through the whole prediction, in 2D and 3D.

Rules are by function and not by module, norms are folded or frozen sample by sample, and every
linear operation is served by its own transpose: captum has no rule for Conv3d, transposed
convolutions, instance norms, or sums and concatenations inside a forward method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from esegeta.errors import ConfigError, DataError
from esegeta.explain.backprop.attention import AttentionCarrier, GivenRules
from esegeta.explain.backprop.conservation import Conservation
from esegeta.explain.backprop.operations import LinearCall
from esegeta.explain.backprop.propagation import Propagation, scale_of
from esegeta.explain.backprop.relevance import Carrier
from esegeta.explain.backprop.rule_set import SumCall
from esegeta.explain.backprop.rules import (
    COMPOSITES,
    RULES,
    Composite,
    CompositeName,
    RuleName,
    one_rule,
)
from esegeta.explain.backprop.sharing import BiasShare, Ledger, Settings, divide, share_map
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Explainer, RawMap, Traits
from esegeta.explain.meaning import CONTRIBUTION, Meaning
from esegeta.explain.objective import Objective, sum_over_windows

Attention = Literal["values", "both"]

BIASES, CONSTANTS, SOFTMAX = "biases kept", "constants kept", "softmax kept"
IN_RULES = "outputs that nothing contributed to held"
AROUND = "zeros around the image got"
ELSEWHERE = "functions without a rule, or padding inside the network, took"

LEDGER = {BIASES: "biases", CONSTANTS: "constants", SOFTMAX: "softmax", IN_RULES: "in_rules"}
"""What is noted on the way, by the words for it."""

MOST_AMPLIFIED = 10.0
"""Magnitudes of the map over those of the logits, above which large values cancel."""

LEAST_SHARE = 1e-3
"""Fraction of the magnitude at the logits; gaps are relative to this or more."""


@dataclass(frozen=True)
class LayerwiseRelevance(Explainer):
    """Relevance R = y dR/dy, propagated from the logits to the image, layer by layer.

        R_i = sum_j c_ij / (sum_i' c_i'j + b_j + epsilon) R_j

    c_ij is the rule's. Positive: speaks for the target. Unit: target. Adds up to <dR/dy, y>.

    Args:
        composite: epsilon_plus_flat (default), epsilon_gamma_box, deep_taylor; none for a `rule`.
        rule: epsilon, gamma, z_plus, alpha_beta, w_square, flat or z_box, for all layers.
        epsilon: stabiliser in units of the mean magnitude of a layer's outputs.
        gamma: extra weight of positive contributions.
        alpha: weight of positive contributions.
        beta: weight of negative ones, alpha - 1.
        low: least value of the box; each channel's minimum by default.
        high: largest value of the box; each channel's maximum by default.
        bias: distribute over |c_ij| what biases get (default), or absorb it (of named rules).
        attention: relevance goes to its values, or to both: these, and what its weights are from.
        tolerance: gap of relevance in and out, relative, above which the map carries a warning.

    Source: Bach 2015; Montavon 2019; Achtibat 2024. Epsilon is relative, norms are frozen here.
    """

    composite: CompositeName | None = None
    rule: RuleName | None = None
    epsilon: float = 1e-6
    gamma: float = 0.25
    alpha: float = 2.0
    beta: float = 1.0
    low: float | None = None
    high: float | None = None
    bias: BiasShare | None = None
    attention: Attention = "values"
    tolerance: float = 0.05

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

    @property
    def shares(self) -> BiasShare:
        """What happens to a bias's share; rules and composites that are named keep it."""
        named = self.rule is not None or self.composite is not None
        return self.bias or ("absorb" if named else "distribute")

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map, with the relevance that came in, went out and was kept on the way."""
        low, high = self._box(objective)
        given = Settings(self.epsilon, self.gamma, self.alpha, self.beta, low, high, self.shares)
        carrier = Carrier if self.attention == "values" else AttentionCarrier
        propagation = Propagation(LrpRules(self.chosen(), given), torch.mul, carrier)
        data = sum_over_windows(objective, propagation.window_map(objective))
        conserved = self._conservation(data, propagation, given.ledger, scale_of(objective))
        size = propagation.started_size * scale_of(objective)
        facts = {
            "relevance_in": conserved.entered,
            "relevance_out": conserved.left,
            "conservation_gap": conserved.gap,
            "amplification": float(data.abs().sum(dtype=torch.float64)) / max(size, 1e-30),
            "kept_by_biases": conserved.kept[BIASES],
            "kept_by_constants": conserved.kept[CONSTANTS],
            "kept_by_softmax": conserved.kept[SOFTMAX],
            "fell_on_padding": conserved.kept[AROUND],
            "unaccounted": conserved.kept[IN_RULES] + conserved.kept[ELSEWHERE],
        }
        told = conserved.warnings(self.tolerance, self._remedies())
        told += self._amplified(facts["amplification"])
        return RawMap(data, more=facts, warnings=(*propagation.warnings(), *told))

    def _amplified(self, amplification: float) -> tuple[str, ...]:
        """Return a warning where the sum of the map says nothing about its values."""
        if amplification <= MOST_AMPLIFIED:
            return ()
        return (
            f"amplification: the map's magnitudes add up to {amplification:.3g} times those of the "
            "logits: large values of both signs cancel; `rule: gamma` with `bias: distribute` "
            "keeps them small",
        )

    def _conservation(
        self, data: Tensor, propagation: Propagation, ledger: Ledger, scale: float
    ) -> Conservation:
        """Return what went in, came out, and stayed on the way."""
        start, arrived = propagation.started * scale, propagation.arrived * scale
        end = float(data.sum(dtype=torch.float64))
        kept = {words: ledger.total(what) * scale for words, what in LEDGER.items()}
        rest = start - arrived - sum(kept.values())
        kept |= {AROUND: arrived - end, ELSEWHERE: rest}
        # Relevance of both signs may cancel at the logits, down to rounding.
        least = LEAST_SHARE * propagation.started_size * scale
        return Conservation("relevance", start, end, max(abs(start), least, 1e-30), kept)

    def _remedies(self) -> dict[str, str]:
        """Return what helps against each loss."""
        remedies = {
            SOFTMAX: "`attention: values` holds the weights of an attention, which keep nothing",
            AROUND: "choose a window no larger than the image, so that no zeros are added",
        }
        if self.shares == "absorb":
            hand_on = "`bias: distribute` hands it on to the inputs"
            remedies |= dict.fromkeys((BIASES, CONSTANTS, IN_RULES), hand_on)
        return remedies

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


class LrpRules(GivenRules):
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
        """Return the relevance of each term, in proportion to it, and half where both are zero.

        A constant is a bias: it keeps its own, or hands it to the other term.
        """
        left, right = call.terms
        if not all(call.tracked) and self.given.bias == "distribute":
            return [relevance, relevance]
        ratio = divide(relevance, left + right, self.given.epsilon)
        empty = (left == 0) & (right == 0)
        parts = [torch.where(empty, relevance / 2, term * ratio) for term in call.terms]
        self.given.ledger.keep("in_rules", relevance - parts[0] - parts[1])
        for part, wanted in zip(parts, call.tracked, strict=True):
            if not wanted:
                self.given.ledger.keep("constants", part)
        return parts

    def mapped(self, function: Callable[[Tensor], Tensor], x: Tensor, relevance: Tensor) -> Tensor:
        """Return the relevance of the input, in proportion to its part in each output."""
        return share_map(function, x, relevance, self.given)

    def padded(self, pads: Sequence[tuple[int, int]], relevance: Tensor) -> Tensor:
        """Return the relevance of what zeros were put around; theirs goes to the nearest position.

        Zeros get relevance where a bias hands its share to all inputs, as in windows of attention
        that reach beyond the grid. Where biases keep their share, so do they, and zeros around
        nothing keep theirs always.
        """
        inside = super().padded(pads, relevance)
        if self.given.bias == "absorb" or not inside.numel():
            self.given.ledger.keep("constants", relevance.sum() - inside.sum())
            return inside
        for axis, (low, high) in enumerate(pads):
            side = relevance.shape[axis] - low - high
            parts = list(relevance.split_with_sizes((low, side, high), dim=axis))
            core = parts[1].clone()
            core.narrow(axis, 0, 1).add_(parts[0].sum(dim=axis, keepdim=True))
            core.narrow(axis, side - 1, 1).add_(parts[2].sum(dim=axis, keepdim=True))
            relevance = core
        return relevance
