"""NIfTI files in, with errors for people, and maps out on the grid that they came from."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from esegeta.errors import DataError, MissingFileError
from esegeta.volume.atomic import atomic_path
from esegeta.volume.formats import (
    PAIR,
    partner_of,
    require_image_file,
)
from esegeta.volume.grid import Grid
from esegeta.volume.limits import require_size, usual_max_voxels
from esegeta.volume.map_header import Encoded, MapHeader, display_of, store
from esegeta.volume.volume import Source

Intent = Literal["estimate", "label", "none"]

TORN = (EOFError, zlib.error, OSError, ValueError, OverflowError, HeaderDataError)
CHUNK_BYTES = 1 << 20
READ_BEFOREHAND = 1 << 26
"""Bytes of a gzip file of several parts that is read to its end before a run."""
GZIP_MAGIC = b"\x1f\x8b"
HEADER_OF_PAIR = ".hdr"
SCANNER = 1
"""NIfTI's code of the scanner's own space."""

METRE, MM, MICRON = 1, 2, 3
"""NIfTI's codes of units of length, which lie in the lowest three bits of `xyzt_units`."""
UNIT_BITS = 7
MM_PER_UNIT = {METRE: 1000.0, MM: 1.0, MICRON: 1e-3}


def open_nifti(path: Path) -> Any:
    """Open a NIfTI file or a NIfTI pair, reading its header only.

    Raises:
        MissingFileError: there is no such file, or one file of a pair is missing.
        DataError: the file is empty, or not NIfTI.
    """
    require_image_file(path)
    if path.suffix.lower() in PAIR and partner_of(path) is None:
        raise MissingFileError(
            f"{path}: the other half of the pair, {path.stem}{PAIR[path.suffix.lower()]}, is "
            "missing",
            hint="a .hdr holds the header and an .img the voxels; both are needed",
        )
    try:
        image = _load(path)
        if min(image.shape, default=0) < 1:
            raise ValueError(f"its shape is {image.shape}")
        image.get_data_dtype()
    except (ImageFileError, *TORN) as error:
        raise _not_nifti(path, error) from error
    if not isinstance(image, (nib.Nifti1Pair, nib.Nifti2Pair)):
        raise _another_format(path, image)
    if image.get_data_dtype().kind not in "iuf":
        raise DataError(
            f"{path}: its voxels are {image.get_data_dtype()}, not real numbers",
            hint="write colours or parts of complex numbers as one image per channel",
        )
    return image


def _load(path: Path) -> Any:
    """Load a file by what it holds: gzip may be named .nii, and plain NIfTI .nii.gz."""
    # nibabel goes by the name, in small letters.
    if path.suffix.lower() in PAIR or is_gzip(path) == (path.suffix == ".gz"):
        return nib.load(path)
    content = _unpacked(path) if is_gzip(path) else path.read_bytes()
    kinds = (nib.Nifti1Image, nib.Nifti2Image)
    kind = next((kind for kind in kinds if _begins(content, kind.header_class)), None)
    if kind is None:
        raise ImageFileError("it does not begin as a NIfTI file does")
    return kind.from_bytes(content)


def _unpacked(path: Path) -> bytes:
    """Return what a gzip file of another name holds, as far as its header says that it goes."""
    with gzip.open(path) as stream:
        start = stream.read(nib.Nifti2Header.sizeof_hdr)
        for kind in (nib.Nifti1Header, nib.Nifti2Header):
            if kind.may_contain_header(start[: kind.sizeof_hdr]):
                header = kind(start[: kind.sizeof_hdr], check=False)
                require_size(header.get_data_shape(), str(path), usual_max_voxels())
                return start + stream.read(_num_bytes(header) - len(start))
    return start


def _num_bytes(header: Any) -> int:
    """Return how long a file is by its header."""
    count = math.prod(int(length) for length in header.get_data_shape())
    return int(header["vox_offset"]) + count * int(header.get_data_dtype().itemsize)


def require_whole(image: Any, path: Path) -> None:
    """Refuse a file that is shorter than its header says, or far longer when unpacked.

    A gzip file ends with the length of what it holds, modulo 2^32. Where that is another, it may
    consist of several parts, which only reading it to the end can tell; that is done of small ones.

    Raises:
        DataError: it is damaged.
    """
    promised = _promised_bytes(image)
    try:
        if path.suffix.lower() == HEADER_OF_PAIR:
            path = partner_of(path) or path
        if not is_gzip(path):
            if path.stat().st_size < promised:
                raise EOFError(f"it has {path.stat().st_size} of {promised} bytes")
            return
        with path.open("rb") as stream:
            stream.seek(-4, os.SEEK_END)
            told = int.from_bytes(stream.read(4), "little")
        if told != promised % 2**32 and path.stat().st_size <= READ_BEFOREHAND:
            _check_gzip(path, promised)
    except TORN as error:
        raise _damaged(path, image, error) from error


def _promised_bytes(image: Any) -> int:
    """Return how long an open file is by its header; nibabel keeps the offset elsewhere then."""
    count = math.prod(int(length) for length in image.shape)
    return int(image.dataobj.offset) + count * int(image.get_data_dtype().itemsize)


def holds_integers(image: Any) -> bool:
    """Tell whether the numbers of an open file are integers, which no factor changes."""
    scale = image.dataobj.slope, image.dataobj.inter
    return image.get_data_dtype().kind in "iu" and scale == (1.0, 0.0)


def is_gzip(path: Path) -> bool:
    """Tell by its first two bytes whether a file is compressed with gzip."""
    with path.open("rb") as stream:
        return stream.read(2) == GZIP_MAGIC


