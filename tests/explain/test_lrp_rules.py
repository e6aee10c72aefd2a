"""Each rule on each linear operation against every weight written out, one product at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esegeta.explain.backprop.rules import RULES
from tests.explain.relevance import by_rule, slow_rule, through
from tests.oracles import relative_gap

LAYERS = {
    "conv1d": (lambda: nn.Conv1d(2, 3, 3, stride=2, padding=1), (1, 2, 7)),
    "conv2d": (lambda: nn.Conv2d(2, 3, 3, padding="same", dilation=2), (1, 2, 5, 4)),
    "conv3d": (lambda: nn.Conv3d(2, 4, 2, groups=2), (1, 2, 3, 4, 3)),
    "transposed2d": (
        lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
        (1, 4, 3, 2),
    ),
    "transposed3d": (lambda: nn.ConvTranspose3d(2, 3, 2, stride=2), (1, 2, 2, 2, 3)),
    "linear": (lambda: nn.Linear(5, 4), (1, 3, 5)),
}


def layer_and_input(kind: str) -> tuple[nn.Module, Tensor]:
    make, shape = LAYERS[kind]
    torch.manual_seed(1)
    layer = make()
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    return layer, torch.randn(shape)


@pytest.mark.parametrize("epsilon", [1e-6, 0.2])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", LAYERS)
def test_every_rule_equals_its_formula(kind: str, rule: str, epsilon: float) -> None:
    layer, x = layer_and_input(kind)
    relevance = torch.randn_like(layer(x))
    channels = x.shape[1]
    low, high = x.min() - torch.rand(channels), x.max() + torch.rand(channels)
    per_channel = x[0, 0].numel()
    expected = slow_rule(
        rule,
        layer,
        x,
        relevance,
        epsilon=epsilon,
        gamma=0.7,
        alpha=3.0,
        beta=2.0,
        box=lambda place: (float(low[place // per_channel]), float(high[place // per_channel])),
    )
    numbers = {"epsilon": epsilon, "gamma": 0.7, "alpha": 3.0, "beta": 2.0}
    found = by_rule(layer, rule, x, relevance, **numbers, low=low, high=high)
    assert relative_gap(found, expected) < 1e-4


@pytest.mark.parametrize("rule", RULES)
def test_samples_of_a_batch_are_independent(rule: str) -> None:
    layer, _ = layer_and_input("conv2d")
    x = torch.randn(2, 2, 5, 4) * torch.tensor([1.0, 1e4]).reshape(2, 1, 1, 1)
    relevance = torch.randn_like(layer(x))
    found = by_rule(layer, rule, x, relevance, epsilon=0.1)
    for sample in (0, 1):
        alone = by_rule(layer, rule, x[[sample]], relevance[[sample]], epsilon=0.1)
        assert relative_gap(found[[sample]], alone) < 1e-5


def frozen_by_hand(conv: nn.Module, norm: nn.Module, x: Tensor) -> nn.Module:
    """Return the convolution that does what a convolution and its norm do to one sample."""
    y = conv(x)
    if isinstance(norm, nn.GroupNorm):
        parts = y.reshape(1, norm.num_groups, -1)
        size = y.shape[1] // norm.num_groups
        mean = parts.mean(2)[0].repeat_interleave(size)
        sigma = (parts.var(2, correction=0)[0] + norm.eps).sqrt().repeat_interleave(size)
    elif norm.running_mean is not None:
        mean, sigma = norm.running_mean, (norm.running_var + norm.eps).sqrt()
    else:
        axes = (0, 2, 3)
        mean, sigma = y.mean(axes), (y.var(axes, correction=0) + norm.eps).sqrt()
    scale = norm.weight / sigma
    folded = nn.Conv2d(2, 4, 3, padding=1).requires_grad_(False)
    folded.weight.copy_(conv.weight * scale.reshape(-1, 1, 1, 1))
    folded.bias.copy_((conv.bias - mean) * scale + norm.bias)
    return folded


NORMS = {
    "batch": lambda: nn.BatchNorm2d(4),
    "instance": lambda: nn.InstanceNorm2d(4, affine=True),
    "remembered": lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
    "group": lambda: nn.GroupNorm(2, 4),
}


@torch.no_grad()
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", NORMS)
def test_a_norm_is_folded_into_the_convolution_before_it(kind: str, rule: str) -> None:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(2, 4, 3, padding=1), NORMS[kind]()
    nn.init.normal_(norm.weight)  # of either sign
    nn.init.normal_(norm.bias)
    if kind in ("batch", "remembered"):
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
    norm.eval()
    x = torch.randn(1, 2, 5, 6)
    folded = frozen_by_hand(conv, norm, x)
    network = nn.Sequential(conv, norm)
    assert relative_gap(network(x), folded(x)) < 1e-5
    relevance = torch.randn_like(folded(x))
    found = by_rule(network, rule, x, relevance, epsilon=0.1)
    assert relative_gap(found, by_rule(folded, rule, x, relevance, epsilon=0.1)) < 1e-4
    batch = torch.cat([x, 3 * torch.randn_like(x)])
    together = by_rule(network, rule, batch, relevance.expand(2, -1, -1, -1), epsilon=0.1)
    assert relative_gap(together[:1], found) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("rule", ["epsilon", "z_plus"])
def test_a_norm_is_folded_into_a_transposed_convolution_of_groups(rule: str) -> None:
    conv = nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2)
    norm = nn.BatchNorm2d(6).eval()
    nn.init.normal_(norm.weight)
    folded = nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2).requires_grad_(False)
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()
    folded.bias.copy_(conv.bias * scale + norm.bias)
    for group in range(2):
        for output in range(3):
            rows = slice(2 * group, 2 * group + 2)
            folded.weight[rows, output] = (
                conv.weight[rows, output].detach() * scale[3 * group + output]
            )
    x = torch.randn(1, 4, 3, 3)
    relevance = torch.randn_like(folded(x))
    assert relative_gap(norm(conv(x)), folded(x)) < 1e-5
    found = by_rule(nn.Sequential(conv, norm), rule, x, relevance)
    assert relative_gap(found, by_rule(folded, rule, x, relevance)) < 1e-4


@torch.no_grad()
def test_a_layer_norm_is_folded_into_the_dense_operation_before_it() -> None:
    dense, norm = nn.Linear(5, 4), nn.LayerNorm(4)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x, relevance = torch.randn(1, 5), torch.randn(1, 4)
    y = dense(x).detach()
    sigma = (y.var(correction=0) + norm.eps).sqrt()
    folded = nn.Linear(5, 4).requires_grad_(False)
    folded.weight.copy_(dense.weight * (norm.weight / sigma)[:, None])
    folded.bias.copy_((dense.bias - y.mean()) * norm.weight / sigma + norm.bias)
    for rule in RULES:
        found = by_rule(nn.Sequential(dense, norm), rule, x, relevance)
        assert relative_gap(found, by_rule(folded, rule, x, relevance)) < 1e-4


CLOSED = {
    # Terms of a sum get their parts; a constant keeps its own.
    "sum": (lambda net, x: net.first(x) + 2 * net.second(x), lambda x, r: r),
    "torch_add": (lambda net, x: torch.add(x, net.second(x), alpha=3), lambda x, r: r),
    "difference": (lambda net, x: net.first(x) - 3 * net.second(x), lambda x, r: r),
    "constant": (lambda net, x: net.first(x) + 2, lambda x, r: r * x / (x + 2)),
    "from_constant": (lambda net, x: 1 - net.first(x), lambda x, r: r * -x / (1 - x)),
    "in_place": (lambda net, x: net.first(x).add_(2).mul_(3), lambda x, r: r * x / (x + 2)),
    # A gate gets nothing, even after reshaping; two others half each.
    "gate": (lambda net, x: net.first(x) * torch.sigmoid(net.second(x)), lambda x, r: r),
    "gate_only": (
        lambda net, x: x.detach() * torch.sigmoid(net.second(x))[..., :].flip(2).flip(2),
        lambda x, r: r,
    ),
    "squeezed": (
        lambda net, x: (
            net.first(x)
            * F.adaptive_avg_pool2d(net.second(x), 1).flatten(1).sigmoid()[:, :, None, None]
        ),
        lambda x, r: r,
    ),
    "product": (lambda net, x: net.first(x) * net.second(x), lambda x, r: r),
    "half": (lambda net, x: net.first(x) * (x.detach() + 0 * net.first(x)), lambda x, r: r / 2),
    "quotient": (lambda net, x: net.first(x) / net.second(x).exp(), lambda x, r: r),
    "product_in_place": (lambda net, x: net.first(x).multiply_(net.second(x)), lambda x, r: r),
    "quotients_in_place": (
        lambda net, x: net.first(x).divide_(net.second(x).exp()).true_divide_(x.detach() + 2),
        lambda x, r: r,
    ),
    # Functions of one value hand on; those that move values do too.
    "activations": (lambda net, x: F.gelu(torch.tanh(net.first(x))).pow(3), lambda x, r: r),
    "moves": (
        lambda net, x: torch.cat([F.pad(net.first(x), (1, 1))[..., 1:-1], x.detach()], 1)[:, :2],
        lambda x, r: r,
    ),
    "mean": (
        lambda net, x: net.first(x).mean((2, 3), keepdim=True).expand_as(x),
        lambda x, r: x / x.sum((2, 3), keepdim=True) * r.sum((2, 3), keepdim=True),
    ),
    "nearest": (
        lambda net, x: F.avg_pool2d(F.interpolate(net.first(x), scale_factor=2), 2),
        lambda x, r: r,
    ),
    "matmul": (
        lambda net, x: torch.softmax(net.first(x) @ x.transpose(2, 3), -1) @ net.second(x),
        None,
    ),
}


@pytest.mark.parametrize("kind", CLOSED)
def test_functions_without_a_module_have_rules_too(kind: str) -> None:
    function, expected = CLOSED[kind]
    x, relevance = torch.rand(1, 2, 4, 4) + 0.5, torch.rand(1, 2, 4, 4)
    found = through(function, x, relevance)
    if expected is None:
        assert abs(found.sum() - relevance.sum()) < 1e-3
        return
    assert relative_gap(found, expected(x, relevance)) < 1e-4
