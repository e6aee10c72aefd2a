"""Slices of one volume by where they lie: their order, their distance, and what is wrong with them.

    distance = (row x column) . position

Slices are stacked along the normal of their plane, from its lower end, as ITK stacks them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from esegeta.errors import DataError
from esegeta.volume.stored import affine_from_itk

SAME_DIRECTION = 1e-4
"""Cosines of the same plane differ by less than this; scanners write six digits."""
UNEVEN = 0.02
"""Share of the distance between slices by which each may be out of place; positions are rounded."""
WHOLE = 0.1
"""How near to a multiple of the usual distance a gap is in which whole slices are missing."""
SIDEWAYS = 0.05
"""Share of a pixel by which a whole stack may lean."""


@dataclass(frozen=True)
class Place:
    """Where a slice lies, in DICOM's millimetres (LPS).

    Args:
        name: name of its file or frame.
        position_mm: position of the centre of its first pixel.
        row: direction in which columns are counted, along a row.
        column: direction in which rows are counted, along a column.
        spacing_mm: between columns, and between rows.
        size: columns, rows.
    """

    name: str
    position_mm: tuple[float, ...]
    row: tuple[float, ...]
    column: tuple[float, ...]
    spacing_mm: tuple[float, ...]
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Stacked:
    """How slices become a volume.

    Args:
        order: indices of the slices, from first to last.
        affine: indices (column, row, slice) to RAS mm, 4 x 4.
    """

    order: tuple[int, ...]
    affine: np.ndarray


def stack_slices(places: Sequence[Place], thickness_mm: float, where: Path) -> Stacked:
    """Return the order and the grid of slices.

    Args:
        places: places of the slices, in any order.
        thickness_mm: thickness of a slice that is the only one.
        where: their folder or file, for refusals.

    Raises:
        DataError: they are of several sizes or orientations, two lie at one place, some are
            missing, or they lean (gantry tilt).
    """
    _require_one_plane(places, where)
    first = places[0]
    row, column = np.array(first.row), np.array(first.column)
    normal = np.cross(row, column)
    positions = np.array([place.position_mm for place in places])
    heights = positions @ normal
    order = np.argsort(heights, kind="stable")
    names = [places[index].name for index in order]
    step_mm = _even_step(heights[order], names, where) if len(places) > 1 else thickness_mm
    _require_upright(positions[order], normal, first.spacing_mm, where)
    affine = affine_from_itk(
        (*first.spacing_mm, step_mm),
        tuple(float(value) for value in positions[order[0]]),
        np.stack([row, column, normal], axis=1),
        place=where,
    )
    return Stacked(tuple(int(index) for index in order), affine)


def _require_one_plane(places: Sequence[Place], where: Path) -> None:
    first = places[0]
    sizes = Counter(f"{place.size[0]}x{place.size[1]}" for place in places)
    if len(sizes) > 1:
        raise DataError(
            f"{where}: slices of {len(sizes)} sizes: {_counted(sizes)}",
            hint="keep the files of one volume in a folder",
        )
    kinds: list[tuple[np.ndarray, int]] = []
    for place in places:
        plane = np.array([*place.row, *place.column])
        known = next((i for i, (one, _) in enumerate(kinds) if _same(one, plane)), None)
        if known is None:
            kinds.append((plane, 1))
        else:
            kinds[known] = (kinds[known][0], kinds[known][1] + 1)
    if len(kinds) > 1:
        shown = Counter({_plane(plane): count for plane, count in kinds})
        raise DataError(
            f"{where}: slices of mixed orientation: {_counted(shown)}",
            hint="is it a localizer? keep the files of one volume in a folder",
        )
    spacings = {tuple(np.round(place.spacing_mm, 5)) for place in places}
    if len(spacings) > 1:
        shown_mm = " and ".join("x".join(f"{length:g}" for length in one) for one in spacings)
        raise DataError(
            f"{where}: slices with pixels of several sizes: {shown_mm} mm",
            hint="keep the files of one volume in a folder",
        )
    row, column = np.array(first.row), np.array(first.column)
    lengths = np.array([row @ row, column @ column, row @ column])
    if not np.allclose(lengths, (1, 1, 0), atol=1e-3):
        raise refusal_of_axes(where)


def refusal_of_axes(where: Path) -> DataError:
    """Return what to say of a file or a folder whose axes are not those of a grid."""
    return DataError(
        f"{where}: its rows and columns are not at right angles",
        hint="convert it to NIfTI (.nii.gz) with dcm2niix",
    )


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.abs(one - other).max() < SAME_DIRECTION)


def _plane(plane: np.ndarray) -> str:
    """Return the plane's name by the axis that its normal is nearest to."""
    normal = np.cross(plane[:3], plane[3:])
    name = ("sagittal", "coronal", "axial")[int(np.abs(normal).argmax())]
    return f"{name} ({', '.join(f'{value + 0:.3g}' for value in np.round(normal, 3))})"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} of {what}" for what, count in counts.most_common())


