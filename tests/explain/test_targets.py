"""Targets that are not linear in the prediction: maps by the other route, against autograd."""

from __future__ import annotations

import pytest
import torch

from esegeta.explain import (
    InputXGradient,
    IntegratedGradients,
    Objective,
    Occlusion,
    Saliency,
)
from esegeta.targets import DiceTarget, Otsu, Predicted, Scene, Target, VolumeTarget, VoxelTarget
from tests.builders import SHAPES, predictor, unet, volume
from tests.networks import Counting
from tests.oracles import (
    disguised,
    everywhere,
    frozen,
    gradient_of,
    monai_prediction,
    relative_gap,
    with_coefficients,
)

pytestmark = pytest.mark.usefixtures("whole_windows")

TOLERANCE = 2e-5

TARGETS: dict[str, Target] = {
    "probability": VoxelTarget("one", "probability"),
    "log_probability, mean": VoxelTarget("one", "log_probability", reduce="mean"),
    "margin": VoxelTarget("one", "margin"),
    "entropy": everywhere(of="entropy"),
    "live mask": VoxelTarget("one", over=Predicted(), live=True),
    "live otsu": VoxelTarget("one", "probability", over=Otsu(), live=True, reduce="mean"),
    "dice": DiceTarget("one"),
    "dice with the prediction": DiceTarget("one", "predicted"),
    "volume": VolumeTarget("one"),
    "sum": VoxelTarget("one") - 0.5 * VoxelTarget("two", "margin"),
    "linear sum": VoxelTarget("one") - 0.5 * everywhere("two"),
    "product": VolumeTarget("one") * VoxelTarget("two", "probability"),
}


@pytest.mark.parametrize("of", TARGETS)
def test_gradients_are_autograds_through_monai(ndim: int, of: str) -> None:
    model = predictor(unet(ndim, out_channels=3), (8,) * ndim, num_outputs=3)
    image = volume(SHAPES[ndim])
    truth = torch.arange(image.data.numel()).reshape(image.grid.shape) % 3
    target = TARGETS[of].freeze(Scene(model, image, truth))
    expected = gradient_of(lambda x: target.value(monai_prediction(model, x)), image.batch)[0]
    assert relative_gap(Saliency().explain(model, image, target).data, expected) < TOLERANCE
    found = InputXGradient().explain(model, image, target).data
    assert relative_gap(found, expected * image.data) < TOLERANCE


@pytest.mark.parametrize("of", TARGETS)
def test_integrated_gradients_follow_the_path_of_the_target(of: str) -> None:
    """Gradients at each node, not at the image: a slow sum over the nodes."""
    model = predictor(unet(2, out_channels=3), (8, 8), num_outputs=3)
    image = volume(SHAPES[2])
    truth = torch.arange(image.data.numel()).reshape(image.grid.shape) % 3
    target = TARGETS[of].freeze(Scene(model, image, truth))
    nodes = {0.5 - 0.15**0.5: 5 / 18, 0.5: 8 / 18, 0.5 + 0.15**0.5: 5 / 18}
    expected = sum(
        weight
        * gradient_of(lambda x: target.value(monai_prediction(model, x)), node * image.batch)[0]
        for node, weight in nodes.items()
    )
    method = IntegratedGradients(steps=3, baseline="zero")
    found = method.explain(model, image, target).data
    assert relative_gap(found, expected * image.data) < TOLERANCE


@pytest.mark.parametrize("method", [Saliency(), InputXGradient(), Occlusion(box=4)])
def test_both_routes_agree(ndim: int, method: object) -> None:
    model = predictor(unet(ndim, in_channels=2), (8,) * ndim)
    image = volume(SHAPES[ndim], 2)
    target = frozen(model, image)
    one = method.explain(model, image, target)
    other = method.explain(model, image, disguised(target))
    assert relative_gap(one.data, other.data) < TOLERANCE
    assert one.facts.active_windows == other.facts.active_windows


@pytest.mark.parametrize("of", TARGETS)
def test_an_objective_can_be_evaluated_on_any_input(ndim: int, of: str) -> None:
    model = predictor(unet(ndim, out_channels=3), (8,) * ndim, num_outputs=3)
    image = volume(SHAPES[ndim])
    truth = torch.arange(image.grid.shape[0]).reshape(-1, *(1,) * (ndim - 1)) % 3
    target = TARGETS[of].freeze(Scene(model, image, truth.expand(image.grid.shape)))
    inputs = torch.stack([image.data, image.data.flip(1), 0 * image.data])
    with torch.no_grad():
        expected = target.value(monai_prediction(model, inputs))
    objective = Objective(model, target, image)
    torch.testing.assert_close(objective.values(inputs), expected, rtol=1e-5, atol=1e-5)
    assert objective.value() == pytest.approx(float(expected[0]), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("disguise", [False, True])
def test_windows_beside_a_frozen_mask_are_not_run(ndim: int, disguise: bool) -> None:
    network = Counting(unet(ndim))
    model = predictor(network, (8,) * ndim)
    image = volume((24, 12, 8)[:ndim])
    target = frozen(model, image)
    corner = torch.zeros(image.grid.shape, dtype=torch.bool)
    corner[(0,) * ndim] = True
    coefficients = torch.zeros(2, *image.grid.shape)
    coefficients[1] = corner.float()
    target = with_coefficients(target, coefficients)
    target = disguised(target) if disguise else target
    objective = Objective(model, target, image).at(image.data.flip(1))
    network.windows = 0
    objective.value()
    assert network.windows == objective.tally.windows_run == 1
