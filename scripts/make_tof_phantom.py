#!/usr/bin/env python3
"""Draw the phantoms in data_samples/tof_phantom/ again, from their seeds.

Each case is an image, the same image without its fat, a label map (1 wide vessels, 2 thin ones, 3
fat, 4 calcification-like blobs), a mask of thin vessels and one of those near fat. They look like
time-of-flight MR angiograms and are none: tof_phantom.py says how they are made.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np
from make_samples import write_nifti, write_readme
from numpy.typing import NDArray
from tof_phantom import SAMPLES, SHAPE, SPACING_MM, make_phantom

CASES = {f"tof{number:02d}": 100 + number for number in range(1, 13)}
"""Seed of each case."""
FOLDER = SAMPLES / "tof_phantom"


def write_case(folder: Path, name: str, seed: int) -> None:
    """Draw the phantom of a seed and write its five files."""
    phantom = make_phantom(seed)
    files: dict[str, NDArray[np.int16] | NDArray[np.uint8]] = {
        "": phantom.image,
        "_without_fat": phantom.without_fat,
        "_labels": phantom.labels,
        "_thin": phantom.thin.astype(np.uint8),
        "_thin_near_fat": phantom.near_fat.astype(np.uint8),
    }
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = -SPACING_MM * (np.array(SHAPE) - 1) / 2
    for ending, data in files.items():
        image = nib.Nifti1Image(data, affine)
        image.set_sform(affine, code="aligned")
        image.set_qform(affine, code="aligned")
        image.header.set_xyzt_units("mm")
        write_nifti(folder / f"{name}{ending}.nii.gz", image)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"from {', '.join(CASES)}")
    parser.add_argument("--out", type=Path, default=FOLDER, help="where to write (%(default)s)")
    options = parser.parse_args()
    unknown = set(options.cases) - set(CASES)
    if unknown:
        parser.error(f"unknown case: {', '.join(sorted(unknown))}")
    for name in options.cases or CASES:
        write_case(options.out, name, CASES[name])
    if options.out == FOLDER:
        write_readme()


if __name__ == "__main__":
    main()
