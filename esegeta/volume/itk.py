"""NRRD and MetaImage files through SimpleITK, in its world: the same place for every voxel."""

from __future__ import annotations

import locale
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from esegeta.errors import DataError, MissingFileError
from esegeta.volume.formats import require_image_file, suffix_of
from esegeta.volume.members import data_files
from esegeta.volume.stored import Stored, affine_from_itk

READERS = {
    ".nrrd": "NrrdImageIO",
    ".nhdr": "NrrdImageIO",
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
}
NOISE = re.compile(r"\(0x[0-9a-f]+\)|\[nrrd\] |ITK ERROR: ")
"""Parts of a message that tell a person nothing: addresses in memory, and names of libraries."""
STDERR = 2
_ONE_AT_A_TIME = threading.RLock()


def open_itk(path: Path, channels_axis: int | None = None) -> Stored:
    """Open an NRRD or MetaImage file, reading its header only.

    Args:
        path: the file, or the header of two.
        channels_axis: the channels' axis of a 4D image; None for the last.

    Raises:
        MissingFileError: there is no such file, or none of its voxels.
        DataError: it cannot be read, or holds no real numbers.
    """
    import SimpleITK as sitk  # 90 MB, which whoever reads NIfTI alone does not need

    require_image_file(path)
    for file in data_files(path):
        if not file.is_file():
            raise MissingFileError(
                f"{path}: the file of its voxels, {file.name}, is missing",
                hint="the header names it; copy both",
            )
    reader = sitk.ImageFileReader()
    reader.SetImageIO(READERS[suffix_of(path.name, tuple(READERS))])
    reader.SetFileName(str(path))
    with itk_faults(path):
        reader.ReadImageInformation()
    components = int(reader.GetNumberOfComponents())
    if "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelIDValue()):
        raise DataError(
            f"{path}: its voxels are complex, not real numbers",
            hint="write the magnitude, or real and imaginary part as one image each",
        )
    ndim = int(reader.GetDimension())
    shape = tuple(int(length) for length in reader.GetSize())
    spatial = list(range(ndim))
    if ndim == 4:
        spatial.remove(3 if channels_axis is None else channels_axis % 4)
    direction = np.array(reader.GetDirection()).reshape(ndim, ndim)[np.ix_(spatial, spatial)]
    affine = affine_from_itk(
        [reader.GetSpacing()[axis] for axis in spatial],
        [reader.GetOrigin()[axis] for axis in spatial],
        direction,
        place=path,
    )

    def load() -> np.ndarray:
        with itk_faults(path):
            return array_of(reader.Execute())

    if components > 1:
        return Stored((*shape, components), affine, load, channels_axis=ndim)
    return Stored(shape, affine, load)


def array_of(image: Any) -> np.ndarray:
    """Return the voxels of an ITK image with its axes in their order: x, y, z, components."""
    import SimpleITK as sitk  # as above

    array: np.ndarray = sitk.GetArrayFromImage(image)
    ndim = image.GetDimension()
    return np.transpose(array, (*reversed(range(ndim)), *range(ndim, array.ndim)))


@contextmanager
def itk_faults(path: Path) -> Iterator[None]:
    """Turn what ITK raises into a refusal of the file, and keep its libraries quiet.

    Raises:
        DataError: ITK cannot read the file; the message gives its reason.
    """
    with tempfile.TemporaryFile("w+") as said:
        try:
            with _stderr_into(said), _points_in_numbers():
                yield
        except RuntimeError as error:
            said.seek(0)
            raise DataError(
                f"{path}: cannot be read: {_reason(str(error), said.read())}",
                hint="was it copied completely, and is it of the kind that its name says?",
            ) from error


@contextmanager
def itk_quiet() -> Iterator[None]:
    """Drop what ITK's libraries print; what they raise is for the caller."""
    with tempfile.TemporaryFile("w+") as said, _stderr_into(said), _points_in_numbers():
        yield


@contextmanager
def _points_in_numbers() -> Iterator[None]:
    """Let ITK read numbers with a point where the program around it (Qt's, say) has set a comma.

    Its reader of NRRD would take a spacing of 0.75 for 0 there.
    """
    before = locale.setlocale(locale.LC_NUMERIC)
    locale.setlocale(locale.LC_NUMERIC, "C")
    try:
        yield
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)


def _reason(raised: str, said: str) -> str:
    """Return the reason in one line: the last of what was raised, or what was printed before."""
    raised = NOISE.sub("", raised)
    lines = [line.strip() for line in (said or raised).splitlines() if line.strip()]
    return "; ".join(lines[-2:] if said else lines[-1:])


@contextmanager
def _stderr_into(file: TextIO) -> Iterator[None]:
    """Send what C++ libraries print to a file: some of ITK's know no other way to complain."""
    with _ONE_AT_A_TIME:
        try:
            kept = os.dup(STDERR)
        except OSError:  # it is closed, so that nothing can leak
            yield
            return
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(file.fileno(), STDERR)
        try:
            yield
        finally:
            os.dup2(kept, STDERR)
            os.close(kept)
