"""Targets combine with + - and *, stay linear where they can, and tell their coefficients."""

import pytest
import torch

from esegeta.errors import EmptyTargetError
from esegeta.targets import (
    DiceTarget,
    Everywhere,
    FrozenTarget,
    Scene,
    Target,
    VolumeTarget,
    VoxelTarget,
)
from tests.builders import scene
from tests.oracles import with_coefficients
from tests.targets.cases import logits_of, noise_logits, noise_scene

A = VoxelTarget("one")
B = VoxelTarget("two", reduce="mean")
P = VoxelTarget("two", of="probability")

LINEAR = {
    "a + b": (A + B, lambda a, b, p: a + b),
    "a - b": (A - B, lambda a, b, p: a - b),
    "-a": (-A, lambda a, b, p: -a),
    "a * 0.5": (A * 0.5, lambda a, b, p: 0.5 * a),
    "2 * a - 0.5 * (b - a)": (2 * A - 0.5 * (B - A), lambda a, b, p: 2 * a - 0.5 * (b - a)),
}
CURVED = {
    "a + p": (A + P, lambda a, b, p: a + p),
    "a * b": (A * B, lambda a, b, p: a * b),
    "3 * a * p - b": (3 * A * P - B, lambda a, b, p: 3 * a * p - b),
}


def values(target: Target, logits: torch.Tensor) -> torch.Tensor:
    return target.freeze(noise_scene(2)).value(logits)


@pytest.mark.parametrize("name", [*LINEAR, *CURVED])
def test_values_of_combined_targets(name: str) -> None:
    target, rule = {**LINEAR, **CURVED}[name]
    logits = noise_logits(2, batch=3, seed=6)
    expected = rule(values(A, logits), values(B, logits), values(P, logits))
    torch.testing.assert_close(values(target, logits), expected)


@pytest.mark.parametrize("name", LINEAR)
def test_a_sum_of_linear_targets_is_linear(name: str) -> None:
    frozen = LINEAR[name][0].freeze(noise_scene(2))
    assert frozen.is_linear
    logits = noise_logits(2, seed=6).requires_grad_(True)
    value = frozen.value(logits)
    (slope,) = torch.autograd.grad(value.sum(), logits)
    torch.testing.assert_close(frozen.cotangent(None).dense()[None], slope)
    expected = (frozen.cotangent(None).dense() * logits).double().sum()
    torch.testing.assert_close(value, expected[None], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CURVED)
def test_other_combinations_are_not_linear_and_have_autograds_cotangent(name: str) -> None:
    frozen = CURVED[name][0].freeze(noise_scene(2))
    assert frozen.coefficients is None
    logits = noise_logits(2, batch=2, seed=6).requires_grad_(True)
    (slope,) = torch.autograd.grad(frozen.value(logits).sum(), logits)
    assert torch.equal(frozen.cotangent(logits), slope)


@pytest.mark.parametrize("name", CURVED)
def test_gradients_in_float64(name: str) -> None:
    frozen = CURVED[name][0].freeze(noise_scene(2))
    crop = noise_logits(2, seed=6).double().requires_grad_(True)
    assert torch.autograd.gradcheck(frozen.value, (crop,), fast_mode=True)


def union(*parts: FrozenTarget) -> torch.Tensor:
    return torch.stack([part.mask for part in parts]).any(dim=0)


@pytest.mark.parametrize("name", [*LINEAR, *CURVED])
def test_mask_and_support_are_the_union_of_all_parts(name: str) -> None:
    at = noise_scene(2)
    frozen = {**LINEAR, **CURVED}[name][0].freeze(at)
    parts = [target.freeze(at) for target in (A, B, P)]
    assert frozen.support is not None
    assert not (frozen.support & ~union(*parts)).any()
    assert torch.equal(frozen.support, frozen.mask)
    changed = torch.where(frozen.support, at.logits, noise_logits(2, seed=8))
    assert torch.equal(frozen.value(changed), frozen.value(at.logits))


def test_combinations_with_a_whole_map_target_have_full_support() -> None:
    at = noise_scene(2)
    assert (A + VolumeTarget("one")).freeze(at).support is None
    assert (A * DiceTarget("one")).freeze(at).support is None
    live = VoxelTarget("one", live=True)
    assert (A + live).freeze(at).support is None
    assert not (A + live).freeze(at).is_linear


def test_coefficients_are_in_the_description() -> None:
    difference = (A - 0.5 * B).describe()
    assert difference == (
        "(sum of logit of one over predicted) - 0.5 * (mean of logit of two over predicted)"
    )
    text = (2.5 * A - B * P).describe()
    assert "2.5 * (sum of logit of one over predicted)" in text
    assert "(mean of logit of two over predicted) * (sum of probability of two" in text
    assert (-A).describe() == "- (sum of logit of one over predicted)"


class Dense(Target):
    """A target of one's own, linear with a coefficient for each logit."""

    def freeze(self, at: Scene) -> FrozenTarget:
        coefficients = torch.arange(at.logits.numel(), dtype=torch.float32)
        return with_coefficients(A.freeze(at), coefficients.reshape(at.logits.shape[1:]))

    def describe(self) -> str:
        return "all logits"


def test_a_sum_with_a_coefficient_for_each_logit_is_linear() -> None:
    at = noise_scene(2)
    dense = Dense().freeze(at).coefficients
    found = (A - 2 * Dense()).freeze(at)
    assert found.is_linear and isinstance(dense, torch.Tensor)
    expected = A.freeze(at).cotangent(None).dense() - 2 * dense
    torch.testing.assert_close(found.cotangent(None).dense(), expected)


def test_units_of_a_sum_are_named_once() -> None:
    at = noise_scene(2)
    assert (A + A).freeze(at).unit == "logit x voxels"
    assert (A + B).freeze(at).unit == "logit x voxels + logit"


def test_an_empty_part_is_an_error_of_the_whole() -> None:
    at = scene(logits_of(torch.zeros(3, 4, dtype=torch.bool)))
    with pytest.raises(EmptyTargetError, match='"one" over: predicted'):
        (VoxelTarget("one", over=Everywhere()) + VoxelTarget("one")).freeze(at)
