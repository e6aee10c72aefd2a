"""Maps out: the geometry of the source file byte for byte, and fields that viewers read."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from esegeta.volume import Preprocess, volume_from_tensor, write_label_map, write_map
from esegeta.volume.grid import Grid
from esegeta.volume.nifti import write_nifti
from esegeta.volume.volume import Source
from tests.builders import SHAPES, affine_of
from tests.volume.files import array_of, geometry_bytes, header_of, noise, read, save_nifti

GEOMETRIES = {
    "anisotropic": {"sform": "anisotropic", "qform": "anisotropic"},
    "oblique": {"sform": "oblique", "qform": "oblique"},
    "left-handed": {"sform": "flipped", "qform": "flipped"},
    "sheared sform, other qform": {"sform": "sheared", "qform": "oblique"},
    "sform and qform disagree": {"sform": "oblique", "qform": "anisotropic"},
}
CODES = [(2, 1), (4, 0), (0, 3), (1, 1), (0, 0)]
PREPROCESSED = Preprocess(orientation="PSL", spacing_mm=(1.5, 2.5, 2.0))


def source(
    folder: Path, geometry: str, codes: tuple[int, int], array: np.ndarray, suffix: str = ".nii.gz"
) -> Path:
    forms = GEOMETRIES[geometry]
    return save_nifti(
        folder / f"source{suffix}",
        array,
        sform=affine_of(forms["sform"]),
        qform=affine_of(forms["qform"]),
        sform_code=codes[0],
        qform_code=codes[1],
    )


@pytest.mark.parametrize("codes", CODES, ids=str)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_written_geometry_equals_that_of_the_source_byte_for_byte(
    geometry: str, codes: tuple[int, int], tmp_path: Path
) -> None:
    path = source(tmp_path, geometry, codes, noise((6, 5, 4)))
    volume = read(path)
    write_map(tmp_path / "map.nii.gz", volume.data[0], volume)
    write_label_map(tmp_path / "labels.nii", (volume.data[0] > 0).long(), volume)
    expected = geometry_bytes(path)
    assert (header_of(path)["sform_code"], header_of(path)["qform_code"]) == codes
    assert geometry_bytes(tmp_path / "map.nii.gz") == expected
    assert geometry_bytes(tmp_path / "labels.nii") == expected
    np.testing.assert_array_equal(array_of(tmp_path / "map.nii.gz"), array_of(path))


def test_a_map_on_another_grid_is_refused(tmp_path: Path) -> None:
    source = Source(Grid((6, 5, 4), affine_of("oblique")))
    with pytest.raises(ValueError, match=r"map of shape \(4, 5, 6\) for a grid of \(6, 5, 4\)"):
        write_nifti(tmp_path / "map.nii.gz", noise((4, 5, 6)), source, intent="estimate")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_geometry_equals_that_of_the_source_after_preprocessing(
    geometry: str, tmp_path: Path
) -> None:
    path = source(tmp_path, geometry, (2, 1), noise((12, 10, 8)))
    volume = read(path, preprocess=PREPROCESSED)
    assert volume.grid.shape != (12, 10, 8)
    write_map(tmp_path / "map.nii.gz", volume.data[0], volume)
    assert array_of(tmp_path / "map.nii.gz").shape == (12, 10, 8)
    assert geometry_bytes(tmp_path / "map.nii.gz") == geometry_bytes(path)


@pytest.mark.parametrize("codes", [(2, 1), (0, 0)], ids=str)
@pytest.mark.parametrize("shape", [(6, 5, 4, 3), (6, 5, 3), (13, 11)], ids=str)
def test_geometry_beside_trailing_channels_and_in_2d(
    shape: tuple[int, ...], codes: tuple[int, int], tmp_path: Path
) -> None:
    ndim = 3 if len(shape) == 4 else 2
    num_channels = 1 if len(shape) == 2 else 3
    path = source(tmp_path, "oblique", codes, noise(shape))
    volume = read(path, num_channels=num_channels, ndim=ndim)
    write_map(tmp_path / "map.nii.gz", volume.data[0], volume)
    written = header_of(tmp_path / "map.nii.gz")
    assert written.get_data_shape() == shape[:ndim]
    assert geometry_bytes(tmp_path / "map.nii.gz") == geometry_bytes(path)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_other_header_fields_do_not_change_the_geometry(
    kind: type, byteorder: str, tmp_path: Path
) -> None:
    path = save_nifti(
        tmp_path / "source.nii",
        noise((6, 5, 4)),
        sform=affine_of("sheared"),
        qform=affine_of("oblique"),
        sform_code=4,
        kind=kind,
        byteorder=byteorder,
    )
    assert header_of(path).endianness == byteorder
    volume = read(path)
    write_map(tmp_path / "map.nii", volume.data[0], volume)
    written, original = header_of(tmp_path / "map.nii"), header_of(tmp_path / "source.nii")
    np.testing.assert_allclose(written.get_sform(), original.get_sform(), atol=1e-5)
    np.testing.assert_allclose(written.get_qform(), original.get_qform(), atol=1e-5)
    assert (int(written["sform_code"]), int(written["qform_code"])) == (4, 1)


def test_a_header_with_long_extensions_is_still_read(tmp_path: Path) -> None:
    image = nib.Nifti1Image(noise((6, 5, 4)), affine_of("oblique"))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 1000))
    nib.save(image, tmp_path / "source.nii.gz")
    volume = read(tmp_path / "source.nii.gz")
    write_map(tmp_path / "map.nii.gz", volume.data[0], volume)
    assert geometry_bytes(tmp_path / "map.nii.gz") == geometry_bytes(tmp_path / "source.nii.gz")


@pytest.mark.parametrize("units", ["unknown", "mm", "micron"])
def test_header_fields_of_a_map(ndim: int, units: str, tmp_path: Path) -> None:
    image = nib.Nifti1Image(noise(SHAPES[ndim]), affine_of("anisotropic", ndim))
    image.header.set_xyzt_units(units)
    nib.save(image, tmp_path / "source.nii")
    volume = read(tmp_path / "source.nii", ndim=ndim)
    data = -3 * volume.data[0]
    write_map(tmp_path / "map.nii.gz", data, volume)
    header = header_of(tmp_path / "map.nii.gz")
    assert header.get_data_dtype() == np.float32
    assert header.get_intent()[0] == "estimate"
    assert header.get_xyzt_units()[0] == ("micron" if units == "micron" else "mm")
    magnitude = data.abs()[data != 0]
    assert header["cal_max"] == pytest.approx(float(np.percentile(magnitude.numpy(), 99.5)))
    assert header["cal_min"] == -header["cal_max"]
    assert header.get_slope_inter() in {(None, None), (1.0, 0.0)}
    np.testing.assert_array_equal(array_of(tmp_path / "map.nii.gz"), data.numpy())


@pytest.mark.parametrize(
    ("largest", "dtype"),
    [
        (0, np.uint8),
        (255, np.uint8),
        (256, np.int32),
        (2**31 - 1, np.int32),
        (2**31, np.uint32),
        (312782550, np.int32),
        (4294967295, np.uint32),
        (2**32, np.int64),
        (2**53 + 1, np.int64),
        (2**63 - 1, np.int64),
    ],
)
def test_header_fields_of_a_label_map(largest: int, dtype: type, tmp_path: Path) -> None:
    volume = volume_from_tensor(torch.zeros(1, 4, 5, 6))
    labels = torch.zeros(4, 5, 6, dtype=torch.long)
    labels[1, 2, 3] = largest
    write_label_map(tmp_path / "labels.nii.gz", labels, volume)
    header = header_of(tmp_path / "labels.nii.gz")
    assert header.get_intent()[0] == "label"
    assert header.get_data_dtype() == dtype
    assert header["cal_min"] == 0
    assert header["cal_max"] == np.float32(largest)
    np.testing.assert_array_equal(array_of(tmp_path / "labels.nii.gz"), labels.numpy())


def test_a_tensor_without_a_file_gets_its_affine_as_both_forms(ndim: int, tmp_path: Path) -> None:
    affine = affine_of("oblique", ndim)
    volume = volume_from_tensor(torch.randn(1, *SHAPES[ndim]), affine=affine)
    write_map(tmp_path / "map.nii.gz", volume.data[0], volume)
    header = header_of(tmp_path / "map.nii.gz")
    for form, code in (header.get_sform(coded=True), header.get_qform(coded=True)):
        np.testing.assert_allclose(form, affine, atol=1e-5)
        assert code == 1
    assert header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize("preprocess", [Preprocess(), PREPROCESSED], ids=["as is", "moved"])
@pytest.mark.parametrize("codes", [(2, 1), (1, 0), (0, 1)], ids=str)
@pytest.mark.parametrize("geometry", ["anisotropic", "oblique", "left-handed"])
def test_itk_reads_the_same_geometry_from_map_and_source(
    geometry: str, codes: tuple[int, int], preprocess: Preprocess, tmp_path: Path
) -> None:
    path = source(tmp_path, geometry, codes, noise((12, 10, 8)))
    volume = read(path, preprocess=preprocess)
    write_map(tmp_path / "map.nii.gz", volume.data[0], volume)
    expected, found = sitk.ReadImage(str(path)), sitk.ReadImage(str(tmp_path / "map.nii.gz"))
    assert found.GetSize() == expected.GetSize()
    assert found.GetSpacing() == expected.GetSpacing()
    assert found.GetOrigin() == expected.GetOrigin()
    assert found.GetDirection() == expected.GetDirection()
    assert found.GetPixelID() == sitk.sitkFloat32
