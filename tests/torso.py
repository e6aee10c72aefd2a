"""The shipped samples as what runs from a checkout finds them, their CT cut down to its organs."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib

ROOT = Path(__file__).parents[1]
ORGANS = (slice(4, 100), slice(20, 84), slice(48, 112))
"""Of the CT: spleen, kidneys, liver and bone, in two windows of 64 voxels where it takes 27."""


def lay_out(folder: Path) -> None:
    """Lay `configs` and `data_samples` into a folder: the same files, and a smaller CT.

    Examples are run to see that they run: what they show is measured elsewhere, on the whole CT.
    """
    shutil.copytree(ROOT / "configs", folder / "configs")  # a link would lead to the whole CT
    samples, torso = folder / "data_samples", folder / "data_samples" / "ct_torso"
    torso.mkdir(parents=True)
    for path in (ROOT / "data_samples").iterdir():
        if path.name != torso.name:
            (samples / path.name).symlink_to(path)
    for path in (ROOT / "data_samples" / torso.name).iterdir():
        if path.name.endswith(".nii.gz"):
            nib.save(nib.load(path).slicer[ORGANS], torso / path.name)
        else:
            (torso / path.name).symlink_to(path)
