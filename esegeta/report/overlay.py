"""The picture of a map over its image, cut through the target, in words that a clinician knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from esegeta.explain import Attribution
from esegeta.report.outlines import DARK, draw_outline
from esegeta.report.palette import BLUE, RED, colours_of, draw_bar, over_grey
from esegeta.report.planes import (
    Plane,
    canonical,
    draw_letters,
    draw_slice,
    frame_slice,
    placed,
    size_of,
    upright,
)
from esegeta.report.style import FINE_DPI, MUTED, new_figure, save_figure, wrap
from esegeta.report.view import SMALL, Outline, View, view_of
from esegeta.report.warning_strip import (
    TEXT_POINTS,
    draw_strip,
    height_of,
    strip_inches,
    strip_text,
)
from esegeta.volume import Display, display_of

PanelRectangle = tuple[float, float, float, float]

PANELS_INCHES, HIGHEST_INCHES, WIDEST_ALONE_INCHES = 11.4, 6.0, 7.2
"""Room for all panels side by side, for the highest, and for one that stands alone."""

NARROWEST_INCHES = 7.6
GAP_INCHES, EDGE_INCHES, BAR_INCHES = 0.12, 0.15, 1.15
TITLE_POINTS = 11
INSET = 0.42
"""Side of the enlarged view, of the shorter side of its panel."""

DOMINATED = 0.9
"""A scale hides a map where the values beyond its end hold more than this part of all."""


@dataclass(frozen=True)
class Board:
    """Where panels and colour bar stand, in inches from the lower left corner.

    Args:
        boxes: left, bottom, width and height of each panel; all at one scale.
        bar: the same for the colour bar.
        width: width of the figure.
        height: height of the highest panel.
    """

    boxes: tuple[PanelRectangle, ...]
    bar: PanelRectangle
    width: float
    height: float

    @classmethod
    def of(cls, view: View) -> Board:
        """Lay out the planes of a view beside each other."""
        sizes = [view.size_mm(plane) for plane in view.planes]
        wide, highest = sum(size[0] for size in sizes), max(size[1] for size in sizes)
        gaps = GAP_INCHES * (len(sizes) - 1)
        room = (PANELS_INCHES if len(sizes) > 1 else WIDEST_ALONE_INCHES) - gaps
        scale = min(room / wide, HIGHEST_INCHES / highest)
        width = max(wide * scale + gaps + 2 * EDGE_INCHES + BAR_INCHES, NARROWEST_INCHES)
        left = (width - BAR_INCHES - wide * scale - gaps) / 2
        boxes = []
        for size in sizes:
            across, up = size[0] * scale, size[1] * scale
            boxes.append((left, (highest * scale - up) / 2, across, up))
            left += across + GAP_INCHES
        height = highest * scale
        bar = (left + 0.05, 0.08 * height, 0.16, 0.84 * height)
        return cls(tuple(boxes), bar, width, height)


def draw_overlay(
    path: Path,
    attribution: Attribution,
    title: str,
    doubts: Sequence[str] = (),
    view: View | None = None,
) -> None:
    """Write the picture of a map as PNG; see `overlay_figure`."""
    save_figure(path, overlay_figure(attribution, title, doubts, view), dpi=FINE_DPI)


def overlay_figure(
    attribution: Attribution, title: str, doubts: Sequence[str] = (), view: View | None = None
) -> Figure:
    """Return the picture of a map: image, map in colour, outlines, and what all of them mean.

    The planes go through the target, so that all methods show the same slices. Opacity rises with
    the magnitude up to its 99.5th percentile.

    Args:
        attribution: the map.
        title: case, target, method.
        doubts: what else a reader must know, besides the warnings of the map itself.
        view: the view of the map, if it is known already.
    """
    view = view or view_of(attribution)
    map_, _ = canonical(attribution.total, attribution.volume)
    display = display_of(map_, is_signed=attribution.meaning.is_signed)
    board = Board.of(view)
    head = _head(attribution, view, title, board.width)
    doubts = [*attribution.warnings, *doubts, *scale_doubts(map_, display)]
    warning = strip_text(doubts, board.width)
    handles = _legend(attribution, view.outlines)
    columns = _num_columns([handle.get_label() for handle in handles], board.width)
    legend = 0.2 * -(-len(handles) // columns) + 0.12
    below = legend + strip_inches(warning)
    total = below + board.height + sum(height_of(*line) for line in head) + 0.3
    figure = new_figure((board.width, total), layout=None)
    for plane, letters, box in zip(view.planes, view.letters, board.boxes, strict=True):
        axis = figure.add_axes(_part(box, below, (board.width, total)))
        draw_plane(axis, view, plane, map_, display)
        draw_letters(axis, letters, points=10)
        _draw_enlarged(axis, view, plane, map_, display)
        axis.set_title(plane.title, fontsize=TEXT_POINTS, pad=3)
    draw_bar(figure, _part(board.bar, below, (board.width, total)), display, attribution.unit)
    _write_head(figure, head, total)
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, below / total), "ncols": columns}
    looks = {"frameon": False, "borderaxespad": 0.3, "labelspacing": 0.3}
    figure.legend(handles=handles, fontsize=TEXT_POINTS, **place, **looks)
    draw_strip(figure, warning, total)
    return figure


def _part(box: PanelRectangle, above: float, size: tuple[float, float]) -> PanelRectangle:
    """Return a box in inches as parts of a figure, moved up."""
    left, bottom, wide, high = box
    return left / size[0], (bottom + above) / size[1], wide / size[0], high / size[1]


def _write_head(figure: Figure, head: Sequence[tuple[str, int]], total: float) -> None:
    y = total - 0.08
    for text, points in head:
        colour = "black" if points == TITLE_POINTS else MUTED
        figure.text(0.5, y / total, text, fontsize=points, color=colour, ha="center", va="top")
        y -= height_of(text, points)


def _num_columns(labels: Sequence[str], width: float) -> int:
    """Return the number of columns that a legend has room for, at most one per entry."""
    widths = [0.65 + 0.078 * len(label) for label in labels]
    if sum(widths) < width:
        return len(labels)
    return max(1, int(width / max(widths)))


def draw_plane(axis: Any, view: View, plane: Plane, map_: np.ndarray, display: Display) -> None:
    """Draw one plane of a view; the axes are in millimetres from the volume's corner.

    Args:
        axis: axis to draw on.
        view: image, voxel and outlines.
        plane: plane to cut along.
        map_: the map, turned as the image is.
        display: range of magnitudes that are shown.
    """
    place = _place_of(view, plane)
    image, values = (upright(array, place) for array in (view.image, map_))
    size_mm = size_of(values.shape, plane, view.spacing_mm)
    draw_slice(axis, image, size_mm, view.grey)
    axis.imshow(colours_of(values, display), **placed(size_mm))
    for outline in reversed(view.outlines):
        draw_outline(axis, upright(outline.mask, place), size_mm, outline.line)
    frame_slice(axis, size_mm[0], mirrored=plane.mirrored)


def _place_of(view: View, plane: Plane) -> tuple[Any, ...]:
    shown = (plane.horizontal, plane.vertical)
    return tuple(slice(None) if axis in shown else place for axis, place in enumerate(view.voxel))


def _head(attribution: Attribution, view: View, title: str, width: float) -> list[tuple[str, int]]:
    """Return the lines above the panels, each with its size."""
    channel = f", on {view.channel}" if view.channel else ""
    lines = [
        (title, TITLE_POINTS),
        (attribution.target.description, TEXT_POINTS),
        (f"cut through {view.place}{channel}", TEXT_POINTS),
    ]
    return [(wrap(text, width - 0.4, points), points) for text, points in lines]


def doubts_of_scale(attribution: Attribution) -> list[str]:
    """Return the warning that the colours of a map's picture show little of it, or none."""
    map_, _ = canonical(attribution.total, attribution.volume)
    return scale_doubts(map_, display_of(map_, is_signed=attribution.meaning.is_signed))


