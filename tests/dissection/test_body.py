"""Where the patient is, in images with backgrounds of every kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esegeta.dissection.body import _commonest, find_body

SHAPES = {2: (40, 30), 3: (20, 18, 16)}


def ball(shape: tuple[int, ...], radius: float) -> torch.Tensor:
    axes = np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij")
    return torch.from_numpy(sum(axis**2 for axis in axes) < radius**2)


def speckle(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("background", [0.0, -1024.0, 0.37])
def test_the_body_excludes_an_empty_background_and_includes_holes(
    ndim: int, background: float
) -> None:
    shape = SHAPES[ndim]
    body, hole = ball(shape, 0.8), ball(shape, 0.3)
    image = torch.where(body & ~hole, speckle(shape) + 1, background)
    assert torch.equal(find_body(image[None]), body)


def test_all_channels_together_define_the_background(ndim: int) -> None:
    """One channel is empty in half of the body, the other is not."""
    shape = SHAPES[ndim]
    body = ball(shape, 0.8)
    first = torch.where(body, speckle(shape) + 1, 0.0)
    first[: shape[0] // 2] = 0
    image = torch.stack([first, torch.where(body, speckle(shape, 1) - 3, 0.0)])
    assert torch.equal(find_body(image), body)


def test_a_noisy_background_is_excluded_by_its_darkness(ndim: int) -> None:
    shape = SHAPES[ndim]
    body = ball(shape, 0.8)
    image = torch.where(body, 5 + speckle(shape), 0.5 * speckle(shape, 1))
    assert torch.equal(find_body(image[None]), body)


def test_three_slices_are_not_taken_for_colours() -> None:
    body = ball((40, 30), 0.8)[..., None].expand(40, 30, 3)
    image = torch.where(body, 5 + speckle((40, 30, 3)), 0.5 * speckle((40, 30, 3), 1))
    assert torch.equal(find_body(image[None]), body)


def test_a_picture_without_background_is_all_body(ndim: int) -> None:
    assert find_body(speckle(SHAPES[ndim])[None]).all()
    assert find_body(torch.zeros(1, *SHAPES[ndim])).all()
    channel = speckle(SHAPES[ndim])
    assert find_body(torch.stack([channel, -channel])).all()  # equally bright all over


def test_the_commonest_column_equals_that_of_torch_unique() -> None:
    """The lowest, channel by channel, of equally common columns."""
    generator = torch.Generator().manual_seed(0)
    for channels in (1, 2, 3):
        voxels = torch.randint(-2, 3, (channels, 40), generator=generator).float()
        columns, counts = torch.unique(voxels, dim=1, return_counts=True)
        value, count = _commonest(voxels)
        assert torch.equal(value, columns[:, int(counts.argmax())])
        assert count == int(counts.max())
