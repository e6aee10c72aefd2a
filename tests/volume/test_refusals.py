"""Images that cannot be used: the message says which file, what was found and where."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from esegeta.errors import DataError, GridError, MissingFileError
from esegeta.volume import (
    Case,
    Preprocess,
    Reading,
    Volume,
    check_case,
    load_volume,
    read_case,
    volume_from_tensor,
)
from tests.builders import affine_of
from tests.volume.files import noise, read, save_nifti

SHAPE = (9, 11, 7)


def image_at(folder: Path, name: str = "image.nii.gz", **geometry: np.ndarray) -> Path:
    return save_nifti(folder / name, noise(SHAPE), **geometry)


def with_label(
    image: Path, label: Path, preprocess: Preprocess | None = None
) -> torch.Tensor | None:
    case = Case("patient", (image,), label)
    return read_case(case, preprocess or Preprocess(), Reading(1, 3))[1]


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"none\.nii\.gz: no such file; check the path"):
        read(tmp_path / "none.nii.gz")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.txt", "a"])
@pytest.mark.parametrize("content", [b"", b"this is text, not an image\n" * 40, b"\x1f\x8bgarbage"])
def test_a_file_that_is_not_nifti_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="not a NIfTI file"):
        read(tmp_path / name)


def test_another_format_of_nibabel_is_refused(tmp_path: Path) -> None:
    nib.save(nib.MGHImage(noise(SHAPE), affine_of("oblique")), tmp_path / "a.mgz")
    with pytest.raises(DataError, match=r"\.mgz is not supported.*mri_convert"):
        read(tmp_path / "a.mgz")
    (tmp_path / "a.mgz").rename(tmp_path / "a")
    with pytest.raises(DataError, match=r"a: not a NIfTI file"):
        read(tmp_path / "a")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kept", [0.2, 0.6, 0.98])
def test_torn_files_are_refused(suffix: str, kept: float, tmp_path: Path) -> None:
    path = image_at(tmp_path, f"a{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match=r"a\.nii.*(damaged|not a NIfTI)"):
        read(path)


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    path = image_at(tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"image\.nii\.gz.*damaged"):
        read(path)


def test_colour_voxels_are_refused(tmp_path: Path) -> None:
    rgb = np.zeros((4, 5, 6), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(rgb, np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(DataError, match=r"a\.nii\.gz"):
        read(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_values_are_refused_with_their_place(bad: float, tmp_path: Path) -> None:
    array = noise(SHAPE)
    array[2, 3, 4] = array[5, 6, 1] = bad
    path = save_nifti(tmp_path / "a.nii.gz", array)
    x, y, z = (affine_of("oblique") @ (2, 3, 4, 1))[:3]
    place = rf"2 voxels.*\(2, 3, 4\) = \({x:.1f}, {y:.1f}, {z:.1f}\) mm of channel 0.*nan: zero"
    with pytest.raises(DataError, match=place):
        read(path)
    volume = read(path, nan_to_zero=True)
    array[~np.isfinite(array)] = 0
    np.testing.assert_array_equal(volume.data[0].numpy(), array)


def test_nan_names_the_file_of_its_channel(tmp_path: Path) -> None:
    array = noise(SHAPE)
    array[0, 0, 0] = np.nan
    paths = [image_at(tmp_path, "t1.nii.gz"), save_nifti(tmp_path / "t2.nii.gz", array)]
    with pytest.raises(DataError, match=r"t2\.nii\.gz: 1 voxels.*of channel 1"):
        read(paths, num_channels=2)


@pytest.mark.parametrize("rule", ["minmax", "zscore"])
def test_a_range_that_float32_cannot_hold_is_refused(rule: str, tmp_path: Path) -> None:
    values = np.linspace(-3e38, 3e38, 24).astype(np.float32).reshape(2, 3, 4)
    path = save_nifti(tmp_path / "a.nii", values)
    with pytest.raises(
        DataError, match=r"a: \d+ voxels are NaN or Inf after preprocessing; choose"
    ):
        load_volume(path, intensity=rule)


@pytest.mark.parametrize("other", ["shape", "affine"])
@pytest.mark.parametrize("role", ["channel", "label"])
def test_images_on_different_grids_are_refused(role: str, other: str, tmp_path: Path) -> None:
    first = image_at(tmp_path)
    array = noise((9, 11, 8) if other == "shape" else SHAPE).round()
    affine = affine_of("oblique")
    affine[0, 3] += 0.5 if other == "affine" else 0
    second = save_nifti(tmp_path / "second.nii.gz", array, sform=affine)
    first_has, second_has = {
        "shape": ("9x11x7 voxels", "9x11x8 voxels"),
        "affine": (r"origin \(12.5, .*", r"origin \(13, .* mm, 0.5 mm away"),
    }[other]
    message = rf"patient: different grids: .* has {first_has}; .*second\.nii\.gz has {second_has};"
    with pytest.raises(GridError, match=message):
        if role == "label":
            with_label(first, second)
        else:
            read([first, second], num_channels=2)


@pytest.mark.parametrize(
    ("shape", "num_channels", "message"),
    [
        (SHAPE, 2, "1 channel in .*takes 2.*one image per channel"),
        ((*SHAPE, 4), 3, "4 channels in .*takes 3"),
        ((*SHAPE, 2, 3), 6, r"\(9, 11, 7, 2, 3\) is not an image"),
        ((9,), 1, r"\(9,\) is not an image"),
    ],
)
def test_a_wrong_number_of_channels_is_refused(
    shape: tuple[int, ...], num_channels: int, message: str, tmp_path: Path
) -> None:
    path = save_nifti(tmp_path / "a.nii.gz", noise(shape))
    with pytest.raises(DataError, match=message):
        read(path, num_channels=num_channels)


def test_several_images_with_more_than_one_channel_are_refused(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a.nii.gz", noise((*SHAPE, 2)))
    with pytest.raises(DataError, match="one channel each"):
        read([path, path], num_channels=4)


def test_a_2d_image_for_a_3d_network_is_refused(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a.nii.gz", noise((9, 11)))
    with pytest.raises(DataError, match="a 2D image for a 3D network"):
        check_case(Case("a", (path,)), Reading(1, 3))


@pytest.mark.parametrize("wrong", [0.5, np.nan, np.inf])
def test_a_label_map_without_integers_is_refused(wrong: float, tmp_path: Path) -> None:
    array = np.ones(SHAPE, np.float32)
    array[1, 2, 3] = wrong
    label = save_nifti(tmp_path / "label.nii.gz", array)
    with pytest.raises(DataError, match=r"label\.nii\.gz: a label map must hold integers"):
        with_label(image_at(tmp_path), label)


def test_a_label_map_of_several_channels_is_refused(tmp_path: Path) -> None:
    label = save_nifti(tmp_path / "label.nii.gz", np.ones((*SHAPE, 2), np.uint8))
    with pytest.raises(DataError, match=r"label\.nii\.gz.*2 channels"):
        with_label(image_at(tmp_path), label)


@pytest.mark.parametrize("column", [0.0, np.nan])
def test_a_singular_affine_is_refused(column: float, tmp_path: Path) -> None:
    affine = affine_of("oblique")
    affine[:3, 1] = column
    path = tmp_path / "a.nii"
    image = nib.Nifti1Image(noise(SHAPE), None)
    image.header["sform_code"] = 1
    for row in range(3):
        image.header[f"srow_{'xyz'[row]}"] = affine[row]
    nib.save(image, path)
    with pytest.raises(DataError, match="affine is singular"):
        read(path)


def test_an_inconsistent_volume_is_refused() -> None:
    volume = volume_from_tensor(torch.zeros(2, 4, 5))
    with pytest.raises(DataError, match=r"spatial shape \(4, 6\)"):
        Volume(torch.zeros(2, 4, 6), volume.grid, volume.source)
    with pytest.raises(DataError, match="2 channels but 1 channel names: t1"):
        Volume(volume.data, volume.grid, volume.source, channels=("t1",))


@pytest.mark.parametrize(
    ("offset", "code"),
    [(70, b"\x0b\x03"), (40, b"\x40\x00"), (42, b"\xf0\xff"), (42, b"\x00\x00")],
    ids=["datatype", "number of axes", "negative length", "empty axis"],
)
def test_a_broken_header_is_refused_in_words(offset: int, code: bytes, tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "broken.nii", noise((4, 4, 4)))
    content = bytearray(path.read_bytes())
    content[offset : offset + len(code)] = code
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a NIfTI file that can be read"):
        read(path)
