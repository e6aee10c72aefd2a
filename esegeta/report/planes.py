"""Slices of a volume as radiologists see them: which planes, how they lie, how they are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.patheffects import withStroke
from torch import Tensor

from esegeta.volume import Grid, Volume, reorient_like

GREY_PERCENTILES = (1.0, 99.0)
"""Percentiles of the grey values that are drawn black and white."""


@dataclass(frozen=True)
class Plane:
    """One slice as it is drawn: rows upwards, columns to the right, both RAS-oriented.

    Args:
        title: name of the plane.
        horizontal: spatial axis drawn to the right.
        vertical: spatial axis drawn upwards.
        ends: letters at the left and right edge.
        mirrored: patient's right is drawn on the left, as radiologists look at it.
    """

    title: str
    horizontal: int
    vertical: int
    ends: tuple[str, str]
    mirrored: bool


PLANES_3D = (
    Plane("axial", 0, 1, ("R", "L"), True),
    Plane("coronal", 0, 2, ("R", "L"), True),
    Plane("sagittal", 1, 2, ("P", "A"), False),
)
PLANES_2D = (Plane("", 0, 1, ("", ""), True),)

SIDES = (("L", "R"), ("P", "A"), ("I", "S"))
"""Letters of the patient's sides along each axis of space, the lower end first."""


def planes_of(shape: tuple[int, ...]) -> tuple[Plane, ...]:
    """Return the planes that have an area: a volume of one slice has one, not three."""
    if len(shape) == 2:
        return PLANES_2D
    wide = [plane for plane in PLANES_3D if min(shape[plane.horizontal], shape[plane.vertical]) > 1]
    return tuple(wide) or PLANES_3D[:1]


def ends_of(plane: Plane, volume: Volume, grid: Grid) -> tuple[str, str]:
    """Return the letters of the patient's sides at the left and right edge of a plane.

    Those of a 2D image come from its grid. They are empty for pictures, which have none.

    Args:
        plane: as it is drawn.
        volume: the image.
        grid: of the image as it was turned to be drawn.
    """
    if volume.source.is_picture:
        return "", ""
    if plane.ends[0]:
        return plane.ends
    step = grid.affine[:3, plane.horizontal]
    axis = int(np.abs(step).argmax())
    upwards = (step[axis] > 0) != plane.mirrored
    return SIDES[axis] if upwards else SIDES[axis][::-1]


def canonical(data: Tensor, volume: Volume) -> tuple[np.ndarray, Grid]:
    """Return `*S` turned so that axes point right, anterior and superior, and where it lies."""
    like = Grid(volume.grid.shape, np.eye(4))
    moved, grid = reorient_like(data.detach()[None].to(torch.float32), volume.grid, like)
    return moved[0].cpu().numpy(), grid


def canonical_image(volume: Volume, channel: int) -> tuple[np.ndarray, Grid]:
    """Return what is drawn of an image, turned likewise: one channel, or the colours of a picture.

    Args:
        volume: the image.
        channel: from 0; without a meaning for the red, green and blue of one picture.

    Returns:
        Grey values `*S`, or colours `*S 3`, and where they lie.
    """
    if not volume.is_colour:
        return canonical(volume.data[channel], volume)
    colours = [canonical(plane, volume) for plane in volume.data]
    return np.stack([plane for plane, _ in colours], axis=-1), colours[0][1]


def upright(array: np.ndarray, place: tuple[Any, ...]) -> np.ndarray:
    """Return a slice of an array as it is drawn, rows upwards; colours stay last."""
    return np.swapaxes(array[place], 0, 1)


def size_of(
    shape: tuple[int, ...], plane: Plane, spacing_mm: tuple[float, ...]
) -> tuple[float, float]:
    """Return width and height in mm of a slice of this shape, rows first."""
    return spacing_mm[plane.horizontal] * shape[1], spacing_mm[plane.vertical] * shape[0]


def grey_range(image: np.ndarray) -> tuple[float, float]:
    """Return the grey values that are drawn black and white; they are never the same."""
    low, high = (float(edge) for edge in np.percentile(image, GREY_PERCENTILES))
    return low, max(high, low + 1e-6)


def placed(size_mm: tuple[float, float]) -> dict[str, Any]:
    """Return matplotlib's options that put a slice at the origin of axes in millimetres."""
    return {"origin": "lower", "extent": (0, size_mm[0], 0, size_mm[1])}


def draw_slice(
    axis: Any, image: np.ndarray, size_mm: tuple[float, float], grey: tuple[float, float]
) -> None:
    """Draw grey values or colours, rows upwards; `grey` are the values of black and white."""
    if image.ndim == 3:
        image = np.clip((image - grey[0]) / (grey[1] - grey[0]), 0, 1)
    axis.imshow(image, cmap="gray", vmin=grey[0], vmax=grey[1], **placed(size_mm))


def draw_outline(
    axis: Any, mask: np.ndarray, size_mm: tuple[float, float], colour: str, width: float
) -> None:
    """Draw the edge of a mask, if it has one in this slice.

    Args:
        axis: to draw on.
        mask: truths, rows upwards.
        size_mm: of the slice.
        colour: of the line.
        width: of the line, in points.
    """
    if mask.any() and not mask.all() and min(mask.shape) > 1:
        levels = {"levels": [0.5], "colors": colour, "linewidths": width}
        axis.contour(mask.astype(float), **levels, **placed(size_mm))


def frame_slice(axis: Any, width_mm: float, *, mirrored: bool) -> None:
    """Give the axes the shape of their slice; mirrored, the patient's right is on the left."""
    axis.set_xlim((width_mm, 0) if mirrored else (0, width_mm))
    axis.set_aspect("equal")


def draw_ends(axis: Any, ends: tuple[str, str]) -> None:
    """Write small letters at the left and right edge, legible on black and on white."""
    outline = [withStroke(linewidth=1.5, foreground="black")]
    for place, side, letter in zip((0.02, 0.98), ("left", "right"), ends, strict=True):
        axis.text(
            place,
            0.5,
            letter,
            transform=axis.transAxes,
            ha=side,
            va="center",
            fontsize=7,
            color="white",
            path_effects=outline,
        )