def scale_doubts(map_: np.ndarray, display: Display) -> list[str]:
    """Return the warning that a map's colours show little of it, or none."""
    if display.high == 0:
        return ["degenerate scale: the map is zero everywhere on this grid"]
    magnitude = np.abs(map_.astype(np.float64))
    beyond = float(magnitude[magnitude > display.high].sum() / magnitude.sum())
    if beyond <= DOMINATED:
        return []
    return [
        f"degenerate scale: the largest 0.5 % of the values hold {beyond:.0%} of the map, and "
        "look no stronger than the end of the scale"
    ]


def sentences(attribution: Attribution) -> list[str]:
    """Return what the colours of a map say, in words that a clinician knows."""
    above, below = attribution.meaning.readings(attribution.target.plain)
    if not attribution.meaning.is_signed:
        return [above]
    return [f"red: {above}", f"blue: {below}"]


def _legend(attribution: Attribution, outlines: Sequence[Outline]) -> list[Any]:
    """Return the entries of the legend: the colours in words, then the lines."""
    texts = sentences(attribution)
    if attribution.meaning.is_signed:
        colours: list[Any] = [RED, BLUE]
    else:
        strongest = colours_of(np.ones(1), Display(0.0, 1.0, is_signed=False))
        colours = [over_grey(strongest, 0.5)[0]]
    patches = [
        Patch(facecolor=colour, edgecolor=DARK, linewidth=0.5, label=text)
        for colour, text in zip(colours, texts, strict=True)
    ]
    return [*patches, *(outline.line.handle(outline.words) for outline in outlines)]


def _draw_enlarged(axis: Any, view: View, plane: Plane, map_: np.ndarray, display: Display) -> None:
    """Draw a small target again, enlarged, in the corner of the panel that is farthest from it."""
    part = upright(view.part, _place_of(view, plane))
    rows, columns = (np.flatnonzero(part.any(axis=axis_)) for axis_ in (1, 0))
    if not len(rows):
        return
    across, up = view.spacing_mm[plane.horizontal], view.spacing_mm[plane.vertical]
    wide, high = size_of(part.shape, plane, view.spacing_mm)
    size = (columns[-1] - columns[0] + 1) * across, (rows[-1] - rows[0] + 1) * up
    if size[0] > SMALL * wide or size[1] > SMALL * high:
        return
    x, y = (columns[0] + columns[-1] + 1) / 2 * across, (rows[0] + rows[-1] + 1) / 2 * up
    half = max(0.9 * max(size), 4 * max(across, up))
    side = INSET * min(wide, high)
    mirrored = plane.mirrored
    on_left = (x < wide / 2) == mirrored  # seen to the right: the enlarged view goes to the left
    spot = (0.0 if on_left else 1 - side / wide, 0.0 if y > high / 2 else 1 - side / high)
    inset = axis.inset_axes((*spot, side / wide, side / high), zorder=5)
    draw_plane(inset, view, plane, map_, display)
    inset.set_xlim((x + half, x - half) if mirrored else (x - half, x + half))
    inset.set_ylim(y - half, y + half)
    for spine in inset.spines.values():
        spine.set(edgecolor="white", linewidth=1.4)
    frame = Rectangle((x - half, y - half), 2 * half, 2 * half, fill=False, zorder=4)
    frame.set(edgecolor="white", linewidth=1.0)
    axis.add_patch(frame)
