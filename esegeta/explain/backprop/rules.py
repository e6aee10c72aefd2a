"""Rules by which relevance is shared out over inputs, and composites of them for a network.

Each splits an output's relevance R_j over what the output was summed from, in proportion to
contributions c_ij; the bias keeps its own part:

    R_i = sum_j c_ij / (sum_i' c_i'j + b_j) R_j

+ and - mark the parts of a tensor above and below zero. Inputs of either sign are provided for:
`x+ W+ + x- W-` are the positive contributions, `x+ W- + x- W+` the negative ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from esegeta.explain.backprop.operations import LinearCall, along
from esegeta.explain.backprop.sharing import Settings, SignedTerm, share_out

RuleName = Literal["epsilon", "gamma", "z_plus", "alpha_beta", "w_square", "flat", "z_box"]
RULE_NAMES: tuple[RuleName, ...] = get_args(RuleName)

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
    positive = outputs_of(call, [(x, call.weight)], call.bias) >= 0
    chosen = torch.where(positive, relevance, 0)
    result = share_out(call, _by_sign(x, raised, lowered), above, chosen, given)
    rest = relevance - chosen
    if bool(rest.any()):  # behind a ReLU nothing is left for outputs below zero
        result = result + share_out(call, _by_sign(x, lowered, raised), below, rest, given)
    return result


def z_plus_rule(call: LinearCall, x: Tensor, relevance: Tensor, given: Settings) -> Tensor:
    """c_ij = max(w_ij x_i, 0): what raised the output (Montavon 2017, equation 18)."""
    terms, bias = _above(call, x, given)
    return share_out(call, terms, bias, relevance, given)


def alpha_beta_rule(call: LinearCall, x: Tensor, relevance: Tensor, given: Settings) -> Tensor:
    """alpha times positive less beta times negative contributions (Bach 2015, equation 60).

    Where relevance is to be distributed, contributions of one sign alone get all of it: alpha or
    beta times the relevance would have nowhere to go.
    """
    terms, bias = _above(call, x, given)
    others, other_bias = _below(call, x, given)
    alpha = torch.full_like(relevance, given.alpha)
    if given.bias == "distribute" and given.beta > 0:
        raised = outputs_of(call, terms, bias) > 0
        lowered = outputs_of(call, others, other_bias) < 0
        alpha = torch.where(lowered, torch.where(raised, given.alpha, 0.0), 1.0)
    result = share_out(call, terms, bias, alpha * relevance, given)
    if given.beta == 0:
        return result
    return result + share_out(call, others, other_bias, (1 - alpha) * relevance, given)


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


def positive_terms(x: Tensor, weight: Tensor) -> list[SignedTerm]:
    """Return the terms of the positive contributions."""
    return _by_sign(x, weight.clamp(min=0), weight.clamp(max=0))


def _by_sign(x: Tensor, for_positive: Tensor, for_negative: Tensor) -> list[SignedTerm]:
    """Return terms with one weight for inputs above zero, and another for those below."""
    if not bool((x < 0).any()):  # behind a ReLU: half the work
        return [(x, for_positive)]
    return [(x.clamp(min=0), for_positive), (x.clamp(max=0), for_negative)]


def _above(call: LinearCall, x: Tensor, given: Settings) -> tuple[list[SignedTerm], Tensor | None]:
    """Return positive contributions, and the bias's, which counts where it keeps its share."""
    bias = call.bias if given.bias == "absorb" else None
    return positive_terms(x, call.weight), None if bias is None else bias.clamp(min=0)


def _below(call: LinearCall, x: Tensor, given: Settings) -> tuple[list[SignedTerm], Tensor | None]:
    """Return negative contributions, and the bias's."""
    bias = call.bias if given.bias == "absorb" else None
    terms = _by_sign(x, call.weight.clamp(max=0), call.weight.clamp(min=0))
    return terms, None if bias is None else bias.clamp(max=0)


def outputs_of(call: LinearCall, terms: list[SignedTerm], bias: Tensor | None) -> Tensor:
    """Return what terms and a bias add up to at each output."""
    z = call.outputs(*terms[0])
    for term in terms[1:]:
        z = z + call.outputs(*term)
    return z if bias is None else z + bias


CompositeName = Literal["epsilon_plus_flat", "epsilon_gamma_box", "deep_taylor", "none"]

Choice = Callable[[LinearCall], RuleName]


@dataclass(frozen=True)
class Composite:
    """Rules by where an operation stands: the first, those between, and the top.

    The top are dense operations (`nn.Linear`) and those that give the logits; a norm with nothing
    linear before it takes the epsilon rule, by which each value keeps its own.

    Args:
        first: rule of operations that take the image.
        middle: rule of all others.
        top: rule of dense operations and of those that give the logits.
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
