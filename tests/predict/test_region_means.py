"""Activations over regions: as blended maps resampled by hand, over windows and in little room."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esegeta.model import find_unit_layers, held_still
from esegeta.predict import Regions, Units, VoxelLists, blend_units, pool_regions
from tests.builders import SHAPES, pointwise, predictor, unet, volume

LAYERS = ["model.0", "model.1.submodule"]


def overlapping_masks(shape: tuple[int, ...], count: int = 14) -> list[torch.Tensor]:
    """More masks than are cut at a time; one is empty."""
    generator = torch.Generator().manual_seed(3)
    masks = [torch.rand(shape, generator=generator) > 0.1 * (place % 8) for place in range(count)]
    masks[4] = torch.zeros(shape, dtype=torch.bool)
    return masks


@pytest.mark.parametrize("room_mb", [512.0, 1e-4])
def test_means_and_samples_are_those_of_the_maps(ndim: int, room_mb: float) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    x = volume(SHAPES[ndim]).batch
    with held_still(model.network):
        layers = find_unit_layers(model.network, LAYERS, torch.zeros(1, 1, *(8,) * ndim))
    masks = overlapping_masks(SHAPES[ndim])
    voxels = torch.tensor([5, 0, 33])
    found = pool_regions(model, x, layers, Regions.of_masks(masks), voxels=voxels, room_mb=room_mb)
    for layer in layers:
        (maps,) = blend_units(model, x, [Units(layer.name, 0, layer.num_units)])
        on_voxels = maps.grid.to_voxels(maps.data).double().numpy()
        for place, mask in enumerate(masks):
            means = found[layer.name].means[place].numpy()
            if not mask.any():
                assert np.isnan(means).all()
                continue
            np.testing.assert_allclose(means, on_voxels[:, mask.numpy()].mean(axis=1), rtol=1e-6)
        flat = on_voxels.reshape(layer.num_units, -1)
        np.testing.assert_allclose(found[layer.name].samples, flat[:, voxels.numpy()].T, rtol=1e-6)


def test_regions_may_be_given_as_a_map_of_numbers(ndim: int) -> None:
    """Means of a pointwise network's layer are the means of its outputs at each voxel."""
    network = pointwise(ndim)
    model = predictor(network, (4,) * ndim)
    x = volume(SHAPES[ndim]).batch
    generator = torch.Generator().manual_seed(1)
    numbers = torch.randint(0, 5, SHAPES[ndim], generator=generator)
    numbers[numbers == 2] = 0  # region 2 is empty
    regions = Regions.of_map(numbers)
    layers = find_unit_layers(network, ["1"], torch.zeros(1, 1, *(4,) * ndim))
    found = pool_regions(model, x, layers, regions)["1"]
    with torch.no_grad():
        whole = torch.tanh(network[0](x))[0].double()
    assert regions.sizes.tolist() == [int((numbers == one).sum()) for one in (1, 2, 3, 4)]
    assert found.samples.shape == (0, 5)
    for number in (1, 3, 4):
        expected = whole[:, numbers == number].mean(dim=1)
        torch.testing.assert_close(found.means[number - 1], expected, rtol=1e-5, atol=1e-6)
    assert found.means[1].isnan().all()


def test_regions_may_be_given_as_lists_of_voxels(ndim: int) -> None:
    masks = [mask for mask in overlapping_masks(SHAPES[ndim], 5) if mask.any()]
    owners = torch.arange(len(masks)).repeat_interleave(
        torch.tensor([int(mask.sum()) for mask in masks])
    )
    voxels = torch.cat([mask.flatten().nonzero()[:, 0] for mask in masks])
    empty = VoxelLists(voxels[:0], owners[:0], 1)
    lists = VoxelLists.of([VoxelLists(voxels, owners, len(masks)), empty, empty])
    maps = volume(SHAPES[ndim], 3).data
    regions = Regions.of_masks(masks)
    torch.testing.assert_close(lists.means(maps)[:-2], regions.means(maps))
    assert lists.means(maps)[-2:].isnan().all()
    assert torch.equal(lists.sizes[:-2], regions.sizes)
