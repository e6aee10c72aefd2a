"""Label maps: large integers, values that are nearly integers, NaN, in and out again."""

import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from esegeta.errors import DataError
from esegeta.volume import (
    Case,
    Preprocess,
    Reading,
    ReadingWarning,
    load_volume,
    read_case,
    read_label_map,
    write_label_map,
)
from tests.builders import affine_of
from tests.volume.files import array_of, noise, read, save_nifti

SHAPE = (9, 11, 7)
LARGE = {
    np.uint16: [0, 1, 65535],
    np.int32: [0, 2**24 + 1, 2**24 + 2, 2**31 - 1],
    np.uint32: [0, 312782546, 312782550, 4294967295],
    np.int64: [0, 2**53 + 1, 2**53 + 2, 2**63 - 1],
    np.uint64: [0, 2**53 + 1, 2**63 - 1],
    np.float64: [0, 312782546, 2**53 - 1],
}
MOVED = {
    "as it is": Preprocess(),
    "turned": Preprocess("PSL"),
    "resampled": Preprocess("RAS", (1.1, 1.3, 2.2)),
}


def regions(values: list[int], dtype: type) -> np.ndarray:
    places = np.random.default_rng(0).integers(0, len(values), SHAPE)
    return np.array(values, dtype=dtype)[places]


def with_scale(path: Path, slope: float, inter: float = 0.0) -> Path:
    """Write scale factors into the header of a .nii, and leave the stored numbers alone."""
    content = bytearray(path.read_bytes())
    content[112:120] = struct.pack("<ff", slope, inter)
    path.write_bytes(content)
    return path


def label_of(path: Path, *, nan_to_zero: bool = False) -> torch.Tensor:
    image = save_nifti(path.with_name("image.nii.gz"), noise(SHAPE))
    volume = load_volume(image, nan_to_zero=nan_to_zero)
    return read_label_map(path, volume, Preprocess())


@pytest.mark.parametrize("moved", MOVED)
@pytest.mark.parametrize("dtype", LARGE, ids=lambda dtype: dtype.__name__)
def test_integers_are_exact_through_reading_moving_and_writing(
    dtype: type, moved: str, tmp_path: Path
) -> None:
    truth = regions(LARGE[dtype], dtype)
    image = save_nifti(tmp_path / "image.nii.gz", noise(SHAPE))
    label = save_nifti(tmp_path / "label.nii.gz", truth)
    case = Case("a", (image,), label)
    volume, read_back = read_case(case, MOVED[moved], Reading(1, 3))
    assert read_back is not None
    assert read_back.dtype == torch.int64
    assert set(read_back.unique().tolist()) == set(LARGE[dtype])
    write_label_map(tmp_path / "written.nii.gz", read_back, volume)
    written = array_of(tmp_path / "written.nii.gz")
    assert set(np.unique(written).tolist()) == set(LARGE[dtype])
    if moved != "resampled":
        np.testing.assert_array_equal(written, truth.astype(written.dtype))


def test_integers_that_float32_merges_stay_distinct_when_resampled(tmp_path: Path) -> None:
    truth = np.zeros(SHAPE, np.uint32)
    truth[:4], truth[4:] = 312782546, 312782550
    assert len({float(np.float32(value)) for value in (312782546, 312782550)}) == 1
    image = save_nifti(tmp_path / "image.nii.gz", noise(SHAPE), sform=np.eye(4))
    label = save_nifti(tmp_path / "label.nii.gz", truth, sform=np.eye(4))
    preprocess = Preprocess(None, (0.5, 0.5, 0.5))
    _, found = read_case(Case("a", (image,), label), preprocess, Reading(1, 3))
    assert found is not None
    counts = dict(zip(*(part.tolist() for part in found.unique(return_counts=True)), strict=True))
    half = found.numel() // found.shape[0]
    # 17 planes of 0.5 mm: those at 0 to 3.5 mm are nearest to the first four voxels.
    assert counts == {312782546: 8 * half, 312782550: 9 * half} or counts == {
        312782546: 7 * half,
        312782550: 10 * half,
    }


def test_big_endian_and_memory_mapped_label_maps_are_read(tmp_path: Path) -> None:
    truth = regions([0, 312782546, 312782550], np.uint32)
    path = save_nifti(tmp_path / "label.nii", truth.astype(">u4"), byteorder=">")
    np.testing.assert_array_equal(label_of(path).numpy(), truth)


