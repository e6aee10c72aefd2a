"""PNG and JPEG as 2D images: x first, grey or colour, with maps that viewers can open."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from esegeta.errors import DataError
from esegeta.volume import Case, Preprocess, Reading, load_volume, read_case, write_map
from tests.volume.files import array_of, header_of, read

WIDTH, HEIGHT = 13, 11


def save_picture(path: Path, rows: np.ndarray) -> Path:
    """Write `H W` or `H W C` grey levels, row by row as pictures are stored."""
    sitk.WriteImage(sitk.GetImageFromArray(rows, isVector=rows.ndim == 3), str(path))
    return path


def levels(*trailing: int, dtype: type = np.uint8) -> np.ndarray:
    high = np.iinfo(dtype).max + 1
    return np.random.default_rng(0).integers(0, high, (HEIGHT, WIDTH, *trailing)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_png(dtype: type, tmp_path: Path) -> None:
    rows = levels(dtype=dtype)
    volume = read(save_picture(tmp_path / "a.png", rows), ndim=2)
    assert volume.grid.shape == (WIDTH, HEIGHT)
    for x in range(WIDTH):
        for y in range(HEIGHT):
            assert volume.data[0, x, y] == rows[y, x]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colour_png_has_three_channels(dtype: type, tmp_path: Path) -> None:
    rows = levels(3, dtype=dtype)
    volume = read(save_picture(tmp_path / "a.PNG", rows), num_channels=3, ndim=2)
    np.testing.assert_array_equal(volume.data.numpy(), rows.transpose(2, 1, 0))


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg(suffix: str, channels: int, tmp_path: Path) -> None:
    # JPEG is lossy but for smooth pictures: a ramp along x that differs by channel.
    ramp = 20 + 10 * np.arange(WIDTH)[None, :, None] + 15 * np.arange(channels)
    rows = np.broadcast_to(ramp, (HEIGHT, WIDTH, channels)).astype(np.uint8)
    rows = rows[..., 0] if channels == 1 else rows
    path = save_picture(tmp_path / f"a{suffix}", np.ascontiguousarray(rows))
    volume = read(path, num_channels=channels, ndim=2)
    expected = np.moveaxis(rows.reshape(HEIGHT, WIDTH, channels), -1, 0).swapaxes(1, 2)
    assert volume.data.shape == expected.shape
    assert np.abs(volume.data.numpy() - expected).max() < 12


def test_one_picture_a_channel(tmp_path: Path) -> None:
    first = save_picture(tmp_path / "a.png", levels())
    second = save_picture(tmp_path / "b.png", 255 - levels())
    volume = read([first, second], num_channels=2, ndim=2)
    np.testing.assert_array_equal(volume.data.sum(dim=0).numpy(), 255)


def test_load_volume_knows_colours(tmp_path: Path) -> None:
    assert load_volume(save_picture(tmp_path / "a.png", levels(3))).num_channels == 3


def test_a_map_of_a_picture_lies_on_its_pixels(tmp_path: Path) -> None:
    volume = read(save_picture(tmp_path / "a.png", levels()), ndim=2)
    write_map(tmp_path / "map.nii.gz", volume.data[0], volume)
    np.testing.assert_array_equal(array_of(tmp_path / "map.nii.gz"), volume.data[0].numpy())
    header = header_of(tmp_path / "map.nii.gz")
    sform, code = header.get_sform(coded=True)
    # x to the left and y to the back: upright in viewers, the pixel (0, 0) in the top left.
    np.testing.assert_array_equal(sform, np.diag([-1.0, -1.0, 1.0, 1.0]))
    assert code > 0


def test_a_map_comes_back_from_a_resampled_picture(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png", np.full((HEIGHT, WIDTH), 90, np.uint8))
    volume = read(path, ndim=2, preprocess=Preprocess("RA", (0.7, 2.0)))
    assert volume.grid.shape != (WIDTH, HEIGHT)
    write_map(tmp_path / "map.nii.gz", volume.data[0], volume)
    np.testing.assert_allclose(array_of(tmp_path / "map.nii.gz"), np.full((WIDTH, HEIGHT), 90.0))


def test_a_picture_as_label_map(tmp_path: Path) -> None:
    image = save_picture(tmp_path / "a.png", levels())
    truth = (levels() > 128).astype(np.uint8)
    label = save_picture(tmp_path / "b.png", truth)
    _, read_back = read_case(Case("a", (image,), label), Preprocess(), Reading(1, 2))
    assert read_back is not None
    np.testing.assert_array_equal(read_back.numpy(), truth.T)


def test_pictures_that_are_missing_foreign_or_torn(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "none.png", ndim=2)
    (tmp_path / "a.png").write_bytes(b"this is text")
    with pytest.raises(DataError, match="not a PNG or JPEG"):
        read(tmp_path / "a.png", ndim=2)


def test_a_picture_for_a_network_of_other_channels_or_axes(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png", levels(3))
    with pytest.raises(DataError, match=r"3 channels.*takes 1"):
        read(path, num_channels=1, ndim=2)
    with pytest.raises(DataError, match="a 2D image for a 3D network"):
        read(path, num_channels=3, ndim=3)
