#!/usr/bin/env python3
"""Build the sample volumes in data_samples/: two from published Python packages, one drawn.

Run without options to download the packages with pip and rebuild the samples, with
`--from DIR` to use files that are already there, with `--synthetic` to draw only the sample that
needs none, with `--readme` to rewrite only data_samples/README.md, or with `--check` to compare
the shipped files with the sha256s written in that README.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import hashlib
import io
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from sample_texts import CT_NOTICE, FILES, MNI_NOTICE, README_HEAD
from synthetic_tumour import SPACING_MM, draw_head

SAMPLES = Path(__file__).resolve().parent.parent / "data_samples"

SDIST = "totalsegmentator-2.18.0.tar.gz"
WHEEL = "nilearn-0.14.1-py3-none-any.whl"
SHA256 = {
    SDIST: "5d4223ef93973bc36d710869d11e7742ead2c154c72f7f9edcaaadd5b6c4bd03",
    WHEEL: "725206484e9fb3f6691f9c2d20204a068759d5072f12055324702ee0cb2bbe8a",
}
PIP_ARGS = (
    ("--no-binary", ":all:", "totalsegmentator==2.18.0"),
    ("--only-binary", ":all:", "nilearn==0.14.1"),
)

# Costal cartilage is left out: it is not bone, and at about 100 HU it does not look like it.
CT_LABELS = {
    1: r"spleen",
    2: r"kidney_(right|left)",
    3: r"liver",
    4: r"sacrum|skull|sternum|(vertebrae|rib|hip|femur|humerus|scapula|clavicula)_.+",
}

PICTURE_SLICE = 44
"""Of the T1 template, through the lateral ventricles."""


def sha256(path: Path) -> str:
    """Return the sha256 of a file as hex digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def download(folder: Path) -> None:
    """Download the two packages into a folder, without their dependencies."""
    for args in PIP_ARGS:
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder)]
        subprocess.run([*pip, *args], check=True)


def verify_archives(folder: Path) -> None:
    """Stop unless the packages in a folder are the ones the samples were made from."""
    for name, expected in SHA256.items():
        path = folder / name
        if not path.is_file():
            raise SystemExit(f"{path} is missing")
        if sha256(path) != expected:
            raise SystemExit(f"{path} has an unexpected sha256")


def sdist_member(folder: Path, member: str) -> bytes:
    """Read one file out of the TotalSegmentator source distribution."""
    with tarfile.open(folder / SDIST) as archive:
        handle = archive.extractfile(f"{SDIST.removesuffix('.tar.gz')}/{member}")
        assert handle is not None, f"{member} is not a file"
        return handle.read()


def wheel_member(folder: Path, member: str) -> bytes:
    """Read one file out of the nilearn wheel."""
    with zipfile.ZipFile(folder / WHEEL) as archive:
        return archive.read(member)


def read_nifti(data: bytes) -> nib.Nifti1Image:
    """Read a compressed NIfTI image from memory."""
    return nib.Nifti1Image.from_bytes(gzip.decompress(data))


def write_nifti(path: Path, image: nib.Nifti1Image) -> None:
    """Write a compressed NIfTI image whose bytes depend on its content only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as out:
        out.write(image.to_bytes())
    path.write_bytes(buffer.getvalue())


def with_geometry_of(
    source: nib.Nifti1Image, data: NDArray[np.int16] | NDArray[np.uint8]
) -> nib.Nifti1Image:
    """Wrap data in an image that has the geometry of another, codes included."""
    header = source.header.copy()
    header.extensions.clear()
    header.set_data_dtype(data.dtype)
    return nib.Nifti1Image(data, source.affine, header)


def label_numbers(map_to_binary: str) -> dict[int, list[int]]:
    """Find the TotalSegmentator class numbers that make up each of our CT labels."""
    for node in ast.parse(map_to_binary).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "class_map":
            classes: dict[int, str] = ast.literal_eval(node.value)["total"]
            break
    else:
        raise SystemExit("no class_map in map_to_binary.py")
    numbers = {
        label: [number for number, name in classes.items() if re.fullmatch(pattern, name)]
        for label, pattern in CT_LABELS.items()
    }
    if numbers[1] != [1] or numbers[2] != [2, 3] or numbers[3] != [5] or len(numbers[4]) != 62:
        raise SystemExit(f"unexpected TotalSegmentator class numbers: {numbers}")
    return numbers


def make_ct(folder: Path) -> None:
    """Write the CT sample, its labels and its licence."""
    reference = "tests/reference_files"
    ct = read_nifti(sdist_member(folder, f"{reference}/example_ct.nii.gz"))
    source = read_nifti(sdist_member(folder, f"{reference}/example_seg_fast_force_split.nii.gz"))
    if ct.shape != source.shape or not np.array_equal(ct.affine, source.affine):
        raise SystemExit("the CT and its labels are not on the same grid")
    hounsfield = np.asarray(ct.dataobj)
    if hounsfield.min() < -32768 or hounsfield.max() > 32767:
        raise SystemExit("the CT does not fit into int16")
    numbers = label_numbers(
        sdist_member(folder, "totalsegmentator/map_to_binary.py").decode("utf-8")
    )
    labels = np.zeros(source.shape, np.uint8)
    for label, sources in numbers.items():
        labels[np.isin(np.asarray(source.dataobj), sources)] = label
    target = SAMPLES / "ct_torso"
    write_nifti(target / "ct_torso.nii.gz", with_geometry_of(ct, hounsfield.astype(np.int16)))
    write_nifti(target / "ct_torso_labels.nii.gz", with_geometry_of(ct, labels))
    (target / "LICENSE").write_bytes(sdist_member(folder, "LICENSE"))
    (target / "NOTICE").write_text(CT_NOTICE, encoding="utf-8")


def halve(volume: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Smooth with (1, 2, 1) / 4 along each axis, times 64 in all, and keep every other voxel."""
    result = volume.astype(np.int64)
    for axis in range(3):
        padded = np.pad(result, [(int(a == axis),) * 2 for a in range(3)], mode="edge")
        line = np.moveaxis(padded, axis, 0)
        line = (line[:-2] + 2 * line[1:-1] + line[2:])[::2]
        result = np.moveaxis(line, 0, axis)
    return result


