"""Figures of items: prototypes and criticisms, and an item beside its neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from esegeta.report.style import (
    BLUE,
    FINE_DPI,
    MUTED,
    ORANGE,
    VERMILION,
    new_figure,
    save_figure,
    wrap,
)
from esegeta.volume import atomic_path

TILE_INCHES = 1.75
TEXT_INCHES = 0.55
COLOURS = {"prototypes": BLUE, "criticisms": VERMILION}
MOST_COLUMNS = 8


@dataclass(frozen=True, eq=False)
class Tile:
    """A small picture of an item.

    Args:
        caption: below it.
        picture: grey values from 0 to 255, turned to right, anterior and superior.
        mask: where the item is in it; None where it is all of it.
    """

    caption: str
    picture: np.ndarray
    mask: np.ndarray | None


def draw_prototypes(path: Path, title: str, rows: Mapping[str, Sequence[Tile]]) -> None:
    """Write a figure of prototypes above criticisms; see `tiles_figure`."""
    lines = [
        (f"{name} ({len(tiles)})", COLOURS[name], list(tiles[:MOST_COLUMNS]))
        for name, tiles in rows.items()
        if tiles
    ]
    _save(path, tiles_figure(title, lines))


def draw_neighbours(path: Path, title: str, rows: Sequence[Sequence[Tile]]) -> None:
    """Write a figure with a row an item: the item, its nearest neighbours, and its farthest."""
    lines = [("item | nearest ... | farthest", MUTED, list(tiles)) for tiles in rows]
    _save(
        path,
        tiles_figure(
            title, [(line[0] if not place else "", *line[1:]) for place, line in enumerate(lines)]
        ),
    )


def _save(path: Path, figure: Figure) -> None:
    with atomic_path(path) as temporary:
        save_figure(temporary, figure, dpi=FINE_DPI)


def tiles_figure(title: str, lines: Sequence[tuple[str, str, Sequence[Tile]]]) -> Figure:
    """Return a figure with lines of tiles, each with a name and a colour of its frames.

    Slices lie as radiologists see them: of axial and coronal ones the patient's right is on the
    left.
    """
    columns = max(len(tiles) for _, _, tiles in lines)
    width = max(columns * TILE_INCHES + 0.2, 4.5)
    figure = new_figure((width, len(lines) * (TILE_INCHES + TEXT_INCHES + 0.25) + 0.7))
    axes = figure.subplots(len(lines), columns, squeeze=False)
    for line, (name, colour, tiles) in zip(axes, lines, strict=True):
        for axis, tile in zip(line, tiles, strict=False):
            _draw_tile(axis, tile, colour)
        for axis in line[len(tiles) :]:
            axis.set_visible(False)
        if name:
            line[0].set_title(name, fontsize=9, color=colour, loc="left", fontweight="bold")
    figure.suptitle(wrap(title, width - 0.3, 9), fontsize=9)
    return figure


def _draw_tile(axis: Any, tile: Tile, colour: str) -> None:
    axis.imshow(tile.picture.T, cmap="gray", vmin=0, vmax=255, origin="lower", aspect="equal")
    mask = tile.mask
    if mask is not None and mask.any() and not mask.all():
        edges = np.pad(mask.T.astype(float), 1)
        height, width = edges.shape
        axis.contour(
            np.arange(width) - 1, np.arange(height) - 1, edges, [0.5], colors=[ORANGE], linewidths=1
        )
    axis.set_xlim(tile.picture.shape[0] - 0.5, -0.5)  # the patient's right on the left
    axis.set_ylim(-0.5, tile.picture.shape[1] - 0.5)
    axis.set_xticks([])
    axis.set_yticks([])
    for side in axis.spines.values():
        side.set_color(colour)
        side.set_linewidth(1.5)
    axis.set_xlabel(wrap(tile.caption, TILE_INCHES, 7), fontsize=7)
