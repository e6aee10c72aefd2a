"""Volumes in memory: their grid, names, and what stays when the data change."""

import numpy as np
import pytest
import torch

from esegeta.volume import volume_from_tensor
from tests.builders import SHAPES, affine_of


def test_a_tensor_may_have_a_spacing_an_affine_or_neither(ndim: int) -> None:
    data = torch.randn(2, *SHAPES[ndim], dtype=torch.float64)
    spacing = (0.5, 2.0, 3.0)[:ndim]
    assert volume_from_tensor(data).grid.spacing_mm == (1.0,) * ndim
    assert volume_from_tensor(data, spacing).grid.spacing_mm == spacing
    volume = volume_from_tensor(data, affine=affine_of("oblique", ndim))
    np.testing.assert_array_equal(volume.affine, affine_of("oblique", ndim))
    assert volume.data.dtype == torch.float32
    assert volume.source.grid is volume.grid
    assert (volume.ndim, volume.num_channels) == (ndim, 2)
    assert torch.equal(volume.batch[0], data.float())


def test_channels_are_numbered_unless_named() -> None:
    data = torch.zeros(2, 3, 3)
    assert volume_from_tensor(data).channels == ("0", "1")
    assert volume_from_tensor(data, channels=("t1", "t2")).channels == ("t1", "t2")


def test_with_data_replaces_the_data_on_the_same_grids() -> None:
    volume = volume_from_tensor(torch.zeros(1, 4, 5), name="a", channels=("t1",))
    other = volume.with_data(torch.ones(1, 4, 5))
    assert torch.equal(other.data, torch.ones(1, 4, 5))
    assert not volume.data.any()
    assert (other.grid, other.source) == (volume.grid, volume.source)
    assert (other.name, other.channels) == ("a", ("t1",))


def test_a_volume_cannot_be_changed() -> None:
    volume = volume_from_tensor(torch.zeros(1, 4, 5))
    with pytest.raises(AttributeError):
        volume.name = "b"  # type: ignore[misc]


def test_moving_to_a_device_moves_only_the_data() -> None:
    volume = volume_from_tensor(torch.zeros(1, 4, 5))
    moved = volume.to("meta")
    assert moved.data.device.type == "meta"
    assert moved.grid is volume.grid