def make_mni(folder: Path) -> None:
    """Write the T1 template at 2 mm, its tissue labels and the notices."""
    images = {}
    for kind in ("t1", "gm", "wm"):
        name = f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz"
        images[kind] = read_nifti(wheel_member(folder, f"nilearn/datasets/data/{name}"))
    affine = images["t1"].affine
    if any(not np.array_equal(image.affine, affine) for image in images.values()):
        raise SystemExit("the MNI templates are not on the same grid")
    t1, gm, wm = (halve(np.asarray(image.dataobj)) for image in images.values())
    labels = np.argmax(np.stack([64 * 255 - gm - wm, gm, wm]), axis=0).astype(np.uint8)
    # The first voxel stays where it was, so the origin of the affine does too.
    affine = affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    target = SAMPLES / "mni_t1"
    for name, data in (("mni_t1", ((t1 + 32) // 64).astype(np.uint8)), ("mni_t1_labels", labels)):
        image = nib.Nifti1Image(np.ascontiguousarray(data), affine)
        image.set_sform(affine, code="mni")
        image.set_qform(affine, code="mni")
        image.header.set_xyzt_units("mm")
        write_nifti(target / f"{name}.nii.gz", image)
        write_picture(target / f"{name}_slice.png", data[:, :, PICTURE_SLICE])
    licence = wheel_member(folder, "nilearn-0.14.1.dist-info/licenses/LICENSE")
    (target / "LICENSE-nilearn").write_bytes(licence)
    (target / "NOTICE").write_text(MNI_NOTICE, encoding="utf-8")


def write_picture(path: Path, data: NDArray[np.uint8]) -> None:
    """Write an axial slice in RA order as a PNG: the patient's right on the left, front up."""
    sitk.WriteImage(sitk.GetImageFromArray(data[::-1, ::-1].T), str(path))


def make_synthetic() -> None:
    """Draw the synthetic sample, a file a channel, and its labels."""
    images, labels = draw_head()
    affine = np.diag([SPACING_MM] * 3 + [1.0])
    affine[:3, 3] = [-SPACING_MM * (length - 1) / 2 for length in labels.shape]
    target = SAMPLES / "synthetic_tumour"
    for name, data in (*images.items(), ("labels", labels)):
        image = nib.Nifti1Image(data, affine)
        image.set_sform(affine, code="aligned")
        image.set_qform(affine, code="aligned")
        image.header.set_xyzt_units("mm")
        write_nifti(target / f"synthetic_tumour_{name}.nii.gz", image)


def write_readme() -> None:
    """Write data_samples/README.md with the sha256 of every file that is there."""
    lines = []
    for name, (content, source, licence) in FILES.items():
        path = SAMPLES / name
        if not path.is_file():
            continue
        shape = spacing = "-"
        if name.endswith(".nii.gz"):
            image = nib.load(path)
            assert isinstance(image, nib.Nifti1Image)
            shape = " x ".join(str(size) for size in image.shape)
            spacing = " x ".join(f"{zoom:g}" for zoom in image.header.get_zooms())
        cells = (f"`{name}`", content, source, licence, shape, spacing, f"`{sha256(path)}`")
        lines.append("| " + " | ".join(cells) + " |\n")
    (SAMPLES / "README.md").write_text(README_HEAD + "".join(lines), encoding="utf-8")


def check() -> int:
    """Compare the files in data_samples/ with the README; return the number of problems."""
    text = (SAMPLES / "README.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", text, re.MULTILINE))
    present = {p.relative_to(SAMPLES).as_posix() for p in SAMPLES.rglob("*") if p.is_file()}
    problems = [f"{name}: not in the README" for name in sorted(present - {"README.md", *listed})]
    for name, expected in listed.items():
        if name not in present:
            problems.append(f"{name}: missing")
        elif sha256(SAMPLES / name) != expected:
            problems.append(f"{name}: other content than the README says")
    print("\n".join(problems) or f"{len(listed)} files are as the README says")
    return len(problems)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--from", dest="folder", type=Path, help="folder with both packages")
    parser.add_argument("--synthetic", action="store_true", help="only draw the synthetic sample")
    parser.add_argument("--readme", action="store_true", help="only rewrite the README")
    parser.add_argument("--check", action="store_true", help="only check the shipped files")
    options = parser.parse_args()
    if options.check:
        return int(check() > 0)
    if not options.readme:
        make_synthetic()
    if not (options.readme or options.synthetic):
        with tempfile.TemporaryDirectory() as temporary:
            folder = options.folder or Path(temporary)
            if options.folder is None:
                download(folder)
            verify_archives(folder)
            make_ct(folder)
            make_mni(folder)
    write_readme()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
