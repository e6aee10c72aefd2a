"""Integrated gradients: exact where the quadrature is, and honest where it is not."""

from __future__ import annotations

import pytest
import torch

from esegeta.errors import ConfigError
from esegeta.explain import Baseline, IntegratedGradients
from tests.builders import SHAPES, linear, predictor, unet, volume
from tests.networks import Power
from tests.oracles import disguised, everywhere, frozen, relative_gap, with_coefficients

TOLERANCE = 1e-5


def test_a_product_of_channels_is_shared_in_closed_form(ndim: int) -> None:
    """y = (w . x)^2 at each voxel: a_c = w_c (x_c - x'_c) (w . x + w . x'), with one node."""
    network = Power(linear(ndim, in_channels=2), 2)
    image = volume(SHAPES[ndim], 2)
    model = predictor(network, (4,) * ndim)
    method = IntegratedGradients(steps=1, baseline="mean")
    map_ = method.explain(model, image, frozen(model, image)).data
    weights = network.convolved.weight[1].reshape(2, *(1,) * ndim)
    start = Baseline("mean").of(image)
    along = (weights * (image.data + start)).sum(dim=0)
    assert relative_gap(map_, weights * (image.data - start) * along) < TOLERANCE


@pytest.mark.parametrize(("power", "steps"), [(3, 2), (5, 3), (7, 4)])
def test_n_nodes_are_exact_for_odd_powers_up_to_2n_less_1(
    ndim: int, power: int, steps: int
) -> None:
    """A gradient of degree 2n - 2 gives y(x) - y(x') at each voxel; one node less does not."""
    network = Power(linear(ndim), power)
    image = volume(SHAPES[ndim])
    model = predictor(network, (4,) * ndim)
    target = frozen(model, image)
    start = Baseline("mean").of(image)
    expected = (network(image.batch) - network(start[None]))[0, 1:2].detach()
    method = IntegratedGradients(steps=steps, baseline="mean")
    assert relative_gap(method.explain(model, image, target).data, expected) < TOLERANCE
    fewer = IntegratedGradients(steps=steps - 1, baseline="mean")
    assert relative_gap(fewer.explain(model, image, target).data, expected) > 1e-3


@pytest.mark.parametrize("of", ["logit", "probability"])
def test_completeness_is_measured_on_the_whole_prediction(ndim: int, of: str) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    target = frozen(model, image, everywhere(of=of))
    method = IntegratedGradients(steps=3, baseline="zero", tolerance=1e-9)
    found = method.explain(model, image, target)
    ends = [target.value(model.logits(x))[0] for x in (image.batch, 0 * image.batch)]
    change = float(ends[0] - ends[1])
    delta = float(found.data.double().sum()) - change
    assert found.facts.completeness_delta == pytest.approx(delta, abs=1e-4 * abs(change))
    assert found.facts.completeness_relative == pytest.approx(abs(delta / change), abs=1e-4)


@pytest.mark.slow
def test_a_gap_above_tolerance_is_a_warning_and_more_steps_close_it(ndim: int) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    target = frozen(model, image)
    coarse = IntegratedGradients(steps=1, baseline="zero", tolerance=5e-3)
    (warning,) = coarse.explain(model, image, target).warnings
    assert warning.startswith("completeness: ")
    assert "more steps" in warning
    fine = IntegratedGradients(steps=100, baseline="zero", tolerance=5e-3)
    assert not fine.explain(model, image, target).warnings


def test_only_windows_that_the_target_touches_are_run(ndim: int) -> None:
    shape = (24, 12, 8)[:ndim]
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(shape)
    whole = frozen(model, image)
    coefficients = torch.zeros(2, *shape)
    coefficients[(1, *(0,) * ndim)] = 1.0
    found = IntegratedGradients(steps=4).explain(
        model, image, with_coefficients(whole, coefficients)
    )
    assert found.facts.active_windows == 1 < found.facts.num_windows
    assert found.facts.windows_run == 4 + 2
    assert found.facts.evaluations == 4 + 2


def test_both_routes_of_linear_targets_agree(ndim: int) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    target = frozen(model, image)
    method = IntegratedGradients(steps=4, baseline="mean")
    one = method.explain(model, image, target)
    other = method.explain(model, image, disguised(target))
    assert relative_gap(one.data, other.data) < TOLERANCE
    assert one.facts.completeness_delta == pytest.approx(other.facts.completeness_delta, abs=1e-3)


def test_steps_must_be_a_number_of_steps() -> None:
    with pytest.raises(ConfigError, match="steps: 0"):
        IntegratedGradients(steps=0)
