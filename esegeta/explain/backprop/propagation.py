"""Relevance of whole predictions: started at each window's logits, summed over windows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from esegeta.errors import ModelError
from esegeta.explain.backprop.carry import mark_last, nodes_without_rule
from esegeta.explain.backprop.relevance import Carrier
from esegeta.explain.backprop.rule_set import Rules
from esegeta.explain.objective import Objective, WindowMap
from esegeta.predict import Pieces

Start = Callable[[Tensor, Tensor], Tensor]
"""From a window's logits and its share of the cotangent to the logits' relevance."""


class Propagation:
    """Runs windows under rules and remembers what a reader of the map must know.

    Args:
        rules: rules by which relevance is spread.
        start: relevance that the logits begin with.
        carrier: which functions the rules are for.

    `started` and `arrived` are the relevance at the logits and at the input, over all windows;
    `started_size` is the sum of magnitudes at the logits.
    """

    def __init__(self, rules: Rules, start: Start, carrier: type[Carrier] = Carrier) -> None:
        self.rules = rules
        self.carrier = carrier
        self.start = start
        self.started = 0.0
        self.started_size = 0.0
        self.arrived = 0.0
        self._plain: set[str] = set()

    def window_map(self, objective: Objective) -> WindowMap:
        """Return the relevance of the input as a function of windows and their shares."""

        def window_map(pieces: Pieces, share: Tensor) -> Tensor:
            crops, logits = self.run(objective, pieces)
            begin = self.begin(logits, share)
            (relevance,) = torch.autograd.grad(logits, crops, begin)
            self.arrived += float(relevance.sum(dtype=torch.float64))
            return relevance

        return window_map

    def run(self, objective: Objective, pieces: Pieces) -> tuple[Tensor, Tensor]:
        """Return windows and their logits; what flows back between them is relevance."""
        return self.run_with(objective.run, pieces)

    def run_with(
        self, network: Callable[[Tensor], Tensor], pieces: Pieces
    ) -> tuple[Tensor, Tensor]:
        """Return windows and what a function makes of them, under rules.

        Raises:
            ModelError: no linear operation was seen, as in compiled networks.
        """
        crops = pieces.crops.requires_grad_(True)
        carrier = self.carrier(self.rules, crops)
        with torch.enable_grad(), carrier.intercept():
            logits = network(crops)
        if carrier.num_linear == 0 or not logits.requires_grad:
            raise ModelError(
                "no convolution or dense operation was seen on the way from image to logits",
                hint="rules need a network in plain torch; TorchScript and exports hide their "
                "operations",
            )
        mark_last(logits)
        self._plain.update(nodes_without_rule(logits))
        return crops, logits

    def begin(self, logits: Tensor, share: Tensor) -> Tensor:
        """Return what the logits begin with, and count it."""
        relevance = self.start(logits.detach(), share.to(logits.dtype))
        self.started += float(relevance.sum(dtype=torch.float64))
        self.started_size += float(relevance.abs().sum(dtype=torch.float64))
        return relevance

    def warnings(self) -> tuple[str, ...]:
        """Return a warning where relevance went through functions that have no rule."""
        if not self._plain:
            return ()
        names = ", ".join(sorted(self._plain))
        return (f"no rule for {names}: relevance passed through it as a gradient does",)


def scale_of(objective: Objective) -> float:
    """Return what sums of the windows' relevance are to be multiplied by."""
    if objective.predictor.precision != "fp16":
        return 1.0
    return objective.shares(objective.cotangent()).scale
