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
    Room(0.0, 5.9, 4.6, "cli", "esegeta run, explain, dissect, concepts, view ...", FACE),
    Room(4.9, 5.9, 3.6, "view", "the live page: a click, its map", FACE),
    Room(8.8, 5.9, 4.4, "api", "load_model, load_volume, explain, save", FACE),
]
RUNNING_ROOMS = [
    Room(0.0, 4.3, 2.0, "config", "YAML -> RunConfig,\nwith line numbers", RUNNING),
    Room(
        2.5, 4.3, 2.4, "workflow", "build: config -> objects;\na command lists its tasks", RUNNING
    ),
    Room(
        5.4,
        4.3,
        3.6,
        "workflow/engine",
        "orders, skips what is finished, isolates\nfailures, hears signals, records",
        RUNNING,
    ),
    Room(
        9.5,
        4.3,
        3.7,
        "workflow/cache, journal, lock",
        "records by fingerprint; a line a task;\none process a folder",
        RUNNING,
    ),
]
FLOW = [
    Room(0.0, 2.5, 1.9, "volume", "image + geometry\nVolume C *S", LIBRARY),
    Room(2.3, 2.5, 1.9, "model", "network, labels;\nhooks.py", LIBRARY),
    Room(4.6, 2.5, 1.9, "predict", "windows, blend.py;\nPredictor", LIBRARY),
    Room(6.9, 2.5, 1.9, "targets", "what, over which\nvoxels: R(y)", LIBRARY),
    Room(9.2, 2.5, 1.9, "explain", "method -> map;\nmeaning.py, cost.py", LIBRARY),
    Room(11.5, 2.5, 1.7, "score", "how good\nis the map", LIBRARY),
]
ANALYSES = [
    Room(0.0, 1.0, 1.9, "dissection", "units and\nconcepts", LIBRARY),
    Room(2.26, 1.0, 1.9, "similarity", "how alike layers\nand networks are", LIBRARY),
    Room(4.52, 1.0, 1.9, "concepts", "which concepts a\nlabel depends on", LIBRARY),
    Room(6.78, 1.0, 1.9, "features", "what a unit\nwants to see", LIBRARY),
    Room(9.04, 1.0, 1.9, "examples", "which cases taught\nthe network what", LIBRARY),
    Room(11.3, 1.0, 1.9, "retraining", "ROAR and KAR", LIBRARY),
]
RESULTS = [
    Room(
        0.0,
        -0.5,
        8.0,
        "report",
        "maps and sidecars on the scan's grid, tables, figures, pages",
        DATA,
    ),
    Room(8.8, -0.5, 4.4, "compare", "finished folders -> leaderboards and tests", DATA),
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


def draw_bus(axes: Axes, height: float, upper: list[Room], lower: list[Room]) -> None:
    """Draw a line that boxes above it hand their results to, and boxes below it take them from."""
    ends = [room.middle for room in (*upper, *lower)]
    axes.plot([min(ends), max(ends)], [height, height], color="#333333", lw=1)
    for room in upper:
        axes.plot([room.middle] * 2, [height, room.y - HEIGHT / 2 - 0.03], color="#333333", lw=1)
    for room in lower:
        draw_arrow(axes, (room.middle, height), (room.middle, room.y + HEIGHT / 2 + 0.03))


def main() -> None:
    """Draw the picture to the file that is named."""
    figure = Figure(figsize=(11, 6.2), dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    for room in (*FACES, *RUNNING_ROOMS, *FLOW, *ANALYSES, *RESULTS):
        draw_room(axes, room)
    draw_row(axes, RUNNING_ROOMS)
    draw_row(axes, FLOW)
    draw_row(axes, RESULTS)
    top, low = HEIGHT / 2 + 0.03, -HEIGHT / 2 - 0.03
    draw_arrow(axes, (1.0, FACES[0].y + low), (1.0, RUNNING_ROOMS[0].y + top))
    draw_row(axes, [FACES[0], FACES[1], FACES[2]])
    draw_arrow(axes, (10.9, FACES[2].y + low), (10.9, RUNNING_ROOMS[0].y + top))
    axes.text(11.0, 5.12, "the same rooms, in five lines", size=7.2, va="center")
    draw_arrow(axes, (7.2, RUNNING_ROOMS[0].y + low), (7.2, FLOW[0].y + top))
    axes.text(
        7.3, 3.43, "a task calls the library with built objects, never with dictionaries", size=7.2
    )
    draw_bus(axes, 1.76, FLOW[2:5], ANALYSES)
    draw_bus(axes, 0.26, ANALYSES, RESULTS[:1])
    axes.set_xlim(-0.15, 13.5)
    axes.set_ylim(-1.05, 6.5)
    axes.axis("off")
    figure.savefig(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
