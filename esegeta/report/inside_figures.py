"""Figures of a look inside: what channels of a layer see of a case, and filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from esegeta.report.grey import grey_range
from esegeta.report.planes import (
    canonical,
    canonical_image,
    draw_slice,
    frame_slice,
    placed,
    planes_of,
    size_of,
    spans_shown,
    upright,
)
from esegeta.report.style import DIVERGING, MUTED, new_figure, panel_grid, save_figure, wrap
from esegeta.volume import Volume

TILE_INCHES = 1.6
MOST_COLUMNS = 6
MOST_FILTERS, MOST_INPUTS = 16, 8
CELL_INCHES = 0.42


@dataclass(frozen=True, eq=False)
class UnitTile:
    """One channel of a layer.

    Args:
        title: above it.
        data: its activations at the voxels of the image, `*S`.
    """

    title: str
    data: Tensor = field(repr=False)


def draw_units(path: Path, volume: Volume, tiles: Sequence[UnitTile], title: str) -> None:
    """Write channels of a layer as one PNG; see `units_figure`."""
    save_figure(path, units_figure(volume, tiles, title))


def units_figure(volume: Volume, tiles: Sequence[UnitTile], title: str) -> Figure:
    """Return a figure of channels in one slice of the image, which comes first.

    It is the slice, in the widest plane, in which the channels differ most from their mean. Each
    channel has colours of its own, and its range below.

    Args:
        volume: the image.
        tiles: channels.
        title: of the figure.
    """
    image, grid = canonical_image(volume, 0)
    maps = [canonical(tile.data, volume)[0] for tile in tiles]
    plane = planes_of(maps[0].shape)[0]
    place = _telling_slice(maps, (plane.horizontal, plane.vertical))
    shown = upright(image, place)
    size = size_of(shown.shape[:2], plane, grid.spacing_mm)
    rows, columns = panel_grid(len(tiles) + 1, MOST_COLUMNS)
    tall = TILE_INCHES * size[1] / size[0]
    heading = wrap(title, TILE_INCHES * columns, 9)
    figure = new_figure((TILE_INCHES * max(columns, 2), (tall + 0.45) * rows + 0.35))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    draw_slice(axes[0], shown, size, grey_range(image, spans_shown(volume, 0)))
    frame_slice(axes[0], size[0], mirrored=plane.mirrored)
    axes[0].set_title("image", fontsize=7)
    for axis, tile, data in zip(axes[1:], tiles, maps, strict=False):
        _draw_map(axis, upright(data, place), size, data)
        frame_slice(axis, size[0], mirrored=plane.mirrored)
        low, high = float(data.min()), float(data.max())
        axis.set_title(f"{wrap(tile.title, TILE_INCHES, 7)}\n{low:.2g} to {high:.2g}", fontsize=7)
    figure.suptitle(heading, fontsize=9)
    return figure


def _draw_map(axis: Any, image: np.ndarray, size: tuple[float, float], whole: np.ndarray) -> None:
    low, high = (float(edge) for edge in np.percentile(whole, (0.5, 99.5)))
    if low < 0:
        peak = max(-low, high, 1e-12)
        axis.imshow(image, cmap=DIVERGING, vmin=-peak, vmax=peak, **placed(size))
    else:
        axis.imshow(image, cmap="magma", vmin=0, vmax=max(high, 1e-12), **placed(size))


def _telling_slice(maps: Sequence[np.ndarray], shown: tuple[int, int]) -> tuple[Any, ...]:
    ndim = maps[0].ndim
    place: list[Any] = [slice(None)] * ndim
    for axis in range(ndim):
        if axis not in shown:
            others = tuple(other for other in range(ndim) if other != axis)
            spread = sum(one.var(axis=others) / (one.var() + 1e-12) for one in maps)
            place[axis] = int(np.argmax(spread))
    return tuple(place)


def draw_filters(
    path: Path, weights: np.ndarray, similarity: np.ndarray, singular: np.ndarray, title: str
) -> None:
    """Write the filters of a convolution as PNG; see `filters_figure`."""
    save_figure(path, filters_figure(weights, similarity, singular, title))


def filters_figure(
    weights: np.ndarray, similarity: np.ndarray, singular: np.ndarray, title: str
) -> Figure:
    """Return a figure of filters, a row each: an input channel a column, slices of 3D side by side.

    To the right stand the cosines between all filters, and the singular values.

    Args:
        weights: `O I *K`; the first of them are drawn.
        similarity: `O O`.
        singular: the largest first.
        title: of the figure.
    """
    drawn = weights[:MOST_FILTERS, :MOST_INPUTS]
    sheet, width, height = filter_sheet(drawn)
    left = max(1.8, CELL_INCHES * drawn.shape[1] * width / height)
    tall = max(2.6, CELL_INCHES * len(drawn))
    note = _left_out(weights, drawn)
    heading = wrap(title + note, left + 2.4, 8)
    figure = new_figure((left + 2.4, tall + 0.2 + 0.17 * (heading.count("\n") + 1)))
    grid = figure.add_gridspec(2, 2, width_ratios=[left, 2.2])
    axis = figure.add_subplot(grid[:, 0])
    peak = float(np.nanmax(np.abs(sheet))) or 1.0
    table = matplotlib.colormaps[DIVERGING].with_extremes(bad="white")
    picture = axis.imshow(sheet, cmap=table, vmin=-peak, vmax=peak, interpolation="nearest")
    axis.set_xticks([])
    axis.set_yticks(
        [(height + 1) * row + height / 2 for row in range(len(drawn))],
        [str(row) for row in range(len(drawn))],
        fontsize=6,
    )
    axis.set_ylabel("filter", fontsize=7)
    axis.set_xlabel("input channels" if drawn.shape[1] > 1 else "", fontsize=7)
    bar = figure.colorbar(picture, ax=axis, location="bottom", shrink=0.7, aspect=30)
    bar.ax.tick_params(labelsize=6)
    _draw_similarity(figure, figure.add_subplot(grid[0, 1]), similarity)
    _draw_singular(figure.add_subplot(grid[1, 1]), singular)
    figure.suptitle(heading, fontsize=8)
    return figure


def filter_sheet(weights: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Return filters `O I *K` on one sheet, with width and height of a tile; gaps are NaN.

    A tile is the kernel, its first axis to the right; of a 3D kernel, its slices along the last
    axis stand side by side with a gap between them.
    """
    if weights.ndim == 5:
        slices = [weights[..., place] for place in range(weights.shape[-1])]
        gap = np.full((*slices[0].shape[:2], 1, slices[0].shape[3]), np.nan)
        parts: list[np.ndarray] = []
        for one in slices:
            parts += [one, gap]
        tiles = np.concatenate(parts[:-1], axis=2)
    else:
        tiles = weights
    tiles = np.swapaxes(tiles, 2, 3)[:, :, ::-1]
    count, inputs, height, width = tiles.shape
    sheet = np.full((count * (height + 1) - 1, inputs * (width + 2) - 2), np.nan)
    for row in range(count):
        for column in range(inputs):
            top, start = row * (height + 1), column * (width + 2)
            sheet[top : top + height, start : start + width] = tiles[row, column]
    return sheet, width, height


def _left_out(weights: np.ndarray, drawn: np.ndarray) -> str:
    parts = []
    if len(weights) > len(drawn):
        parts.append(f"first {len(drawn)} of {len(weights)} filters")
    if weights.shape[1] > drawn.shape[1]:
        parts.append(f"first {drawn.shape[1]} of {weights.shape[1]} input channels")
    return f"\n{', '.join(parts)}" if parts else ""


def _draw_similarity(figure: Figure, axis: Any, similarity: np.ndarray) -> None:
    picture = axis.imshow(similarity, cmap=DIVERGING, vmin=-1, vmax=1, interpolation="nearest")
    axis.set_title("cosine between filters", fontsize=7)
    axis.tick_params(labelsize=6)
    bar = figure.colorbar(picture, ax=axis, shrink=0.8)
    bar.ax.tick_params(labelsize=6)


def _draw_singular(axis: Any, singular: np.ndarray) -> None:
    axis.plot(range(1, len(singular) + 1), singular, ".-", color=MUTED)
    axis.set_title("singular values", fontsize=7)
    axis.set_ylim(bottom=0)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.tick_params(labelsize=6)
    axis.spines[["top", "right"]].set_visible(False)
