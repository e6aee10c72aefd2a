"""AttnLRP's rules for softmax, attention, LayerNorm and GELU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esegeta.explain import LayerwiseRelevance
from esegeta.explain.backprop.attention import AttentionCarrier, softmax_relevance
from esegeta.explain.backprop.lrp import LrpRules
from esegeta.explain.backprop.rules import one_rule
from esegeta.explain.backprop.sharing import Settings
from tests.builders import predictor, volume
from tests.explain.relevance import by_rule
from tests.oracles import frozen, relative_gap


def test_softmax_is_replaced_by_its_tangent() -> None:
    """x times the pulled back R / s, by autograd; what is masked out gets nothing."""
    x, relevance = torch.randn(3, 5), torch.randn(3, 5)
    x[:, 2] = -torch.inf
    relevance[:, 2] = 0
    leaf = torch.where(x.isfinite(), x, -50.0).requires_grad_(True)
    weights = leaf.softmax(-1)
    (slope,) = torch.autograd.grad(weights, leaf, relevance / weights.detach())
    expected = torch.where(x.isfinite(), leaf.detach() * slope, 0.0)
    given = Settings()
    found = softmax_relevance(x, relevance, -1, given)
    assert relative_gap(found, expected) < 1e-4
    left = float(relevance.sum() - found.sum())
    assert given.ledger.total("softmax") == pytest.approx(left, abs=1e-4)


class Attention(nn.Module):
    """One head over the voxels, by torch's function or written out."""

    def __init__(self, fused: bool, mask: Tensor | None = None, **keys: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.query, self.key, self.value = (nn.Linear(2, 4, bias=False) for _ in range(3))
        self.fused, self.mask, self.keys = fused, mask, keys

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.query(x), self.key(x), self.value(x)
        if self.fused:
            return F.scaled_dot_product_attention(query, key, value, self.mask, **self.keys)
        scores = query @ key.transpose(-1, -2) * 0.5
        if self.mask is not None:
            scores = scores + self.mask
        return scores.softmax(-1) @ value


def both(network: nn.Module, x: Tensor, relevance: Tensor) -> tuple[Tensor, Settings]:
    given = Settings()
    leaf = x.clone().requires_grad_(True)
    with AttentionCarrier(LrpRules(one_rule("epsilon"), given), leaf).intercept():
        output = network(leaf)
    (found,) = torch.autograd.grad(output, leaf, relevance)
    return found, given


def test_a_boolean_mask_equals_a_mask_of_infinities() -> None:
    x, relevance = torch.randn(1, 1, 6, 2), torch.randn(1, 1, 6, 4)
    seen = torch.ones(6, 6).tril().bool()
    expected, _ = both(Attention(True, None, is_causal=True), x, relevance)
    found, _ = both(Attention(True, seen), x, relevance)
    assert torch.equal(found, expected)
    plain, _ = both(Attention(True), x, relevance)
    assert relative_gap(found, plain) > 0.01


@pytest.mark.parametrize("held", ["query", "key"])
def test_values_get_all_relevance_if_attention_weights_do_not_depend_on_the_input(
    held: str,
) -> None:
    """Both by AttnLRP and by the rule that holds the weights constant."""

    class Held(Attention):
        def forward(self, x: Tensor) -> Tensor:
            parts = {"query": self.query(x), "key": self.key(x), "value": self.value(x)}
            parts[held] = parts[held].detach()
            return F.scaled_dot_product_attention(**parts)

    x, relevance = torch.randn(1, 1, 6, 2), torch.randn(1, 1, 6, 4)
    network = Held(True)
    found, _ = both(network, x, relevance)
    assert torch.equal(found, by_rule(network, "epsilon", x, relevance))


@pytest.mark.parametrize("mask", [None, "bias", "causal"])
def test_torchs_attention_equals_its_written_out_form(mask: str | None) -> None:
    x, relevance = torch.randn(1, 1, 6, 2), torch.randn(1, 1, 6, 4)
    added = torch.randn(6, 6) if mask == "bias" else None
    keys = {"is_causal": True} if mask == "causal" else {}
    found, given = both(Attention(True, added, **keys), x, relevance)
    if mask == "causal":
        added = torch.zeros(6, 6).masked_fill(torch.ones(6, 6).triu(1).bool(), -1e4)
    expected, other = both(Attention(False, added), x, relevance)
    if mask == "causal":  # a finite mask keeps a part of its own
        assert abs(float(found.sum() - expected.sum())) < 1e-2 * float(expected.abs().sum())
        return
    assert relative_gap(found, expected) < 1e-4
    for what in ("softmax", "constants"):
        assert given.ledger.total(what) == pytest.approx(other.ledger.total(what), rel=1e-3)


def test_relevance_goes_to_values_alone_or_also_to_weights() -> None:
    """Half goes through the weights, less what the softmax keeps."""
    x, relevance = torch.randn(1, 1, 6, 2), torch.randn(1, 1, 6, 4)
    network = Attention(True)
    values = by_rule(network, "epsilon", x, relevance)
    found, given = both(network, x, relevance)
    assert abs(float(values.sum() - relevance.sum())) < 1e-3
    kept = given.ledger.total("softmax") + given.ledger.total("in_rules")
    assert float(found.sum()) == pytest.approx(float(relevance.sum()) - kept, abs=1e-3)
    assert relative_gap(found, values) > 0.1


def test_layer_norm_and_gelu_pass_relevance_on() -> None:
    torch.manual_seed(0)
    norm = nn.LayerNorm(5)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x, relevance = torch.randn(3, 5), torch.randn(3, 5)
    for network in (norm, nn.GELU(), nn.Sequential(nn.GELU(), norm)):
        found = by_rule(network, "epsilon", x, relevance, bias="distribute")
        assert relative_gap(found, relevance) < 1e-4


class Transformer(nn.Module):
    """Voxels as tokens: a convolution, an attention with its norm, a GELU, a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter, self.head = nn.Conv2d(1, 4, 1), nn.Linear(4, 2)
        self.norm, self.three = nn.LayerNorm(4), nn.Linear(4, 12)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.enter(x).flatten(2).transpose(1, 2)
        query, key, value = self.three(self.norm(tokens)).chunk(3, dim=-1)
        tokens = tokens + F.scaled_dot_product_attention(query, key, value)
        return self.head(F.gelu(tokens)).transpose(1, 2).reshape(x.shape[0], 2, *x.shape[2:])


def test_a_transformer_conserves_with_values_and_says_what_softmax_keeps() -> None:
    model, image = predictor(Transformer().eval(), (4, 4)), volume((4, 4))
    target = frozen(model, image)
    found = LayerwiseRelevance().explain(model, image, target)
    assert found.facts.more["conservation_gap"] < 1e-3
    assert found.warnings == ()
    found = LayerwiseRelevance(attention="both").explain(model, image, target)
    facts = found.facts.more
    assert abs(facts["kept_by_softmax"]) > 1e-3 * abs(facts["relevance_in"])
    total = facts["relevance_out"] + facts["kept_by_softmax"] + facts["unaccounted"]
    assert total == pytest.approx(facts["relevance_in"], rel=1e-3)
