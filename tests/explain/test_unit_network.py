"""Networks that are read at a unit: how far they run, what is left of them, which are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from esegeta.errors import LayerError
from esegeta.explain import Saliency
from esegeta.model import UnitNetwork, find_layer, held_still, list_layers
from esegeta.predict import WindowPlan
from esegeta.targets import BoxRegion, Scene, UnitTarget
from tests.builders import predictor, unet, volume
from tests.explain.unit_maps import LAYER, TOLERANCE, blended_unit, case
from tests.networks import Failing
from tests.oracles import gradient_of, relative_gap, state_of


def test_only_layers_and_windows_that_lead_to_the_unit_are_run() -> None:
    network = unet(2, "prelu_batch")
    model = predictor(network, (8, 8))
    image = volume((8, 24))
    target = UnitTarget("model.0", 0, BoxRegion((0, 0), (8, 4))).freeze(Scene(model, image))
    calls = {"model.0": 0, "model.1": 0, "model.2": 0}

    def count(name: str) -> Callable[..., None]:
        def hook(*call: object) -> None:
            calls[name] += 1

        return hook

    for name in calls:
        find_layer(network, name).register_forward_pre_hook(count(name))
    found = Saliency().explain(model, image, target)
    assert (found.facts.active_windows, found.facts.num_windows) == (1, 5)
    assert found.facts.windows_run == 1
    assert calls == {"model.0": 1, "model.1": 0, "model.2": 0}


def test_a_unit_target_works_on_another_predictor() -> None:
    """A frozen target on a predictor with other windows, and on an already read one."""
    model, image = case(2)
    target = UnitTarget(LAYER, 2).freeze(Scene(model, image))
    other = replace(model, plan=WindowPlan((12, 10)))
    found = Saliency().explain(other, image, target).data
    expected = gradient_of(lambda x: blended_unit(other, LAYER, (2,), x), image.batch)[0]
    assert relative_gap(found, expected) < TOLERANCE
    read = Saliency().explain(target.scene.predictor, image, target).data
    assert torch.equal(read, Saliency().explain(model, image, target).data)


@pytest.mark.parametrize("nth", [1, 2])
def test_the_network_is_left_as_it_was_after_an_exception(nth: int) -> None:
    """The failure lies within the layer that is read, before its own hook."""
    model, image = case(2)
    network = nn.Sequential(Failing(model.network, nth + 1), nn.Softmax(dim=1)).train()
    model = replace(model, network=network)
    target = UnitTarget("0", 1).freeze(Scene(model, image))
    before = state_of(network)
    with pytest.raises(Failing.BrokenError):
        Saliency().explain(model, image, target)
    assert state_of(network) == before


def test_the_network_of_a_unit_lists_all_modules_and_parameters() -> None:
    network = unet(2)
    read = UnitNetwork(network, LAYER, (1,))
    assert dict(read.named_modules()) == dict(network.named_modules())
    assert list(read.parameters()) == list(network.parameters())
    assert dict(read.named_buffers()).keys() == dict(network.named_buffers()).keys()
    assert find_layer(read, "model.0.conv") is network.get_submodule("model.0.conv")
    network.train()
    with held_still(read):
        assert not any(module.training for module in network.modules())
    assert all(module.training for module in network.modules())
    ran = {
        layer.name
        for layer in list_layers(read, lambda: read(torch.zeros(1, 1, 8, 8)))
        if layer.order >= 0
    }
    assert {"model.0", LAYER} <= ran
    assert not ran & {"model.2", "model.1", "model", ""}


class Odd(nn.Module):
    """Layers that have no one map: run twice, never, without axes, or as no tensor."""

    class Words(nn.Module):
        def forward(self, x: Tensor) -> str:
            return "no tensor"

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Conv2d(1, 3, 1)
        self.never = nn.Conv2d(1, 3, 1)
        self.flat = nn.Linear(3, 3)
        self.words = self.Words()
        self.pair = nn.Identity()
        self.head = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        both = self.twice(x) + self.twice(2 * x)
        self.words(x)
        first, _ = self.pair((both, both.mean()))
        return self.head(first * self.flat(both.mean((2, 3)))[..., None, None])


@pytest.mark.parametrize(
    ("layer", "channel", "message"),
    [
        ("twice", 0, 'layer "twice" runs more than once'),
        ("never", 0, 'layer "never" does not run'),
        ("flat", 0, r'layer "flat" has no spatial output \(3\)'),
        ("words", 0, r'layer "words" has no spatial output \(it returns a str\)'),
        ("pair", 3, r'channel 3 of layer "pair": its output is 3x4x4; .* from 0 to 2'),
        ("heda", 0, '"heda" is not in the network.*"head"'),
    ],
)
def test_layers_without_the_unit_are_refused(layer: str, channel: int, message: str) -> None:
    network = Odd().eval()
    model = predictor(network, (4, 4))
    before = state_of(network)
    with pytest.raises(LayerError, match=message):
        UnitTarget(layer, channel).freeze(Scene(model, volume((4, 5))))
    assert state_of(network) == before


class Unlike(nn.Module):
    """A layer of one map for two windows, and one that gradients do not go through."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.held, self.head = nn.Identity(), nn.Conv2d(1, 3, 1), nn.Conv2d(1, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.mean(x.mean(0, keepdim=True))
        with torch.no_grad():
            self.held(x)
        return self.head(x)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("mean", r'layer "mean" has no spatial output'),
        ("held", r'layer "held" has no gradient with respect to the input: it runs under'),
    ],
)
def test_a_layer_without_a_map_of_the_windows_is_refused(layer: str, message: str) -> None:
    with pytest.raises(LayerError, match=message):
        UnitNetwork(Unlike(), layer, (0,))(torch.zeros(2, 1, 4, 4, requires_grad=True))


def test_the_first_tensor_of_a_layers_output_is_read() -> None:
    model = predictor(Odd().eval(), (4, 4))
    image = volume((4, 5))
    target = UnitTarget("pair", 1).freeze(Scene(model, image))
    found = Saliency().explain(model, image, target).data
    weight = model.network.twice.weight[1].item()
    assert relative_gap(found, torch.full_like(found, 3 * weight)) < TOLERANCE
