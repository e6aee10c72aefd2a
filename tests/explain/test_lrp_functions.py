"""Relevance through functions in odd forms: of constants, by names of arguments, of the image."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esegeta.explain.backprop.attention import AttentionCarrier
from esegeta.explain.backprop.lrp import LrpRules
from esegeta.explain.backprop.relevance import Carrier
from esegeta.explain.backprop.rules import Settings, one_rule
from tests.explain.relevance import Forward, by_rule, spread_back, through
from tests.oracles import relative_gap

OF_CONSTANTS: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda c: c + 2,
    "product": lambda c: 3 * c,
    "quotient": lambda c: c / 3,
    "contraction": lambda c: c @ c,
    "letters": lambda c: torch.einsum("bcij,bcjk->bcik", c, c),
    "activation": F.gelu,
    "power": lambda c: c**2,
    "softmax": lambda c: c.softmax(-1),
    "attention": lambda c: F.scaled_dot_product_attention(c, c, c),
    "mean": lambda c: c.mean(3, keepdim=True),
    "padding": lambda c: F.pad(c, (1, 1))[..., 1:-1],
    "norm": lambda c: F.instance_norm(c),
    "convolution": lambda c: F.conv2d(c, torch.ones(2, 2, 1, 1)),
}


@pytest.mark.parametrize("carrier", [Carrier, AttentionCarrier])
@pytest.mark.parametrize("kind", OF_CONSTANTS)
def test_a_function_of_constants_counts_as_a_constant(kind: str, carrier: type[Carrier]) -> None:
    """It keeps its share of a sum, whatever it was made by."""
    made = OF_CONSTANTS[kind]
    x, relevance = torch.rand(1, 2, 4, 4) + 0.5, torch.rand(1, 2, 4, 4)
    network = Forward(lambda net, x: net.first(x) + made(x.detach()))
    rules = LrpRules(one_rule("epsilon"), Settings())
    found = spread_back(network, rules, x, relevance, carrier)
    assert relative_gap(found, relevance * x / (x + made(x))) < 1e-4


ODD_FORMS: dict[str, tuple[Callable[[Forward, Tensor], Tensor], Callable[..., Tensor]]] = {
    "named sum": (lambda net, x: torch.add(input=net.first(x), other=2), lambda x, r: x / (x + 2)),
    "named product": (
        lambda net, x: torch.mul(input=net.first(x) + 2, other=torch.sigmoid(net.second(x))),
        lambda x, r: x / (x + 2),
    ),
    "two in a list of letters": (
        lambda net, x: torch.einsum("bcij,bcij->bcij", [net.first(x), net.second(x) + 2]),
        lambda x, r: 0.5 + 0.5 * x / (x + 2),
    ),
    "letters of one": (
        lambda net, x: torch.einsum("bcij->bcji", net.first(x) + 2).mT,
        lambda x, r: x / (x + 2),
    ),
    "gate that is written over": (
        lambda net, x: (net.second(x) - 9).sigmoid().mul_(net.first(x) + 2),
        lambda x, r: x / (x + 2),
    ),
    # The image itself is a factor like any other, and may have its own mean taken away.
    "image as a factor": (
        lambda net, x: x * (net.first(x) + 2),
        lambda x, r: 0.5 + 0.5 * x / (x + 2),
    ),
    "image less its mean": (
        lambda net, x: x - x.mean(3, keepdim=True),
        lambda x, r: x / (x - x.mean(3, keepdim=True)),
    ),
    "image less the mean of another": (
        lambda net, x: x - net.first(x).mean(3, keepdim=True),
        lambda x, r: (
            (x / (x - x.mean(3, keepdim=True)))
            - x * (r / (x - x.mean(3, keepdim=True))).mean(3, keepdim=True) / r
        ),
    ),
}
"""Each with what is left of the relevance."""


@pytest.mark.parametrize("kind", ODD_FORMS)
def test_odd_forms_have_the_rules_of_plain_ones(kind: str) -> None:
    function, left = ODD_FORMS[kind]
    x, relevance = torch.rand(1, 2, 4, 4) + 0.5, torch.rand(1, 2, 4, 4) + 0.1
    found = through(function, x, relevance)
    assert relative_gap(found, relevance * left(x, relevance)) < 1e-3


def test_a_norm_over_several_axes_is_an_operation_of_its_own() -> None:
    norm = nn.LayerNorm((2, 4, 4))
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.normal_(norm.bias)
    x, relevance = torch.randn(1, 2, 4, 4), torch.rand(1, 2, 4, 4)
    deviation = (x.var(correction=0) + norm.eps).sqrt()
    expected = relevance * norm.weight * x / deviation / norm(x)
    assert relative_gap(by_rule(norm, "epsilon", x, relevance), expected) < 1e-3


def test_a_batch_norm_without_running_statistics_is_held_at_its_input() -> None:
    """Of one image: as an instance norm."""
    x, relevance = torch.randn(1, 2, 4, 4), torch.rand(1, 2, 4, 4)
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)).eval()
    like = nn.Sequential(network[0], nn.InstanceNorm2d(3))
    relevance = torch.rand_like(network(x))
    found = by_rule(network, "epsilon", x, relevance)
    assert relative_gap(found, by_rule(like, "epsilon", x, relevance)) < 1e-5


def test_alpha_one_beta_zero_equals_z_plus() -> None:
    layer = nn.Conv2d(2, 3, 3, padding=1)
    x, relevance = torch.randn(1, 2, 4, 4), torch.rand(1, 3, 4, 4)
    found = by_rule(layer, "alpha_beta", x, relevance, alpha=1.0, beta=0.0)
    assert torch.equal(found, by_rule(layer, "z_plus", x, relevance))


@pytest.mark.parametrize("bias", ["absorb", "distribute"])
def test_padding_around_an_empty_tensor_gets_no_relevance(bias: str) -> None:
    def network(net: Forward, x: Tensor) -> Tensor:
        y = net.first(x)
        return torch.cat([y[..., :2], F.pad(y[..., 2:2], (1, 1))], dim=-1)

    x, relevance = torch.rand(1, 2, 4, 4) + 0.5, torch.rand(1, 2, 4, 4)
    found = through(network, x, relevance, bias=bias)
    assert relative_gap(found[..., :2], relevance[..., :2]) < 1e-4
    assert not found[..., 2:].any()