@pytest.mark.parametrize("slope", [0.99999334, 1.0000067])
def test_values_with_a_scale_factor_are_rounded_with_a_warning(
    slope: float, tmp_path: Path
) -> None:
    truth = regions([0, 1, 2, 3], np.int16)
    path = with_scale(save_nifti(tmp_path / "label.nii", truth), slope)
    assert float(nib.load(path).dataobj[...].max()) == pytest.approx(3 * slope)
    with pytest.warns(ReadingWarning, match=r"label\.nii: .* not quite integers.* to 3; scale"):
        found = label_of(path)
    np.testing.assert_array_equal(found.numpy(), truth)


def test_the_value_2_99998_is_rounded_to_3_with_a_warning(tmp_path: Path) -> None:
    values = np.full(SHAPE, 2.99998)
    path = save_nifti(tmp_path / "label.nii.gz", values)
    with pytest.warns(ReadingWarning, match=r"693 voxels are .* such as 2\.99998 to 3"):
        assert (label_of(path) == 3).all()


@pytest.mark.filterwarnings("ignore::esegeta.volume.ReadingWarning")
@pytest.mark.parametrize(("value", "integer"), [(2.99, 3), (3.0099, 3), (2.989, None), (2.5, None)])
def test_values_are_rounded_within_a_hundredth(
    value: float, integer: int | None, tmp_path: Path
) -> None:
    values = np.full(SHAPE, 1.0)
    values[2, 3, 4] = value
    path = save_nifti(tmp_path / "label.nii.gz", values)
    if integer is not None:
        assert label_of(path)[2, 3, 4] == integer
        return
    place = rf"must hold integers; 1 voxel is not, the first {value} at voxel \(2, 3, 4\) = \("
    with pytest.raises(DataError, match=place + r".*is it a probability map\?"):
        label_of(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_in_a_label_map_is_named_with_its_place(bad: float, tmp_path: Path) -> None:
    values = regions([0, 1, 2], np.float32)
    values[2, 3, 4] = values[5, 6, 1] = bad
    path = save_nifti(tmp_path / "label.nii.gz", values)
    x, y, z = (affine_of("oblique") @ (2, 3, 4, 1))[:3]
    place = (
        rf"2 voxels are NaN or Inf, the first at voxel \(2, 3, 4\) = \({x:.1f}, {y:.1f}, {z:.1f}\)"
    )
    with pytest.raises(DataError, match=rf"label\.nii\.gz: .*{place} mm; .*nan: zero"):
        label_of(path)
    found = label_of(path, nan_to_zero=True)
    values[~np.isfinite(values)] = 0
    np.testing.assert_array_equal(found.numpy(), values)


@pytest.mark.parametrize("value", [2.0**63, -(2.0**64), 1e300])
def test_integers_beyond_63_bits_are_refused(value: float, tmp_path: Path) -> None:
    values = np.zeros(SHAPE)
    values[0, 0, 0] = value
    with pytest.raises(DataError, match=r"integers of up to 63 bits; 1 voxels? .* beyond"):
        label_of(save_nifti(tmp_path / "label.nii.gz", values))
    path = save_nifti(tmp_path / "big.nii.gz", np.full(SHAPE, 2**63, np.uint64))
    with pytest.raises(DataError, match="9223372036854775808"):
        label_of(path)


def test_an_ordinary_label_map_is_read_without_a_warning(tmp_path: Path) -> None:
    truth = regions([0, 1, 2], np.uint8)
    for slope, inter in ((1.0, 0.0), (2.0, 1.0)):
        path = with_scale(save_nifti(tmp_path / "label.nii", truth), slope, inter)
        np.testing.assert_array_equal(label_of(path).numpy(), truth * slope + inter)


def test_a_label_map_of_channels_is_refused_wherever_it_is_read(tmp_path: Path) -> None:
    volume = read(save_nifti(tmp_path / "image.nii.gz", noise(SHAPE)))
    path = save_nifti(tmp_path / "label.nii.gz", np.zeros((*SHAPE, 2), np.uint8))
    with pytest.raises(DataError, match="label map of 2 channels"):
        read_label_map(path, volume, Preprocess())


def test_negative_integers_are_written_as_they_are(tmp_path: Path) -> None:
    volume = read(save_nifti(tmp_path / "image.nii.gz", noise(SHAPE)))
    for lowest, dtype in ((-1, np.int32), (-(2**31) - 1, np.int64)):
        labels = torch.zeros(SHAPE, dtype=torch.int64)
        labels[1, 2, 3] = lowest
        write_label_map(tmp_path / "out.nii.gz", labels, volume)
        written = array_of(tmp_path / "out.nii.gz")
        assert written.dtype == dtype
        np.testing.assert_array_equal(written, labels.numpy())
