"""Units blended over a volume: as each layer's windows by hand; windowed equals whole."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from esegeta.errors import LayerError, ModelError
from esegeta.model import find_unit_layers, held_still, switched_off, tap
from esegeta.predict import LayerGrid, Units, blend_units
from esegeta.predict.layer_outputs import read_windows
from tests.builders import SHAPES, pointwise, predictor, unet, volume
from tests.networks import Counting, Failing
from tests.predict.averaged import averaging

WANTED = [Units("model.0", 1, 4), Units("model.1.submodule", 0, 5), Units("model.0", 0, 1)]


def by_hand(model: object, x: torch.Tensor, units: Units) -> torch.Tensor:
    """Blend a layer's windows one by one, the whole network run."""
    windows = model.windows(x)
    padded = windows.pad(x)
    total = weight = grid = None
    for place, box in enumerate(windows.boxes):
        crop = padded[(slice(None), slice(None), *box)]
        thin = windows.slice_axis
        with torch.no_grad(), tap(model.network, units.layer) as seen:
            model.network(crop if thin is None else crop.squeeze(thin + 2))
            patch = seen[units.layer][:, units.first : units.stop]
        if grid is None:
            grid = LayerGrid.of(windows, patch)
            total, weight = grid.zeros(len(units), x), grid.zeros(1, x)
        importance = grid.importance(x.device, x.dtype)
        grid.put(total, place, patch[0] * importance)
        grid.put(weight, place, importance[None])
    return total / weight


@pytest.mark.parametrize("batch_size", [1, 3])
def test_several_layers_in_one_pass(ndim: int, batch_size: int) -> None:
    model = predictor(unet(ndim, in_channels=2), (8,) * ndim, batch_size=batch_size)
    x = volume(SHAPES[ndim], 2).batch
    for found, units in zip(blend_units(model, x, WANTED), WANTED, strict=True):
        assert found.units == units
        assert found.data.shape == (len(units), *found.grid.shape)
        torch.testing.assert_close(found.data, by_hand(model, x, units), rtol=1e-5, atol=1e-6)


def test_slices_of_a_volume() -> None:
    model = predictor(unet(2), (8, 8))
    x = volume((9, 11, 3)).batch
    for found, units in zip(blend_units(model, x, WANTED), WANTED, strict=True):
        torch.testing.assert_close(found.data, by_hand(model, x, units), rtol=1e-5, atol=1e-6)


def test_windowed_equals_whole_for_a_pointwise_network(ndim: int) -> None:
    network = pointwise(ndim)
    x = volume(SHAPES[ndim]).batch
    (found,) = blend_units(predictor(network, (4,) * ndim), x, [Units("1", 0, 5)])
    with torch.no_grad():
        whole = torch.tanh(network[0](x))[0]
    torch.testing.assert_close(found.data, whole)
    torch.testing.assert_close(found.grid.to_voxels(found.data), whole)


def test_layers_behind_the_last_requested_one_do_not_run(ndim: int) -> None:
    """The listener is told of every window nonetheless."""
    network = pointwise(ndim)
    network[2] = Counting(network[2])
    windows_run: list[int] = []
    model = predictor(network, (4,) * ndim)
    object.__setattr__(model, "on_windows", windows_run.append)
    x = volume(SHAPES[ndim]).batch
    blend_units(model, x, [Units("0", 0, 5), Units("1", 0, 1)])
    assert network[2].windows == 0
    assert sum(windows_run) == len(model.windows(x))
    assert not network[0]._forward_hooks and not network[1]._forward_hooks


def test_in_place_layers_do_not_change_the_outputs(ndim: int) -> None:
    conv = (nn.Conv2d if ndim == 2 else nn.Conv3d)(1, 3, 1)
    network = nn.Sequential(conv, nn.ReLU(inplace=True), nn.Sigmoid()).eval()
    x = volume(SHAPES[ndim]).batch
    model = predictor(network, (4,) * ndim, num_outputs=3)
    before, after = blend_units(model, x, [Units("0", 0, 3), Units("1", 0, 3)])
    assert before.data.min() < 0
    torch.testing.assert_close(after.data, before.data.relu(), rtol=1e-4, atol=1e-5)


