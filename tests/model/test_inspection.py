"""What one forward pass tells of networks that are awkward to hook."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from esegeta.errors import LayerError
from esegeta.model import (
    Layer,
    check_units,
    deepest_layer,
    find_listed,
    find_unit_layers,
    list_layers,
)
from tests.awkward import Bundled, Checkpointed, Indexed, Odd, Tower, parametrized
from tests.builders import convolution


def listed(network: nn.Module, ndim: int, batch: int = 1) -> dict[str, Layer]:
    window = torch.zeros(batch, 1, *(8,) * ndim)
    return {layer.name: layer for layer in list_layers(network, lambda: network(window))}


@pytest.mark.parametrize("norm", ["spectral", "weight"])
def test_modules_that_compute_weights_are_marked(norm: str, ndim: int) -> None:
    network = parametrized(Tower(ndim), norm)
    layers = listed(network, ndim)
    weights = [name for name, layer in layers.items() if layer.holds_weight]
    assert weights == [name for name in layers if ".parametrizations" in name]
    assert weights
    plain = listed(Tower(ndim), ndim)
    assert deepest_layer(list(layers.values())).name == deepest_layer(list(plain.values())).name
    window = torch.zeros(1, 1, *(8,) * ndim)
    assert find_unit_layers(network, "all", window) == find_unit_layers(Tower(ndim), "all", window)


def test_runs_and_outputs_of_layers_are_listed(ndim: int) -> None:
    layers = listed(Odd(ndim), ndim)
    assert {name: layers[name].runs for name in ("enter", "never", "twice")} == {
        "enter": 1,
        "never": 0,
        "twice": 2,
    }
    assert {name: layers[name].returns for name in ("", "never", "words", "nothing", "same")} == {
        "": "a tensor",
        "never": "",
        "words": "a str",
        "nothing": "nothing",
        "same": "a tuple of 2 tensors",
    }
    pool = listed(Indexed(ndim), ndim)["pool"]
    assert pool.returns == "a tuple of 2 tensors"
    assert pool.output_shape == (1, 3, *(4,) * ndim)
    assert listed(Bundled(ndim, "nested"), ndim)["block"].returns == "a tuple of 3 items"


def test_parts_of_a_network_that_run_by_themselves_have_maps_too(ndim: int) -> None:
    network = Tower(ndim)
    layers = {
        layer.name: layer
        for layer in list_layers(network, lambda: network.down(torch.zeros(2, 3, *(8,) * ndim)))
    }
    assert {name for name, layer in layers.items() if layer.is_spatial} == {
        *("down", "down.0", "down.1")
    }
    assert layers["down"].output_shape == (2, 4, *(4,) * ndim)


def test_a_network_without_a_map_has_no_layers_of_units() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(LayerError, match="no layer with a spatial output"):
        find_unit_layers(network, "all", torch.zeros(1, 1, 4, 4))


def test_an_output_without_a_batch_axis_is_not_a_map(ndim: int) -> None:
    layers = listed(Odd(ndim), ndim)
    assert layers["weight"].output_shape == (2, 4, *(3,) * ndim)
    assert not layers["weight"].is_spatial
    assert layers["places"].is_spatial


def test_a_layer_with_a_map_of_other_axes_is_not_spatial() -> None:
    """Four axes in a network of three spatial ones: a table of attention, and no map."""

    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter = nn.Conv3d(1, 2, 1)
            self.table = nn.Softmax(dim=-1)
            self.head = nn.Conv3d(2, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.enter(x)
            return self.head(y * self.table(y.mean(dim=-1))[..., None])

    layers = listed(Attending(), 3)
    assert not layers["table"].is_spatial
    assert deepest_layer(list(layers.values())).name == "head"


def test_the_deepest_layer_is_one_that_runs_once(ndim: int) -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            conv = convolution(ndim)
            self.down = conv(1, 2, 2, stride=2)
            self.act = nn.Tanh()
            self.up = nn.Upsample(scale_factor=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.up(self.act(self.act(self.down(x))))

    layers = list(listed(Shared(), ndim).values())
    assert deepest_layer(layers).name == "down"


def test_checkpointed_blocks_are_listed_like_plain_ones(ndim: int) -> None:
    network = Checkpointed(ndim, use_reentrant=False)
    assert listed(network, ndim) == {
        **(plain := listed(Tower(ndim), ndim)),
        "": Layer(**{**vars(plain[""]), "kind": "Checkpointed"}),
    }


def test_a_module_of_two_names_is_found_by_both(ndim: int) -> None:
    network = Tower(ndim)
    network.alias = network.bottom
    window = torch.zeros(1, 1, *(4,) * ndim)
    layers = list_layers(network, lambda: network(window))
    first, second = (find_listed(network, layers, name) for name in ("bottom.0", "alias.0"))
    assert (second.name, second.order) == ("alias.0", first.order)
    assert find_unit_layers(network, ["alias"], window)[0].num_units == 4
    check_units(network, "alias", (3,), window)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("never", 'layer "never" does not run'),
        ("twice", 'layer "twice" runs more than once'),
        ("words", r'layer "words" has no spatial output \(it returns a str\)'),
        ("weight", r'layer "weight" has no spatial output \(.* of a batch of 2\)'),
    ],
)
def test_layers_without_units_are_refused_by_name(layer: str, message: str, ndim: int) -> None:
    window = torch.zeros(1, 1, *(4,) * ndim)
    with pytest.raises(LayerError, match=message):
        find_unit_layers(Odd(ndim), [layer], window)
    with pytest.raises(LayerError, match=message):
        check_units(Odd(ndim), layer, (0,), window)
