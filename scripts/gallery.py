#!/usr/bin/env python3
"""Draw what each method of a run shows on the same slice: one sheet a family, and one of them all.

    python scripts/gallery.py results/all_methods_3d -o docs/images

writes OUT/methods/<method>.png, OUT/methods_<family>.png and OUT/methods.png. Every picture shows
the same crop of the image, the outline of the label and the map, the patient's sides at the edges,
and the map's own scale, since units differ: red is above zero, blue below, and the method's meaning
says what that means. Maps without sign go from violet to yellow.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from esegeta.explain import EXPLAINERS
from esegeta.report import PredictionFiles
from esegeta.report.overlay import draw_plane
from esegeta.report.palette import draw_bar_in, widest_tick
from esegeta.report.planes import (
    Letters,
    Plane,
    canonical_image,
    draw_letters,
    letters_of,
    planes_of,
)
from esegeta.report.style import wrap
from esegeta.report.view import TARGET_LINE, Outline, View, largest_part, voxel_within
from esegeta.volume import Case, Display, Grid, Reading, Volume, read_volume
from esegeta.volume.files import read_header

FAMILIES = ("gradient", "backprop", "layer", "perturbation")
COLUMNS = 5
WIDTH_INCHES = 2.2
BAR_INCHES, TICK_INCHES, GAP_INCHES = 0.1, 0.12, 0.08
LINE_HEIGHT = 1.35
BAR_LETTERS, LETTER_WIDTH = 0.8, 0.64
"""Size of the numbers beside a bar, of that of names; how wide a digit is, of its size."""
DPI = 100
SMALLEST_LETTERS = 10
"""Height of letters in pixels, however small a sheet is drawn."""
# At most so many pixels a sheet, in so many colours: files stay below 300 kB.
MOST_PIXELS = 850_000
NUM_COLOURS = 192
MARGIN_MM = 25.0


@dataclass(frozen=True)
class Picture:
    """One method's map, turned as the image is, and which of its magnitudes are shown."""

    method: str
    family: str
    map: np.ndarray
    display: Display


@dataclass(frozen=True)
class Crop:
    """What all pictures show.

    Args:
        view: the image, cut through the target.
        frame_mm: left, right, bottom and top of the crop, from the volume's corner.
    """

    view: View
    frame_mm: tuple[float, float, float, float]

    @property
    def plane(self) -> Plane:
        """The plane that is drawn."""
        return self.view.planes[0]

    @property
    def aspect(self) -> float:
        """Height of the crop over its width."""
        left, right, bottom, top = self.frame_mm
        return (top - bottom) / (right - left)


def open_image(path: Path) -> Volume:
    """Read an image of one channel or several, or a picture."""
    reading = Reading(1, 2)
    grid, num_channels = read_header(path, reading)
    if grid.ndim == 3 and num_channels == 1:
        reading = Reading(1, 3)
    return read_volume(Case(path.name, (path,)), replace(reading, num_channels=num_channels))


def read(path: Path) -> tuple[np.ndarray, Grid]:
    """Return the first channel or the colours of an image, turned to RAS, and where it lies."""
    return canonical_image(open_image(path), 0)


def list_sidecars(run: Path, case: str | None, target: str | None) -> list[dict[str, Any]]:
    """Return the sidecars of the finished maps of one case and target, the first by default."""
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    done = [unit for unit in record["units"] if unit["status"] in ("done", "skipped")]
    case = case or next((unit["case"] for unit in done), None)
    target = target or next((unit["target"] for unit in done if unit["case"] == case), None)
    chosen = [unit for unit in done if unit["case"] == case and unit["target"] == target]
    if not chosen:
        raise SystemExit(f"{run}: no map of case {case}, target {target}")
    sidecars = []
    for unit in chosen:
        name = f"{case}_label-{target}_desc-{unit['method']}_attrmap"
        sidecar = json.loads((run / str(case) / f"{name}.json").read_text(encoding="utf-8"))
        sidecars.append({**sidecar, "path": run / str(case) / f"{name}.nii.gz"})
    return sidecars