def test_hooks_go_also_after_an_exception(ndim: int) -> None:
    network = nn.Sequential(pointwise(ndim), Failing(nn.Identity(), 2), nn.Identity())
    with pytest.raises(Failing.BrokenError):
        blend_units(predictor(network, (4,) * ndim), volume(SHAPES[ndim]).batch, [Units("2", 0, 2)])
    assert not any(module._forward_hooks for module in network.modules())


def test_layers_that_do_not_run_are_named() -> None:
    network = pointwise(2)
    network.idle = nn.Identity()
    network.forward = lambda x: network[2](network[1](network[0](x)))
    model, x = predictor(network, (4, 4)), torch.randn(1, 1, 4, 4)
    with pytest.raises(LayerError, match="layers that do not run, or return no tensor: idle; name"):
        read_windows(model, x, model.windows(x), ["1", "idle"])


def test_activations_that_are_not_finite_are_refused(ndim: int) -> None:
    network = pointwise(ndim)
    network[0].bias.data[0] = torch.inf
    with pytest.raises(ModelError, match='layer "0": activations are NaN or Inf'):
        blend_units(predictor(network, (4,) * ndim), volume(SHAPES[ndim]).batch, [Units("0", 0, 5)])


def test_unit_layers_are_those_with_maps(ndim: int) -> None:
    network = unet(ndim)
    window = torch.zeros(1, 1, *(8,) * ndim)
    with held_still(network):
        found = find_unit_layers(network, ["model.1.submodule", "model.0"], window)
        everything = {layer.name: layer for layer in find_unit_layers(network, "all", window)}
    assert [layer.name for layer in found] == ["model.1.submodule", "model.0"]
    assert (found[0].num_units, found[0].patch) == (8, (4,) * ndim)
    assert everything["model.0"].num_units == 4
    assert "" not in everything
    # A block that hands on its last part's output stands for both.
    assert "model.0" in everything and "model.0.adn.A" not in everything


def test_unit_layers_without_a_map_are_refused(ndim: int) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice = nn.Identity()
            self.pooled = nn.Flatten()
            self.idle = nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.pooled(x)
            return self.twice(self.twice(x) + 1)

    window = torch.zeros(1, 1, *(8,) * ndim)
    faults = {
        "twice": "runs more than once",
        "pooled": "no spatial output",
        "idle": "does not run",
        "twise": "is not in the network",
    }
    for name, words in faults.items():
        with pytest.raises(LayerError, match=words):
            find_unit_layers(Odd(), [name], window)


def test_units_switched_off_are_constant_for_what_follows(ndim: int) -> None:
    network = pointwise(ndim)
    x = volume(SHAPES[ndim]).batch
    with torch.no_grad():
        plain = network(x)
        hidden = torch.tanh(network[0](x))
        with switched_off(network, "1", [1, 3], torch.tensor([0.5, -0.25])):
            changed = network(x)
        hidden[:, 1], hidden[:, 3] = 0.5, -0.25
        torch.testing.assert_close(changed, network[2](hidden))
        hidden[:, 1], hidden[:, 3] = 0.0, 0.0
        with switched_off(network, "1", [1, 3]):
            torch.testing.assert_close(network(x), network[2](hidden))
        assert torch.equal(network(x), plain)


def test_mirrored_passes_are_averaged(ndim: int) -> None:
    network = unet(ndim)
    plain = predictor(network, (8,) * ndim)
    mirrored = averaging([network], plain, [0, 1], "logits")
    x = volume(SHAPES[ndim]).batch
    found = blend_units(mirrored, x, WANTED)
    passes = [blend_units(one, x, WANTED) for one in mirrored.members()]
    assert torch.equal(passes[0][0].data, blend_units(plain, x, WANTED)[0].data)
    for place, units in enumerate(found):
        mean = torch.stack([one[place].data for one in passes]).mean(dim=0)
        torch.testing.assert_close(units.data, mean, rtol=1e-4, atol=1e-5)


def test_a_mirrored_pass_sees_the_mirrored_volume() -> None:
    """Windows of the volume's size: the map of the mirrored image, mirrored back."""
    network = unet(2)
    plain = predictor(network, (12, 10))
    x = volume((12, 10)).batch
    flipped = averaging([network], plain, [1], "logits").members()[1]
    found = blend_units(flipped, x, WANTED)
    expected = blend_units(plain, x.flip(3), WANTED)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.data, other.data.flip(2))
