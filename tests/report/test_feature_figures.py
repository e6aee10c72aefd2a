"""Pictures of features: planes or channels, one grey scale, frames around what is real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from esegeta.report.feature_figures import (
    MOST_CHANNELS,
    REAL_COLOUR,
    Column,
    columns_figure,
    draw_dream,
    save_planes,
)

SHAPE = (6, 5, 4)
PLANES = ["axial", "coronal", "sagittal"]


def numbered(channels: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return a picture in which every voxel is told from all others."""
    size = int(np.prod((channels, *shape)))
    return np.arange(size, dtype=np.float32).reshape(channels, *shape)


def test_columns_show_three_planes_and_frame_real_patches() -> None:
    data = numbered(1, SHAPE)
    columns = [Column("made", data, "strong"), Column("case a", -data, "real", is_real=True)]
    figure = columns_figure(columns, (1.0, 1.0, 2.0), [(0.0, 90.0)], "title")
    assert figure.get_suptitle() == "title"
    made, real = figure.axes[::2], figure.axes[1::2]
    assert len(made) == len(real) == 3
    for axes, sign in ((made, 1), (real, -1)):
        middle = (data[0][:, :, 2], data[0][:, 2, :], data[0][3])
        for axis, expected in zip(axes, middle, strict=True):
            np.testing.assert_array_equal(axis.images[0].get_array(), sign * expected.T)
            assert axis.images[0].get_clim() == (0, 90)
    assert [axis.get_title() for axis in figure.axes] == ["made", "case a", "", "", "", ""]
    assert [axis.get_xlabel() for axis in figure.axes] == ["", "", "", "", "strong", "real"]
    for axes, is_real in ((made, False), (real, True)):
        for axis in axes:
            assert all(spine.get_visible() == is_real for spine in axis.spines.values())
    assert to_hex(real[0].spines["top"].get_edgecolor()) == REAL_COLOUR


@pytest.mark.parametrize("channels", [2, MOST_CHANNELS + 1])
def test_several_channels_are_rows_each_with_a_grey_scale_of_its_own(channels: int) -> None:
    data = numbered(channels, SHAPE)
    greys = [(0.0, 10.0 * (channel + 1)) for channel in range(channels)]
    figure = columns_figure([Column("made", data)], (1.0, 1.0, 1.0), greys, "title")
    assert len(figure.axes) == min(channels, MOST_CHANNELS)
    for axis, channel, grey in zip(figure.axes, data, greys, strict=False):
        np.testing.assert_array_equal(axis.images[0].get_array(), channel[:, :, 2].T)
        assert axis.images[0].get_clim() == grey


def test_a_difference_of_zero_is_drawn_in_middle_grey(
    tmp_path: Path, unsaved: list[Figure]
) -> None:
    before = np.full((1, 8, 8), 3.0, np.float32)
    after = before.copy()
    after[0, :4] += 2
    draw_dream(tmp_path / "d.png", before, after, (1.0, 1.0), [(0.0, 10.0)], "title")
    (figure,) = unsaved
    assert [axis.get_title() for axis in figure.axes] == ["before", "after", "change, ±2"]
    change = np.asarray(figure.axes[2].images[0].get_array())
    assert set(np.unique(change)) == {5.0, 10.0}  # the middle of the scale, and its end


@pytest.mark.parametrize("channels", [1, 2])
def test_planes_are_named_and_so_are_channels_where_there_are_several(
    channels: int, tmp_path: Path, unsaved: list[Figure]
) -> None:
    data, names = numbered(channels, SHAPE), ["t1", "t2"][:channels]
    save_planes(tmp_path / "p.png", data, (1.0, 1.0, 1.0), [(0.0, 99.0)] * channels, names)
    titles = [axis.get_title() for axis in unsaved[0].axes]
    ends = [""] if channels == 1 else [", channel t1", ", channel t2"]
    assert titles == [f"{plane}{end}" for end in ends for plane in PLANES]
    last = np.asarray(unsaved[0].axes[-1].images[0].get_array())
    np.testing.assert_array_equal(last, data[-1, 3].T)
