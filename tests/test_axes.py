"""Places of a flattened volume, along each of its axes."""

import pytest
import torch

from esegeta.axes import Shape, along_axes


@pytest.mark.parametrize("shape", [(7,), (3, 5), (4, 1, 6)])
def test_places_along_axes_equal_torchs_unravel_index(shape: Shape) -> None:
    places = torch.randperm(torch.Size(shape).numel(), generator=torch.Generator().manual_seed(0))
    for ours, theirs in zip(
        along_axes(places, shape), torch.unravel_index(places, shape), strict=True
    ):
        assert torch.equal(ours, theirs)
