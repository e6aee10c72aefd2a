"""A map over its image, in the three planes through the map's centre of mass."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from torch import Tensor

from esegeta.explain import Attribution
from esegeta.volume import Grid, Volume, is_picture, reorient_like

DIVERGING = "RdBu_r"
PEAK_PERCENTILE = 99.5
GREY_PERCENTILES = (1.0, 99.0)
OPACITY = 0.85
DPI = 130


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


@dataclass(frozen=True)
class Canonical:
    """Image, map and target mask turned so that axes point right, anterior and superior."""

    image: np.ndarray
    map: np.ndarray
    mask: np.ndarray
    spacing_mm: tuple[float, ...]


def draw_overlay(path: Path, attribution: Attribution, title: str) -> None:
    """Draw an attribution as PNG: grey image, diverging map, outline of the target.

    The opacity follows the magnitude, so that the image stays visible where the map is small.
    The scale is symmetric and ends at the 99.5th percentile of the magnitude.
    """
    scene = _turn(attribution)
    centre = centre_of_mass(np.abs(scene.map))
    planes = planes_of(scene.map.shape)
    peak = peak_of(scene.map)
    figure = Figure(figsize=(4.2 * len(planes) + 1.2, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, len(planes), place + 1) for place in range(len(planes))]
    for axis, plane in zip(axes, planes, strict=True):
        draw_plane(axis, scene, plane, centre, peak)
    scale = ScalarMappable(Normalize(-peak, peak), cmap=DIVERGING)
    bar = figure.colorbar(scale, ax=axes, shrink=0.8, pad=0.02)
    bar.set_label(f"{attribution.unit}   (positive raises the target)", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    figure.suptitle(f"{title}\n{attribution.target.description}", fontsize=10)
    figure.savefig(path, dpi=DPI, facecolor="white")


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
    if any(is_picture(path) for path in volume.source.paths):
        return "", ""
    if plane.ends[0]:
        return plane.ends
    step = grid.affine[:3, plane.horizontal]
    axis = int(np.abs(step).argmax())
    upwards = (step[axis] > 0) != plane.mirrored
    return SIDES[axis] if upwards else SIDES[axis][::-1]


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


def centre_of_mass(magnitude: np.ndarray) -> tuple[int, ...]:
    """Return the voxel nearest to the centre of mass of a non-negative array."""
    total = float(magnitude.sum(dtype=np.float64))
    centre = []
    for axis, length in enumerate(magnitude.shape):
        others = tuple(other for other in range(magnitude.ndim) if other != axis)
        profile = magnitude.sum(axis=others, dtype=np.float64)
        place = float((profile * np.arange(length)).sum() / total) if total else (length - 1) / 2
        centre.append(min(max(round(place), 0), length - 1))
    return tuple(centre)


def _turn(attribution: Attribution) -> Canonical:
    volume = attribution.volume
    image, grid = canonical(volume.data[0], volume)
    map_, _ = canonical(attribution.total, volume)
    mask, _ = canonical(attribution.target.mask.float(), volume)
    return Canonical(image, map_, mask > 0.5, grid.spacing_mm)


def canonical(data: Tensor, volume: Volume) -> tuple[np.ndarray, Grid]:
    """Return `*S` turned so that axes point right, anterior and superior, and where it lies."""
    like = Grid(volume.grid.shape, np.eye(4))
    moved, grid = reorient_like(data.detach()[None].to(torch.float32), volume.grid, like)
    return moved[0].cpu().numpy(), grid


def peak_of(map_: np.ndarray) -> float:
    """Return where the colour scale ends: the 99.5th percentile of the magnitude."""
    magnitude = np.abs(map_[map_ != 0])
    return float(np.percentile(magnitude, PEAK_PERCENTILE)) if magnitude.size else 1.0


def draw_plane(
    axis: Any, scene: Canonical, plane: Plane, centre: tuple[int, ...], peak: float
) -> None:
    """Draw one plane through a voxel; the axes are in millimetres from the volume's corner."""
    place = [
        slice(None) if number in (plane.horizontal, plane.vertical) else centre[number]
        for number in range(scene.map.ndim)
    ]
    image, map_, mask = (array[tuple(place)].T for array in (scene.image, scene.map, scene.mask))
    low, high = np.percentile(scene.image, GREY_PERCENTILES)
    width = scene.spacing_mm[plane.horizontal] * image.shape[1]
    height = scene.spacing_mm[plane.vertical] * image.shape[0]
    extent = (width, 0, 0, height) if plane.mirrored else (0, width, 0, height)
    options = {"origin": "lower", "extent": (0, width, 0, height)}
    axis.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), **options)
    opacity = OPACITY * np.clip(np.abs(map_) / peak, 0, 1) ** 0.7
    axis.imshow(map_, cmap=DIVERGING, vmin=-peak, vmax=peak, alpha=opacity, **options)
    if mask.any() and not mask.all() and min(mask.shape) > 1:
        axis.contour(mask.astype(float), levels=[0.5], colors="#00c853", linewidths=0.9, **options)
    axis.set_xlim(extent[0], extent[1])
    axis.set_aspect("equal")
    axis.set_xticks([])
    axis.set_yticks([])
    if plane.title:
        axis.set_title(f"{plane.title} {_letters(plane)}", fontsize=9)


def _letters(plane: Plane) -> str:
    return f"({plane.ends[0]} on the left)" if plane.ends[0] else ""
