"""Slopes by layers: as the whole prediction changes when the layer is moved, in every window."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import torch

from esegeta.errors import ConfigError, LayerError
from esegeta.explain import ConceptDerivative, Objective, layer_slopes
from esegeta.model.hooks import on_output
from esegeta.model.layers import find_layers
from esegeta.targets import VoxelTarget
from tests.builders import SHAPES, pointwise, predictor, scene, unet, volume
from tests.oracles import frozen, with_coefficients
from tests.predict.averaged import averaging

LAYERS = ["model.0", "model.1.submodule"]
TARGETS = [
    VoxelTarget("one"),
    VoxelTarget("one", of="probability", reduce="mean"),
]


def smooth(ndim: int):
    """Return a network without kinks, so that differences are derivatives to second order."""
    network = unet(ndim).double()
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.ReLU):
                setattr(module, name, torch.nn.Tanh())
    return network


def moved(network, layer: str, step: torch.Tensor) -> ExitStack:
    """Add a vector to a layer's activations at every position, in all windows."""
    column = step.reshape(1, -1, *[1] * (2 if network_ndim(network) == 2 else 3))
    stack = ExitStack()
    stack.enter_context(
        on_output(find_layers(network, [layer]), lambda run: run.replaced(run.tensor + column))
    )
    return stack


def network_ndim(network) -> int:
    return next(p.ndim for p in network.parameters() if p.ndim > 2) - 2


@pytest.mark.parametrize("number", [0, 1])
def test_slopes_are_those_of_the_whole_prediction(ndim: int, number: int) -> None:
    """Central differences of the target, the layer moved in all windows of the blend."""
    network = smooth(ndim)
    model = predictor(network, (8,) * ndim)
    image = volume(SHAPES[ndim])
    image = image.with_data(image.data.double())
    place = scene(model.logits(image.batch), of=image)
    target = TARGETS[number].freeze(place)
    objective = Objective.of(model, target, image)
    (slopes,) = layer_slopes([objective], LAYERS)
    generator = torch.Generator().manual_seed(0)
    for layer in LAYERS:
        step = torch.randn(len(slopes[layer]), generator=generator, dtype=torch.float64) * 1e-5
        values = []
        for sign in (1, -1):
            with moved(network, layer, sign * step):
                values.append(float(target.value(model.logits(image.batch))[0]))
        expected = (values[0] - values[1]) / 2
        assert float(slopes[layer] @ step) == pytest.approx(expected, rel=1e-5)


def test_slopes_of_a_mean_of_probabilities(ndim: int) -> None:
    """Two networks, mirrored: one direction of the layer, moved in every pass of both."""
    networks = [smooth(ndim), smooth(ndim)]
    for parameter in networks[1].parameters():
        parameter.data.mul_(0.9)
    model = averaging(networks, predictor(networks[0], (8,) * ndim), [0], "probabilities")
    image = volume(SHAPES[ndim])
    image = image.with_data(image.data.double())
    place = scene(model.logits(image.batch), of=image)
    target = TARGETS[1].freeze(place)
    (slopes,) = layer_slopes([Objective.of(model, target, image)], ["model.0"])
    step = torch.linspace(-1e-5, 2e-5, len(slopes["model.0"])).double()
    values = []
    for sign in (1, -1):
        with moved(model.network, "model.0", sign * step):
            values.append(float(target.value(model.logits(image.batch))[0]))
    assert float(slopes["model.0"] @ step) == pytest.approx((values[0] - values[1]) / 2, rel=1e-4)


def test_slopes_of_several_targets_equal_those_of_each_alone(ndim: int) -> None:
    model = predictor(unet(ndim), (8,) * ndim, batch_size=3)
    image = volume(SHAPES[ndim])
    place = scene(model.logits(image.batch), of=image)
    objectives = [Objective.of(model, target.freeze(place), image) for target in TARGETS]
    together = layer_slopes(objectives, LAYERS)
    for objective, found in zip(objectives, together, strict=True):
        (alone,) = layer_slopes([objective], LAYERS)
        for layer in LAYERS:
            torch.testing.assert_close(found[layer], alone[layer], rtol=1e-5, atol=1e-6)
    assert not any(module._forward_hooks for module in model.network.modules())


def test_the_map_of_a_vector_adds_up_to_its_derivative(ndim: int) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    place = scene(model.logits(image.batch), of=image)
    target = TARGETS[0].freeze(place)
    (slopes,) = layer_slopes([Objective.of(model, target, image)], LAYERS)
    for layer in LAYERS:
        vector = torch.linspace(-1, 2, len(slopes[layer])).double()
        found = ConceptDerivative(layer, tuple(vector.tolist()), "it").explain(model, image, target)
        total = float(found.data.sum(dtype=torch.float64))
        assert total == pytest.approx(float(vector @ slopes[layer]), rel=1e-4)
        assert found.meaning.is_in_target_unit
        assert found.parameters["concept"] == "it"


def test_slopes_of_a_small_network_in_closed_form(ndim: int) -> None:
    """The slope of tanh(Wx) . h by unit k at any voxel of the mask is h_k."""
    network = pointwise(ndim)
    model = predictor(network, (4,) * ndim)
    image = volume(SHAPES[ndim])
    place = scene(model.logits(image.batch), of=image)
    target = TARGETS[0].freeze(place)
    (slopes,) = layer_slopes([Objective.of(model, target, image)], ["1"])
    expected = int(target.mask.sum()) * network[2].weight[1].flatten().double()
    torch.testing.assert_close(slopes["1"], expected.detach(), rtol=1e-5, atol=1e-6)


def test_a_vector_of_another_layer_is_refused(ndim: int) -> None:
    model = predictor(pointwise(ndim), (4,) * ndim)
    image = volume(SHAPES[ndim])
    with pytest.raises(ConfigError, match='layer "1" has 5 units, the vector of bone 3'):
        ConceptDerivative("1", (1.0, 2.0, 3.0), "bone").explain(model, image, TARGETS[0])


def test_a_layer_without_a_part_in_the_output_is_refused(ndim: int) -> None:
    class Beside(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.idle = pointwise(ndim), torch.nn.Tanh()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.idle(x)
            return self.main(x)

    model = predictor(Beside(), (4,) * ndim)
    image = volume(SHAPES[ndim])
    place = scene(model.logits(image.batch), of=image)
    objective = Objective.of(model, TARGETS[0].freeze(place), image)
    with pytest.raises(LayerError, match='layer "idle"'):
        layer_slopes([objective], ["idle"])
    with pytest.raises(LayerError, match='layer "idel" is not in the network'):
        layer_slopes([objective], ["idel"])


def test_an_output_that_is_held_constant_has_no_slopes_by_any_layer(ndim: int) -> None:
    class Held(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main = pointwise(ndim)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.main(x).detach()

    model, image = predictor(Held(), (4,) * ndim), volume(SHAPES[ndim])
    target = TARGETS[0].freeze(scene(model.logits(image.batch), of=image))
    with pytest.raises(LayerError, match=r'"main\.1": the output does not depend on this layer'):
        layer_slopes([Objective.of(model, target, image)], ["main.1"])


def test_a_target_of_no_voxel_has_no_slopes(ndim: int) -> None:
    model, image = predictor(pointwise(ndim), (4,) * ndim), volume(SHAPES[ndim])
    nothing = with_coefficients(frozen(model, image), torch.zeros(2, *SHAPES[ndim]))
    with pytest.raises(LayerError, match="the target touches no window"):
        layer_slopes([Objective.of(model, nothing, image)], ["1"])
