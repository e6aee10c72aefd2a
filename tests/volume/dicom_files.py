"""DICOM series written by SimpleITK, slice by slice, with the tags that a test asks for."""

from __future__ import annotations

import locale
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from esegeta.volume.itk import itk_quiet

SPACING_MM = (0.75, 1.5, 2.5)
ORIGIN_MM = (-10.5, -40.25, -7.0)
UID = "1.2.826.0.1.3680043.2.1125.77"
STORED = "1.2.840.10008.5.1.4.1.1.2"
"""The class of CT images."""


@contextmanager
def locale_kept() -> Iterator[None]:
    """Put the locale back after GDCM has written a slice, which leaves that of C behind."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


def voxels(shape: Sequence[int] = (6, 5, 4), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 1000, tuple(shape)).astype(np.int16)


def itk_volume(array: np.ndarray, turn: np.ndarray | None = None) -> sitk.Image:
    """Return an array x, y, z as an ITK image in DICOM's millimetres."""
    image = sitk.GetImageFromArray(array.T)
    image.SetSpacing(SPACING_MM)
    image.SetOrigin(ORIGIN_MM)
    if turn is not None:
        image.SetDirection(turn.ravel())
    return image


def write_series(
    folder: Path,
    image: sitk.Image,
    *,
    series: str = "1",
    description: str = "thorax",
    names: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    shift_mm: Sequence[Sequence[float]] = (),
) -> list[Path]:
    """Write a volume as one file a slice and return their paths, from below upwards.

    Args:
        folder: for the files; made.
        image: the volume.
        series: what the UID of the series ends with.
        description: of the series.
        names: of the files, from below upwards.
        tags: further tags of every slice.
        shift_mm: moves each slice, in DICOM's millimetres.
    """
    folder.mkdir(parents=True, exist_ok=True)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    paths = []
    for number in range(image.GetDepth()):
        part = image[:, :, number]
        place = np.array(image.TransformIndexToPhysicalPoint((0, 0, number)))
        if len(shift_mm):
            place = place + np.asarray(shift_mm[number])
        said = {
            "0008|0060": "CT",
            "0008|0016": STORED,
            "0008|0018": f"{UID}.{series}.{number + 1}",
            "0020|000d": f"{UID}.0",
            "0020|000e": f"{UID}.{series}",
            "0008|103e": description,
            "0020|0013": str(number + 1),
            "0020|0032": "\\".join(f"{value:.10g}" for value in place),
            "0020|0037": "\\".join(f"{value:.10g}" for value in direction[:, :2].T.ravel()),
            "0018|0050": f"{image.GetSpacing()[2]:.10g}",
            **(tags or {}),
        }
        for key, value in said.items():
            part.SetMetaData(key, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        path = folder / (names[number] if names else f"IM{number:04d}.dcm")
        # ITK goes by the name; scanners often give none.
        writer.SetFileName(str(path.with_name("tmp.dcm")))
        with itk_quiet(), locale_kept():
            writer.Execute(part)
        paths.append(path.with_name("tmp.dcm").rename(path))
    return paths


def write_frames(path: Path, image: sitk.Image) -> None:
    """Write a volume as one file of several frames."""
    with itk_quiet():
        sitk.WriteImage(image, str(path))
