"""Relevance through norms that are written out: that of torch's own, which is a closed form."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esegeta.explain import ExcitationBackprop, LayerwiseRelevance
from esegeta.explain.backprop.excitation import ExcitationRules
from tests.builders import predictor, volume
from tests.explain.relevance import by_rule, spread_back
from tests.oracles import frozen, relative_gap

EPS = 1e-6
Written = Callable[[Tensor, Tensor], Tensor]


class Norm(nn.Module):
    """A norm over channels, of an activation that is itself a gate elsewhere."""

    def __init__(self, written: Written) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.written = written
        self.weight = nn.Parameter(1 + 0.3 * torch.randn(5, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.written(torch.tanh(x), self.weight)


def mean(x: Tensor) -> Tensor:
    return x.mean(1, keepdim=True)


def spread(x: Tensor) -> Tensor:
    return mean((x - mean(x)).square()) + EPS


def in_place(x: Tensor, w: Tensor) -> Tensor:
    y = x.clone()
    y -= y.mean(1)[:, None]
    return y.mul_(torch.rsqrt(spread(x))).mul_(w)


def by_both_moments(x: Tensor, w: Tensor) -> Tensor:
    variance, centre = torch.var_mean(x, 1, correction=0, keepdim=True)
    return (x - centre) / (variance + EPS).sqrt() * w


ROOT_MEAN_SQUARE: dict[str, Written] = {
    "torch": lambda x, w: F.rms_norm(x.movedim(1, -1), (5,), w.flatten(), EPS).movedim(-1, 1),
    "rsqrt": lambda x, w: x * torch.rsqrt(mean(x * x) + EPS) * w,
    "power": lambda x, w: w * (x * (mean(x**2) + EPS) ** -0.5),
    "one over": lambda x, w: (1.0 / (mean(x.pow(2)) + EPS).sqrt()) * x * w,
    "reciprocal": lambda x, w: (w * (mean(x.square()) + EPS).sqrt().reciprocal()) * x,
    "weight over": lambda x, w: (w / torch.sqrt(mean(x * x) + EPS)) * x,
    "quotient": lambda x, w: w * (x / torch.sqrt(mean(x * x) + EPS)),
    "unit length": lambda x, w: F.normalize(x, dim=1) * w * 5**0.5,
    "vector norm": lambda x, w: x / torch.linalg.vector_norm(x, dim=1, keepdim=True) * w * 5**0.5,
}
LAYER: dict[str, Written] = {
    "torch": lambda x, w: F.layer_norm(x.movedim(1, -1), (5,), w.flatten(), None, EPS).movedim(
        -1, 1
    ),
    "rsqrt": lambda x, w: (x - mean(x)) * torch.rsqrt(spread(x)) * w,
    "quotient": lambda x, w: w * ((x - mean(x)) / spread(x).sqrt()),
    "deviation": lambda x, w: (x - mean(x)) / x.std(1, correction=0, keepdim=True) * w,
    "swapped": lambda x, w: torch.rsub(mean(x), x) * (w * torch.rsqrt(spread(x))),
    "in place": in_place,
    "both moments": by_both_moments,
}


@pytest.mark.parametrize("written", ROOT_MEAN_SQUARE.values(), ids=list(ROOT_MEAN_SQUARE))
def test_a_root_mean_square_norm_conserves_relevance(written: Written) -> None:
    x, relevance = torch.randn(2, 5, 2, 2), torch.randn(2, 5, 2, 2)
    for bias in ("absorb", "distribute"):
        found = by_rule(Norm(written), "epsilon", x, relevance, bias=bias)
        assert relative_gap(found, relevance) < 1e-4
    found = spread_back(Norm(written), ExcitationRules(torch.zeros(5)), x, relevance)
    assert relative_gap(found, relevance) < 1e-5


@pytest.mark.parametrize("written", LAYER.values(), ids=list(LAYER))
def test_a_layer_norm_keeps_what_its_mean_takes(written: Written) -> None:
    x, relevance = torch.randn(2, 5, 2, 2), torch.randn(2, 5, 2, 2)
    found = by_rule(Norm(written), "epsilon", x, relevance, bias="distribute")
    assert relative_gap(found, relevance) < 1e-4
    found = by_rule(Norm(written), "epsilon", x, relevance, epsilon=1e-9)
    y = x.tanh()
    assert relative_gap(found, relevance * y / (y - mean(y))) < 1e-4
    found = spread_back(Norm(written), ExcitationRules(torch.zeros(5)), x, relevance)
    assert relative_gap(found, relevance) < 1e-5


def test_torchs_norm_is_folded_into_the_operation_before_it() -> None:
    """Relevance of W x, scaled row by row, is that of W x where no bias takes anything."""
    torch.manual_seed(0)
    linear = nn.Linear(3, 5, bias=False)
    norm = nn.RMSNorm(5)
    nn.init.uniform_(norm.weight, -1.0, 1.0)
    x, relevance = torch.randn(4, 3), torch.randn(4, 5)
    found = by_rule(nn.Sequential(linear, norm), "z_plus", x, relevance)
    linear.weight.data *= norm.weight.data[:, None]
    assert relative_gap(found, by_rule(linear, "z_plus", x, relevance)) < 1e-5


GATED: dict[str, tuple[Written, Written]] = {
    "scaled": (lambda x, w: x * (2 * torch.sigmoid(x)) * w, lambda x, w: x * w),
    "written sigmoid": (lambda x, w: x * (1 / (1 + torch.exp(-x))) * w, lambda x, w: x * w),
    "response norm": (
        lambda x, w: x * (lambda n: n / (mean(n) + EPS))(torch.norm(x, dim=(2, 3), keepdim=True)),
        lambda x, w: x,
    ),
    "neighbours": (lambda x, w: F.local_response_norm(x, 3), lambda x, w: x),
    "over a gate": (lambda x, w: x * torch.rsqrt(1 + x.sigmoid()), lambda x, w: x),
}


@pytest.mark.parametrize("pair", GATED.values(), ids=list(GATED))
def test_the_scaling_factor_of_a_norm_is_held_constant(pair: tuple[Written, Written]) -> None:
    """Features that are no gate themselves get all, whatever the other factor was made of."""

    class Gated(Norm):
        def forward(self, x: Tensor) -> Tensor:
            return self.written(F.leaky_relu(x), self.weight)

    x, relevance = torch.randn(2, 5, 2, 2), torch.randn(2, 5, 2, 2)
    found = by_rule(Gated(pair[0]), "epsilon", x, relevance)
    assert relative_gap(found, by_rule(Gated(pair[1]), "epsilon", x, relevance)) < 1e-4


class Two(nn.Module):
    """A convolution, a norm twice with a residual sum between, a head."""

    def __init__(self, written: Written) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter, self.head = nn.Conv2d(1, 5, 3, padding=1), nn.Conv2d(5, 2, 1)
        self.norm = Norm(written)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.enter(x))
        return self.head(F.relu(self.norm(y)) + y)


@pytest.mark.parametrize("written", [ROOT_MEAN_SQUARE["rsqrt"], LAYER["rsqrt"]])
def test_networks_with_written_out_norms_conserve_relevance(written: Written) -> None:
    model, image = predictor(Two(written).eval(), (6, 6)), volume((6, 6))
    target = frozen(model, image)
    for method in (LayerwiseRelevance(), ExcitationBackprop(unexcited="spread")):
        found = method.explain(model, image, target)
        assert found.facts.more["conservation_gap"] < 1e-4
        assert found.warnings == ()
