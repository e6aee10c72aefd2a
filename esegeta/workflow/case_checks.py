"""What can be known about the files of cases before anything is computed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from esegeta.axes import LabelMap
from esegeta.config import RunConfig, blamed_on
from esegeta.config.schema import Config
from esegeta.errors import (
    ConfigError,
    DataError,
)
from esegeta.model import (
    Labels,
    foreign_integers,
)
from esegeta.predict import WindowPlan, require_own_integers
from esegeta.volume import (
    Case,
    Grid,
    Reading,
    ReadingWarning,
    check_case,
    check_whole,
    read_labels_of_case,
)

IMAGE_BYTES_READ = 1 << 27
"""Bytes of images that are read before a run: seconds, for any number of cases."""


def check_case_fits(case: Case, reading: Reading, keys: Config, plan: WindowPlan) -> Grid:
    """Check by its headers that a case fits network, preprocessing and windows; return its grid."""
    grid = check_case(case, reading)
    spacing = keys.data.preprocess.spacing_mm
    if spacing is not None and len(spacing) != grid.ndim:
        raise ConfigError(
            f"preprocess.spacing_mm has {len(spacing)} values, {case.name} is {grid.ndim}D",
            hint=f"give {grid.ndim} values",
        )
    orientation = keys.data.preprocess.orientation
    if orientation is not None and len(orientation) < grid.ndim:
        raise ConfigError(
            f'preprocess.orientation "{orientation}" names 2 axes, {case.name} is {grid.ndim}D',
            hint="name each axis, such as RAS",
        )
    plan.lay(grid.shape)
    return grid


def check_whole_cases(config: RunConfig, cases: list[Case], reading: Reading) -> None:
    """Refuse images that are torn or not finite, as far as that takes little work.

    A run fails that case, and goes on with the others.
    """
    left = IMAGE_BYTES_READ
    for index, case in enumerate(cases):
        with blamed_on(config, "data", "cases", index):
            left = check_whole(case, reading, most_bytes=left)


def require_some_whole(config: RunConfig, cases: list[Case], reading: Reading) -> None:
    """Refuse cases of which none can be read; the first that can ends the search.

    Raises:
        DataError: what is wrong with the first.
    """
    first: DataError | None = None
    for index, case in enumerate(cases):
        try:
            with blamed_on(config, "data", "cases", index):
                check_whole(case, reading, most_bytes=IMAGE_BYTES_READ)
        except DataError as error:
            first = first or error
        else:
            return
    if first is not None:
        raise first


def check_expected(
    config: RunConfig,
    labels: Labels,
    cases: list[Case],
    reading: Reading,
    grids: Mapping[str, Grid],
) -> None:
    """Refuse expected segmentations that do not lie on their image, or are not of these labels.

    They are read in full: that is little work beside the prediction that they are to prove.
    """
    for index, case in enumerate(cases):
        if case.expected is None or case.name not in grids:
            continue
        with blamed_on(config, "data", "cases", index, "expected"):
            check_case(replace(case, label=case.expected), reading)
            found = _read_labels(case.expected, case, reading, grids[case.name])
            require_own_integers(labels, found, f"{case.name}: {case.expected}")


VOXELS_READ = 1 << 26
"""Voxels of ground truths that are read before a run: seconds, for a case of any size or many."""


def check_truths(
    config: RunConfig,
    labels: Labels,
    cases: list[Case],
    reading: Reading,
    grids: Mapping[str, Grid],
) -> None:
    """Refuse ground truths that hold other integers than any label's, such as a mask of 0 and 255.

    The first case's is read, and those behind it while that is cheap; others are read in the run.
    """
    num_read = 0
    for index, case in enumerate(cases):
        if case.label is None or case.name not in grids:
            continue
        num_read += math.prod(grids[case.name].shape)
        if index > 0 and num_read > VOXELS_READ:
            return
        with blamed_on(config, "data", "cases", index, "label"):
            found = _read_labels(case.label, case, reading, grids[case.name])
            foreign_integers(found, labels, f"{case.name}: {case.label}")


def _read_labels(path: Path, case: Case, reading: Reading, grid: Grid) -> LabelMap:
    """Read a label map on the grid of its image's file."""
    with warnings.catch_warnings(action="ignore", category=ReadingWarning):
        # What is done to its values is noted when it is used.
        return read_labels_of_case(path, case, grid, reading)
