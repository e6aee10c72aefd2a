"""NRRD, MetaImage: every voxel lies where ITK puts it, and faults are refused in one line."""

from __future__ import annotations

import locale
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from esegeta.errors import DataError, MissingFileError
from esegeta.volume import (
    Case,
    Preprocess,
    Reading,
    image_stem,
    load_volume,
    members,
    read_case,
    write_map,
)
from tests.builders import rotation
from tests.volume.files import array_of, header_of, noise, read

SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")


def itk_image(array: np.ndarray, turn: np.ndarray | None = None) -> sitk.Image:
    """Make an ITK image of an array in ITK's order of axes: x, y, z."""
    image = sitk.GetImageFromArray(array.T, isVector=False)
    ndim = array.ndim
    image.SetSpacing((0.7, 1.9, 3.1, 1.0)[:ndim])
    image.SetOrigin((12.5, -40.0, 7.25, 0.0)[:ndim])
    if turn is not None:
        image.SetDirection(turn.ravel())
    return image


def written(path: Path, array: np.ndarray, turn: np.ndarray | None = None) -> sitk.Image:
    image = itk_image(array, turn)
    sitk.WriteImage(image, str(path), False)
    return image


@contextmanager
def commas(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A locale in which numbers have a comma, such as Qt sets on a German desktop."""
    if shutil.which("localedef") is None:
        pytest.skip("no localedef, which makes locales")
    source = 'LC_NUMERIC\ndecimal_point ","\nthousands_sep ""\ngrouping -1\nEND LC_NUMERIC\n'
    (folder / "comma").write_text(source)
    words = ["localedef", "-c", "-i", str(folder / "comma"), "-f", "UTF-8", f"{folder}/c.UTF-8"]
    subprocess.run(words, check=False, capture_output=True)
    monkeypatch.setenv("LOCPATH", str(folder))
    before = locale.setlocale(locale.LC_NUMERIC)
    try:
        locale.setlocale(locale.LC_NUMERIC, "c.UTF-8")
    except locale.Error:
        pytest.skip("localedef cannot make a locale here")
    try:
        yield
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)


@pytest.mark.slow
def test_numbers_are_read_with_a_point_in_every_locale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = written(tmp_path / "a.nrrd", noise((6, 5, 4)), rotation(11, -7, 17))
    with commas(tmp_path, monkeypatch):
        found = load_volume(tmp_path / "a.nrrd").grid
        assert locale.localeconv()["decimal_point"] == ","
    for index in ((0, 0, 0), (5, 4, 3)):
        left, back, up = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(found.to_mm(index), (-left, -back, up), atol=1e-6)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".seg.nrrd", ".NRRD", ".MHA"])
@pytest.mark.parametrize("compressed", [False, True])
def test_voxels_lie_where_itk_puts_them(suffix: str, compressed: bool, tmp_path: Path) -> None:
    array, path = noise((6, 5, 4)), tmp_path / f"a{suffix.lower()}"
    image = itk_image(array, rotation(11, -7, 17))
    sitk.WriteImage(image, str(path), compressed)
    path = path.rename(tmp_path / f"a{suffix}")
    volume = read(path)
    np.testing.assert_array_equal(volume.data[0].numpy(), array)
    for index in ((0, 0, 0), (5, 0, 0), (0, 4, 0), (2, 3, 3)):
        left, back, up = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(volume.grid.to_mm(index), (-left, -back, up), atol=1e-9)
    assert volume.name == "patient"
    assert image_stem(path.name) == "a"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_maps_are_nifti_on_the_grid_of_the_image(suffix: str, tmp_path: Path) -> None:
    image = written(tmp_path / f"a{suffix}", noise((6, 5, 4)), rotation(11, -7, 17))
    volume = read(tmp_path / f"a{suffix}")
    write_map(tmp_path / "map.nii.gz", volume.data[0], volume)
    found = sitk.ReadImage(str(tmp_path / "map.nii.gz"))
    for name in ("Size", "Spacing", "Origin", "Direction"):
        expected = getattr(image, f"Get{name}")()
        np.testing.assert_allclose(getattr(found, f"Get{name}")(), expected, atol=2e-6)
    np.testing.assert_array_equal(array_of(tmp_path / "map.nii.gz"), volume.data[0].numpy())
    header = header_of(tmp_path / "map.nii.gz")
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float64])
def test_numbers_are_exact(kind: type, tmp_path: Path) -> None:
    labels = np.arange(120).reshape(6, 5, 4).astype(kind)
    if kind is np.int64:
        labels += 2**40
    written(tmp_path / "a.mha", noise((6, 5, 4)))
    written(tmp_path / "l.nrrd", labels)
    case = Case("a", (tmp_path / "a.mha",), tmp_path / "l.nrrd")
    _, found = read_case(case, Preprocess(), Reading(1, 3))
    assert found is not None
    np.testing.assert_array_equal(found.numpy(), labels)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_vectors_and_a_fourth_axis_are_channels(suffix: str, tmp_path: Path) -> None:
    array = noise((6, 5, 4, 3))
    vector = sitk.GetImageFromArray(array.transpose(2, 1, 0, 3), isVector=True)
    vector.SetSpacing((0.7, 1.9, 3.1))
    sitk.WriteImage(vector, str(tmp_path / f"v{suffix}"))
    written(tmp_path / f"f{suffix}", array)
    for name in "vf":
        volume = load_volume(tmp_path / f"{name}{suffix}")
        np.testing.assert_array_equal(volume.data.numpy(), np.moveaxis(array, -1, 0))
        np.testing.assert_allclose(volume.grid.spacing_mm, (0.7, 1.9, 3.1))


def test_vectors_of_one_time_point_are_channels_and_of_several_refused(tmp_path: Path) -> None:
    array = noise((6, 5, 4, 1, 2))
    for times in (1, 2):
        stored = np.repeat(array, times, axis=3).transpose(3, 2, 1, 0, 4)
        image = sitk.GetImageFromArray(stored, isVector=True)
        sitk.WriteImage(image, str(tmp_path / f"{times}.nrrd"))
    volume = read(tmp_path / "1.nrrd", num_channels=2)
    np.testing.assert_array_equal(volume.data.numpy(), array[..., 0, :].transpose(3, 0, 1, 2))
    with pytest.raises(DataError, match=r"an array of shape \(6, 5, 4, 2, 2\) is not an image"):
        read(tmp_path / "2.nrrd", num_channels=2)


def test_another_axis_of_channels_may_be_chosen(tmp_path: Path) -> None:
    array = noise((3, 6, 5, 4))
    image = sitk.GetImageFromArray(array.T, isVector=False)
    image.SetSpacing((1.0, 0.7, 1.9, 3.1))
    image.SetOrigin((0.0, 12.5, -40.0, 7.25))
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    volume = load_volume(tmp_path / "a.nrrd", channels_axis=0)
    np.testing.assert_array_equal(volume.data.numpy(), array)
    np.testing.assert_allclose(volume.grid.spacing_mm, (0.7, 1.9, 3.1))
    np.testing.assert_allclose(volume.grid.to_mm((0, 0, 0)), (-12.5, 40.0, 7.25))


def test_a_2d_nrrd_is_read_as_a_plane(tmp_path: Path) -> None:
    array = noise((6, 5))
    written(tmp_path / "a.nrrd", array)
    volume = load_volume(tmp_path / "a.nrrd")
    assert volume.grid.shape == (6, 5)
    assert not volume.source.is_picture
    np.testing.assert_array_equal(volume.data[0].numpy(), array)
    np.testing.assert_allclose(volume.grid.to_mm((1, 0)), (-13.2, 40.0, 0))


def test_files_are_read_without_a_stderr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = noise((6, 5, 4))
    written(tmp_path / "a.nrrd", array)
    (tmp_path / "b.nrrd").write_bytes((tmp_path / "a.nrrd").read_bytes()[:-60])
    monkeypatch.setattr("sys.stderr", None)  # as in a program without a console
    np.testing.assert_array_equal(load_volume(tmp_path / "a.nrrd").data[0].numpy(), array)
    with pytest.raises(DataError, match=r"b\.nrrd: cannot be read: "):
        load_volume(tmp_path / "b.nrrd")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd", ".nhdr"])
@pytest.mark.parametrize("compressed", [False, True])
def test_torn_files_are_refused(
    suffix: str, compressed: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(itk_image(noise((6, 5, 4))), str(path), compressed)
    voxels = members(path)[-1]
    voxels.write_bytes(voxels.read_bytes()[:-60])
    with pytest.raises(DataError, match=rf"a\{suffix}: cannot be read: ") as error:
        read(path)
    assert "\n" not in str(error.value)
    assert "0x" not in str(error.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("space", "sign"),
    [
        ("right-anterior-superior", (1, 1, 1)),
        ("left-posterior-superior", (-1, -1, 1)),
        ("left-anterior-superior", (-1, 1, 1)),
    ],
)
def test_an_nrrd_in_any_space_is_read(space: str, sign: tuple[int, ...], tmp_path: Path) -> None:
    array = noise((3, 4, 2))
    head = (
        f"NRRD0004\ntype: float\ndimension: 3\nspace: {space}\nsizes: 3 4 2\n"
        "space directions: (0,2,0) (0.5,0,0) (0,0,3)\nkinds: domain domain domain\n"
        "endian: little\nencoding: raw\nspace origin: (10,20,30)\n\n"
    )
    (tmp_path / "a.nrrd").write_bytes(head.encode() + array.tobytes(order="F"))
    volume = read(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(volume.data[0].numpy(), array)
    place = np.array([10 + 0.5 * 3, 20 + 2 * 2, 30 + 3 * 1]) * sign
    np.testing.assert_allclose(volume.grid.to_mm((2, 3, 1)), place)


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_header_and_its_voxel_file_are_members(
    suffix: str, compressed: bool, tmp_path: Path
) -> None:
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(itk_image(noise((6, 5, 4))), str(path), compressed)
    first, second = members(path)
    assert first == path
    assert second.is_file()
    second.unlink()
    with pytest.raises(MissingFileError, match=rf"the file of its voxels, {second.name}, is miss"):
        read(path)


@pytest.mark.parametrize(
    "listed", ["LIST\ns1.raw\ns2.raw\n", "s%d.raw 1 2 1\n", "LIST 2D\ns1.raw\ns2.raw\n"]
)
def test_slices_listed_by_a_header_are_members(listed: str, tmp_path: Path) -> None:
    array = noise((6, 5, 2))
    written(tmp_path / "a.mhd", array)
    text = (tmp_path / "a.mhd").read_text().replace("a.raw\n", listed)
    (tmp_path / "b.mhd").write_text(text)
    for number in (1, 2):
        content = np.ascontiguousarray(array[..., number - 1].T).tobytes()
        (tmp_path / f"s{number}.raw").write_bytes(content)
    assert [file.name for file in members(tmp_path / "b.mhd")] == ["b.mhd", "s1.raw", "s2.raw"]
    np.testing.assert_array_equal(read(tmp_path / "b.mhd").data[0].numpy(), array)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_another_content_under_the_suffix_is_refused(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"a{suffix}").write_bytes(b"no image at all\n\n" + bytes(600))
    with pytest.raises(DataError, match=rf"a\{suffix}: cannot be read: \w"):
        read(tmp_path / f"a{suffix}")


def test_complex_voxels_are_refused(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(noise((4, 5, 6)) + 1j * noise((4, 5, 6), 1))
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    with pytest.raises(DataError, match=r"a\.nrrd: its voxels are complex"):
        read(tmp_path / "a.nrrd")


def test_a_segmentation_of_overlapping_layers_is_no_label_map(tmp_path: Path) -> None:
    written(tmp_path / "a.nrrd", noise((6, 5, 4)))
    layers = sitk.GetImageFromArray(np.ones((4, 5, 6, 2), np.uint8), isVector=True)
    layers.CopyInformation(sitk.ReadImage(str(tmp_path / "a.nrrd")))
    sitk.WriteImage(layers, str(tmp_path / "l.seg.nrrd"))
    case = Case("a", (tmp_path / "a.nrrd",), tmp_path / "l.seg.nrrd")
    with pytest.raises(DataError, match=r"l\.seg\.nrrd has 2 channels"):
        read_case(case, Preprocess(), Reading(1, 3))
