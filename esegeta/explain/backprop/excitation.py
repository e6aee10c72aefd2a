"""Excitation backprop: which voxels win when every neuron draws one of those that excite it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.explain.backprop.operations import LinearCall, along
from esegeta.explain.backprop.propagation import Propagation, scale_of
from esegeta.explain.backprop.relevance import Rules, SumCall
from esegeta.explain.backprop.rules import Settings, share_out, weightless
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Explainer, RawMap, Traits
from esegeta.explain.meaning import CONTRAST, PROBABILITY, Meaning
from esegeta.explain.objective import Objective, WindowMap, sum_over_windows
from esegeta.predict import Pieces


@dataclass(frozen=True)
class ExcitationBackprop(Explainer):
    """The probability that a voxel wins when each neuron passes its own to those that excite it.

        P(i) = sum_j x_i w_ij+ / (sum_i' x_i' w_i'j+) P(j)

    Logits start with dR/dy / sum |dR/dy|. Hidden activations below zero count as zero, the image
    is taken above its channels' minima, biases are left out. Positive: excites the target. The
    map adds up to one but for neurons that nothing excites, whose mass is lost; the facts say how
    much.

    Source: Zhang et al., Top-down Neural Attention by Excitation Backprop, 2018, equation 8.
    There the map is read at a hidden layer; here it goes on to the image. Norms are folded into
    the operation before them, residual sums are split like linear operations.
    """

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
        start = StartWithShares()
        propagation = Propagation(ExcitationRules(least_values(objective)), start)
        data = sum_over_windows(objective, self.window_map(objective, propagation))
        size = start.size * scale_of(objective)
        if size > 0:
            data = data / size
        return RawMap(
            data, more=self.facts(data, propagation, start.size), warnings=propagation.warnings()
        )

    def window_map(self, objective: Objective, propagation: Propagation) -> WindowMap:
        """Return the map of windows."""
        return propagation.window_map(objective)

    def facts(self, data: Tensor, propagation: Propagation, size: float) -> dict[str, float]:
        """Return the probability that started, arrived in the map, and was lost on the way."""
        size = size or 1.0
        started, arrived = propagation.started / size, propagation.arrived / size
        ended = float(data.sum(dtype=torch.float64))
        return {
            "mass_in": started,
            "mass_out": ended,
            "mass_lost": started - arrived,
            "fell_on_padding": arrived - ended,
        }


@dataclass(frozen=True)
class ContrastiveExcitationBackprop(ExcitationBackprop):
    """Excitation backprop of the target minus that of its opposite.

        a = P(target) - P(dual),   dual: the last weights w negated

    What excites the target and its opposite alike cancels. Positive: speaks for the target,
    negative: against it. Last weights are those that give the logits; sums of them count in.

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
            return own - dual

        return window_map

    def facts(self, data: Tensor, propagation: Propagation, size: float) -> dict[str, float]:
        """Return the probability of the target's own map that started and was lost on the way."""
        size = size or 1.0
        started, arrived = propagation.started / size, propagation.arrived / size
        return {"mass_in": started, "mass_lost": started - arrived}


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
        least: of each channel of the image, subtracted from it.

    `sign` is -1 while the probability of the dual is sent back.
    """

    def __init__(self, least: Tensor) -> None:
        self.least = least
        self.sign = 1.0
        self.given = Settings(epsilon=0.0)  # sums of what is not negative do not cancel

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
        ratio = torch.where(whole > 0, relevance / whole, 0)
        return [part * ratio for part in parts]

    def mapped(self, function: Callable[[Tensor], Tensor], x: Tensor, relevance: Tensor) -> Tensor:
        """Return the input's probability."""
        call = weightless(function)
        return share_out(call, [(x.clamp(min=0), call.weight)], None, relevance, self.given)


def least_values(objective: Objective) -> Tensor:
    """Return the least value of each channel of the image, zeros around it included."""
    data = objective.volume.data
    least = data.amin(dim=tuple(range(1, data.ndim)))
    return least.clamp(max=0) if objective.windows.adds_zeros else least
