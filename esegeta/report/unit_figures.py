"""Figures of units: each on the images that activate it most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from esegeta.axes import Mask
from esegeta.report.grey import grey_range
from esegeta.report.outlines import Line, draw_outline
from esegeta.report.planes import (
    Letters,
    Plane,
    canonical,
    canonical_image,
    draw_letters,
    draw_slice,
    frame_slice,
    letters_of,
    planes_of,
    size_of,
    spans_shown,
    upright,
)
from esegeta.report.style import new_figure, save_figure, wrap
from esegeta.volume import Volume

UNIT_COLOUR, CONCEPT_COLOUR = "#ff9f1c", "#00c8ff"
UNIT_LINE, CONCEPT_LINE = Line(UNIT_COLOUR), Line(CONCEPT_COLOUR, "dashed")
PANEL_INCHES = 2.9
"""The longer side of the largest panel in a row."""

NARROWEST_INCHES = 1.3
MARGIN_INCHES = 0.12
COLUMNS_2D = 4


@dataclass(frozen=True)
class Panel:
    """One slice of a case, with what a unit and its concept mark in it.

    Args:
        title: title of the slice.
        image: grey values, or colours along a last axis, as they are drawn, rows upwards.
        unit: the unit's mask.
        concept: the concept's mask.
        size_mm: size of the slice in mm, to the right and upwards.
        grey: range of grey values.
        mirrored: whether the patient's right is drawn on the left.
        letters: letters of the patient's sides at the edges.
    """

    title: str
    image: np.ndarray
    unit: np.ndarray
    concept: np.ndarray
    size_mm: tuple[float, float]
    grey: tuple[float, float]
    mirrored: bool
    letters: Letters

    @property
    def inches(self) -> tuple[float, float]:
        """Width and height as drawn."""
        scale = PANEL_INCHES / max(self.size_mm)
        return self.size_mm[0] * scale, self.size_mm[1] * scale


def telling_channel(volume: Volume, mask: Mask) -> int:
    """Return the channel, from 0, whose grey values differ most between a mask and the rest.

        d_c = |mean inside - mean outside| / standard deviation of the channel

    Of equals, the first; 0 where the mask is empty or everything.

    Args:
        volume: the image.
        mask: voxels `*S`.
    """
    values = volume.data.flatten(1)
    inside = mask.flatten().to(values.device)
    if not inside.any() or inside.all():
        return 0
    differences = (values[:, inside].mean(1) - values[:, ~inside].mean(1)).abs()
    spread = values.std(1, correction=0)
    ratios = torch.where(spread > 0, differences / spread, 0.0).tolist()
    return ratios.index(max(ratios))


def panels_of(
    volume: Volume, unit: Mask, concept: Mask, title: str, *, channel: int = 0
) -> list[Panel]:
    """Return the planes of a case in which a unit's mask shows best.

    In each plane it is the slice with the most voxels of unit and concept together; of the unit
    alone where they do not meet.

    Args:
        volume: the image.
        unit: voxels of the unit's mask.
        concept: voxels of the concept.
        title: part of each panel's title.
        channel: channel of the image to draw, from 0; of several, the title names it. Pictures in
            colour are drawn in colour.
    """
    image, grid = canonical_image(volume, channel)
    masks = [canonical(mask.float(), volume)[0] > 0.5 for mask in (unit, concept)]
    grey = grey_range(image, spans_shown(volume, channel))
    both = masks[0] & masks[1]
    shown = next((mask for mask in (both, masks[0], masks[1]) if mask.any()), both)
    panels = []
    for plane in planes_of(shown.shape):
        place = _best_slice(shown, plane)
        image_, unit_, concept_ = (upright(array, place) for array in (image, *masks))
        heading = f"{title} {plane.title}".strip()
        if volume.num_channels > 1 and not volume.is_colour:
            heading = f"{heading}, {channel_name(volume, channel)}"
        size_mm = size_of(image_.shape, plane, grid.spacing_mm)
        letters = letters_of(plane, volume, grid)
        panels.append(
            Panel(heading, image_, unit_, concept_, size_mm, grey, plane.mirrored, letters)
        )
    return panels


def draw_unit(
    path: Path, title: str, names: tuple[str, str], rows: Sequence[Sequence[Panel]]
) -> None:
    """Write the figure of a unit as PNG; see `unit_figure`."""
    save_figure(path, unit_figure(title, names, rows))


def unit_figure(title: str, names: tuple[str, str], rows: Sequence[Sequence[Panel]]) -> Figure:
    """Return a figure of a unit: a row of planes for each case; in 2D, several images per row.

    Args:
        title: title with layer, unit, concept and figures.
        names: names of the unit's outline and of the concept's.
        rows: the panels of each case.
    """
    lines = [list(row) for row in rows]
    if all(len(row) == 1 for row in lines):
        flat = [panel for row in lines for panel in row]
        lines = [flat[at : at + COLUMNS_2D] for at in range(0, len(flat), COLUMNS_2D)]
    widths, heights = _sides(lines)
    width = max(sum(widths), 2 * PANEL_INCHES)
    heading = wrap(title, width, 9)
    num_lines = heading.count("\n") + 1
    figure = new_figure((width, sum(heights) + 0.45 + 0.16 * num_lines))
    ratios = {"width_ratios": widths, "height_ratios": heights}
    axes = figure.subplots(len(lines), len(widths), squeeze=False, gridspec_kw=ratios)
    for row, line in zip(axes, lines, strict=True):
        for axis in row:
            axis.set_axis_off()
        for axis, panel, room in zip(row, line, widths, strict=False):
            _draw_panel(axis, panel, room)
    both = zip((UNIT_LINE, CONCEPT_LINE), names, strict=True)
    handles = [line.handle(name) for line, name in both]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    figure.suptitle(heading, fontsize=9)
    return figure


def _sides(lines: Sequence[Sequence[Panel]]) -> tuple[list[float], list[float]]:
    """Return the inches of columns and of rows in which all panels have their own shape."""
    widths = [NARROWEST_INCHES] * max(len(line) for line in lines)
    for line in lines:
        for column, panel in enumerate(line):
            widths[column] = max(widths[column], panel.inches[0] + MARGIN_INCHES)
    heights = []
    for line in lines:
        titles = (
            wrap(panel.title, room, 8).count("\n") + 1
            for panel, room in zip(line, widths, strict=False)
        )
        tallest = max(panel.inches[1] for panel in line)
        heights.append(tallest + MARGIN_INCHES + 0.15 * max(titles))
    return widths, heights


def channel_name(volume: Volume, channel: int) -> str:
    """Return the name of a channel in a title."""
    name = volume.channels[channel]
    return f"channel {name}" if name.isdigit() else name


def _best_slice(mask: np.ndarray, plane: Plane) -> tuple[Any, ...]:
    """Return the index of the slice of a plane that holds most of a mask."""
    place: list[Any] = []
    for axis in range(mask.ndim):
        if axis in (plane.horizontal, plane.vertical):
            place.append(slice(None))
            continue
        others = tuple(other for other in range(mask.ndim) if other != axis)
        profile = mask.sum(axis=others)
        place.append(int(profile.argmax()) if profile.any() else mask.shape[axis] // 2)
    return tuple(place)


def _draw_panel(axis: Any, panel: Panel, room_inches: float) -> None:
    draw_slice(axis, panel.image, panel.size_mm, panel.grey)
    for mask, line in ((panel.concept, CONCEPT_LINE), (panel.unit, UNIT_LINE)):
        draw_outline(axis, mask, panel.size_mm, line)
    frame_slice(axis, panel.size_mm[0], mirrored=panel.mirrored)
    axis.set_title(wrap(panel.title, room_inches, 8), fontsize=8)
    draw_letters(axis, panel.letters)
