"""How files are read: by what a network takes, and what a config says about them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from esegeta.volume.picture import PictureAxes

Align = Literal["first"]


class ReadingWarning(UserWarning):
    """What was done to the values of a file as they were read; a run reports it as a note."""


@dataclass(frozen=True)
class Layout:
    """What files do not say about their arrays, and their user does.

    Args:
        channels_axis: the axis of 4D arrays that holds the channels; None for the last.
        spacing_mm: spacing in mm of files that hold none (TIFF stacks, .npz), not of others.
    """

    channels_axis: int | None = None
    spacing_mm: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Reading:
    """What a network takes, which decides how files are read.

    Args:
        num_channels: input channels; tells a 2D image with trailing channels from a 3D one.
        network_ndim: 2 or 3.
        nan_to_zero: replace NaN and Inf by zero instead of refusing them.
        channels: names of the channels, or empty.
        picture_axes: whether pictures are rows x columns (`yx`) or columns x rows (`xy`).
        layout: layout of the arrays in files.
        series: the series of a DICOM folder, by UID or description; empty where it holds only one.
        align: `first` resamples channels on other grids onto that of the first.
        max_voxels: larger images are refused by their header; None for any.
    """

    num_channels: int
    network_ndim: int
    nan_to_zero: bool = False
    channels: tuple[str, ...] = ()
    picture_axes: PictureAxes = field(default="yx")
    layout: Layout = Layout()
    series: str = ""
    align: Align | None = None
    max_voxels: int | None = None

    def of_labels(self, ndim: int) -> Reading:
        """Return how a label map is read for an image with this many axes."""
        return Reading(
            1,
            ndim,
            picture_axes=self.picture_axes,
            layout=self.layout,
            max_voxels=self.max_voxels,
        )

    def with_spacing(self, spacing_mm: tuple[float, ...] | None) -> Reading:
        """Return the same reading, with the spacing of files that hold none."""
        if spacing_mm is None:
            return self
        return replace(self, layout=replace(self.layout, spacing_mm=spacing_mm))
