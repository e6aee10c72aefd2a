"""Excitation backprop: which voxels win when every neuron draws one of those that excite it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from esegeta.explain.backprop.conservation import Conservation
from esegeta.explain.backprop.operations import LinearCall, along
from esegeta.explain.backprop.propagation import Propagation, scale_of
from esegeta.explain.backprop.rule_set import Rules, SumCall
from esegeta.explain.backprop.sharing import BiasShare, Settings, share_map, share_out
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Explainer, RawMap, Traits
from esegeta.explain.meaning import CONTRAST, PROBABILITY, Meaning
from esegeta.explain.objective import Objective, WindowMap, sum_over_windows
from esegeta.predict import Pieces

Unexcited = Literal["lose", "spread"]

LOST = "neurons that nothing excites lost"
AROUND = "zeros around the image got"


@dataclass(frozen=True)
class ExcitationBackprop(Explainer):
    """The probability that a voxel wins when each neuron passes its own to those that excite it.

        P(i) = sum_j x_i w_ij+ / (sum_i' x_i' w_i'j+) P(j)

    Logits start with dR/dy / sum |dR/dy|. Hidden activations below zero count as zero, the image
    is taken above its channels' minima, biases are left out. Positive: excites the target. The
    map adds up to one but for neurons that nothing excites.

    Args:
        unexcited: what happens to the share of a neuron that nothing excites: lose it, as
            published, or spread it evenly over all that the neuron sees.
        tolerance: probability, lost or created, above which the map carries a warning.

    Source: Zhang et al., Top-down Neural Attention by Excitation Backprop, 2018, equation 8.
    There the map is read at a hidden layer; here it goes on to the image. Norms are folded into
    the operation before them, residual sums are split like linear operations.
    """

    unexcited: Unexcited = "lose"
    tolerance: float = 0.05

    name: ClassVar[str] = "excitation_backprop"
    traits: ClassVar[Traits] = Traits(
        "backprop",
        needs_hooks=True,
    )
    meaning: ClassVar[Meaning] = PROBABILITY
    zero_hint: ClassVar[str] = "nothing excites this target; is the network trained?"

    @property
    def cost(self) -> Cost:
        """One forward pass, and a backward pass in which each layer runs again."""
        return Cost.of(1, 2)

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map, and how much of the probability arrived."""
        rules = ExcitationRules(least_values(objective), self.unexcited)
        start = StartWithShares()
        propagation = Propagation(rules, start)
        data = sum_over_windows(objective, self.window_map(objective, propagation))
        size = start.size * scale_of(objective)
        if size > 0:
            data = data / size
        conserved = self.conservation(data, propagation, rules, start.size or 1.0)
        remedies = {AROUND: "choose a window no larger than the image, so that no zeros are added"}
        if self.unexcited == "lose":
            remedies[LOST] = "`unexcited: spread` hands it on evenly"
        told = [text for one in conserved for text in one.warnings(self.tolerance, remedies)]
        return RawMap(data, more=self.facts(conserved), warnings=(*propagation.warnings(), *told))

    def window_map(self, objective: Objective, propagation: Propagation) -> WindowMap:
        """Return the map of windows.

        Args:
            objective: frozen target on its volume.
            propagation: what is passed back through the network.
        """
        return propagation.window_map(objective)

    def conservation(
        self, data: Tensor, propagation: Propagation, rules: ExcitationRules, size: float
    ) -> list[Conservation]:
        """Return how well the map conserves what its logits started with, of magnitude `size`.

        Args:
            data: map `C *S`.
            propagation: what was passed back through the network.
            rules: rules by which it was shared out.
            size: probability that started.
        """
        ended = float(data.sum(dtype=torch.float64))
        started, arrived = propagation.started / size, propagation.arrived / size
        lost = rules.own.ledger
        kept = {LOST: lost.total("in_rules") / size, AROUND: arrived - ended}
        gone = lost.size("in_rules") / size
        return [Conservation("probability", started, ended, 1.0, kept, gone)]

    def facts(self, conserved: Sequence[Conservation]) -> dict[str, float]:
        """Return the probability that started, arrived in the map, and was lost on the way.

        Args:
            conserved: what started and what arrived, of each map.
        """
        (own,) = conserved
        return {
            "mass_in": own.entered,
            "mass_out": own.left,
            "mass_lost": own.entered - own.left - own.kept[AROUND],
            "fell_on_padding": own.kept[AROUND],
            "conservation_gap": own.gap,
        }


@dataclass(frozen=True)
class ContrastiveExcitationBackprop(ExcitationBackprop):
    """Excitation backprop of the target minus that of its opposite.

        a = P(target) - P(dual),   dual: the last weights w negated

    What excites the target and its opposite alike cancels. Positive: speaks for the target,
    negative: against it. Last weights are those that give the logits; sums of them count in.

    Args:
        unexcited: what becomes of the share of a neuron that nothing excites: lose or spread it.
        tolerance: probability, lost or created in either map, above which there is a warning.

    Source: Zhang et al., Top-down Neural Attention by Excitation Backprop, 2018, section 3.4.
    There the two are subtracted at a hidden layer and what is below zero is cut off; here they
    go on to the image and the sign is kept.
    """

    name: ClassVar[str] = "contrastive_excitation_backprop"
    meaning: ClassVar[Meaning] = CONTRAST
    zero_hint: ClassVar[str] = (
        "the target and its opposite are excited alike; is the network trained?"
    )

    @property
    def cost(self) -> Cost:
        """One forward pass, and two backward passes in which each layer runs again."""
        return Cost.of(1, 4)

    def window_map(self, objective: Objective, propagation: Propagation) -> WindowMap:
        """Return the difference of both maps, from one forward pass."""
        rules = propagation.rules
        assert isinstance(rules, ExcitationRules)

        def window_map(pieces: Pieces, share: Tensor) -> Tensor:
            crops, logits = propagation.run(objective, pieces)
            begin = propagation.begin(logits, share)
            (own,) = torch.autograd.grad(logits, crops, begin, retain_graph=True)
            propagation.arrived += float(own.sum(dtype=torch.float64))
            rules.sign = -1.0
            try:
                (dual,) = torch.autograd.grad(logits, crops, begin)
            finally:
                rules.sign = 1.0
            rules.dual_arrived += float(dual.sum(dtype=torch.float64))
            return own - dual

        return window_map

    def conservation(
        self, data: Tensor, propagation: Propagation, rules: ExcitationRules, size: float
    ) -> list[Conservation]:
        """Return the same of the map of the target and of its opposite, padding included."""
        started = propagation.started / size
        conserved = []
        for given, arrived, words in (
            (rules.own, propagation.arrived, "the map of the target alone"),
            (rules.dual, rules.dual_arrived, "the map of its opposite"),
        ):
            kept = {LOST: given.ledger.total("in_rules") / size}
            gone = given.ledger.size("in_rules") / size
            conserved.append(
                Conservation("probability", started, arrived / size, 1.0, kept, gone, words)
            )
        return conserved

    def facts(self, conserved: Sequence[Conservation]) -> dict[str, float]:
        """Return the probability of both maps that started and was lost on the way."""
        own, dual = conserved
        return {
            "mass_in": own.entered,
            "mass_lost": own.entered - own.left,
            "dual_mass_lost": dual.entered - dual.left,
            "conservation_gap": max(own.gap, dual.gap),
        }


class StartWithShares:
    """Logits begin with their share of the cotangent; its magnitude is added up."""

    def __init__(self) -> None:
        self.size = 0.0

    def __call__(self, logits: Tensor, share: Tensor) -> Tensor:
        """Return the share."""
        self.size += float(share.abs().sum(dtype=torch.float64))
        return share


class ExcitationRules(Rules):
    """Each output hands its probability to the inputs that excite it.

    Args:
        least: least value of each channel of the image, subtracted from it.
        unexcited: what becomes of the share of an output that nothing excites.

    `sign` is -1 while the probability of the dual is sent back, whose losses are noted apart.
    """

    def __init__(self, least: Tensor, unexcited: Unexcited = "lose") -> None:
        self.least = least
        self.sign = 1.0
        bias: BiasShare = "absorb" if unexcited == "lose" else "distribute"
        # No epsilon: sums of what is not negative do not cancel.
        self.own, self.dual = Settings(epsilon=0.0, bias=bias), Settings(epsilon=0.0, bias=bias)
        self.dual_arrived = 0.0

    @property
    def given(self) -> Settings:
        """The settings of the map that is being made."""
        return self.own if self.sign > 0 else self.dual

    def linear(self, call: LinearCall, x: Tensor, relevance: Tensor) -> Tensor:
        """Return the input's probability."""
        if call.kind == "scaling":  # one input an output: it wins
            return relevance
        if call.place.takes_crop:
            x = x - along(self.least.to(x), x, 1)
        elif call.place.is_first:  # what the network made of the image: its own least values
            x = x - x.amin(dim=tuple(range(2, x.ndim)), keepdim=True)
        sign = self.sign if call.place.is_last else 1.0
        terms = [(x.clamp(min=0), (sign * call.weight).clamp(min=0))]
        return share_out(call, terms, None, relevance, self.given)

    def total(self, call: SumCall, relevance: Tensor) -> Sequence[Tensor | None]:
        """Return each term's probability; constants are biases and get nothing."""
        if not all(call.tracked):
            return [relevance if one else None for one in call.tracked]
        sign = self.sign if call.place.is_last else 1.0
        parts = [(sign * term).clamp(min=0) for term in call.terms]
        whole = parts[0] + parts[1]
        excited = whole > 0
        ratio = torch.where(excited, relevance / torch.where(excited, whole, 1), 0)
        rest = torch.where(excited, 0, relevance)
        if self.given.bias == "distribute":
            return [part * ratio + rest / 2 for part in parts]
        self.given.ledger.keep("in_rules", rest)
        return [part * ratio for part in parts]

    def mapped(self, function: Callable[[Tensor], Tensor], x: Tensor, relevance: Tensor) -> Tensor:
        """Return the input's probability."""
        return share_map(function, x.clamp(min=0), relevance, self.given)


def least_values(objective: Objective) -> Tensor:
    """Return the least value of each channel of the image, zeros around it included."""
    data = objective.volume.data
    least = data.amin(dim=tuple(range(1, data.ndim)))
    return least.clamp(max=0) if objective.windows.adds_zeros else least