def _begins(content: bytes, header: Any) -> bool:
    return bool(header.may_contain_header(content[: header.sizeof_hdr]))


def _not_nifti(path: Path, error: Exception) -> DataError:
    with path.open("rb") as stream:
        start = stream.read(132)
    if start[128:] == b"DICM":
        return DataError(f"{path}: a DICOM file, not NIfTI", hint="rename it to .dcm")
    if start[:4] == b"NRRD":
        return DataError(f"{path}: an NRRD file, not NIfTI", hint="rename it to .nrrd")
    return DataError(
        f"{path}: not a NIfTI file that can be read ({error})",
        hint="is it .nii or .nii.gz, and was it copied completely?",
    )


def _another_format(path: Path, image: Any) -> DataError:
    if isinstance(image, nib.AnalyzeImage):
        return DataError(
            f"{path}: an Analyze 7.5 pair, which does not say which side of the patient is left",
            hint="convert it to NIfTI (.nii.gz) with a program that knows how it was written",
        )
    return DataError(f"{path}: a {type(image).__name__}, not NIfTI", hint="convert it to .nii.gz")


def read_array(image: Any, path: Path) -> np.ndarray:
    """Read the voxels of an open NIfTI file exactly, with scale factors applied.

    Stored numbers keep their type; scaled ones are float64.

    Raises:
        DataError: the file is damaged: it ends before its voxels do, or its gzip is damaged.
    """
    try:
        if is_gzip(path):  # the halves of a pair are not
            _check_gzip(path, _promised_bytes(image))
        array = np.asarray(image.dataobj)
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    except TORN as error:
        raise _damaged(path, image, error) from error


def _damaged(path: Path, image: Any, error: Exception) -> DataError:
    return DataError(
        f"{path}: the file is damaged; its header promises {image.shape} voxels that cannot "
        f"be read ({error})",
        hint="copy or export it again",
    )


def header_bytes(image: Any) -> bytes:
    """Return the header as it stands in the file, so that no field of its geometry is lost."""
    return bytes(image.header.binaryblock)


def affine_of(image: Any, path: Path) -> np.ndarray:
    """Return the affine of an open NIfTI file to RAS mm, whatever its unit."""
    affine = np.array(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise DataError(
            f"{path}: its affine is singular or not finite",
            hint="give the image a valid sform or qform",
        )
    affine[:3] *= MM_PER_UNIT.get(_unit_of(image.header), 1.0)
    return affine


@dataclass(frozen=True)
class Space:
    """The space that a NIfTI affine leads to.

    Args:
        code: the space, as NIfTI numbers spaces.
        unit: its unit of length, as NIfTI numbers units.
    """

    code: int = SCANNER
    unit: int = MM


def space_of(source: Source) -> Space:
    """Return the space of a source's affine: that of its file, or the scanner's in mm."""
    if source.header is None:
        return Space()
    header = _header_from(source.header)
    code = int(header["sform_code"]) or int(header["qform_code"]) or SCANNER
    return Space(code, _unit_of(header))


def _unit_of(header: Any) -> int:
    """Return the unit of lengths as NIfTI numbers it; mm where the file does not say."""
    unit = int(header["xyzt_units"]) & UNIT_BITS
    return unit if unit in MM_PER_UNIT else MM


def write_nifti(
    path: Path,
    array: np.ndarray,
    source: Source,
    *,
    intent: Intent,
    space: Space | None = None,
    words: MapHeader | None = None,
) -> None:
    """Write one map on the grid of `source`, atomically.

    The geometry is the source's own: the same qform and sform fields with their codes and their
    unit, so that the map lies on the image also in programs that pass over units.
    Without a header of the source the affine is its grid's, and leads to `space`.
    Maps with `words` carry what they say, and cal_min/cal_max at the 99.5th percentile of their
    magnitudes, so that viewers open them in colours that can be seen; others end at the maximum.
    """
    if tuple(array.shape) != source.grid.shape:
        raise ValueError(f"map of shape {array.shape} for a grid of {source.grid.shape}")
    # Without an affine of its own the image leaves the header's geometry as it is set here.
    stored = store(array, words.dtype) if words else Encoded(array)
    image = nib.Nifti1Image(stored.voxels, None, header=_header_for(stored.voxels))
    if source.header is not None:
        _copy_geometry(image.header, _header_from(source.header))
    else:
        _set_geometry(image, source.grid, space or Space())
    image.header.set_intent(intent)
    limits = 0.0, float(np.abs(array).max(initial=0.0))
    if words is not None:
        limits = display_of(array, is_signed=words.is_signed).limits
        for name in ("descrip", "intent_name", "aux_file"):
            image.header[name] = getattr(words, name)
    image.header["cal_min"], image.header["cal_max"] = limits
    if stored.slope is not None:
        image.header.set_slope_inter(stored.slope, 0.0)
    with atomic_path(path) as temporary:
        nib.save(image, temporary)


def _check_gzip(path: Path, promised: int) -> None:
    """Read a gzip file to its end, for its checksum stands there and voxels end before it."""
    num_read = 0
    with gzip.open(path) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            num_read += len(chunk)
            if num_read > promised + CHUNK_BYTES:
                raise ValueError(f"it unpacks to far more than the {promised} bytes promised")
    if num_read < promised:
        raise EOFError(f"it unpacks to {num_read} of {promised} bytes")


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
    header["xyzt_units"] = _unit_of(original)


def _set_geometry(image: Any, grid: Grid, space: Space) -> None:
    affine = grid.affine.copy()
    affine[:3] /= MM_PER_UNIT[space.unit]
    image.header["xyzt_units"] = space.unit
    image.set_sform(affine, code=space.code)
    image.set_qform(affine, code=space.code)
