"""A case: the files of one patient, and what must be true of them before any voxel is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from esegeta.errors import DataError, GridError
from esegeta.volume.alignment import require_same_grid
from esegeta.volume.files import (
    num_bytes_of,
    read_header,
    read_label_header,
    require_numbers,
    require_whole_file,
)
from esegeta.volume.grid import Grid
from esegeta.volume.kinds import kind_of
from esegeta.volume.reading import Reading


@dataclass(frozen=True)
class Case:
    """The files of one patient.

    Args:
        name: names the case's folder in the output.
        images: one path, or one per channel.
        label: the ground truth, on the same grid, or None.
        expected: the user's own segmentation by the same model, on the same grid, or None.
        spacing_mm: spacing in mm of the axes of files that hold no spacing (TIFF stacks, .npz).
        series: the series of a DICOM folder, by UID or description: one for all images, or one an
            image; empty where each folder holds one.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None = None
    expected: Path | None = None
    spacing_mm: tuple[float, ...] | None = None
    series: tuple[str, ...] = ()

    @property
    def told(self) -> dict[str, Any]:
        """What decides how its files are read, as plain values."""
        told = {"spacing_mm": self.spacing_mm, "series": self.series}
        return {key: list(value) for key, value in told.items() if value}

    def readings(self, reading: Reading) -> list[Reading]:
        """Return how each of its images is read.

        Raises:
            DataError: there is neither one series nor one for each image.
        """
        given, wanted = len(self.series), len(self.images)
        if given not in (0, 1, wanted):
            raise DataError(
                f"{self.name}: {given} series for {wanted} image{'s' * (wanted != 1)}",
                hint="give one series for all images, or one for each image",
            )
        each = (self.series or ("",)) * (wanted if given < 2 else 1)
        spaced = reading.with_spacing(self.spacing_mm)
        return [replace(spaced, series=name) for name in each]


def check_case(case: Case, reading: Reading) -> Grid:
    """Check by the headers that a case can be read, and return its grid.

    Raises:
        DataError: a file is missing or unreadable, or the channels are too many or too few.
        GridError: images or label of the case lie on different grids.
    """
    _require_use_of_spacing(case)
    headers = [
        read_header(path, one)
        for path, one in zip(case.images, case.readings(reading), strict=True)
    ]
    grid = headers[0][0]
    found = sum(count for _, count in headers)
    if len(headers) > 1 and found != len(headers):
        raise DataError(f"{case.name}: several images of one case must have one channel each")
    if found != reading.num_channels:
        raise DataError(
            f"{case.name}: {found} channel{'s' * (found != 1)} in "
            f"{', '.join(str(path) for path in case.images)}, "
            f"but the network takes {reading.num_channels}",
            hint="list one image per channel: image: [t1.nii.gz, t2.nii.gz]; channels that are not "
            "the last axis of a 4D array are named by `data: {channels_axis: 0}`; if a "
            "network does not say how many it takes, it gets as many as data.channels names",
        )
    for path, (other, _) in zip(case.images[1:], headers[1:], strict=True):
        _require_channel(case, grid, path, other, reading)
    if grid.ndim < reading.network_ndim:
        raise DataError(f"{case.name}: a {grid.ndim}D image for a {reading.network_ndim}D network")
    if case.label is not None:
        labels = reading.with_spacing(case.spacing_mm).of_labels(grid.ndim)
        label_grid, num_channels = read_label_header(case.label, labels, grid)
        if num_channels != 1:
            raise DataError(
                f"{case.name}: the label map {case.label} has {num_channels} channels",
                hint="give one map that holds the integer of the label at each voxel",
            )
        require_same_grid(case.name, case.images[0], grid, case.label, label_grid)
    return grid


def check_whole(case: Case, reading: Reading, *, most_bytes: int) -> int:
    """Refuse images of a case that are torn or not finite, as far as that takes little work.

    Args:
        case: the case.
        reading: how its files are read.
        most_bytes: files up to so many bytes together are read whole.

    Returns:
        How many of these bytes are left.

    Raises:
        DataError: one is torn, or holds NaN or Inf.
    """
    for path, one in zip(case.images, case.readings(reading), strict=True):
        require_whole_file(path, one)
        length = num_bytes_of(path)
        if length <= most_bytes:
            require_numbers(path, one)
            most_bytes -= length
    return most_bytes


def _require_use_of_spacing(case: Case) -> None:
    if case.spacing_mm is None:
        return
    kinds = {kind_of(path) for path in case.images if path.exists()}
    if kinds and not kinds & {"stack", "arrays"}:
        raise DataError(
            f"{case.name}: spacing_mm is for files that do not say how large their voxels are "
            f"(TIFF of several pages, .npz), not for {case.images[0].name}",
            hint="leave it out; `preprocess: {spacing_mm: ...}` resamples",
        )


def _require_channel(case: Case, grid: Grid, path: Path, other: Grid, reading: Reading) -> None:
    """Refuse a channel on another grid than the first's, unless it is to be resampled."""
    if reading.align == "first" and grid.ndim == other.ndim:
        return
    try:
        require_same_grid(case.name, case.images[0], grid, path, other)
    except GridError as error:
        raise GridError(
            str(error), hint="or let `data: {align: first}` resample the others onto the first"
        ) from error
