"""Figures of one map: over its image, by region, and the curves behind its scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from esegeta.explain import Attribution, RegionRow
from esegeta.report.csv_tables import CurveRow
from esegeta.report.planes import (
    Plane,
    canonical,
    canonical_image,
    draw_outline,
    draw_slice,
    frame_slice,
    grey_range,
    placed,
    planes_of,
    size_of,
    upright,
)
from esegeta.report.style import (
    CHANNEL_COLOURS,
    DIVERGING,
    FINE_DPI,
    LINE_COLOURS,
    MUTED,
    new_figure,
    panel_grid,
    save_figure,
    style_panel,
)

TARGET_COLOUR = "#00c853"
PEAK_PERCENTILE = 99.5
OPACITY = 0.85

MOST_REGIONS = 24
"""Regions that an atlas is drawn with; those of the smallest share are left to the table."""

PANELS_A_ROW = 3
MOST_LETTERS = 20


@dataclass(frozen=True)
class Canonical:
    """Image, map and target mask turned so that axes point right, anterior and superior.

    The image is grey, or a picture's colours along a last axis of three.
    """

    image: np.ndarray
    map: np.ndarray
    mask: np.ndarray
    spacing_mm: tuple[float, ...]


def draw_overlay(path: Path, attribution: Attribution, title: str) -> None:
    """Draw an attribution as PNG: image, diverging map, outline of the target.

    The opacity follows the magnitude, so that the image stays visible where the map is small.
    The scale is symmetric and ends at the 99.5th percentile of the magnitude.
    """
    scene = _turn(attribution)
    centre = centre_of_mass(np.abs(scene.map))
    planes = planes_of(scene.map.shape)
    peak = peak_of(scene.map)
    figure = new_figure((4.2 * len(planes) + 1.2, 4.8))
    axes = [figure.add_subplot(1, len(planes), place + 1) for place in range(len(planes))]
    for axis, plane in zip(axes, planes, strict=True):
        draw_plane(axis, scene, plane, centre, peak)
    scale = ScalarMappable(Normalize(-peak, peak), cmap=DIVERGING)
    bar = figure.colorbar(scale, ax=axes, shrink=0.8, pad=0.02)
    bar.set_label(f"{attribution.unit}   ({attribution.meaning.legend})", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    figure.suptitle(f"{title}\n{attribution.target.description}", fontsize=10)
    save_figure(path, figure, dpi=FINE_DPI)


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
    image, grid = canonical_image(volume, 0)
    map_, _ = canonical(attribution.total, volume)
    mask, _ = canonical(attribution.target.mask.float(), volume)
    return Canonical(image, map_, mask > 0.5, grid.spacing_mm)


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
    arrays = (scene.image, scene.map, scene.mask)
    image, map_, mask = (upright(array, tuple(place)) for array in arrays)
    size_mm = size_of(image.shape, plane, scene.spacing_mm)
    draw_slice(axis, image, size_mm, grey_range(scene.image))
    opacity = OPACITY * np.clip(np.abs(map_) / peak, 0, 1) ** 0.7
    scale = {"cmap": DIVERGING, "vmin": -peak, "vmax": peak}
    axis.imshow(map_, alpha=opacity, **scale, **placed(size_mm))
    draw_outline(axis, mask, size_mm, TARGET_COLOUR, 0.9)
    frame_slice(axis, size_mm[0], mirrored=plane.mirrored)
    axis.set_xticks([])
    axis.set_yticks([])
    if plane.title:
        axis.set_title(f"{plane.title} {_letters(plane)}", fontsize=9)


def _letters(plane: Plane) -> str:
    return f"({plane.ends[0]} on the left)" if plane.ends[0] else ""


def draw_regions(
    path: Path, rows: Sequence[RegionRow], title: str, attribution: Attribution
) -> None:
    """Draw rows of a map as PNG: a line of panels for each atlas, a bar a region and channel.

    To the left the share of the map's magnitude, to the right its sum per ml; of pictures, whose
    pixels have no size, the sum.
    """
    quantity, word, per = ("signed_sum", "sum", "")
    if not attribution.volume.source.is_picture:
        quantity, word, per = "per_ml", "sum per ml", " / ml"
    atlases = list(dict.fromkeys(row.atlas for row in rows))
    groups = [_regions_of(rows, atlas) for atlas in atlases]
    heights = [0.55 + _num_bars(rows) * len(group) * 0.16 + 0.12 * len(group) for group in groups]
    figure = new_figure((9.6, sum(heights) + 1.5))
    axes = figure.subplots(len(groups), 2, squeeze=False, height_ratios=heights, sharey="row")
    channels = list(dict.fromkeys(row.channel for row in rows))
    for (left, right), atlas, group in zip(axes, atlases, groups, strict=True):
        _draw_region_bars(left, group, channels, "share")
        _draw_region_bars(right, group, channels, quantity)
        left.set_ylabel(atlas, fontsize=9, fontweight="bold")
        left.set_xlim(0, 1)
        left.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        peak = 1.08 * max((abs(edge) for edge in right.get_xlim()), default=0.0) or 1.0
        right.set_xlim(-peak, peak)
        right.axvline(0, color=MUTED, linewidth=0.8)
        left.invert_yaxis()
    figure.align_ylabels(axes[:, 0])
    axes[0][0].set_title("share of the magnitude", fontsize=9)
    axes[0][1].set_title(word, fontsize=9)
    axes[-1][1].set_xlabel(f"{attribution.unit}{per}\n({attribution.meaning.legend})", fontsize=8)
    if len(channels) > 1:
        figure.legend(
            *axes[0][0].get_legend_handles_labels(),
            title="channel",
            fontsize=8,
            title_fontsize=8,
            loc="outside right upper",
        )
    figure.suptitle(title, fontsize=10)
    save_figure(path, figure, dpi=FINE_DPI)


def _regions_of(rows: Sequence[RegionRow], atlas: str) -> dict[str, dict[str, RegionRow]]:
    """Return an atlas's rows by region and channel, without the least of too many regions."""
    found: dict[str, dict[str, RegionRow]] = {}
    for row in rows:
        if row.atlas == atlas:
            found.setdefault(row.region, {})[row.channel] = row
    size = {name: sum(row.share for row in parts.values()) for name, parts in found.items()}
    kept = sorted(found, key=lambda name: size[name], reverse=True)[:MOST_REGIONS]
    return {name: parts for name, parts in found.items() if name in kept}


