"""TIFFs of several pages: volumes, whose voxels are as large as ImageJ, OME or the user says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from esegeta.errors import DataError
from esegeta.volume import Case, Preprocess, Reading, is_picture, load_volume, read_case

SHAPE = (4, 5, 7)
"""Pages, rows, columns."""
OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image>'
    '<Pixels DimensionOrder="XYZCT" SizeC="{c}" SizeT="1" SizeX="7" SizeY="5" SizeZ="4" '
    'PhysicalSizeX="0.5" PhysicalSizeY="250" PhysicalSizeYUnit="nm" PhysicalSizeZ="0.002" '
    'PhysicalSizeZUnit="mm"/></Image></OME>'
)


def pages(kind: Any = np.uint8, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Return pages x rows x columns (x colours)."""
    return np.random.default_rng(0).integers(0, 250, shape).astype(kind)


def stack(path: Path, array: np.ndarray, description: str = "", per_unit: float = 0) -> Path:
    tags: dict[int, Any] = {270: description} if description else {}
    if per_unit:
        tags |= {282: per_unit, 283: per_unit / 2}
    first, *rest = [Image.fromarray(page) for page in array]
    first.save(path, save_all=True, append_images=rest, tiffinfo=tags)
    return path


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.float32])
def test_pages_are_the_third_axis_as_in_itk(kind: type, tmp_path: Path) -> None:
    array = pages(kind)
    path = stack(tmp_path / "a.tif", array)
    volume = load_volume(path, file_spacing_mm=(0.5, 1.5, 2.5))
    np.testing.assert_array_equal(volume.data[0].numpy(), array.transpose(2, 1, 0))
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.5, 1.5, 2.5))
    left, back, up = image.TransformIndexToPhysicalPoint((6, 3, 2))
    np.testing.assert_allclose(volume.grid.to_mm((6, 3, 2)), (-left, -back, up))
    assert not is_picture(path)
    assert not volume.source.is_picture
    assert volume.voxel_volume_ml == pytest.approx(0.5 * 1.5 * 2.5 / 1000)


def test_colours_are_channels(tmp_path: Path) -> None:
    array = pages(shape=(*SHAPE, 3))
    volume = load_volume(stack(tmp_path / "a.tif", array), file_spacing_mm=(1, 1, 1))
    np.testing.assert_array_equal(volume.data.numpy(), array.transpose(3, 2, 1, 0))


@pytest.mark.parametrize(("unit", "mm"), [("micron", 1e-3), ("um", 1e-3), ("mm", 1.0)])
def test_the_spacing_is_read_from_imagej_metadata(unit: str, mm: float, tmp_path: Path) -> None:
    text = f"ImageJ=1.54f\nimages=4\nslices=4\nunit={unit}\nspacing=2.5\nloop=false\n"
    volume = load_volume(stack(tmp_path / "a.tif", pages(), text, per_unit=4.0))
    np.testing.assert_allclose(volume.grid.spacing_mm, [0.25 * mm, 0.5 * mm, 2.5 * mm])
    told = load_volume(tmp_path / "a.tif", file_spacing_mm=(1, 2, 3))
    assert told.grid.spacing_mm == (1, 2, 3)


def test_channels_of_a_hyperstack_are_read(tmp_path: Path) -> None:
    array = pages()
    text = "ImageJ=1.54f\nimages=4\nchannels=2\nslices=2\nhyperstack=true\nunit=mm\nspacing=2\n"
    volume = load_volume(stack(tmp_path / "a.tif", array, text, per_unit=1.0))
    for channel in range(2):
        expected = array[channel::2].transpose(2, 1, 0)
        np.testing.assert_array_equal(volume.data[channel].numpy(), expected)


def test_the_spacing_is_read_from_ome_metadata(tmp_path: Path) -> None:
    volume = load_volume(stack(tmp_path / "a.tif", pages(), OME.format(c=1)))
    np.testing.assert_allclose(volume.grid.spacing_mm, [5e-4, 2.5e-4, 2e-3])


