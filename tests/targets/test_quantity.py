"""Quantities against slow rewrites, voxel by voxel, and their gradients in float64."""

import math

import numpy as np
import pytest
import torch

from esegeta.errors import TargetError
from esegeta.targets import QUANTITIES, Everywhere, VoxelTarget
from tests.builders import labels, scene
from tests.targets.cases import NUM_OUTPUTS, noise_logits, probabilities


def rewritten(name: str, y: np.ndarray, p: np.ndarray, channel: int, activation: str) -> float:
    """Return a quantity of one voxel from its logits and probabilities, `L` each."""
    others = [y[other] for other in range(len(y)) if other != channel]
    if name == "logit":
        return y[channel]
    if name == "probability":
        return p[channel]
    if name == "log_probability":
        return math.log(p[channel])
    if name == "margin":
        return y[channel] - max(others) if activation == "softmax" else y[channel]
    parts = p if activation == "softmax" else [p[channel], 1 - p[channel]]
    return -sum(part * math.log(part) for part in parts)


@pytest.mark.parametrize("name", QUANTITIES)
def test_every_quantity_equals_a_voxelwise_computation(
    name: str, ndim: int, activation: str
) -> None:
    logits = noise_logits(ndim, batch=2)
    p, y = probabilities(logits, activation), logits.double().numpy()
    meaning = labels(NUM_OUTPUTS, activation)
    for integer in meaning.names:
        channel = meaning.channel(integer)
        field = QUANTITIES[name].field(logits, meaning, integer)
        expected = np.zeros(field.shape)
        for place in np.ndindex(expected.shape):
            voxel = (place[0], slice(None), *place[1:])
            expected[place] = rewritten(name, y[voxel], p[voxel], channel, activation)
        np.testing.assert_allclose(field.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", QUANTITIES)
def test_gradients_in_float64(name: str, activation: str) -> None:
    frozen = VoxelTarget(1, of=name, over=Everywhere(), reduce="mean").freeze(
        scene(torch.randn(1, NUM_OUTPUTS, 3, 2), activation=activation)
    )
    y = torch.randn(2, NUM_OUTPUTS, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(frozen.value, (y,), fast_mode=True)


@pytest.mark.parametrize("name", QUANTITIES)
def test_extreme_logits_stay_finite(name: str, activation: str) -> None:
    y = torch.tensor([[200.0, -200.0], [-200.0, 200.0], [0.0, 0.0]]).reshape(1, 3, 1, 2)
    y.requires_grad_(True)
    field = QUANTITIES[name].field(y, labels(3, activation), 1)
    (slope,) = torch.autograd.grad(field.sum(), y)
    assert field.isfinite().all()
    assert slope.isfinite().all()


def test_margin_is_above_zero_exactly_where_predicted(ndim: int, activation: str) -> None:
    logits = noise_logits(ndim)
    meaning = labels(NUM_OUTPUTS, activation)
    margin = QUANTITIES["margin"].field(logits, meaning, 1)
    assert torch.equal(margin > 0, meaning.predicted(logits, 1))


def test_entropy_of_certain_and_uniform_predictions() -> None:
    y = torch.tensor([[50.0, 0.0], [0.0, 0.0], [0.0, 0.0]]).reshape(1, 3, 1, 2)
    entropy = QUANTITIES["entropy"].field(y, labels(3), 1)
    np.testing.assert_allclose(entropy.flatten(), [0.0, math.log(3)], atol=1e-6)
    doubt = QUANTITIES["entropy"].field(torch.zeros(1, 3, 1, 1), labels(3, "sigmoid"), 1)
    assert float(doubt) == pytest.approx(math.log(2))


def test_only_the_logit_claims_to_be_linear() -> None:
    for name, quantity in QUANTITIES.items():
        assert quantity.name == name
        a, b = noise_logits(2, seed=1), noise_logits(2, seed=2)
        field = [quantity.field(y, labels(3), 1) for y in (a, b, 0.3 * a + 0.7 * b)]
        same = torch.allclose(0.3 * field[0] + 0.7 * field[1], field[2], atol=1e-5)
        assert same is quantity.is_linear


def test_unknown_quantity_suggests_the_nearest() -> None:
    with pytest.raises(TargetError, match='of: "logits" is not a quantity; did you mean "logit"'):
        VoxelTarget(1, of="logits")