def _num_bars(rows: Sequence[RegionRow]) -> int:
    return len({row.channel for row in rows})


def _draw_region_bars(
    axis: Any, group: dict[str, dict[str, RegionRow]], channels: Sequence[str], quantity: str
) -> None:
    places = np.arange(len(group), dtype=float)
    thick = 0.8 / len(channels)
    for number, channel in enumerate(channels):
        values = [getattr(parts[channel], quantity) for parts in group.values()]
        offset = (number - (len(channels) - 1) / 2) * thick
        colour = CHANNEL_COLOURS[number % len(CHANNEL_COLOURS)]
        # An empty region has no value per ml, and no bar.
        widths = np.nan_to_num(np.asarray(values, dtype=float))
        axis.barh(places + offset, widths, height=thick, color=colour, label=channel)
    axis.set_yticks(places, list(group), fontsize=8)
    style_panel(axis, "x")


def draw_curves(path: Path, rows: Sequence[CurveRow], title: str) -> None:
    """Draw all curves of one map as PNG, a panel a score and quantity."""
    panels: dict[tuple[str, str, str], list[CurveRow]] = {}
    for row in rows:
        panels.setdefault((row.score, row.x_label, row.y_label), []).append(row)
    num_rows, num_columns = panel_grid(len(panels), PANELS_A_ROW)
    figure = new_figure((4.3 * num_columns, 3.2 * num_rows + 0.5))
    axes = figure.subplots(num_rows, num_columns, squeeze=False).flatten()
    for axis, ((score, x_label, y_label), lines) in zip(axes, panels.items(), strict=False):
        _draw_lines(axis, lines)
        axis.set_title(score, fontsize=10)
        axis.set_xlabel(x_label, fontsize=8)
        axis.set_ylabel(y_label, fontsize=8)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    figure.suptitle(title, fontsize=10)
    save_figure(path, figure, dpi=FINE_DPI)


def _short_names(ticks: Sequence[str]) -> list[str]:
    """Return the ends of long names, such as those of layers."""
    return [tick if len(tick) <= MOST_LETTERS else f"…{tick[1 - MOST_LETTERS :]}" for tick in ticks]


def _draw_lines(axis: Any, lines: Sequence[CurveRow]) -> None:
    for number, line in enumerate(lines):
        colour = LINE_COLOURS[number % len(LINE_COLOURS)]
        places = np.arange(len(line.x)) if line.ticks else np.asarray(line.x)
        options = {"color": colour, "linewidth": 1.4, "marker": "o", "markersize": 2.5}
        axis.plot(places, np.asarray(line.y), label=line.curve, **options)
        if line.ticks:
            axis.set_xticks(places, _short_names(line.ticks), rotation=60, ha="right", fontsize=6)
    if len(lines) > 1:
        axis.legend(fontsize=7, frameon=False)
    style_panel(axis, "y")
