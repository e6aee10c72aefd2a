"""How an output's relevance is shared out over what the output was summed from.

In proportion to contributions c_ij, which include the bias:

    R_i = sum_j c_ij / (sum_i' c_i'j + b_j + epsilon) R_j

What the bias and epsilon take is kept there (`absorb`), or handed to the inputs too
(`distribute`): in proportion to |c_ij|, and evenly where nothing contributes. Then what goes in
comes out of every operation that has an input at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from esegeta.explain.backprop.operations import LinearCall

BiasShare = Literal["absorb", "distribute"]

SignedTerm = tuple[Tensor, Tensor]
"""An input and a weight: their products are contributions."""

TINIEST = 1e-20


@dataclass
class Ledger:
    """Relevance that stayed on the way, by what kept it."""

    kept: dict[str, Tensor] = field(default_factory=dict)

    def keep(self, what: str, relevance: Tensor) -> None:
        """Add relevance that stays where it is, and its magnitude."""
        both = (relevance.sum(dtype=torch.float64), relevance.abs().sum(dtype=torch.float64))
        amount = torch.stack(both)
        self.kept[what] = self.kept[what] + amount if what in self.kept else amount

    def total(self, what: str) -> float:
        """Return what was kept."""
        return float(self.kept[what][0]) if what in self.kept else 0.0

    def size(self, what: str) -> float:
        """Return the magnitude of what was kept."""
        return float(self.kept[what][1]) if what in self.kept else 0.0


@dataclass(frozen=True, eq=False)
class Settings:
    """The numbers in the rules.

    Args:
        epsilon: stabiliser added to each denominator, in units of its mean magnitude.
        gamma: extra weight of positive contributions.
        alpha: weight of the positive contributions.
        beta: weight of the negative ones; alpha - beta = 1.
        low: least value that the image can have, one per channel.
        high: largest value that it can have.
        bias: whether biases and epsilon keep their share.
        ledger: account of relevance that stays on the way: with `biases`, with `constants`, or
            `in_rules`, where nothing contributes or epsilon outweighs what does.
    """

    epsilon: float = 1e-6
    gamma: float = 0.25
    alpha: float = 2.0
    beta: float = 1.0
    low: Tensor | None = None
    high: Tensor | None = None
    bias: BiasShare = "absorb"
    ledger: Ledger = field(default_factory=Ledger)


def share_out(
    call: LinearCall,
    terms: Sequence[SignedTerm],
    bias: Tensor | None,
    relevance: Tensor,
    given: Settings,
) -> Tensor:
    """Return the relevance of the inputs, in proportion to the products of all terms."""
    outputs, pull = _products(call, terms)
    z = outputs if bias is None else outputs + bias
    ratio = divide(relevance, z, given.epsilon, call.scale)
    total = pull(ratio)
    rest = relevance - ratio * outputs
    if given.bias == "absorb":
        if bias is not None:
            kept = ratio * bias
            given.ledger.keep("biases", kept)
            rest = rest - kept
        given.ledger.keep("in_rules", rest)
        return total
    if bias is not None:
        sizes, pull = _products(call, [(x.abs(), weight.abs()) for x, weight in terms])
        part, rest = _part(rest, sizes)
        total = total + pull(part)
    return total + evenly(call, terms[0], rest, given)


def evenly(call: LinearCall, term: SignedTerm, rest: Tensor, given: Settings) -> Tensor:
    """Return relevance shared out evenly over all inputs that an output sees."""
    counts, pull = _products(call, [(torch.ones_like(term[0]), torch.ones_like(term[1]))])
    part, left = _part(rest, counts)
    given.ledger.keep("in_rules", left)
    return pull(part)


def _part(relevance: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Return what each unit of some sizes gets, and what is left where there is no size."""
    seen = sizes.abs() > TINIEST
    part = torch.where(seen, relevance / torch.where(seen, sizes, 1.0), 0.0)
    return part, torch.where(seen, 0.0, relevance)


def _products(
    call: LinearCall, terms: Sequence[SignedTerm]
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return the sum of terms at each output, and the way back: inputs times what they are owed."""
    with torch.enable_grad():
        inputs = [x.detach().requires_grad_(True) for x, _ in terms]
        outputs = [call.outputs(x, term[1]) for x, term in zip(inputs, terms, strict=True)]
    z = outputs[0].detach()
    for output in outputs[1:]:
        z = z + output.detach()

    def pull(ratio: Tensor) -> Tensor:
        slopes = torch.autograd.grad(outputs, inputs, [ratio] * len(outputs))
        total = terms[0][0] * slopes[0]
        for (x, _), slope in zip(terms[1:], slopes[1:], strict=True):
            total = torch.addcmul(total, x, slope)
        return total

    return z, pull


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


def share_map(
    function: Callable[[Tensor], Tensor], x: Tensor, relevance: Tensor, given: Settings
) -> Tensor:
    """Return relevance shared out by a linear map without learned weights; of zeros, evenly."""
    call = LinearCall("scaling", lambda inputs, weight: function(inputs), torch.empty(0), None)
    outputs, pull = _products(call, [(x, call.weight)])
    ratio = divide(relevance, outputs, given.epsilon)
    rest = relevance - ratio * outputs
    empty = outputs.abs() <= TINIEST
    given.ledger.keep("in_rules", torch.where(empty, 0.0, rest))
    total = pull(ratio)
    if bool((empty & (rest != 0)).any()):
        rest = torch.where(empty, rest, 0.0)
        total = total + evenly(call, (x, call.weight), rest, given)
    return total