def test_a_spacing_missing_in_ome_metadata_may_be_given(tmp_path: Path) -> None:
    text = OME.format(c=1).replace("PhysicalSizeZ=", "Other=")
    path = stack(tmp_path / "a.tif", pages(), text)
    with pytest.raises(DataError, match="does not say how large its voxels are"):
        load_volume(path)
    assert load_volume(path, file_spacing_mm=(1, 2, 3)).grid.spacing_mm == (1, 2, 3)


def test_large_whole_numbers_are_exact(tmp_path: Path) -> None:
    array = pages(np.uint32) * np.uint32(1 << 24)  # of which Pillow makes signed numbers
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "a.tif"))
    volume = load_volume(tmp_path / "a.tif", file_spacing_mm=(1, 1, 1))
    np.testing.assert_array_equal(volume.data[0].numpy(), array.transpose(2, 1, 0))


def stack_in(path: Path, mode: str) -> Path:
    """Write the pages in another of Pillow's modes."""
    first, *rest = [Image.fromarray(page).convert(mode) for page in pages()]
    first.save(path, save_all=True, append_images=rest)
    return path


def torn(path: Path) -> Path:
    array = pages(shape=(4, 200, 300))
    content = stack(path, array).read_bytes()
    # The directories of later pages stand behind the pixels: cut within the last of these.
    path.write_bytes(content[:-30000] + bytes(0))
    return path


def unlike(path: Path) -> Path:
    first, second = Image.fromarray(pages()[0]), Image.fromarray(pages(shape=(1, 6, 7))[0])
    first.save(path, save_all=True, append_images=[second])
    return path


REFUSED = {
    "no size": (lambda p: stack(p, pages()), None, "does not say how large its voxels are"),
    "inches": (
        lambda p: stack(p, pages(), per_unit=72.0),
        None,
        "does not say how large its voxels are",
    ),
    "two lengths": (lambda p: stack(p, pages()), (1, 1), "spacing_mm has 2 lengths, the image 3"),
    "points in time": (
        lambda p: stack(p, pages(), "ImageJ=1.54f\nimages=4\nframes=2\nslices=2\n"),
        (1, 1, 1),
        "4 pages of 1 channels and 2 points in time",
    ),
    "channels of OME": (
        lambda p: stack(p, pages(), OME.format(c=2)),
        None,
        "2 points in time|channels",
    ),
    "colours of channels": (
        lambda p: stack(p, pages(shape=(*SHAPE, 3)), "ImageJ=1.54f\nimages=4\nchannels=2\n"),
        (1, 1, 1),
        "channels whose pages are in colour",
    ),
    "palette": (lambda p: stack_in(p, "P"), (1, 1, 1), "4 pages with a palette"),
    "alpha": (lambda p: stack_in(p, "LA"), (1, 1, 1), "4 pages with an alpha channel"),
    "bits": (lambda p: stack_in(p, "1"), (1, 1, 1), "4 pages with one bit per pixel"),
    "unlike pages": (unlike, (1, 1, 1), "its pages differ in size"),
    "torn": (torn, (1, 1, 1), "damaged"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_invalid_stacks_are_refused_by_name(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write, spacing, message = REFUSED[name]
    with pytest.raises(DataError, match=message):
        load_volume(write(tmp_path / "a.tif"), file_spacing_mm=spacing)
    assert capfd.readouterr() == ("", "")


def test_the_label_of_a_stack_has_its_spacing(tmp_path: Path) -> None:
    image, truth = stack(tmp_path / "a.tif", pages()), pages() % 3
    label = stack(tmp_path / "l.tif", truth)
    case = Case("a", (image,), label, spacing_mm=(1.0, 2.0, 3.0))
    _, found = read_case(case, Preprocess(), Reading(1, 3))
    assert found is not None
    np.testing.assert_array_equal(found.numpy(), truth.transpose(2, 1, 0))
