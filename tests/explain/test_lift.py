"""Multipliers of single functions: they account for the change, and are the mean gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esegeta.errors import ModelError
from esegeta.explain.backprop.lift import functions_without_rule, lift
from esegeta.explain.backprop.lift_rules import secant
from tests.oracles import relative_gap

TOLERANCE = 2e-5
Function = Callable[[Tensor], Tensor]


def multiplier(function: Function, start: Tensor, end: Tensor, arriving: Tensor) -> Tensor:
    """Return the multiplier of a function, and check both of its values on the way."""
    leaf = end.clone().requires_grad_(True)
    y, y_start = lift(lambda x: function(x * 1.0), leaf, start)
    with torch.no_grad():
        assert torch.equal(y, function(end.clone()))
        assert torch.equal(y_start, function(start.clone()))
    return torch.autograd.grad(y, leaf, arriving)[0]


def mean_gradient(function: Function, start: Tensor, end: Tensor, arriving: Tensor) -> Tensor:
    """Return the mean gradient along the line in float64, all nodes in one batch."""
    nodes, weights = (torch.from_numpy(it) / 2 for it in np.polynomial.legendre.leggauss(400))
    low, high = start.double(), end.double()
    points = torch.cat([low.lerp(high, float(node) + 0.5) for node in nodes]).requires_grad_(True)
    slopes = torch.cat([float(weight) * arriving.double() for weight in weights])
    (gradient,) = torch.autograd.grad(function(points), points, slopes)
    return gradient.reshape(len(nodes), *low.shape).sum(dim=0)


def draws(shape: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def in_place(x: Tensor) -> Tensor:
    y = F.silu(x, inplace=True)
    y *= torch.tanh(x)
    return y.div_(2.0 + y.abs())


def attention(x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    weights = (tokens @ tokens.transpose(1, 2)).softmax(dim=-1)
    return torch.einsum("bij,bjc->bic", weights, tokens)


def masked(x: Tensor) -> Tensor:
    """Each position sees those before it: scores of -inf, at the baseline as at the image."""
    tokens = x.flatten(2).transpose(1, 2)
    later = torch.ones(20, 20, dtype=torch.bool).triu(1)
    scores = (tokens @ tokens.transpose(1, 2)).masked_fill(later, -torch.inf)
    return scores.softmax(dim=-1) @ tokens


FUNCTIONS: dict[str, Function] = {
    "relu": torch.relu,
    "gelu": F.gelu,
    "prelu": lambda x: F.prelu(x, torch.tensor([0.3, -0.2]).to(x)),
    "power": lambda x: x**3 - 2.0 ** (0.5 * x),
    "swish": lambda x: x * torch.sigmoid(x),
    "quotient": lambda x: x / (2 + x[:, :1].square()),
    "gated unit": lambda x: F.glu(x, dim=1),
    "pooling of powers": lambda x: F.lp_pool2d(x.square() + 0.1, 2.0, (1, 2)),
    "reciprocal": lambda x: 1 / (x + 9),
    "softmax": lambda x: x.softmax(dim=1),
    "cube": lambda x: torch.einsum("bcij,bcij,bcij->bc", x, x, x),
    "attention": attention,
    "in place": in_place,
    "instance norm": lambda x: F.instance_norm(x, weight=torch.tensor([2.0, -1.0]).to(x)),
    "group norm": lambda x: F.group_norm(x, 1, torch.tensor([2.0, -1.0]).to(x)),
    "layer norm": lambda x: F.layer_norm(x, (5,), torch.arange(5).to(x)),
    "layer norm of two axes": lambda x: F.layer_norm(x, (4, 5)),
    "adaptive norm": lambda x: F.group_norm(x, 2, x.mean(dim=(0, 2, 3))),
    "root mean square norm": lambda x: F.rms_norm(x, (2, 4, 5)),
    "convolution by what it sees": lambda x: F.conv2d(x, x[:2, :, :2, :2].mean(0, True)),
    "sums of products": lambda x: torch.baddbmm(x[:, 0], x[:, 0, :, :4], x[:, 1], alpha=0.5),
    "contraction": lambda x: torch.tensordot(x, x.mean((0, 1)), dims=([3], [1])),
    "interpolated": lambda x: torch.lerp(x[:, 0], x[:, 1], x[:, 0].sigmoid()),
    "larger": lambda x: torch.maximum(x[:, 0], 0.3 - x[:, 1]) + torch.min(x[:, 0], x[:, 1]),
    "largest": lambda x: torch.max(x, dim=1, keepdim=True)[0] - x.amin((2, 3), keepdim=True),
    "largest of all": lambda x: x.max()[None],
    "one or the other": lambda x: torch.where(x > 0, x, 0.1 * x),
    "filled": lambda x: x.masked_fill(x < 0.2, 0.2),
    "mean and variance": lambda x: torch.var_mean(x, (2, 3))[0] * x[:, :, 0, 0].atan(),
    "attention that is masked": masked,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_multipliers_account_for_the_change(name: str) -> None:
    function = FUNCTIONS[name]
    end, start = draws((3, 2, 4, 5))
    change = function(end.clone()) - function(start.clone())
    arriving, _ = draws(tuple(change.shape), 1)
    found = multiplier(function, start, end, arriving)
    expected = float((arriving * change).sum(dtype=torch.float64))
    assert float((found * (end - start)).sum(dtype=torch.float64)) == pytest.approx(
        expected, rel=1e-4
    )


ON_THE_LINE: dict[str, Function] = {
    **{name: FUNCTIONS[name] for name in ("gelu", "reciprocal", "softmax", "cube")},
    "power": lambda x: x**3,
    "quotient": lambda x: x / (9 + x[:, :1]),
    "quotient of the same": lambda x: x[:, :1] / (9 + 1e-8 * x),
    "larger": lambda x: torch.maximum(x[:, 0], 0.3 - x[:, 1]),
    "root mean square norm": lambda x: F.rms_norm(x, (4,), torch.arange(4).to(x)),
}


@pytest.mark.parametrize("name", ON_THE_LINE)
def test_multipliers_are_the_mean_gradient_on_the_line(name: str) -> None:
    function = ON_THE_LINE[name]
    end, start = draws((2, 2, 3, 4))
    arriving, _ = draws(tuple(function(end).shape), 1)
    found = multiplier(function, start, end, arriving)
    # A kink lies between two of the rewrite's nodes.
    close = 1e-2 if name == "larger" else 1e-4
    assert relative_gap(found, mean_gradient(function, start, end, arriving)) < close


STARTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "another": lambda end, other: other,
    "without contrast": lambda end, other: torch.full_like(end, 0.3),
    "of less contrast": lambda end, other: 0.1 * end + 2,
    "of opposite contrast": lambda end, other: -0.7 * end,
    "nearly the same": lambda end, other: end + 1e-3 * other,
}


EPSILON = 1e-3
"""So that the slow rewrite sees the fall of the variance too."""

NORMS: dict[str, tuple[Function, tuple[int, ...], Tensor]] = {
    "instance norm": (
        lambda x: F.instance_norm(x, weight=torch.tensor([2.0, 1]).to(x), eps=EPSILON),
        (2, 3),
        torch.tensor([2.0, 1.0]).reshape(2, 1, 1),
    ),
    "group norm": (
        lambda x: F.group_norm(x, 1, torch.tensor([2.0, -1.0]).to(x), eps=EPSILON),
        (1, 2, 3),
        torch.tensor([2.0, -1.0]).reshape(2, 1, 1),
    ),
    "layer norm": (
        lambda x: F.layer_norm(x, (5,), torch.arange(5).to(x), eps=EPSILON),
        (3,),
        torch.arange(5.0),
    ),
}
"""Each with the axes that it normalises over, and its weight."""


@pytest.mark.parametrize("start", sorted(set(STARTS) - {"without contrast"}))
@pytest.mark.parametrize("name", NORMS)
def test_norms_are_the_mean_gradient_from_any_baseline(name: str, start: str) -> None:
    """In closed form: where the variance nearly vanishes on the way, quadrature would miss it."""
    function, *_ = NORMS[name]
    end, other = draws((2, 2, 4, 5))
    arriving, _ = draws((2, 2, 4, 5), 1)
    begin = STARTS[start](end, other)
    found = multiplier(function, begin, end, arriving)
    assert relative_gap(found, mean_gradient(function, begin, end, arriving)) < 1e-4


@pytest.mark.parametrize("name", NORMS)
def test_from_a_flat_baseline_norms_are_those_held_at_the_image(name: str) -> None:
    """A centred row over its deviation, which does not move: linear, and as large as the slope."""
    function, axes, weight = NORMS[name]
    end, other = draws((2, 2, 4, 5))
    arriving, _ = draws((2, 2, 4, 5), 1)
    found = multiplier(function, torch.full_like(end, 0.3), end, arriving)
    deviation = (end.var(dim=axes, keepdim=True, correction=0) + EPSILON).sqrt()
    scaled = arriving * weight
    assert relative_gap(found, (scaled - scaled.mean(dim=axes, keepdim=True)) / deviation) < 1e-6
    # A row with a little contrast, far below the image's, is met in the same way.
    begin = 1e-3 * other
    nearly = multiplier(function, begin, end, arriving)
    assert relative_gap(nearly, found) < 0.05
    change = (function(end) - function(begin)).double()
    adds_up = float((nearly.double() * (end - begin)).sum())
    assert adds_up == pytest.approx(float((arriving * change).sum()), rel=1e-4)


@pytest.mark.parametrize("start", STARTS)
def test_norms_account_for_the_change_at_the_usual_epsilon(start: str) -> None:
    end, other = draws((2, 3, 8, 8))
    arriving, _ = draws((2, 3, 8, 8), 1)
    begin = STARTS[start](end, other)
    found = multiplier(F.instance_norm, begin, end, arriving)
    change = F.instance_norm(end.double()) - F.instance_norm(begin.double())
    expected = float((arriving * change).sum())
    shares = found.double() * (end - begin)
    # They cancel where the norm takes most of the change away: rounding is of what is summed.
    assert float(shares.sum()) == pytest.approx(expected, abs=1e-6 * float(shares.abs().sum()))


def by_hand(x: Tensor) -> Tensor:
    return (x - x.mean((2, 3), True)) / (x.var((2, 3), keepdim=True, correction=0) + 1e-5).sqrt()


def by_a_factor(x: Tensor) -> Tensor:
    return (x - x.mean((2, 3), True)) * (x.var((2, 3), keepdim=True, correction=0) + 1e-5).rsqrt()


def by_a_reciprocal(x: Tensor) -> Tensor:
    deviation = (x.var((2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
    return (1 / deviation) * (x - x.mean((2, 3), True))


@pytest.mark.parametrize("norm", [by_hand, by_a_factor, by_a_reciprocal])
def test_a_norm_that_is_written_out_is_held_at_the_image_too(norm: Function) -> None:
    """From a baseline without contrast one over its deviation is 316; a chain multiplies these."""
    end, other = draws((2, 2, 4, 5))
    arriving, _ = draws((2, 2, 4, 5), 1)
    for begin in (torch.zeros_like(end), torch.full_like(end, 0.25)):
        found = multiplier(norm, begin, end, arriving)
        assert relative_gap(found, multiplier(F.instance_norm, begin, end, arriving)) < 1e-3
    found = multiplier(norm, other, end, arriving)
    change = float((arriving * (norm(end) - norm(other))).double().sum())
    assert float((found * (end - other)).double().sum()) == pytest.approx(change, rel=1e-4)


def test_root_mean_square_norms_are_held_at_the_image_from_zero() -> None:
    end, _ = draws((2, 2, 4, 5))
    arriving, _ = draws((2, 2, 4, 5), 1)
    found = multiplier(
        lambda x: F.rms_norm(x, (5,), eps=1e-6), torch.zeros_like(end), end, arriving
    )
    size = (end.square().mean(3, keepdim=True) + 1e-6).sqrt()
    assert relative_gap(found, arriving / size) < 1e-6


def test_a_discontinuous_choice_keeps_its_gradient_and_is_named() -> None:
    end, start = draws((2, 3))
    leaf = end.clone().requires_grad_(True)
    y, _ = lift(lambda x: torch.where(x > 0, x + 5, x), leaf, start)
    assert bool(((end > 0) != (start > 0)).any())
    assert functions_without_rule(y) == ["WhereThatJumps"]
    assert torch.equal(torch.autograd.grad(y.sum(), leaf)[0], torch.ones(2, 3))
    y, _ = lift(lambda x: torch.where(x > 0, x, 0.5 * x), leaf, start)
    assert functions_without_rule(y) == []


def test_complex_numbers_are_refused_by_name() -> None:
    end, start = draws((4, 4))
    with pytest.raises(ModelError, match="mul of complex numbers"):
        lift(lambda x: (torch.fft.rfft(x) * 2).real, end.requires_grad_(True), start)


def test_secants_tend_to_derivatives() -> None:
    x = torch.linspace(-3, 3, 61)
    leaf = x.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(F.gelu(leaf).sum(), leaf)
    assert relative_gap(secant(F.gelu, x, x), slope) < 1e-6
    near = x * (1 + 2e-7)
    assert relative_gap(secant(F.gelu, near, x), slope) < 1e-6
    assert torch.equal(secant(torch.relu, torch.zeros(1), torch.zeros(1)), torch.zeros(1))


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 0)])
@pytest.mark.parametrize("num_axes", [1, 2, 3])
def test_max_pooling_splits_between_the_maxima_of_both_inputs(
    num_axes: int, kernel: int, stride: int, padding: int
) -> None:
    """Written out for one maximum at a time; maxima may overlap."""
    pool = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[num_axes]
    shape = (2, 2, 8, 7, 6)[: num_axes + 2]
    end, start = draws(shape)
    y, where = pool(end, kernel, stride, padding, return_indices=True)
    y_start, where_start = pool(start, kernel, stride, padding, return_indices=True)
    arriving, _ = draws(tuple(y.shape), 1)
    expected = torch.zeros(shape).flatten(2)
    for index in torch.cartesian_prod(*(torch.arange(length) for length in y.shape)):
        spot = tuple(index.tolist())
        higher = torch.maximum(y[spot], y_start[spot])
        gain, loss = higher - y_start[spot], y[spot] - higher
        expected[(*spot[:2], int(where[spot]))] += arriving[spot] * gain
        expected[(*spot[:2], int(where_start[spot]))] += arriving[spot] * loss
    found = multiplier(lambda x: pool(x, kernel, stride, padding), start, end, arriving)
    assert relative_gap(found * (end - start), expected.reshape(shape)) < TOLERANCE
    total = float((arriving * (y - y_start)).sum())
    assert float((found * (end - start)).sum()) == pytest.approx(total, rel=1e-4)


def test_adaptive_max_pooling_and_pooling_of_equals() -> None:
    end, start = draws((2, 2, 6, 6))
    found = multiplier(lambda x: F.adaptive_max_pool2d(x, 2), start, end, torch.ones(2, 2, 2, 2))
    change = F.adaptive_max_pool2d(end, 2) - F.adaptive_max_pool2d(start, 2)
    assert float((found * (end - start)).sum()) == pytest.approx(float(change.sum()), rel=1e-4)
    still = multiplier(lambda x: F.max_pool2d(x, 2), end, end, torch.ones(2, 2, 3, 3))
    assert torch.equal(still.sum(dim=(2, 3)), torch.full((2, 2), 9.0))


def test_linear_functions_keep_their_gradient() -> None:
    end, start = draws((2, 3, 4, 4))
    conv = nn.Conv2d(3, 2, 3).requires_grad_(False)
    function: Function = lambda x: F.interpolate(conv(x) * 2 + 1, scale_factor=2) / 3  # noqa: E731
    arriving, _ = draws(tuple(function(end).shape), 1)
    leaf = end.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(function(leaf), leaf, arriving)
    assert torch.equal(multiplier(function, start, end, arriving), slope)


def test_batch_norm_in_use_and_norms_of_fixed_statistics_are_linear() -> None:
    end, start = draws((2, 3, 4, 4))
    norm = nn.InstanceNorm2d(3, track_running_stats=True).eval().requires_grad_(False)
    norm.running_var.fill_(4.0)
    found = multiplier(norm, start, end, torch.ones(2, 3, 4, 4))
    assert torch.allclose(found, torch.full((2, 3, 4, 4), 0.5), atol=1e-4)


def test_a_network_with_another_path_for_the_baseline_is_refused() -> None:
    def function(x: Tensor) -> Tensor:
        return torch.relu(x) if x.sum() > 0 else torch.tanh(x)

    def shorter(x: Tensor) -> Tensor:
        return x if x.sum() > 0 else torch.tanh(x)

    ones = torch.ones(2, 2)
    for network in (function, shorter):
        for sign in (1, -1):
            with pytest.raises(ModelError, match="takes a different path"):
                lift(network, sign * ones.clone().requires_grad_(True), -sign * ones)
