"""NIfTI files in, with errors for people, and maps out on the grid that they came from."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from esegeta.errors import DataError, MissingFileError
from esegeta.volume.atomic import atomic_path
from esegeta.volume.grid import Grid
from esegeta.volume.volume import Source

Intent = Literal["estimate", "label", "none"]

TORN = (EOFError, zlib.error, OSError, ValueError, OverflowError, HeaderDataError)
CHUNK_BYTES = 1 << 20
SCANNER = 1
"""NIfTI's code of the scanner's own space."""


def open_nifti(path: Path) -> Any:
    """Open a NIfTI file, reading its header only.

    Raises:
        MissingFileError: there is no such file.
        DataError: the file is empty, or not NIfTI.
    """
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file", hint="check the path")
    try:
        image = nib.load(path)
        if min(image.shape, default=0) < 1:
            raise ValueError(f"its shape is {image.shape}")
        image.get_data_dtype()
    except (ImageFileError, *TORN) as error:
        raise DataError(
            f"{path}: not a NIfTI file that can be read ({error})",
            hint="is it .nii or .nii.gz, and was it copied whole?",
        ) from error
    if not isinstance(image, (nib.Nifti1Image, nib.Nifti2Image)):
        raise DataError(
            f"{path}: a {type(image).__name__}, not NIfTI", hint="convert it to .nii.gz"
        )
    if image.get_data_dtype().kind not in "iuf":
        raise DataError(
            f"{path}: its voxels are {image.get_data_dtype()}, not real numbers",
            hint="write colours or parts of complex numbers as one image per channel",
        )
    return image


def read_array(image: Any, path: Path) -> np.ndarray:
    """Read the voxels of an open NIfTI file as float32, with scale factors applied.

    Raises:
        DataError: the file is torn: it ends before its voxels do, or its gzip is damaged.
    """
    try:
        if path.name.endswith(".gz"):
            _check_gzip(path)
        return np.asarray(image.get_fdata(dtype=np.float32, caching="unchanged"))
    except TORN as error:
        raise DataError(
            f"{path}: the file is damaged; its header promises {image.shape} voxels that cannot "
            f"be read ({error})",
            hint="copy or export it again",
        ) from error


def header_bytes(image: Any) -> bytes:
    """Return the header as it stands in the file, so that no field of its geometry is lost."""
    return bytes(image.header.binaryblock)


def grid_of(image: Any, ndim: int) -> Grid:
    """Return the grid of the first `ndim` axes of an open NIfTI file."""
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise DataError(
            f"{image.get_filename()}: its affine is singular or not finite",
            hint="give the image a valid sform or qform",
        )
    return Grid(tuple(int(length) for length in image.shape[:ndim]), affine)


def space_code(source: Source) -> int:
    """Return which space a source's affine leads to, as NIfTI numbers them; 1 is the scanner's."""
    if source.header is None:
        return SCANNER
    header = _header_from(source.header)
    return int(header["sform_code"]) or int(header["qform_code"]) or SCANNER


def write_nifti(
    path: Path, array: np.ndarray, source: Source, *, intent: Intent, space: int = SCANNER
) -> None:
    """Write one map on the grid of `source`, atomically.

    The geometry is the source's own: the same qform and sform fields with their codes, in mm.
    Without a header of the source the affine is its grid's, and leads to `space`.
    Maps (`estimate`) carry a symmetric cal_min/cal_max, so that viewers open them with a
    diverging scale about zero.
    """
    if tuple(array.shape) != source.grid.shape:
        raise ValueError(f"map of shape {array.shape} for a grid of {source.grid.shape}")
    # Without an affine of its own the image leaves the header's geometry as it is set here.
    image = nib.Nifti1Image(array, None, header=_header_for(array))
    if source.header is not None:
        _copy_geometry(image.header, _header_from(source.header))
    else:
        image.header.set_xyzt_units("mm")
        image.set_sform(source.grid.affine, code=space)
        image.set_qform(source.grid.affine, code=space)
    image.header.set_intent(intent)
    peak = float(np.abs(array).max(initial=0.0))
    image.header["cal_max"] = peak
    image.header["cal_min"] = -peak if intent == "estimate" else 0.0
    with atomic_path(path) as temporary:
        nib.save(image, temporary)


def _check_gzip(path: Path) -> None:
    """Read a gzip file to its end, for its checksum stands there and voxels end before it."""
    with gzip.open(path) as stream:
        while stream.read(CHUNK_BYTES):
            pass


def _header_for(array: np.ndarray) -> Any:
    header = nib.Nifti1Header()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    return header


def _header_from(content: bytes) -> Any:
    kind = nib.Nifti2Header if len(content) == nib.Nifti2Header.sizeof_hdr else nib.Nifti1Header
    return kind(content, check=False)


def _copy_geometry(header: Any, original: Any) -> None:
    """Copy every geometric field verbatim: a sheared sform cannot be rebuilt from a qform."""
    for name in ("qform_code", "sform_code", "srow_x", "srow_y", "srow_z"):
        header[name] = original[name]
    for name in ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"):
        header[name] = original[name]
    header["pixdim"][:4] = original["pixdim"][:4]
    header.set_xyzt_units("mm")
