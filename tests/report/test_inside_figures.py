"""Figures of a look inside: the slice that tells most, colours of channels, filters left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esegeta.report.inside_figures import (
    MOST_FILTERS,
    MOST_INPUTS,
    UnitTile,
    filter_sheet,
    filters_figure,
    units_figure,
)
from esegeta.volume import Volume, volume_from_tensor

SHAPE = (7, 6, 5)


def image() -> Volume:
    data = torch.arange(7 * 6 * 5, dtype=torch.float32).reshape(1, *SHAPE)
    return volume_from_tensor(data, affine=np.eye(4))


def channel(low: float, high: float) -> torch.Tensor:
    """Return a channel that is constant but in its slice 3."""
    data = torch.full(SHAPE, low)
    data[2:4, 1:5, 3] = high
    return data


def test_channels_are_shown_where_they_differ_most() -> None:
    tiles = [UnitTile("rectified", channel(0.0, 4.0)), UnitTile("signed", channel(-1.0, 3.0))]
    figure = units_figure(image(), tiles, "title")
    first, rectified, signed, *rest = figure.axes
    assert (first.get_title(), figure.get_suptitle()) == ("image", "title")
    np.testing.assert_array_equal(first.images[0].get_array(), image().data[0, :, :, 3].T)
    assert rectified.get_title() == "rectified\n0 to 4"
    assert signed.get_title() == "signed\n-1 to 3"
    for axis, tile in ((rectified, tiles[0]), (signed, tiles[1])):
        np.testing.assert_array_equal(axis.images[0].get_array(), tile.data[:, :, 3].T)
    assert rectified.images[0].get_clim()[0] == 0
    low, high = signed.images[0].get_clim()
    assert low == -high < 0
    assert not any(axis.axison for axis in rest)


@pytest.mark.parametrize(
    ("shape", "note"),
    [
        ((2, 3, 3, 3), ""),
        ((MOST_FILTERS + 4, 2, 3, 3), "first 16 of 20 filters"),
        ((2, MOST_INPUTS + 1, 3, 3, 3), "first 8 of 9 input channels"),
        ((20, 9, 1, 1, 1), "first 16 of 20 filters, first 8 of 9 input channels"),
    ],
)
def test_filters_that_are_left_out_are_counted(shape: tuple[int, ...], note: str) -> None:
    weights = np.ones(shape)
    figure = filters_figure(weights, np.eye(shape[0]), np.ones(2), "title")
    assert " ".join(figure.get_suptitle().split()) == f"title {note}".strip()
    drawn = min(shape[0], MOST_FILTERS)
    assert len(figure.axes[0].get_yticklabels()) == drawn


def test_a_2d_filter_is_a_tile_with_its_first_axis_to_the_right() -> None:
    weights = np.arange(12.0).reshape(1, 2, 3, 2)
    sheet, width, height = filter_sheet(weights)
    assert (width, height) == (3, 2)
    np.testing.assert_array_equal(sheet[:, :3], weights[0, 0].T[::-1])
    np.testing.assert_array_equal(sheet[:, 5:], weights[0, 1].T[::-1])
    assert np.isnan(sheet[:, 3:5]).all()