def _even_step(heights: np.ndarray, names: Sequence[str], where: Path) -> float:
    """Return the distance between neighbouring slices.

    Raises:
        DataError: the distances are not all the same.
    """
    steps = np.diff(heights)
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])
    largest = float(steps.max())
    twice = np.flatnonzero(steps < UNEVEN * largest) if largest > 0 else np.arange(len(steps))
    if len(twice):
        first = int(twice[0])
        count = len(twice)
        raise DataError(
            f"{where}: {count} slice{'s are' if count > 1 else ' is'} at the position of another: "
            f"{names[first]} and {names[first + 1]} are both at {heights[first]:.2f} mm",
            hint="are these several points in time, echoes or copies? keep one per position",
        )
    times = steps / usual
    gaps = np.flatnonzero((times > 1.5) & (np.abs(times - np.rint(times)) < WHOLE))
    if len(gaps):
        missing = int(np.rint(times[gaps] - 1).sum())
        first = int(gaps[0])
        raise DataError(
            f"{where}: {missing} slice{'s are' if missing != 1 else ' is'} missing: "
            f"{names[first]} and {names[first + 1]} are {steps[first]:.4g} mm apart, where "
            f"neighbours are {usual:.4g} mm apart",
            hint="copy the whole series",
        )
    step = float((heights[-1] - heights[0]) / (len(heights) - 1))
    even = heights[0] + step * np.arange(len(heights))
    if np.abs(heights - even).max() > UNEVEN * step * max(1, len(heights) ** 0.5):
        raise DataError(
            f"{where}: its slices are not evenly spaced: {steps.min():.4g} to {steps.max():.4g} mm",
            hint="resample it onto even slices first, such as with dcm2niix",
        )
    return step


def _require_upright(
    positions: np.ndarray, normal: np.ndarray, spacing_mm: tuple[float, ...], where: Path
) -> None:
    """Refuse slices whose first pixels do not lie above each other.

    Raises:
        DataError: they are shifted: all alike by a gantry tilt, or each differently.
    """
    along = positions[-1] - positions[0]
    moved = positions - positions[0]
    sideways = moved - (moved @ normal)[:, None] * normal
    worst = float(np.linalg.norm(sideways, axis=1).max())
    if worst <= SIDEWAYS * min(spacing_mm):
        return
    share = (moved @ normal) / max(float(along @ normal), 1e-9)
    lean = share[:, None] * sideways[-1]
    if np.linalg.norm(sideways - lean, axis=1).max() <= 2 * SIDEWAYS * min(spacing_mm):
        height, side = float(along @ normal), float(np.linalg.norm(sideways[-1]))
        angle = float(np.degrees(np.arctan2(side, height)))
        raise DataError(
            f"{where}: its slices are tilted by {angle:.3g} degrees (gantry tilt)",
            hint="straighten it first, such as with dcm2niix, which writes .nii.gz",
        )
    raise DataError(
        f"{where}: its slices are shifted against each other by up to {worst:.3g} mm",
        hint="resample it onto one grid first",
    )
