#!/usr/bin/env python3
"""Take the pictures of docs/tutorial_vessels.md from the folders that the study's runs left.

    python scripts/vessel_pictures.py results docs/images

All of them were drawn by the runs or by `esegeta compare results/vessels_* -o results/vessels`, or
are drawn here by gallery.py from maps of a run. They are stored in few colours.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from gallery import draw_gallery
from PIL import Image

CASE = "tof01"
NUM_COLOURS = 96
WIDTH = 1100
"""Pixels; wider pictures are made smaller."""

DRAWN = {
    "case": "vessels_unet/{case}/{case}_label-vessels_desc-saliency_overlay.png",
    "missed": "vessels_unet/{case}/{case}_label-missed_desc-deep_lift_overlay.png",
    "deletion": "vessels_unet/{case}/{case}_label-thin_score-deletion_curves.png",
    "answer_taught": "shortcut/{case}/{case}_label-near_fat_desc-known_answer_overlay.png",
    "answer_honest": "shortcut_control/{case}/{case}_label-near_fat_desc-known_answer_overlay.png",
    "regions": "shortcut/{case}/{case}_label-near_fat_desc-deep_lift_regions.png",
    "boxes": "vessels/boxes_faithfulness.png",
}
"""Pictures that are there, by name."""
GALLERIES = {
    "methods_thin": ("vessels_unet", "thin"),
    "methods_taught": ("shortcut", "near_fat"),
    "methods_honest": ("shortcut_control", "near_fat"),
}
"""Run and target of each sheet of all methods."""


def shrink(source: Path, target: Path) -> None:
    """Write a picture in few colours, and no wider than the page."""
    picture = Image.open(source).convert("RGB")
    if picture.width > WIDTH:
        height = round(picture.height * WIDTH / picture.width)
        picture = picture.resize((WIDTH, height), Image.Resampling.LANCZOS)
    # Thin lines keep their colours under this rule alone.
    rule, plain = Image.Quantize.MAXCOVERAGE, Image.Dither.NONE
    few = picture.quantize(NUM_COLOURS, rule, kmeans=1, dither=plain)
    few.save(target, optimize=True)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path, help="folder that holds the study's runs")
    parser.add_argument("images", type=Path, help="where to write")
    options = parser.parse_args()
    sources = {name: options.results / path.format(case=CASE) for name, path in DRAWN.items()}
    with tempfile.TemporaryDirectory() as folder:
        for name, (run, target) in GALLERIES.items():
            if (options.results / run / "run.json").is_file():
                place = Path(folder) / name
                draw_gallery(options.results / run, place, case=CASE, target=target)
                sources[name] = place / "methods.png"
        for name, source in sources.items():
            if not source.is_file():
                print(f"not there yet: {source}")
                continue
            path = options.images / f"vessels_{name}.png"
            shrink(source, path)
            print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
