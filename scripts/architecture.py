#!/usr/bin/env python3
"""Draw how data flows through the rooms of the package.

python scripts/architecture.py docs/images/architecture.png
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

DATA, LIBRARY, RUNNING, FACE = "#f5f5f5", "#d7e8f5", "#fbe3c0", "#d9efe3"
HEIGHT = 0.9


@dataclass(frozen=True)
class Room:
    """A box: its left edge, its middle's height, its width, what it is called and what it holds."""

    x: float
    y: float
    width: float
    name: str
    text: str
    colour: str

    @property
    def middle(self) -> float:
        """Where its centre is along x."""
        return self.x + self.width / 2


FACES = [
    Room(0.0, 5.6, 6.4, "cli", "esegeta run, dissect, retrain, compare, validate ...", FACE),
    Room(
        6.8, 5.6, 6.4, "api", "load_model, load_volume, explain, save: the same in five lines", FACE
    ),
]
RUNNING_ROOMS = [
    Room(0.0, 4.0, 2.0, "config", "YAML -> RunConfig,\nwith line numbers", RUNNING),
    Room(
        2.5, 4.0, 2.4, "workflow", "build: config -> objects;\na command lists its tasks", RUNNING
    ),
    Room(
        5.4,
        4.0,
        3.6,
        "workflow/engine",
        "orders, skips what is finished, isolates\nfailures, hears signals, records",
        RUNNING,
    ),
    Room(
        9.5,
        4.0,
        3.7,
        "workflow/cache, journal, lock",
        "records by fingerprint; a line a task;\none process a folder",
        RUNNING,
    ),
]
FLOW = [
    Room(0.0, 2.2, 1.9, "volume", "image + geometry\nVolume C *S", LIBRARY),
    Room(2.3, 2.2, 1.9, "model", "network, labels;\nhooks.py", LIBRARY),
    Room(4.6, 2.2, 1.9, "predict", "windows, blend.py;\nPredictor", LIBRARY),
    Room(6.9, 2.2, 1.9, "targets", "what, over which\nvoxels: R(y)", LIBRARY),
    Room(9.2, 2.2, 1.9, "explain", "method -> map;\nmeaning.py, cost.py", LIBRARY),
    Room(11.5, 2.2, 1.7, "score", "how good\nis the map", LIBRARY),
]
ANALYSES = [
    Room(4.6, 0.7, 1.9, "dissection", "units and\nconcepts", LIBRARY),
    Room(6.9, 0.7, 1.9, "retraining", "ROAR and KAR", LIBRARY),
    Room(9.2, 0.7, 4.0, "report", "maps and sidecars on the scan's grid,\ntables, figures", DATA),
    Room(0.0, 0.7, 4.2, "compare", "finished folders -> leaderboards and tests", DATA),
]


def draw_room(axes: Axes, room: Room) -> None:
    """Draw a box with its name above its text."""
    corner = (room.x, room.y - HEIGHT / 2)
    style = "round,pad=0.02,rounding_size=0.08"
    box = FancyBboxPatch(corner, room.width, HEIGHT, style, fc=room.colour, ec="#555555", lw=0.8)
    axes.add_patch(box)
    axes.text(
        room.middle, room.y + 0.26, room.name, ha="center", va="center", weight="bold", size=9
    )
    axes.text(room.middle, room.y - 0.14, room.text, ha="center", va="center", size=7.2)


def draw_arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw which way the data goes."""
    arrow = FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, color="#333333", lw=1)
    axes.add_patch(arrow)


def draw_row(axes: Axes, rooms: list[Room]) -> None:
    """Draw rooms that hand on to each other from left to right."""
    for one, other in itertools.pairwise(rooms):
        draw_arrow(axes, (one.x + one.width + 0.03, one.y), (other.x - 0.03, other.y))


def main() -> None:
    """Draw the picture to the file that is named."""
    figure = Figure(figsize=(11, 5.2), dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    for room in (*FACES, *RUNNING_ROOMS, *FLOW, *ANALYSES):
        draw_room(axes, room)
    draw_row(axes, RUNNING_ROOMS)
    draw_row(axes, FLOW)
    top, low = HEIGHT / 2 + 0.03, -HEIGHT / 2 - 0.03
    draw_arrow(axes, (1.0, 5.6 + low), (1.0, 4.0 + top))
    draw_arrow(axes, (10.0, 5.6 + low), (10.0, 4.9))
    axes.text(10.1, 4.97, "the same rooms, without files", size=7.2, va="center")
    draw_arrow(axes, (7.2, 4.0 + low), (7.2, 2.2 + top))
    axes.text(
        7.3, 3.13, "a task calls the library with built objects, never with dictionaries", size=7.2
    )
    draw_arrow(axes, (5.55, 2.2 + low), (5.55, 0.7 + top))
    draw_arrow(axes, (7.85, 2.2 + low), (7.85, 0.7 + top))
    draw_arrow(axes, (10.15, 2.2 + low), (10.15, 0.7 + top))
    draw_arrow(axes, (12.35, 2.2 + low), (12.35, 0.7 + top))
    draw_arrow(axes, (8.82, 0.7), (9.17, 0.7))
    axes.set_xlim(-0.15, 13.35)
    axes.set_ylim(0.1, 6.2)
    axes.axis("off")
    figure.savefig(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
