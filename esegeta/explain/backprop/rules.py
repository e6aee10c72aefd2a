"""Rules by which relevance is shared out over inputs, and composites of them for a network.

Each splits an output's relevance R_j over what the output was summed from, in proportion to
contributions c_ij; the bias keeps its own part:

    R_i = sum_j c_ij / (sum_i' c_i'j + b_j) R_j

+ and - mark the parts of a tensor above and below zero. Inputs of either sign are provided for:
`x+ W+ + x- W-` are the positive contributions, `x+ W- + x- W+` the negative ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from esegeta.explain.backprop.operations import LinearCall, along

RuleName = Literal["epsilon", "gamma", "z_plus", "alpha_beta", "w_square", "flat", "z_box"]
RULE_NAMES: tuple[RuleName, ...] = get_args(RuleName)

SignedTerm = tuple[Tensor, Tensor]
"""An input and a weight: their products are contributions."""

TINIEST = 1e-20


@dataclass
class Ledger:
    """Relevance that stayed on the way, by what kept it."""

    kept: dict[str, Tensor] = field(default_factory=dict)

    def keep(self, what: str, relevance: Tensor) -> None:
        """Add relevance that stays where it is."""
        amount = relevance.sum(dtype=torch.float64)
        self.kept[what] = self.kept[what] + amount if what in self.kept else amount

    def total(self, what: str) -> float:
        """Return what was kept."""
        return float(self.kept.get(what, 0.0))


@dataclass(frozen=True, eq=False)
class Settings:
    """The numbers in the rules.

    Args:
        epsilon: added to each denominator, in units of its mean magnitude.
        gamma: how much more positive contributions count.
        alpha: weight of the positive contributions.
        beta: weight of the negative ones; alpha - beta = 1.
        low: what the image cannot fall below, one value a channel.
        high: what it cannot exceed.
        ledger: where relevance is noted that biases keep.
    """

    epsilon: float = 1e-6
    gamma: float = 0.25
    alpha: float = 2.0
    beta: float = 1.0
    low: Tensor | None = None
    high: Tensor | None = None
    ledger: Ledger = field(default_factory=Ledger)


LinearRule = Callable[[LinearCall, Tensor, Tensor, Settings], Tensor]
"""From an operation, its input and its outputs' relevance to the input's relevance."""


def epsilon_rule(call: LinearCall, x: Tensor, relevance: Tensor, given: Settings) -> Tensor:
    """c_ij = w_ij x_i (Bach 2015, equation 58)."""
    return share_out(call, [(x, call.weight)], call.bias, relevance, given)


def gamma_rule(call: LinearCall, x: Tensor, relevance: Tensor, given: Settings) -> Tensor:
    """c_ij = w_ij x_i, raised by gamma where it has the sign of z_j (Montavon 2019, 10.2.3).

    For inputs and outputs of either sign: Andéol 2021, which equals it where both are positive.
    """
    raised = call.weight + given.gamma * call.weight.clamp(min=0)
    lowered = call.weight + given.gamma * call.weight.clamp(max=0)
    bias = call.bias
    above = below = None
    if bias is not None:
        above = bias + given.gamma * bias.clamp(min=0)
        below = bias + given.gamma * bias.clamp(max=0)
    positive = _plain_outputs(call, x) >= 0
    chosen = torch.where(positive, relevance, 0)
    result = share_out(call, _by_sign(x, raised, lowered), above, chosen, given)
    rest = relevance - chosen
    if bool(rest.any()):  # behind a ReLU nothing is left for outputs below zero
        result = result + share_out(call, _by_sign(x, lowered, raised), below, rest, given)
    return result


def z_plus_rule(call: LinearCall, x: Tensor, relevance: Tensor, given: Settings) -> Tensor:
    """c_ij = max(w_ij x_i, 0): what raised the output (Montavon 2017, equation 18)."""
    bias = None if call.bias is None else call.bias.clamp(min=0)
    return share_out(call, positive_terms(x, call.weight), bias, relevance, given)


def alpha_beta_rule(call: LinearCall, x: Tensor, relevance: Tensor, given: Settings) -> Tensor:
    """alpha times positive less beta times negative contributions (Bach 2015, equation 60)."""
    result = z_plus_rule(call, x, given.alpha * relevance, given)
    if given.beta == 0:
        return result
    bias = None if call.bias is None else call.bias.clamp(max=0)
    terms = _by_sign(x, call.weight.clamp(max=0), call.weight.clamp(min=0))
    return result + share_out(call, terms, bias, -given.beta * relevance, given)


def w_square_rule(call: LinearCall, x: Tensor, relevance: Tensor, given: Settings) -> Tensor:
    """c_ij = w_ij^2, whatever the input; it needs no epsilon (Montavon 2017, eq. 12)."""
    terms = [(torch.ones_like(x), call.weight**2)]
    return share_out(call, terms, None, relevance, replace(given, epsilon=0.0))


def flat_rule(call: LinearCall, x: Tensor, relevance: Tensor, given: Settings) -> Tensor:
    """c_ij = 1: evenly over all that the output sees; it needs no epsilon (Lapuschkin 2019)."""
    terms = [(torch.ones_like(x), torch.ones_like(call.weight))]
    return share_out(call, terms, None, relevance, replace(given, epsilon=0.0))


def z_box_rule(call: LinearCall, x: Tensor, relevance: Tensor, given: Settings) -> Tensor:
    """c_ij = w_ij x_i - w_ij+ l_i - w_ij- h_i, of inputs from l to h (Montavon 2017, eq. 17)."""
    low, high = given.low, given.high
    if not call.place.takes_crop or low is None or high is None:  # its own range, each sample
        axes = tuple(range(2, x.ndim))
        low, high = x.amin(dim=axes, keepdim=True), x.amax(dim=axes, keepdim=True)
    else:
        low, high = along(low.to(x), x, 1), along(high.to(x), x, 1)
    # Signs go with the inputs, so that the products are the terms as they stand.
    terms = [
        (x, call.weight),
        (-low.expand_as(x), call.weight.clamp(min=0)),
        (-high.expand_as(x), call.weight.clamp(max=0)),
    ]
    return share_out(call, terms, None, relevance, given)


RULES: dict[RuleName, LinearRule] = {
    "epsilon": epsilon_rule,
    "gamma": gamma_rule,
    "z_plus": z_plus_rule,
    "alpha_beta": alpha_beta_rule,
    "w_square": w_square_rule,
    "flat": flat_rule,
    "z_box": z_box_rule,
}
"""Every rule by the name that configs use."""


def share_out(
    call: LinearCall,
    terms: Sequence[SignedTerm],
    bias: Tensor | None,
    relevance: Tensor,
    given: Settings,
) -> Tensor:
    """Return the relevance of the inputs, in proportion to the products of all terms."""
    with torch.enable_grad():
        inputs = [x.detach().requires_grad_(True) for x, _ in terms]
        outputs = [call.outputs(x, term[1]) for x, term in zip(inputs, terms, strict=True)]
    z = outputs[0].detach()
    for part in outputs[1:]:
        z = z + part.detach()
    if bias is not None:
        z = z + bias
    ratio = divide(relevance, z, given.epsilon, call.scale)
    if bias is not None:
        given.ledger.keep("biases", ratio * bias)
    slopes = torch.autograd.grad(outputs, inputs, [ratio] * len(outputs))
    total = terms[0][0] * slopes[0]
    for (x, _), slope in zip(terms[1:], slopes[1:], strict=True):
        total = torch.addcmul(total, x, slope)
    return total


def divide(relevance: Tensor, z: Tensor, epsilon: float, scale: Tensor | None = None) -> Tensor:
    """Return `relevance / (z + sign(z) * epsilon * mean |z|)`, the mean over each sample.

    Relative to the mean, one epsilon serves outputs of any scale. The positive scale of frozen
    norms divides out, but for epsilon, which is that of the scaled outputs.
    """
    axes = tuple(range(1, z.ndim))
    size = z.abs() if scale is None else z.abs() * scale
    least = epsilon * (size.mean(dim=axes, keepdim=True) if axes else size)
    least = (least if scale is None else least / scale).clamp(min=TINIEST)
    return relevance / (z + torch.where(z < 0, -least, least))


def weightless(function: Callable[[Tensor], Tensor]) -> LinearCall:
    """Return a linear map without learned weights as an operation."""
    return LinearCall("scaling", lambda x, weight: function(x), torch.empty(0), None)


def positive_terms(x: Tensor, weight: Tensor) -> list[SignedTerm]:
    """Return the terms of the positive contributions."""
    return _by_sign(x, weight.clamp(min=0), weight.clamp(max=0))


def _by_sign(x: Tensor, for_positive: Tensor, for_negative: Tensor) -> list[SignedTerm]:
    """Return terms with one weight for inputs above zero, and another for those below."""
    if not bool((x < 0).any()):  # behind a ReLU: half the work
        return [(x, for_positive)]
    return [(x.clamp(min=0), for_positive), (x.clamp(max=0), for_negative)]


def _plain_outputs(call: LinearCall, x: Tensor) -> Tensor:
    z = call.outputs(x, call.weight)
    return z if call.bias is None else z + call.bias


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
