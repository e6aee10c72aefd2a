"""Figures of what units want to see: pictures side by side with real patches, in one grey scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.image
import numpy as np
from matplotlib.figure import Figure

from esegeta.report.planes import (
    PLANES_2D,
    Plane,
    draw_slice,
    frame_slice,
    planes_of,
    size_of,
    upright,
)
from esegeta.report.style import MUTED, new_figure, save_figure, wrap

COLUMN_INCHES = 1.75
MOST_CHANNELS = 4
REAL_COLOUR = "#0072b2"
"""Of the frame around real patches."""

CHANGE_PERCENTILE = 99.5
"""Of the magnitudes of a change: the largest are drawn black and white."""

Grey = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Column:
    """One picture of a figure.

    Args:
        title: above it.
        data: `C *S`.
        words: below it.
        is_real: whether it is a patch of a case.
    """

    title: str
    data: np.ndarray = field(repr=False)
    words: str = ""
    is_real: bool = False


def draw_columns(
    path: Path,
    columns: Sequence[Column],
    spacing_mm: Sequence[float],
    greys: Sequence[Grey],
    title: str,
) -> None:
    """Write pictures side by side as PNG; see `columns_figure`."""
    save_figure(path, columns_figure(columns, spacing_mm, greys, title))


def columns_figure(
    columns: Sequence[Column], spacing_mm: Sequence[float], greys: Sequence[Grey], title: str
) -> Figure:
    """Return a figure with a column a picture: three planes through the middle, or channels.

    Args:
        columns: pictures of one shape; real ones have a frame.
        spacing_mm: spacing of their voxels, in mm.
        greys: values that are drawn black and white in each channel, the same for all.
        title: of the figure.
    """
    views = _views(columns[0].data)
    sizes = [
        size_of(_cut(columns[0].data, *view).shape, view[1], tuple(spacing_mm)) for view in views
    ]
    heights = [COLUMN_INCHES * size[1] / size[0] for size in sizes]
    lines = max(column.words.count("\n") + 1 for column in columns)
    heads = max(column.title.count("\n") + 1 for column in columns)
    width = COLUMN_INCHES * max(len(columns), 2)
    heading = wrap(title, width, 9)
    room = 0.115 * (lines + heads) + 0.16 * (heading.count("\n") + 1) + 0.08 * len(views)
    figure = new_figure((width, sum(heights) + room))
    axes = figure.subplots(
        len(views), len(columns), squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for place, (view, size) in enumerate(zip(views, sizes, strict=True)):
        for axis, column in zip(axes[place], columns, strict=True):
            draw_slice(axis, _cut(column.data, *view), size, greys[view[0]])
            frame_slice(axis, size[0], mirrored=view[1].mirrored)
            for spine in axis.spines.values():
                spine.set_visible(column.is_real)
                spine.set(color=REAL_COLOUR, linewidth=1.5)
            if place == 0:
                axis.set_title(column.title, fontsize=7)
            if place == len(views) - 1:
                axis.set_xlabel(column.words, fontsize=6, color=MUTED)
    figure.suptitle(heading, fontsize=9)
    return figure


def save_planes(
    path: Path,
    data: np.ndarray,
    spacing_mm: Sequence[float],
    greys: Sequence[Grey],
    names: Sequence[str],
) -> None:
    """Write the three planes through the middle of a picture `C *S` as PNG, a row a channel."""
    shown = data[:MOST_CHANNELS]
    planes = planes_of(data.shape[1:])
    sizes = [
        size_of(upright(data[0], _middle(data.shape[1:], plane)).shape, plane, tuple(spacing_mm))
        for plane in planes
    ]
    widths = [2.0 * size[0] / max(max(one) for one in sizes) for size in sizes]
    height = 2.0 * max(size[1] for size in sizes) / max(max(one) for one in sizes)
    figure = new_figure((sum(widths) + 0.4, (height + 0.3) * len(shown)))
    axes = figure.subplots(
        len(shown), len(planes), squeeze=False, gridspec_kw={"width_ratios": widths}
    )
    for row, channel, grey, name in zip(axes, shown, greys, names, strict=False):
        for axis, plane, size in zip(row, planes, sizes, strict=True):
            draw_slice(axis, upright(channel, _middle(channel.shape, plane)), size, grey)
            frame_slice(axis, size[0], mirrored=plane.mirrored)
            label = "" if len(shown) == 1 else f", channel {name}"
            axis.set_title(f"{plane.title}{label}", fontsize=8)
    save_figure(path, figure)


def save_picture(path: Path, data: np.ndarray, greys: Sequence[Grey]) -> None:
    """Write a 2D picture `C *S` as PNG, a pixel a voxel: grey, in colour, or channels in a row.

    The patient's right is on the left and the front is above, as in figures.
    """
    scaled = [
        np.clip((channel - low) / (high - low), 0, 1)
        for channel, (low, high) in zip(data, greys, strict=True)
    ]
    turned = [upright(channel, _middle(channel.shape, PLANES_2D[0]))[:, ::-1] for channel in scaled]
    image = np.stack(turned, axis=-1) if len(turned) == 3 else np.concatenate(turned, axis=1)
    matplotlib.image.imsave(
        path, np.ascontiguousarray(image[::-1]), cmap="gray", vmin=0, vmax=1, format="png"
    )


def draw_dream(
    path: Path,
    before: np.ndarray,
    after: np.ndarray,
    spacing_mm: Sequence[float],
    greys: Sequence[Grey],
    title: str,
) -> None:
    """Write an image `C *S` before and after a dream, and what was added, as PNG."""
    spread = float(np.percentile(np.abs(after - before), CHANGE_PERCENTILE)) or 1.0
    middle = [(low + high) / 2 for low, high in greys]
    scale = [(high - low) / (2 * spread) for low, high in greys]
    column = (-1, *[1] * (before.ndim - 1))
    change = (after - before) * np.reshape(scale, column) + np.reshape(middle, column)
    columns = [
        Column("before", before),
        Column("after", after),
        Column(f"change, ±{spread:.2g}", change),
    ]
    save_figure(path, columns_figure(columns, spacing_mm, greys, title))


def _views(data: np.ndarray) -> list[tuple[int, Plane]]:
    """Return which channel is drawn in which plane, a row each."""
    planes = planes_of(data.shape[1:])
    if len(data) == 1:
        return [(0, plane) for plane in planes]
    return [(channel, planes[0]) for channel in range(min(len(data), MOST_CHANNELS))]


def _cut(data: np.ndarray, channel: int, plane: Plane) -> np.ndarray:
    return upright(data[channel], _middle(data.shape[1:], plane))


def _middle(shape: tuple[int, ...], plane: Plane) -> tuple[slice | int, ...]:
    shown = (plane.horizontal, plane.vertical)
    return tuple(slice(None) if a in shown else n // 2 for a, n in enumerate(shape))
