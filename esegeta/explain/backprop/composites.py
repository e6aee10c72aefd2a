"""Which rule each linear operation of a network gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from esegeta.explain.backprop.operations import LinearCall
from esegeta.explain.backprop.rules import RuleName

CompositeName = Literal["epsilon_plus_flat", "epsilon_gamma_box", "deep_taylor", "none"]

Choice = Callable[[LinearCall], RuleName]


@dataclass(frozen=True)
class Composite:
    """Rules by where an operation stands: the first, those between, and the top.

    The top are dense operations (`nn.Linear`) and those that give the logits; a norm with nothing
    linear before it takes the epsilon rule, by which each value keeps its own.

    Args:
        first: rule of operations that take the image.
        middle: of all others.
        top: of dense operations and of those that give the logits.
    """

    first: RuleName
    middle: RuleName
    top: RuleName

    def __call__(self, call: LinearCall) -> RuleName:
        """Return the rule of one operation."""
        if call.kind == "scaling":
            return "epsilon"
        if call.place.is_first:
            return self.first
        if call.kind == "dense" or call.place.is_last:
            return self.top
        return self.middle


COMPOSITES: dict[CompositeName, Composite] = {
    "epsilon_plus_flat": Composite(first="flat", middle="z_plus", top="epsilon"),
    "epsilon_gamma_box": Composite(first="z_box", middle="gamma", top="epsilon"),
    "deep_taylor": Composite(first="z_box", middle="z_plus", top="z_plus"),
}
"""Composites by the names that configs use."""


def one_rule(rule: RuleName) -> Composite:
    """Return the composite of a single rule; the box is a rule of images, behind it is z_plus."""
    rest: RuleName = "z_plus" if rule == "z_box" else rule
    return Composite(first=rule, middle=rest, top=rest)
