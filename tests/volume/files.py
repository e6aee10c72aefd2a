"""NIfTI files with any geometry, and their header fields, read back by nibabel alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from esegeta.volume import Case, Preprocess, Reading, Volume, read_case
from tests.builders import affine_of

GEOMETRY_FIELDS = (
    "qform_code",
    "sform_code",
    "quatern_b",
    "quatern_c",
    "quatern_d",
    "qoffset_x",
    "qoffset_y",
    "qoffset_z",
    "srow_x",
    "srow_y",
    "srow_z",
)


def save_nifti(
    path: Path,
    array: np.ndarray,
    *,
    sform: np.ndarray | None = None,
    qform: np.ndarray | None = None,
    sform_code: int = 2,
    qform_code: int = 1,
    kind: type = nib.Nifti1Image,
    byteorder: str = "<",
) -> Path:
    """Write an array with these two geometries; without any, an oblique one is both."""
    sform = affine_of("oblique") if sform is None else sform
    header = kind.header_class(endianness=byteorder)
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    header.set_qform(sform if qform is None else qform, code=qform_code)
    header.set_sform(sform, code=sform_code)
    # nibabel writes the geometry of a header as it stands only beside no affine.
    nib.save(kind(array, None, header), path)
    return path


def header_of(path: Path) -> Any:
    """Return the header as it stands on disk."""
    return nib.load(path).header


def array_of(path: Path) -> np.ndarray:
    """Return the values on disk in their own type."""
    return np.asarray(nib.load(path).dataobj)


def geometry_bytes(path: Path) -> dict[str, bytes]:
    """Return the raw bytes of every field that places voxels in space."""
    header = header_of(path)
    fields = {name: header[name].tobytes() for name in GEOMETRY_FIELDS}
    return {**fields, "pixdim": header["pixdim"][:4].tobytes()}


def read(
    images: Path | Sequence[Path],
    *,
    num_channels: int = 1,
    ndim: int = 3,
    preprocess: Preprocess | None = None,
    nan_to_zero: bool = False,
) -> Volume:
    """Read one image, or one a channel, for a network of these channels and axes."""
    paths = (images,) if isinstance(images, Path) else tuple(images)
    reading = Reading(num_channels, ndim, nan_to_zero=nan_to_zero)
    return read_case(Case("patient", paths), preprocess or Preprocess(), reading)[0]


def noise(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """Return standard normal float32 noise."""
    return np.random.default_rng(seed).standard_normal(tuple(shape)).astype(np.float32)
