"""Relevance that goes through the weights of an attention too, by the rules of AttnLRP.

Half of an output's relevance goes to the values, half to the weights, through the softmax to the
scores, and from there half each to queries and keys. Everywhere else in this package the weights
are a gate, held as they were.

Source: Achtibat et al., AttnLRP, 2024, propositions 3.1 (softmax) and 3.3 (products). The rules for
LayerNorm (3.4) and GELU (identity) are those of every norm and activation here where biases
distribute their share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from esegeta.explain.backprop.calls import Call, call_with, first_of
from esegeta.explain.backprop.calls import CallRule as Interception
from esegeta.explain.backprop.carry import Note, carry
from esegeta.explain.backprop.functions import SOFTMAXES
from esegeta.explain.backprop.relevance import Carrier
from esegeta.explain.backprop.rule_set import Rules
from esegeta.explain.backprop.sharing import Settings, divide


class GivenRules(Rules):
    """Rules with the numbers that they use."""

    given: Settings


class AttentionCarrier(Carrier):
    """One forward pass under rules in which softmax and attention have their own."""

    def functions(self) -> dict[Call, Interception]:
        """Return the rules of all functions but layers."""
        return {**super().functions(), **dict.fromkeys(SOFTMAXES, self._softmax)}

    @property
    def given(self) -> Settings:
        """The numbers in the rules."""
        assert isinstance(self.rules, GivenRules)
        return self.rules.given

    def _softmax(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        x = first_of(args, kwargs)
        if not x.requires_grad:
            return func(*args, **kwargs)

        def spread(kept: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
            dim = kwargs["dim"] if "dim" in kwargs else args[1]
            return (softmax_relevance(kept[0], relevance, dim, self.given),)

        return carry(
            lambda inputs: call_with(inputs, func, args, kwargs), spread, Note("softmax"), [x], [x]
        )

    def _attention(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        named = {**dict(zip(names, args, strict=False)), **kwargs}
        parts = [named.pop(name) for name in names[:3]]
        if not all(part.requires_grad for part in parts) or named.get("enable_gqa", False):
            return super()._attention(func, args, kwargs)
        mask = mask_of(parts[0], parts[1], named)
        scale = named.get("scale") or 1 / math.sqrt(parts[0].shape[-1])

        def spread(kept: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
            query, key, value = kept
            return attention_relevance(query, key, value, mask, scale, relevance, self.given)

        def compute(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            output: Tensor = func(query, key, value, **named)
            return output

        return carry(compute, spread, Note("product"), parts, parts)


def softmax_relevance(x: Tensor, relevance: Tensor, dim: int, given: Settings) -> Tensor:
    """Return `x_i (R_i - s_i sum_j R_j)`; what is left stays with the bias of the tangent."""
    weights = x.softmax(dim)
    share = relevance - weights * relevance.sum(dim, keepdim=True)
    result = torch.where(x.isfinite(), x, 0.0) * share  # what is masked out has no share
    given.ledger.keep("softmax", relevance.sum(dim) - result.sum(dim))
    return result


def attention_relevance(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scale: float,
    relevance: Tensor,
    given: Settings,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the relevance of queries, keys and values of `softmax(scale Q K^T + mask) V`."""
    products = scale * query @ key.transpose(-1, -2)
    scores = products if mask is None else products + mask
    weights = scores.softmax(-1)
    ratio = _halved(relevance, weights @ value, given)
    to_value = value * (weights.transpose(-1, -2) @ ratio)
    to_weights = weights * (ratio @ value.transpose(-1, -2))
    to_scores = softmax_relevance(scores, to_weights, -1, given)
    if mask is not None:
        finite = torch.where(scores.isfinite(), scores, 0.0)
        to_products = products * divide(to_scores, finite, given.epsilon)
        given.ledger.keep("constants", to_scores - to_products)
        to_scores = to_products
    ratio = scale * _halved(to_scores, products, given)
    to_query = query * (ratio @ key)
    to_key = key * (ratio.transpose(-1, -2) @ query)
    return to_query, to_key, to_value


def _halved(relevance: Tensor, z: Tensor, given: Settings) -> Tensor:
    """Return what each of two factors gets per unit of the product z."""
    ratio = divide(relevance / 2, z, given.epsilon)
    given.ledger.keep("in_rules", relevance - 2 * ratio * z)
    return ratio


def mask_of(query: Tensor, key: Tensor, named: dict[str, Any]) -> Tensor | None:
    """Return what an attention adds to its scores: minus infinity where it looks away."""
    if named.get("is_causal", False):
        shape = (query.shape[-2], key.shape[-2])
        seen = torch.ones(shape, dtype=torch.bool, device=query.device).tril()
        return torch.zeros(shape, device=query.device).masked_fill(~seen, -torch.inf)
    mask: Tensor | None = named.get("attn_mask")
    if mask is None or mask.dtype != torch.bool:
        return None if mask is None else mask.detach().float()
    return torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, -torch.inf)
