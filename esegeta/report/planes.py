"""Slices of a volume as radiologists see them: which planes, how they lie, how they are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.patheffects import withStroke
from torch import Tensor

from esegeta.volume import Grid, Span, Volume, reorient_like


@dataclass(frozen=True)
class Plane:
    """One slice as it is drawn: rows upwards, columns to the right, both RAS-oriented.

    Args:
        title: name of the plane.
        horizontal: spatial axis drawn to the right.
        vertical: spatial axis drawn upwards.
        mirrored: whether the patient's right is drawn on the left, as radiologists expect.
    """

    title: str
    horizontal: int
    vertical: int
    mirrored: bool


PLANES_3D = (
    Plane("axial", 0, 1, True),
    Plane("coronal", 0, 2, True),
    Plane("sagittal", 1, 2, False),
)
PLANES_2D = (Plane("", 0, 1, True),)

SIDES = (("L", "R"), ("P", "A"), ("I", "S"))
"""Letters of the patient's sides along each axis of space, the lower end first."""

OBLIQUE = 0.342
"""Sine of 20 degrees: a direction that leads farther to a second side has its letter, too."""


def planes_of(shape: tuple[int, ...]) -> tuple[Plane, ...]:
    """Return the planes that have an area: a volume of one slice has one, not three."""
    if len(shape) == 2:
        return PLANES_2D
    wide = [plane for plane in PLANES_3D if min(shape[plane.horizontal], shape[plane.vertical]) > 1]
    return tuple(wide) or PLANES_3D[:1]


@dataclass(frozen=True)
class Letters:
    """The patient's sides at the four edges of a plane as it is drawn; empty where not known."""

    left: str = ""
    right: str = ""
    bottom: str = ""
    top: str = ""


def letters_of(plane: Plane, volume: Volume, grid: Grid) -> Letters:
    """Return the letters at the edges of a plane; none for pictures, which have no sides.

    An edge of an oblique plane has two where it is turned by more than 20 degrees, the nearer
    side first: AR lies to the front, and to the right.

    Args:
        plane: the plane as it is drawn.
        volume: the image.
        grid: grid of the image, turned as it is drawn.
    """
    if volume.source.is_picture:
        return Letters()
    right = grid.affine[:3, plane.horizontal] * (-1.0 if plane.mirrored else 1.0)
    up = grid.affine[:3, plane.vertical]
    return Letters(*(_sides(way) for way in (-right, right, -up, up)))


def _sides(way: np.ndarray) -> str:
    """Return the letters of the sides to which a direction leads, the nearest first."""
    parts = way / np.linalg.norm(way)
    axes = sorted(range(3), key=lambda axis: -abs(parts[axis]))
    named = [axis for axis in axes[:2] if abs(parts[axis]) > OBLIQUE or axis == axes[0]]
    return "".join(SIDES[axis][int(parts[axis] > 0)] for axis in named)


def canonical(data: Tensor, volume: Volume) -> tuple[np.ndarray, Grid]:
    """Return `*S` turned so that axes point right, anterior and superior, and where it lies."""
    like = Grid(volume.grid.shape, np.eye(4))
    moved, grid = reorient_like(data.detach()[None].to(torch.float32), volume.grid, like)
    return moved[0].cpu().numpy(), grid


def canonical_image(volume: Volume, channel: int) -> tuple[np.ndarray, Grid]:
    """Return what is drawn of an image, turned likewise: one channel, or the colours of a picture.

    Args:
        volume: the image.
        channel: channel from 0; ignored for the red, green and blue of one picture.

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


def spans_shown(volume: Volume, channel: int) -> tuple[Span | None, ...]:
    """Return the value ranges of what is drawn: of one channel, or of a picture's colours."""
    return volume.spans if volume.is_colour else volume.spans[channel : channel + 1]


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


def frame_slice(axis: Any, width_mm: float, *, mirrored: bool) -> None:
    """Give the axes the shape of their slice; if mirrored, the patient's right is on the left."""
    axis.set_xlim((width_mm, 0) if mirrored else (0, width_mm))
    axis.set_aspect("equal")
    axis.set_xticks([])
    axis.set_yticks([])


def draw_letters(axis: Any, letters: Letters, *, points: float = 7) -> None:
    """Write small letters at the edges, legible on black and on white."""
    outline = [withStroke(linewidth=1.8, foreground="black")]
    spots = (
        (letters.left, 0.02, 0.5, "left", "center"),
        (letters.right, 0.98, 0.5, "right", "center"),
        (letters.bottom, 0.5, 0.02, "center", "bottom"),
        (letters.top, 0.5, 0.98, "center", "top"),
    )
    style = {"fontsize": points, "color": "white", "path_effects": outline, "zorder": 6}
    style["snap"] = False  # outlines snap to whole pixels, and the foot of an L to none
    for letter, x, y, side, height in spots:
        axis.text(x, y, letter, transform=axis.transAxes, ha=side, va=height, **style)
