"""Dreams over tiles: the slope is that of the whole, and the layer sees more afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from esegeta.features import Dream, LayerObjective, Subject, tiles_of
from tests.builders import convolution


def network_of(ndim: int) -> nn.Module:
    return nn.Sequential(convolution(ndim)(1, 3, 3, padding=1), nn.ReLU())


def test_a_dream_raises_the_activation_of_its_layer(ndim: int) -> None:
    network, layer = network_of(ndim), LayerObjective("1")
    image = torch.rand(1, *(11, 9, 8)[:ndim])
    bounds = (torch.zeros(1), torch.ones(1))
    dream = Dream((6,) * ndim, octaves=2, ratio=1.5, steps=4, rate=0.05, batch_size=3)
    counted: list[int] = []
    made = dream(Subject(network), layer, image, std=0.3, bounds=bounds, on_tiles=counted.append)
    assert made.shape == image.shape
    with torch.no_grad():
        seen = [float(network(one[None]).square().mean()) for one in (image, made)]
    assert seen[1] > 1.05 * seen[0]
    assert sum(counted) == dream.passes(tuple(image.shape[1:]))


def test_one_step_of_a_pointwise_network_follows_its_gradient() -> None:
    """Tiles that do not overlap, of a network without surroundings, miss nothing."""
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Tanh())
    image = torch.randn(1, 8, 6)
    dream = Dream((4, 3), octaves=1, steps=1, rate=0.1)
    x = image[None].clone().requires_grad_(True)
    network(x).square().mean().backward()
    assert x.grad is not None
    expected = image + 0.1 * (x.grad / x.grad.abs().mean())[0]
    found = dream(Subject(network), LayerObjective("1"), image)
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("shape", "tile"), [((7, 4), (3, 4)), ((5, 6, 4), (2, 3, 4))])
def test_tiles_cover_every_voxel(shape: tuple[int, ...], tile: tuple[int, ...]) -> None:
    covered = torch.zeros(shape)
    for box in tiles_of(shape, tile):
        assert covered[box].shape == tile
        covered[box] += 1
    assert covered.min() == 1
