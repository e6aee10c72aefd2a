"""A quantity over a region, reduced: frozen and live masks, linearity, and what it depends on."""

import numpy as np
import pytest
import torch

from esegeta.errors import TargetError
from esegeta.targets import (
    QUANTITIES,
    Boundary,
    Component,
    Everywhere,
    FalsePositive,
    Labelled,
    Otsu,
    Predicted,
    Region,
    VoxelTarget,
)
from tests.builders import linear, predictor, scene, volume
from tests.targets.cases import logits_of, noise_logits, noise_scene

FOLLOWING = [Predicted(), FalsePositive(), Component(), Boundary(2.0), Otsu()]
IGNORING = [Labelled(), Everywhere()]


@pytest.mark.parametrize("reduce", ["sum", "mean"])
@pytest.mark.parametrize("of", QUANTITIES)
def test_sum_and_mean_over_the_mask(of: str, reduce: str, ndim: int, activation: str) -> None:
    at = noise_scene(ndim, activation)
    frozen = VoxelTarget("two", of=of, reduce=reduce).freeze(at)
    mask = Predicted().mask(at, at.logits, "two").numpy()
    logits = noise_logits(ndim, batch=3, seed=5)
    fields = QUANTITIES[of].field(logits, at.labels, "two").double().numpy()
    values = frozen.value(logits)
    assert values.dtype == torch.float64
    for image in range(3):
        expected = getattr(np, reduce)(fields[image][mask])
        assert float(values[image]) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(frozen.mask.numpy(), mask)
    assert frozen.facts["voxels"] == mask.sum()


def test_a_linear_network_in_closed_form(ndim: int) -> None:
    # y_k = w_k x at each voxel, so R = w_k * (sum of x over the mask), and dR/dx = w_k in it.
    network = linear(ndim)
    image = volume((7, 9, 5)[:ndim])
    model = predictor(network, (4,) * ndim)
    mask = torch.rand(image.grid.shape) > 0.6
    at = scene(model.logits(image.batch), of=image, truth=mask.long())
    frozen = VoxelTarget("one", over=Labelled()).freeze(at)
    weight = float(network.weight.detach()[1].flatten()[0])
    expected = weight * float(image.data[0][mask].double().sum())
    assert float(frozen.value(at.logits)) == pytest.approx(expected, rel=1e-5)
    x = image.batch.requires_grad_(True)
    (slope,) = torch.autograd.grad(frozen.value(model(x)).sum(), x)
    torch.testing.assert_close(slope[0, 0], weight * mask.float())


@pytest.mark.parametrize("region", FOLLOWING, ids=lambda region: region.name)
def test_a_live_mask_follows_the_logits_and_a_frozen_one_does_not(region: Region) -> None:
    at = noise_scene(3)
    frozen = VoxelTarget("one", over=region).freeze(at)
    live = VoxelTarget("one", over=region, live=True).freeze(at)
    assert float(live.value(at.logits)) == pytest.approx(float(frozen.value(at.logits)))
    batch = noise_logits(3, batch=2, seed=9)
    for image in range(2):
        field = batch[image, 1].double()
        own = region.mask(at, batch[image : image + 1], "one")
        assert float(live.value(batch)[image]) == pytest.approx(float(field[own].sum()))
        assert float(frozen.value(batch)[image]) == pytest.approx(float(field[frozen.mask].sum()))
    assert (live.value(batch) - frozen.value(batch)).abs().min() > 1
    assert not live.is_linear
    assert live.support is None
    assert "live" in live.description
    assert "live" not in frozen.description


@pytest.mark.parametrize("region", IGNORING, ids=lambda region: region.name)
def test_live_has_no_effect_if_the_mask_cannot_move(region: Region) -> None:
    at = noise_scene(2)
    live = VoxelTarget("one", over=region, live=True).freeze(at)
    frozen = VoxelTarget("one", over=region).freeze(at)
    batch = noise_logits(2, batch=2, seed=9)
    assert torch.equal(live.value(batch), frozen.value(batch))
    assert live.is_linear


def test_a_target_with_an_emptied_live_mask_is_zero() -> None:
    inside = torch.zeros(4, 5, dtype=torch.bool)
    inside[1, 2] = True
    at = scene(logits_of(inside))
    live = VoxelTarget("one", reduce="mean", live=True).freeze(at)
    assert float(live.value(at.logits)) == pytest.approx(3.0)
    assert float(live.value(logits_of(torch.zeros_like(inside)))) == 0


@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_a_linear_target_is_its_coefficients(reduce: str, ndim: int, activation: str) -> None:
    at = noise_scene(ndim, activation)
    frozen = VoxelTarget("two", reduce=reduce).freeze(at)
    assert frozen.coefficients is not None
    logits = noise_logits(ndim, batch=2, seed=4)
    expected = (frozen.coefficients.dense() * logits).flatten(1).double().sum(dim=1)
    torch.testing.assert_close(frozen.value(logits), expected, rtol=1e-5, atol=1e-6)
    y = logits.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(frozen.value(y).sum(), y)
    torch.testing.assert_close(frozen.cotangent(None).dense().expand_as(slope), slope)


@pytest.mark.parametrize("of", [name for name in QUANTITIES if name != "logit"])
def test_other_cotangents_equal_autograd_at_the_logits(of: str, activation: str) -> None:
    at = noise_scene(2, activation)
    frozen = VoxelTarget("one", of=of).freeze(at)
    assert not frozen.is_linear
    logits = noise_logits(2, batch=2, seed=4)
    y = logits.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(frozen.value(y).sum(), y)
    with torch.no_grad():
        assert torch.equal(frozen.cotangent(logits), slope)
    with pytest.raises(TargetError, match="needs the prediction, it is not linear"):
        frozen.cotangent(None)


@pytest.mark.parametrize("of", QUANTITIES)
def test_logits_outside_of_the_support_do_not_matter(of: str, ndim: int, activation: str) -> None:
    at = noise_scene(ndim, activation)
    frozen = VoxelTarget("one", of=of).freeze(at)
    support = frozen.support
    assert support is not None
    changed = torch.where(support, at.logits, noise_logits(ndim, seed=8))
    assert torch.equal(frozen.value(changed), frozen.value(at.logits))
    inside = torch.where(support, noise_logits(ndim, seed=8), at.logits)
    assert not torch.equal(frozen.value(inside), frozen.value(at.logits))


def test_units_and_descriptions_of_targets() -> None:
    at = noise_scene(2)
    total = VoxelTarget("one", of="probability").freeze(at)
    mean = VoxelTarget("one", of="probability", reduce="mean", over=Component(2)).freeze(at)
    assert total.unit == "probability x voxels"
    assert mean.unit == "probability"
    assert total.description == "sum of probability of one over predicted"
    assert mean.description == "mean of probability of one over component #2"


def test_an_unknown_label_is_refused() -> None:
    with pytest.raises(TargetError, match='"onne" is not among the labels; did you mean "one"'):
        VoxelTarget("onne").freeze(noise_scene(2))
