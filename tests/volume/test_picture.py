"""PNG, JPEG and TIFF as 2D images: rows first, grey or colour, with maps that viewers can open."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from esegeta.errors import DataError, GridError
from esegeta.volume import (
    Case,
    Preprocess,
    Reading,
    load_volume,
    read_case,
    reorient_like,
    write_label_map,
    write_map,
)
from esegeta.volume.grid import Grid
from tests.volume.files import array_of, header_of, read, save_nifti

WIDTH, HEIGHT = 13, 11
AXES = ["yx", "xy"]
COLUMNS_FIRST = {"yx": (1, 0), "xy": (0, 1)}


def save_picture(path: Path, rows: np.ndarray) -> Path:
    """Write `H W` or `H W C` grey levels, row by row as pictures are stored."""
    sitk.WriteImage(sitk.GetImageFromArray(rows, isVector=rows.ndim == 3), str(path))
    return path


def levels(*trailing: int, dtype: type = np.uint8) -> np.ndarray:
    high = np.iinfo(dtype).max + 1
    return np.random.default_rng(0).integers(0, high, (HEIGHT, WIDTH, *trailing)).astype(dtype)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_grey_picture_is_rows_by_columns(dtype: type, suffix: str, tmp_path: Path) -> None:
    rows = levels(dtype=dtype)
    volume = read(save_picture(tmp_path / f"a{suffix}", rows), ndim=2)
    assert volume.grid.shape == (HEIGHT, WIDTH)
    for x in range(WIDTH):
        for y in range(HEIGHT):
            assert volume.data[0, y, x] == rows[y, x]


def test_a_picture_equals_that_of_torchvision(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png", levels(3))
    with Image.open(path) as image:
        seen = np.asarray(image).transpose(2, 0, 1)  # as torchvision's pil_to_tensor does
    np.testing.assert_array_equal(load_volume(path).data.numpy(), seen)


def test_a_picture_with_columns_first_equals_that_of_monai(tmp_path: Path) -> None:
    from monai.transforms import LoadImage

    path = save_picture(tmp_path / "a.png", levels())
    seen = LoadImage(image_only=True, ensure_channel_first=True, reader="PILReader")(str(path))
    volume = load_volume(path, picture_axes="xy")
    assert volume.grid.shape == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(volume.data.numpy(), seen.numpy())


@pytest.mark.parametrize("suffix", [".PNG", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colours_are_three_channels(dtype: type, suffix: str, tmp_path: Path) -> None:
    rows = levels(3, dtype=dtype)
    volume = read(save_picture(tmp_path / f"a{suffix}", rows), num_channels=3, ndim=2)
    np.testing.assert_array_equal(volume.data.numpy(), rows.transpose(2, 0, 1))
    assert volume.is_colour
    other = load_volume(tmp_path / f"a{suffix}", picture_axes="xy")
    np.testing.assert_array_equal(other.data.numpy(), rows.transpose(2, 1, 0))


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_jpeg_is_read(suffix: str, channels: int, tmp_path: Path) -> None:
    # JPEG is lossy but for smooth pictures: a ramp along x that differs by channel.
    ramp = 20 + 10 * np.arange(WIDTH)[None, :, None] + 15 * np.arange(channels)
    rows = np.broadcast_to(ramp, (HEIGHT, WIDTH, channels)).astype(np.uint8)
    rows = rows[..., 0] if channels == 1 else rows
    path = save_picture(tmp_path / f"a{suffix}", np.ascontiguousarray(rows))
    volume = read(path, num_channels=channels, ndim=2)
    expected = np.moveaxis(rows.reshape(HEIGHT, WIDTH, channels), -1, 0)
    assert volume.data.shape == expected.shape
    assert np.abs(volume.data.numpy() - expected).max() < 12
    with Image.open(path) as image:
        decoded = np.asarray(image).reshape(HEIGHT, WIDTH, channels)
    np.testing.assert_array_equal(volume.data.numpy(), np.moveaxis(decoded, -1, 0))


def test_several_pictures_are_channels(tmp_path: Path) -> None:
    first = save_picture(tmp_path / "a.png", levels())
    second = save_picture(tmp_path / "b.png", 255 - levels())
    volume = read([first, second], num_channels=2, ndim=2)
    np.testing.assert_array_equal(volume.data.sum(dim=0).numpy(), 255)
    assert not volume.is_colour
    third = read([first, second, first], num_channels=3, ndim=2)
    assert not third.is_colour


def test_load_volume_reads_colours_as_channels(tmp_path: Path) -> None:
    assert load_volume(save_picture(tmp_path / "a.png", levels(3))).num_channels == 3


@pytest.mark.parametrize("axes", AXES)
def test_a_map_of_a_picture_has_the_grid_of_its_pixels(axes: str, tmp_path: Path) -> None:
    volume = load_volume(save_picture(tmp_path / "a.png", levels()), picture_axes=axes)
    write_map(tmp_path / "map.nii.gz", volume.data[0], volume)
    np.testing.assert_array_equal(array_of(tmp_path / "map.nii.gz"), volume.data[0].numpy())
    header = header_of(tmp_path / "map.nii.gz")
    # x to the left and y to the back: upright in viewers, the pixel (0, 0) in the top left.
    x, y = COLUMNS_FIRST[axes]
    expected = np.diag([0.0, 0.0, 1.0, 1.0])
    expected[0, x] = expected[1, y] = -1
    for form, code in (header.get_sform(coded=True), header.get_qform(coded=True)):
        np.testing.assert_array_equal(form, expected)
        assert code > 0


@pytest.mark.parametrize("axes", AXES)
def test_itk_finds_each_value_of_a_map_at_its_pixel(axes: str, tmp_path: Path) -> None:
    rows = levels()
    volume = load_volume(save_picture(tmp_path / "a.png", rows), picture_axes=axes)
    write_map(tmp_path / "map.nii.gz", volume.data[0], volume)
    # As a volume of one slice: ITK takes directions of 2D files apart from their third axis.
    picture = sitk.ReadImage(str(tmp_path / "a.png"))
    map_ = sitk.ReadImage(str(tmp_path / "map.nii.gz"))
    for x, y in [(0, 0), (WIDTH - 1, 0), (0, HEIGHT - 1), (5, 7)]:
        place = picture.TransformIndexToPhysicalPoint((x, y))
        assert map_.GetPixel(map_.TransformPhysicalPointToIndex(place)) == rows[y, x]


@pytest.mark.parametrize("axes", AXES)
def test_both_axis_orders_give_the_same_image_in_ras(axes: str, tmp_path: Path) -> None:
    rows = levels()
    volume = load_volume(
        save_picture(tmp_path / "a.png", rows), picture_axes=axes, orientation="RAS"
    )
    np.testing.assert_array_equal(volume.data[0].numpy(), rows.T[::-1, ::-1])
    like = Grid(volume.source.grid.shape, np.eye(4))
    unturned = load_volume(tmp_path / "a.png", picture_axes=axes)
    seen, _ = reorient_like(unturned.data, unturned.grid, like)
    np.testing.assert_array_equal(seen[0].numpy(), rows.T[::-1, ::-1])


@pytest.mark.parametrize("axes", AXES)
def test_a_map_comes_back_from_a_resampled_picture(axes: str, tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png", np.full((HEIGHT, WIDTH), 90, np.uint8))
    volume = load_volume(path, picture_axes=axes, orientation="RA", spacing_mm=(0.7, 2.0))
    shape = (HEIGHT, WIDTH) if axes == "yx" else (WIDTH, HEIGHT)
    assert volume.grid.shape != shape
    write_map(tmp_path / "map.nii.gz", volume.data[0], volume)
    np.testing.assert_allclose(array_of(tmp_path / "map.nii.gz"), np.full(shape, 90.0))


@pytest.mark.parametrize("axes", AXES)
def test_a_picture_is_read_as_a_label_map(axes: str, tmp_path: Path) -> None:
    image = save_picture(tmp_path / "a.png", levels())
    truth = (levels() > 128).astype(np.uint8)
    label = save_picture(tmp_path / "b.png", truth)
    reading = Reading(1, 2, picture_axes=axes)
    _, read_back = read_case(Case("a", (image,), label), Preprocess(), reading)
    assert read_back is not None
    np.testing.assert_array_equal(read_back.numpy(), truth if axes == "yx" else truth.T)


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("written_in", AXES)
def test_a_written_label_map_fits_the_picture_in_either_reading(
    axes: str, written_in: str, tmp_path: Path
) -> None:
    image = save_picture(tmp_path / "a.png", levels())
    before = load_volume(image, picture_axes=written_in)
    write_label_map(tmp_path / "labels.nii.gz", before.data[0].long(), before)
    reading = Reading(1, 2, picture_axes=axes)
    case = Case("a", (image,), tmp_path / "labels.nii.gz")
    volume, labels = read_case(case, Preprocess(), reading)
    assert labels is not None
    np.testing.assert_array_equal(labels.numpy(), volume.data[0].numpy())


def test_pixels_have_no_size(tmp_path: Path) -> None:
    volume = load_volume(save_picture(tmp_path / "a.png", levels()))
    assert np.isnan(volume.voxel_volume_ml)
    assert volume.source.describe(volume.grid) == "11x13 pixels"
    wide = load_volume(tmp_path / "a.png", spacing_mm=(2.0, 0.5))
    assert wide.source.describe(wide.grid).endswith("pixels of 2x0.5 of the picture's")
    nifti = load_volume(save_nifti(tmp_path / "a.nii", levels().astype(np.float32)))
    assert nifti.voxel_volume_ml == nifti.grid.voxel_volume_ml


def test_missing_and_damaged_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "none.png", ndim=2)
    (tmp_path / "a.png").write_bytes(b"this is text")
    with pytest.raises(DataError, match="not a PNG, JPEG or TIFF"):
        read(tmp_path / "a.png", ndim=2)


def test_a_picture_unfit_for_the_network_is_refused(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png", levels(3))
    with pytest.raises(DataError, match=r"3 channels.*takes 1"):
        read(path, num_channels=1, ndim=2)
    with pytest.raises(DataError, match="a 2D image for a 3D network"):
        read(path, num_channels=3, ndim=3)


def test_pictures_of_different_sizes_are_not_channels_of_one_image(tmp_path: Path) -> None:
    first = save_picture(tmp_path / "a.png", levels())
    second = save_picture(tmp_path / "b.png", levels()[:, :12])
    with pytest.raises(GridError, match=r"a.png has 11x13 voxels.*b.png has 11x12"):
        read([first, second], num_channels=2, ndim=2)
