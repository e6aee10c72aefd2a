"""Items: numbered, told apart where they overlap, pictured."""

from __future__ import annotations

import numpy as np
import torch

from esegeta.examples import Numbering, mostly_in, regions_of, thumbnails


def test_slices_and_components_are_those_of_the_mask() -> None:
    mask = torch.zeros((3, 4, 4), dtype=torch.bool)
    mask[0, :2, 0] = True
    mask[2, 3, 1:] = True
    assert torch.equal(Numbering("case", 0).of(mask), mask.long())
    slices = Numbering("slice", 0).of(mask)
    assert slices.unique().tolist() == [0, 1, 3]
    assert torch.equal(slices == 3, mask & (torch.arange(3) == 2)[:, None, None])
    components = Numbering("component", 0).of(mask)
    assert torch.equal(components == 1, slices == 3)  # the larger one
    assert torch.equal(components == 2, slices == 1)


def test_a_supervoxel_is_in_a_mask_that_holds_more_than_half_of_it() -> None:
    supervoxels = torch.tensor([[0, 0, 1, 1], [0, 2, 2, 1]])
    mask = torch.tensor([[True, True, True, False], [False, True, False, False]])
    expected = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0]])  # 2 of 3, 1 of 3, 1 of 2
    assert torch.equal(mostly_in(supervoxels, mask), expected)


def test_means_over_regions_of_several_maps_are_those_of_each() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randint(0, high, (5, 6), generator=generator) for high in (3, 4, 2)]
    maps[1][maps[1] == 2] = 0  # a number that does not occur
    values = torch.randn((2, 5, 6), generator=generator)
    regions, numbers = regions_of(maps)
    expected = [
        values[:, one == number].double().mean(dim=1)
        for one in maps
        for number in one.unique().tolist()
        if number
    ]
    assert [own.tolist() for own in numbers] == [[1, 2], [1, 3], [1]]
    torch.testing.assert_close(regions.means(values), torch.stack(expected))
    sizes = [int((one == n).sum()) for one in maps for n in one.unique().tolist() if n]
    assert regions.sizes.tolist() == sizes


def test_a_thumbnail_shows_the_slice_with_most_of_the_item() -> None:
    image = torch.zeros((4, 5, 3))
    image[2] = 1.0
    numbers = torch.zeros((4, 5, 3), dtype=torch.int64)
    numbers[2, :3] = 7
    numbers[0, 0, 0] = 7
    numbers[1, 4] = 9
    pictures, masks = thumbnails(image, numbers, torch.tensor([7, 9]), 0, spacing_mm=(3, 1, 1))
    np.testing.assert_array_equal(pictures[0].numpy(), np.full((5, 3), 255))
    assert not pictures[1].any()
    assert torch.equal(masks[0], numbers[2] == 7)
    assert torch.equal(masks[1], numbers[1] == 9)


def test_large_slices_are_made_small_and_keep_their_grey() -> None:
    image = torch.full((200, 100), 0.5)
    numbers = torch.ones((200, 100), dtype=torch.int64)
    pictures, masks = thumbnails(image, numbers, torch.tensor([1]), 0, spacing_mm=(1, 1))
    assert pictures.shape == (1, 96, 48)
    assert set(pictures.unique().tolist()) == {128}
    assert masks.all()


def test_a_single_voxel_is_still_seen_in_a_small_picture() -> None:
    for place in range(200):
        numbers = torch.zeros((200, 100), dtype=torch.int64)
        numbers[place, 37] = 1
        image = torch.zeros((200, 100))
        _, masks = thumbnails(image, numbers, torch.tensor([1]), 0, spacing_mm=(1, 1))
        assert 1 <= int(masks.sum()) <= 4


def test_pixels_of_small_pictures_are_as_long_as_wide() -> None:
    """A coronal slice of 10 x 6 voxels of 1 x 2.5 mm; each row is shown two or three times."""
    numbers = torch.zeros((10, 4, 6), dtype=torch.int64)
    numbers[2:4, 1, 3] = 1
    image = torch.arange(6.0).div(5).expand(10, 4, 6)
    pictures, masks = thumbnails(image, numbers, torch.tensor([1]), 1, spacing_mm=(1.0, 9.0, 2.5))
    assert pictures.shape == masks.shape == (1, 10, 15)
    assert set(pictures[0, 0].tolist()) >= {0, 51, 102, 153, 204, 255}
    along = masks[0].nonzero()
    assert along.min(0).values.tolist() == [2, 7]
    assert along.max(0).values.tolist() == [3, 9]
