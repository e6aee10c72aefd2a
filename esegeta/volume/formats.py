"""Which files are images that can be read, by their names, and what to do with the others."""

from __future__ import annotations

from pathlib import Path

from esegeta.errors import DataError, MissingFileError

NIFTI_SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
ITK_SUFFIXES = (".nrrd", ".seg.nrrd", ".nhdr", ".mha", ".mhd")
ARRAY_SUFFIXES = (".npz",)
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
IMAGE_SUFFIXES = NIFTI_SUFFIXES + PICTURE_SUFFIXES + ITK_SUFFIXES + ARRAY_SUFFIXES + DICOM_SUFFIXES
PAIR = {".hdr": ".img", ".img": ".hdr"}
"""A NIfTI image of two files: the header, and the voxels."""

WITH_ITK = "SimpleITK: sitk.WriteImage(sitk.ReadImage(source), 'image.nii.gz')"
WITH_NIBABEL = "nibabel, with the affine: nib.save(nib.Nifti1Image(array, affine), 'image.nii.gz')"
WITH_DCM2NIIX = "dcm2niix, which writes .nii.gz"
TO_PICTURE = "any picture program"
FOREIGN = {
    **dict.fromkeys((".gipl", ".vtk", ".vti"), WITH_ITK),
    **dict.fromkeys((".par", ".rec"), WITH_DCM2NIIX),
    **dict.fromkeys((".npy", ".h5", ".hdf5", ".mat", ".zarr", ".n5"), WITH_NIBABEL),
    **dict.fromkeys((".pt", ".pth", ".pkl", ".raw"), WITH_NIBABEL),
    **dict.fromkeys((".mgz", ".mgh"), "FreeSurfer: mri_convert image.mgz image.nii.gz"),
    ".mnc": "MINC: mnc2nii image.mnc image.nii",
    **dict.fromkeys((".brik", ".head"), "AFNI: 3dAFNItoNIFTI"),
    **dict.fromkeys((".bmp", ".gif", ".webp", ".ppm", ".pgm", ".pbm", ".pnm"), TO_PICTURE),
    **dict.fromkeys((".jp2", ".j2k", ".jpx", ".heic", ".avif"), TO_PICTURE),
    **dict.fromkeys((".svs", ".ndpi", ".mrxs", ".scn"), "a slide viewer: a region of it, as PNG"),
    **dict.fromkeys((".czi", ".lif", ".nd2", ".ims"), "Fiji, a slice of it as TIFF"),
}
"""Suffixes of formats that hold images and are not read, and what converts them."""


def suffix_of(name: str, suffixes: tuple[str, ...]) -> str:
    """Return the longest of some suffixes that a name ends with, in any case; else nothing."""
    low = name.lower()
    found = [suffix for suffix in suffixes if low.endswith(suffix)]
    return max(found, key=len, default="")


def is_image(name: str) -> bool:
    """Tell by the suffix whether a file is an image that can be read."""
    return bool(suffix_of(name, IMAGE_SUFFIXES))


def is_dicom_name(name: str) -> bool:
    """Tell by the suffix whether a file is DICOM; many have none."""
    return bool(suffix_of(name, DICOM_SUFFIXES))


def names_image(text: str) -> bool:
    """Tell whether a word of a config is the name of an image file, of whatever format."""
    return bool(suffix_of(text, (*IMAGE_SUFFIXES, *FOREIGN)))


def foreign_suffix(name: str) -> str:
    """Return the suffix of an image format that is not read, which a name ends with; or nothing."""
    return suffix_of(name, tuple(FOREIGN))


def image_stem(name: str) -> str:
    """Return a file's name without the suffix of its image format."""
    suffix = suffix_of(name, IMAGE_SUFFIXES)
    return name[: len(name) - len(suffix)]


def partner_of(path: Path) -> Path | None:
    """Return the other file of a .hdr/.img pair, or None where it is missing."""
    other = PAIR[path.suffix.lower()]
    names = (path.with_suffix(suffix) for suffix in (other, other.upper()))
    return next((name for name in names if name.is_file()), None)


def require_image_file(path: Path) -> None:
    """Refuse what is missing, or of a format that is not read.

    Raises:
        MissingFileError: there is no such file.
        DataError: it is an image of another format; the message says how to convert it.
    """
    foreign = foreign_suffix(path.name)
    if foreign and path.exists():
        raise DataError(f"{path}: {not_supported(foreign)}", hint=how_to_convert(foreign))
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file", hint="check the path")


def not_supported(suffix: str) -> str:
    """Return what to say about a format that is not read."""
    return f"{suffix} is not supported"


def how_to_convert(suffix: str) -> str:
    """Return which formats are read, and what converts a foreign one into one of them."""
    reads = "PNG, JPEG or TIFF" if FOREIGN[suffix] == TO_PICTURE else "NIfTI (.nii.gz)"
    return f"convert it to {reads} with {FOREIGN[suffix]}"
