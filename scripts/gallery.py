#!/usr/bin/env python3
"""Draw what each method of a run shows on the same slice: one sheet a family, and one of them all.

    python scripts/gallery.py results/all_methods_3d -o docs/images

writes OUT/methods/<method>.png, OUT/methods_<family>.png and OUT/methods.png. Every picture shows
the same crop of the image, the outline of the label and the map; each map has its own scale, since
units differ, symmetric about zero: red is above it, and the method's meaning says what that means.
Maps of one sign use one half of the scale.
"""

from __future__ import annotations

import argparse
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
from esegeta.report.map_figures import Canonical, centre_of_mass, draw_plane, peak_of
from esegeta.report.planes import Plane, canonical_image, planes_of
from esegeta.volume import Case, Reading, read_volume
from esegeta.volume.files import read_header

FAMILIES = ("gradient", "backprop", "layer", "perturbation")
COLUMNS = 5
WIDTH_INCHES = 2.2
DPI = 100
# At most so many pixels a sheet, in so many colours: files stay below 300 kB.
MOST_PIXELS = 450_000
NUM_COLOURS = 128
MARGIN_MM = 25.0


@dataclass(frozen=True)
class Picture:
    """One method's map on the common slice, cropped."""

    method: str
    family: str
    scene: Canonical


@dataclass(frozen=True)
class View:
    """What all pictures show.

    Args:
        plane: of the slice.
        centre: a voxel of it.
        frame_mm: left, right, bottom and top of the crop, from the volume's corner.
    """

    plane: Plane
    centre: tuple[int, ...]
    frame_mm: tuple[float, float, float, float]

    @property
    def aspect(self) -> float:
        """Height of the crop over its width."""
        left, right, bottom, top = self.frame_mm
        return (top - bottom) / (right - left)


def read(path: Path) -> tuple[np.ndarray, tuple[float, ...]]:
    """Return the first channel or the colours of an image, turned to RAS, and its spacing in mm."""
    reading = Reading(1, 2)
    grid, num_channels = read_header(path, reading)
    if grid.ndim == 3 and num_channels == 1:
        reading = Reading(1, 3)
    volume = read_volume(Case(path.name, (path,)), replace(reading, num_channels=num_channels))
    array, turned = canonical_image(volume, 0)
    return array, turned.spacing_mm


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
    integers = {str(word): int(number) for number, word in config["labels"].items()}
    integers |= {number: int(number) for number in config["labels"]}
    if str(label) not in integers:
        return np.zeros(shape, dtype=bool)
    labels, _ = read(PredictionFiles(run, sidecar["case"]).segmentation)
    outline: np.ndarray = labels == integers[str(label)]
    return outline


def choose_view(mask: np.ndarray, maps: Sequence[np.ndarray], spacing: tuple[float, ...]) -> View:
    """Return the slice through the largest part of the mask that the maps are about."""
    plane = planes_of(mask.shape)[0]
    weight = sum((np.abs(map_) / max(float(np.abs(map_).sum()), 1e-30) for map_ in maps), 0.0)
    weight = np.asarray(weight) * (mask if (mask & (np.asarray(weight) > 0)).any() else 1)
    across = [axis for axis in range(mask.ndim) if axis not in (plane.horizontal, plane.vertical)]
    centre = list(centre_of_mass(weight))
    for axis in across:
        others = tuple(other for other in range(mask.ndim) if other != axis)
        centre[axis] = int(weight.sum(axis=others).argmax())
    place = tuple(centre[axis] if axis in across else slice(None) for axis in range(mask.ndim))
    shown = mask[place] if mask[place].any() else weight[place] > 0
    frame: list[float] = []
    for shown_axis, axis in enumerate(sorted((plane.horizontal, plane.vertical))):
        rows = np.flatnonzero(shown.any(axis=1 - shown_axis))
        length = mask.shape[axis] * spacing[axis]
        start = rows[0] * spacing[axis] - MARGIN_MM
        stop = (rows[-1] + 1) * spacing[axis] + MARGIN_MM
        frame += [max(0.0, start), min(length, stop)]
    return View(plane, tuple(centre), (frame[0], frame[1], frame[2], frame[3]))


def load_pictures(run: Path, sidecars: Sequence[dict[str, Any]]) -> tuple[list[Picture], View]:
    """Read image, prediction and maps, and choose what to show of them."""
    image, spacing = read(image_of(sidecars[0]))
    low, high = grey_window(run, image)
    image = np.clip(image, low, high)
    mask = outline_of(run, sidecars[0], image.shape)
    pictures = []
    for sidecar in sidecars:
        map_, _ = read(sidecar["path"])
        known = EXPLAINERS.get(sidecar["method"])
        family = known.traits.family if known is not None else "other"
        scene = Canonical(image, map_, mask, spacing)
        pictures.append(Picture(sidecar["method_id"], family, scene))
    maps = [picture.scene.map for picture in pictures]
    return pictures, choose_view(mask, maps, spacing)


def draw_sheet(path: Path, pictures: Sequence[Picture], view: View, columns: int) -> None:
    """Draw pictures in rows, each with the method's name below."""
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    height = WIDTH_INCHES * view.aspect + 0.3
    figure = Figure(figsize=(WIDTH_INCHES * columns, height * rows), layout="constrained")
    left, right, bottom, top = view.frame_mm
    for place, picture in enumerate(pictures):
        axis = figure.add_subplot(rows, columns, place + 1)
        peak = peak_of(picture.scene.map)
        draw_plane(axis, picture.scene, view.plane, view.centre, peak)
        axis.set_xlim((right, left) if view.plane.mirrored else (left, right))
        axis.set_ylim(bottom, top)
        axis.set_title("")
        axis.set_xlabel(picture.method, fontsize=8)
    save(path, figure)


def save(path: Path, figure: Figure) -> None:
    """Write a figure as a PNG of few colours."""
    width, height = figure.get_size_inches()
    figure.set_dpi(min(DPI, math.sqrt(MOST_PIXELS / (width * height))))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    picture.quantize(NUM_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def draw_gallery(run: Path, out: Path, *, case: str | None, target: str | None) -> list[Path]:
    """Draw all pictures of a run and return their files."""
    pictures, view = load_pictures(run, list_sidecars(run, case, target))
    (out / "methods").mkdir(parents=True, exist_ok=True)
    files = []
    for picture in pictures:
        files.append(out / "methods" / f"{picture.method}.png")
        draw_sheet(files[-1], [picture], view, 1)
    for family in (*FAMILIES, "other"):
        members = [picture for picture in pictures if picture.family == family]
        if members:
            files.append(out / f"methods_{family}.png")
            draw_sheet(files[-1], members, view, COLUMNS)
    files.append(out / "methods.png")
    draw_sheet(files[-1], pictures, view, 2 * COLUMNS)
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
