"""Figures of a dissection: a unit on the images that activate it most, and layers by concept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from esegeta.axes import Mask
from esegeta.dissect import Effect
from esegeta.report.overlay import GREY_PERCENTILES, Plane, canonical, planes_of
from esegeta.volume import Volume

UNIT_COLOUR, CONCEPT_COLOUR = "#ff7f0e", "#00c8ff"
BAR_COLOUR = "#0072b2"
DPI = 110
PANEL_INCHES = 2.9
COLUMNS_2D = 4


@dataclass(frozen=True)
class Panel:
    """One slice of a case, with what a unit and its concept mark in it.

    Args:
        title: above the slice.
        image: grey values as they are drawn, rows upwards.
        unit: the unit's mask.
        concept: the concept's mask.
        size_mm: of the slice, to the right and upwards.
        grey: range of grey values.
        mirrored: patient's right is drawn on the left.
    """

    title: str
    image: np.ndarray
    unit: np.ndarray
    concept: np.ndarray
    size_mm: tuple[float, float]
    grey: tuple[float, float]
    mirrored: bool


def panels_of(volume: Volume, unit: Mask, concept: Mask, title: str) -> list[Panel]:
    """Return the planes of a case in which a unit's mask shows best.

    In each plane it is the slice with the most voxels of unit and concept together; of the unit
    alone where they do not meet.

    Args:
        volume: the image.
        unit: voxels of the unit's mask.
        concept: voxels of the concept.
        title: joins the title of each panel.
    """
    image, grid = canonical(volume.data[0], volume)
    masks = [canonical(mask.float(), volume)[0] > 0.5 for mask in (unit, concept)]
    low, high = np.percentile(image, GREY_PERCENTILES)
    both = masks[0] & masks[1]
    shown = next((mask for mask in (both, masks[0], masks[1]) if mask.any()), both)
    panels = []
    for plane in planes_of(image.shape):
        place = _best_slice(shown, plane)
        image_, unit_, concept_ = (array[place].T for array in (image, *masks))
        width = grid.spacing_mm[plane.horizontal] * image_.shape[1]
        height = grid.spacing_mm[plane.vertical] * image_.shape[0]
        heading = f"{title} {plane.title}".strip()
        grey = (float(low), max(float(high), float(low) + 1e-6))
        panels.append(
            Panel(heading, image_, unit_, concept_, (width, height), grey, plane.mirrored)
        )
    return panels


def draw_unit(
    path: Path, title: str, names: tuple[str, str], rows: Sequence[Sequence[Panel]]
) -> None:
    """Draw a unit as PNG: a row of planes a case; several images a row in 2D.

    Args:
        path: of the picture.
        title: layer, unit, concept, figures.
        names: of the unit's outline and of the concept's.
        rows: the panels of each case.
    """
    lines = [list(row) for row in rows]
    if all(len(row) == 1 for row in lines):
        flat = [panel for row in lines for panel in row]
        lines = [flat[at : at + COLUMNS_2D] for at in range(0, len(flat), COLUMNS_2D)]
    columns = max(len(line) for line in lines)
    size = (PANEL_INCHES * max(columns, 2), PANEL_INCHES * len(lines) + 1.0)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(lines), columns, squeeze=False)
    for row, line in zip(axes, lines, strict=True):
        for axis in row:
            axis.set_axis_off()
        for axis, panel in zip(row, line, strict=False):
            _draw_panel(axis, panel)
    handles = [
        Line2D([], [], color=colour, label=name)
        for colour, name in zip((UNIT_COLOUR, CONCEPT_COLOUR), names, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=DPI, facecolor="white")


def draw_concepts(path: Path, counts: Mapping[str, Mapping[str, int]], title: str) -> None:
    """Draw how many units of each layer are named for each concept, as bars.

    Args:
        path: of the picture.
        counts: number of units by layer and concept; every layer has the same concepts.
        title: above all.
    """
    layers = list(counts)
    concepts = list(next(iter(counts.values())))
    size = (max(2.6 + 0.42 * len(concepts), 4.5), 1.15 * len(layers) + 1.6)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(layers), 1, squeeze=False, sharex=True, sharey=True)[:, 0]
    top = max(1, *(number for own in counts.values() for number in own.values()))
    for axis, layer in zip(axes, layers, strict=True):
        numbers = [counts[layer][concept] for concept in concepts]
        axis.bar(range(len(concepts)), numbers, color=BAR_COLOUR, width=0.7)
        unique = sum(number > 0 for number in numbers)
        axis.set_title(f"{layer}: {sum(numbers)} named, {unique} unique", fontsize=8, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
        axis.yaxis.get_major_locator().set_params(integer=True)
        axis.tick_params(axis="y", labelsize=8)
        axis.set_ylim(0, 1.08 * top)
        axis.set_ylabel("units", fontsize=8)
    axes[-1].set_xticks(range(len(concepts)), concepts, rotation=60, ha="right", fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=DPI, facecolor="white")


def draw_effects(path: Path, cells: Sequence[tuple[str, str, Effect]], title: str) -> None:
    """Draw the effects of switching units off as a table in colour: blue, Dice is lost.

    Args:
        path: of the picture.
        cells: name of the units, label, effect.
        title: above all.
    """
    rows = list(dict.fromkeys(name for name, _, _ in cells))
    labels = list(dict.fromkeys(label for _, label, _ in cells))
    known = {(name, label): effect for name, label, effect in cells}
    values = np.array([[known[name, label].effect for label in labels] for name in rows])
    peak = max(float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0, 0.05)
    figure = Figure(figsize=(3.2 + 1.25 * len(labels), 1.4 + 0.5 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.add_subplot()
    image = axis.imshow(values, cmap="RdBu_r", vmin=-peak, vmax=peak, aspect="auto")
    for row, name in enumerate(rows):
        for column, label in enumerate(labels):
            effect = known[name, label]
            text = f"{effect.effect:+.2f}\n[{effect.low:+.2f}, {effect.high:+.2f}]"
            dark = abs(effect.effect) > 0.6 * peak
            colour = "white" if dark else "black"
            axis.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    axis.set_xticks(range(len(labels)), labels, fontsize=8)
    axis.set_yticks(range(len(rows)), rows, fontsize=7)
    axis.tick_params(length=0)
    bar = figure.colorbar(image, ax=axis, shrink=0.8)
    bar.set_label("change of Dice less that of random units", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=DPI, facecolor="white")


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


def _draw_panel(axis: Any, panel: Panel) -> None:
    width, height = panel.size_mm
    options = {"origin": "lower", "extent": (0, width, 0, height)}
    low, high = panel.grey
    axis.imshow(panel.image, cmap="gray", vmin=low, vmax=high, **options)
    for mask, colour in ((panel.concept, CONCEPT_COLOUR), (panel.unit, UNIT_COLOUR)):
        if mask.any() and not mask.all() and min(mask.shape) > 1:
            axis.contour(mask.astype(float), levels=[0.5], colors=colour, linewidths=1.0, **options)
    axis.set_xlim((width, 0) if panel.mirrored else (0, width))
    axis.set_aspect("equal")
    axis.set_title(panel.title, fontsize=8)