def image_of(sidecar: dict[str, Any]) -> Path:
    """Return the first channel's image, named in the sidecar relative to where the run was made."""
    path = Path(next(iter(sidecar["inputs_sha256"])))
    if not path.is_file():
        raise SystemExit(f"{path}: the image is not here; start where the run was started")
    return path


def grey_window(run: Path, image: np.ndarray) -> tuple[float, float]:
    """Return the grey values of black and white: the config's window, or percentiles."""
    config = json.loads((run / "run.json").read_text(encoding="utf-8"))["config"]
    intensity = (config["data"].get("preprocess") or {}).get("intensity") or {}
    window = intensity.get("window") if isinstance(intensity, dict) else None
    low, high = window or np.percentile(image, (1.0, 99.0))
    return float(low), float(high)


def outline_of(run: Path, sidecar: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    """Return where the target's label is predicted, or nothing where it is about none."""
    config = json.loads((run / "run.json").read_text(encoding="utf-8"))["config"]
    targets = config["targets"]
    # Components are numbered after their target's name: lesion#1.
    name = str(sidecar["target_name"]).partition("#")[0]
    label = next((item["label"] for item in targets if item.get("name") == name), name)
    segmentation = PredictionFiles(run, sidecar["case"]).segmentation
    # The table beside it has what each label is painted as, of several integers, too.
    with segmentation.with_name(segmentation.name.replace(".nii.gz", ".tsv")).open() as file:
        painted = list(csv.DictReader(file, delimiter="\t"))
    integers = {row["name"]: int(row["index"]) for row in painted}
    integers |= {row["index"]: int(row["index"]) for row in painted}
    if str(label) not in integers:
        return np.zeros(shape, dtype=bool)
    labels, _ = read(segmentation)
    outline: np.ndarray = labels == integers[str(label)]
    return outline


def choose_frame(
    mask: np.ndarray, maps: Sequence[np.ndarray], spacing: tuple[float, ...]
) -> tuple[tuple[int, ...], tuple[float, float, float, float]]:
    """Return the voxel to cut through, in the largest part of the mask, and the frame around it.

    Where the mask is empty, the part in which any map is above a tenth of its largest magnitude
    stands for it.
    """
    if not mask.any():
        mask = np.any([np.abs(map_) > 0.1 * np.abs(map_).max() for map_ in maps], axis=0)
    part = largest_part(torch.from_numpy(mask)).numpy()
    voxel = voxel_within(part, spacing)
    plane = planes_of(mask.shape)[0]
    shown = (plane.horizontal, plane.vertical)
    place = tuple(slice(None) if axis in shown else at for axis, at in enumerate(voxel))
    frame: list[float] = []
    for number, axis in enumerate(sorted(shown)):
        rows = np.flatnonzero(mask[place].any(axis=1 - number))
        length = mask.shape[axis] * spacing[axis]
        start = rows[0] * spacing[axis] - MARGIN_MM
        stop = (rows[-1] + 1) * spacing[axis] + MARGIN_MM
        frame += [max(0.0, start), min(length, stop)]
    return voxel, (frame[0], frame[1], frame[2], frame[3])


def load_pictures(run: Path, sidecars: Sequence[dict[str, Any]]) -> tuple[list[Picture], Crop]:
    """Read image, prediction and maps, and choose what to show of them."""
    volume = open_image(image_of(sidecars[0]))
    image, grid = canonical_image(volume, 0)
    mask = outline_of(run, sidecars[0], grid.shape)
    pictures = []
    for sidecar in sidecars:
        map_, _ = read(sidecar["path"])
        known = EXPLAINERS.get(sidecar["method"])
        family = known.traits.family if known is not None else "other"
        shown = sidecar["display"]
        display = Display(shown["low"], shown["high"], shown["negative"] is not None)
        pictures.append(Picture(sidecar["method_id"], family, map_, display))
    maps = [picture.map for picture in pictures]
    voxel, frame = choose_frame(mask, maps, grid.spacing_mm)
    planes = planes_of(mask.shape)
    view = View(
        image,
        grey_window(run, image),
        grid.spacing_mm,
        voxel,
        grid.to_mm(voxel),
        "",
        planes,
        tuple(letters_of(plane, volume, grid) for plane in planes),
        (Outline("segmentation", mask, TARGET_LINE),),
        mask,
    )
    return pictures, Crop(view, frame)


def draw_sheet(
    path: Path, pictures: Sequence[Picture], crop: Crop, columns: int, digits: int
) -> None:
    """Draw pictures in rows, each with its colour bar and with the method's name below.

    Numbers beside the bars have room for so many digits.
    """
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    high = WIDTH_INCHES * crop.aspect
    points = 7.0
    for _ in range(3):  # letters of a sheet drawn small are larger, and so need more room
        room = BAR_INCHES + TICK_INCHES + digits * LETTER_WIDTH * BAR_LETTERS * points / 72
        wide = WIDTH_INCHES + room + GAP_INCHES
        dpi = min(DPI, math.sqrt(MOST_PIXELS / (wide * columns * (high + 0.4) * rows)))
        points = max(7.0, SMALLEST_LETTERS * 72 / dpi)
    names = [wrap(picture.method, wide, points) for picture in pictures]
    lines = max(name.count("\n") + 1 for name in names)
    below = lines * LINE_HEIGHT * points / 72 + 0.06
    cell = (wide, high + below + GAP_INCHES)
    size = cell[0] * columns, cell[1] * rows
    figure = Figure(figsize=size)
    figure.set_dpi(dpi)
    for place, (picture, name) in enumerate(zip(pictures, names, strict=True)):
        left = place % columns * cell[0] + GAP_INCHES / 2
        bottom = size[1] - (place // columns + 1) * cell[1] + below
        axis = figure.add_axes(_part(left, bottom, WIDTH_INCHES, high, size))
        _draw_picture(axis, picture, crop, points)
        axis.set_xlabel(name, fontsize=points, labelpad=2)
        at = left + WIDTH_INCHES + 0.04
        bar = figure.add_axes(_part(at, bottom + 0.1 * high, BAR_INCHES, 0.8 * high, size))
        draw_bar_in(bar, picture.display, points=BAR_LETTERS * points)
    save(path, figure)


def _part(
    left: float, bottom: float, wide: float, high: float, size: tuple[float, float]
) -> tuple[float, float, float, float]:
    return left / size[0], bottom / size[1], wide / size[0], high / size[1]


def _draw_picture(axis: Any, picture: Picture, crop: Crop, points: float) -> None:
    draw_plane(axis, crop.view, crop.plane, picture.map, picture.display)
    letters = crop.view.letters[0]
    draw_letters(axis, Letters(letters.left, letters.right, "", letters.top), points=points)
    left, right, bottom, top = crop.frame_mm
    axis.set_xlim((right, left) if crop.plane.mirrored else (left, right))
    axis.set_ylim(bottom, top)


def save(path: Path, figure: Figure) -> None:
    """Write a figure as a PNG of few colours."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    picture.quantize(
        NUM_COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE
    ).save(path, optimize=True)


def draw_gallery(run: Path, out: Path, *, case: str | None, target: str | None) -> list[Path]:
    """Draw all pictures of a run and return their files."""
    pictures, crop = load_pictures(run, list_sidecars(run, case, target))
    (out / "methods").mkdir(parents=True, exist_ok=True)
    digits = max(widest_tick(picture.display) for picture in pictures)
    files = []
    for picture in pictures:
        files.append(out / "methods" / f"{picture.method}.png")
        draw_sheet(files[-1], [picture], crop, 1, digits)
    for family in (*FAMILIES, "other"):
        members = [picture for picture in pictures if picture.family == family]
        if members:
            files.append(out / f"methods_{family}.png")
            draw_sheet(files[-1], members, crop, COLUMNS, digits)
    files.append(out / "methods.png")
    draw_sheet(files[-1], pictures, crop, COLUMNS + 2, digits)
    return files


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a run, with its run.json")
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--case", help="the run's first by default")
    parser.add_argument("--target", help="the case's first by default")
    options = parser.parse_args()
    if not (options.run / "run.json").is_file():
        parser.error(f"{options.run} holds no run.json")
    torch.set_num_threads(1)
    files = draw_gallery(options.run, options.out, case=options.case, target=options.target)
    for path in files:
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
