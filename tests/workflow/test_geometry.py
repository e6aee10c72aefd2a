"""Through the whole command line a linear network gives its own weights back, voxel by voxel."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from esegeta.config import load_config
from esegeta.errors import ConfigError
from esegeta.volume import load_volume
from tests.builders import affine_of
from tests.experiments import Lab, noise, pointwise_lab, save_image, unet_lab, voxels, weighted_lab
from tests.volume.files import geometry_bytes, save_nifti

ORIENTATIONS = [None, "RAS", "LPS", "SRA"]
SHAPE = (6, 10, 8)


def turned(array: np.ndarray, affine: np.ndarray, orientation: str | None) -> np.ndarray:
    """Turn an array to an orientation, by nibabel alone."""
    if orientation is None:
        return array
    start = nib.orientations.io_orientation(affine)
    end = nib.orientations.axcodes2ornt(orientation)
    change = nib.orientations.ornt_transform(start, end)
    return np.ascontiguousarray(nib.orientations.apply_orientation(array, change))


def place(path: Path, array: np.ndarray) -> Path:
    """Write an image whose sform is sheared and whose qform says something else."""
    return save_nifti(
        path, array, sform=affine_of("sheared") @ np.diag([1, -1, 1, 1]), qform=affine_of("oblique")
    )


def linear_lab(folder: Path, orientation: str | None, tiles: int, w: np.ndarray) -> Lab:
    """A logit of liver is `w . x` voxel by voxel, where w lies on the file's own grid.

    With two tiles an axis, w repeats itself, and so do windows that do not overlap.
    """
    path = place(folder / "a.nii.gz", noise(w.shape))
    on_window = turned(w, nib.load(path).affine, orientation)
    window = tuple(length // tiles for length in on_window.shape)
    kernel = torch.from_numpy(on_window[tuple(slice(0, length) for length in window)].copy())
    weights = torch.stack([torch.zeros_like(kernel), kernel])[:, None]
    lab = weighted_lab(folder, weights, shape=(2, 2, 2))
    place(folder / "a.nii.gz", noise(w.shape))
    lab.keys["inference"]["overlap"] = 0.0 if tiles > 1 else 0.5
    lab.keys["targets"][0]["over"] = "all"
    lab.keys["methods"] = ["saliency", "input_x_gradient"]
    if orientation is not None:
        lab.keys["data"]["preprocess"] = {"orientation": orientation}
    return lab


@pytest.mark.parametrize("tiles", [1, 2])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.slow
def test_a_linear_network_gives_its_weights_back(
    orientation: str | None, tiles: int, tmp_path: Path
) -> None:
    w = noise(tuple(length // tiles for length in SHAPE), seed=7)
    w = np.tile(w, (tiles, tiles, tiles))
    lab = linear_lab(tmp_path, orientation, tiles, w)
    assert lab.run().exit_code == 0
    x = voxels(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(lab.map("a", "liver", "saliency"), w, rtol=1e-5, atol=1e-6)
    product = lab.map("a", "liver", "input_x_gradient")
    np.testing.assert_allclose(product, w * x, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(lab.segmentation("a") == 1, w * x > 0)
    assert lab.sidecar("a", "liver", "saliency")["facts"]["num_windows"] == tiles**3


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_maps_lie_where_the_image_lies(orientation: str | None, tmp_path: Path) -> None:
    lab = linear_lab(tmp_path, orientation, 1, noise(SHAPE, seed=7))
    lab.run()
    expected = geometry_bytes(tmp_path / "a.nii.gz")
    for path in (lab.root / "a").glob("*.nii.gz"):
        header = nib.load(path).header
        assert geometry_bytes(path) == expected
        assert header.get_xyzt_units()[0] == "mm"
        if "attrmap" in path.name:
            array = voxels(path)
            peak = np.percentile(np.abs(array[array != 0]), 99.5)
            assert header.get_intent()[0] == "estimate"
            assert header["cal_max"] == -header["cal_min"] == pytest.approx(peak)
            assert header.get_data_dtype() == np.float32


def test_a_resampled_map_lies_on_the_source_grid_and_says_so(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [3.0]], [0.0, 0.0])
    place(tmp_path / "a.nii.gz", noise((12, 11, 9)))
    lab.keys["data"]["preprocess"] = {"orientation": "RAS", "spacing_mm": [1.5, 1.5, 2.0]}
    lab.keys["targets"][0]["over"] = "all"
    assert lab.run().exit_code == 0
    # A gradient is a density: the same everywhere stays the same everywhere.
    np.testing.assert_allclose(lab.map("a", "liver", "saliency"), 3.0, atol=1e-5)
    path = lab.file("a", "liver", "saliency")
    assert geometry_bytes(path) == geometry_bytes(tmp_path / "a.nii.gz")
    grid = lab.sidecar("a", "liver", "saliency")["grid"]
    assert "linear" in grid["resampling"]
    assert grid["network"] != grid["source"]
    assert "12x11x9" in grid["source"]


def test_resampling_that_keeps_the_shape_is_recorded_in_the_sidecar(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    lab.keys["data"]["preprocess"] = {"spacing_mm": [0.7, 1.9, 3.2]}
    lab.keys["targets"][0]["over"] = "all"
    lab.run()
    assert "linear" in lab.sidecar("a", "liver", "saliency")["grid"]["resampling"]


def resampled_lab(folder: Path) -> Lab:
    """A logit of 3 x, of x halved and moved by 1, on a grid that is turned and resampled."""
    lab = pointwise_lab(folder, [[0.0], [3.0]], [0.0, 0.0])
    lab.keys["data"]["preprocess"] = {
        "orientation": "PIL",
        "spacing_mm": [1.5, 0.8, 2.0],
        "intensity": [{"rescale": {"scale": 0.5, "offset": 1.0}}],
    }
    lab.keys["targets"][0]["over"] = "all"
    lab.keys["methods"] = ["saliency", {"name": "integrated_gradients", "baseline": "zero"}]
    return lab


@pytest.mark.slow
def test_maps_by_the_adjoint_are_slopes_of_the_file_and_keep_their_sum(tmp_path: Path) -> None:
    lab = resampled_lab(tmp_path)
    lab.keys["maps"] = {"by": "adjoint"}
    lab.run()
    image = load_volume(tmp_path / "a.nii.gz", orientation="PIL", spacing_mm=(1.5, 0.8, 2.0))
    # R = sum over the network's voxels of 3 * (x / 2 + 1): the slope is how often a voxel is read.
    reads = image.route.transposed(torch.ones(1, *image.grid.shape), image.source.grid)[0].numpy()
    slopes, parts = (lab.map("a", "liver", name) for name in ("saliency", "integrated_gradients"))
    np.testing.assert_allclose(slopes, 1.5 * reads, rtol=1e-5, atol=1e-6)
    # From a baseline of zero, which is -2 in the file.
    x = voxels(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(parts, 1.5 * reads * (x + 2), rtol=1e-3, atol=1e-4)
    sidecar = lab.sidecar("a", "liver", "saliency")
    assert sidecar["unit"] == "logit x voxels / grey value of the file"
    assert sidecar["grid"]["by"] == "adjoint"
    assert sidecar["grid"]["units"]["network"] == "logit x voxels / input unit"
    assert sidecar["grid"]["totals"]["network"] == pytest.approx(3.0 * np.prod(image.grid.shape))
    assert sidecar["grid"]["totals"]["file"] == pytest.approx(slopes.sum(), rel=1e-6)
    totals = lab.sidecar("a", "liver", "integrated_gradients")["grid"]["totals"]
    assert totals["file"] == pytest.approx(totals["network"], rel=1e-6)


@pytest.mark.slow
def test_only_maps_affected_by_a_change_of_maps_by_are_made_again(tmp_path: Path) -> None:
    lab = resampled_lab(tmp_path)
    lab.run()
    files = {
        name: lab.file("a", "liver", name).name for name in ("saliency", "integrated_gradients")
    }
    np.testing.assert_allclose(lab.map("a", "liver", "saliency"), 3.0, rtol=1e-5)
    for by, remade in (("adjoint", "saliency"), ("interpolation", "integrated_gradients")):
        before = lab.maps()
        lab.keys["maps"] = {"by": by}
        lab.run()
        changed = {name for name, when in lab.maps().items() if before[name] != when}
        assert changed == ({files[remade]} if by == "adjoint" else set(files.values()))
        totals = lab.sidecar("a", "liver", "integrated_gradients")["grid"]["totals"]
        missed = abs(totals["file"] / totals["network"] - 1)
        assert (missed < 1e-6) == (by == "adjoint")


def test_an_unknown_value_of_maps_by_is_refused_with_its_line(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    lab.keys["maps"] = {"by": "adjoin"}
    with pytest.raises(ConfigError, match=r'yaml:\d+: maps.by: .*"?adjoin') as refused:
        load_config(lab.write())
    assert "adjoint" in str(refused.value)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.slow
def test_a_mirrored_file_of_the_same_patient_has_the_mirrored_map(
    axis: int, tmp_path: Path
) -> None:
    lab = unet_lab(tmp_path, cases=2)
    array, affine = noise(), affine_of("oblique")
    save_image(tmp_path / "a.nii.gz", array, affine)
    mirror = np.eye(4)
    mirror[axis, axis], mirror[axis, 3] = -1, array.shape[axis] - 1
    save_image(tmp_path / "b.nii.gz", np.flip(array, axis).copy(), affine @ mirror)
    lab.keys["data"]["preprocess"] = {"orientation": "RAS"}
    assert lab.run().exit_code == 0
    one, other = (lab.map(case, "liver", "saliency") for case in "ab")
    np.testing.assert_allclose(np.flip(other, axis), one, rtol=1e-4, atol=1e-6)
    assert not np.allclose(other, one)
    np.testing.assert_array_equal(np.flip(lab.segmentation("b"), axis), lab.segmentation("a"))


@pytest.mark.slow
@pytest.mark.parametrize("slice_axis", [0, 1, 2])
def test_a_2d_network_goes_through_a_volume_in_slices(slice_axis: int, tmp_path: Path) -> None:
    lengths = [length for axis, length in enumerate(SHAPE) if axis != slice_axis]
    w = noise(tuple(lengths), seed=7)
    kernel = torch.from_numpy(w)
    lab = weighted_lab(tmp_path, torch.stack([0 * kernel, kernel])[:, None], shape=(2, 2))
    place(tmp_path / "a.nii.gz", noise(SHAPE))
    lab.keys["inference"]["slice_axis"] = slice_axis
    lab.keys["targets"][0]["over"] = "all"
    assert lab.run().exit_code == 0
    expected = np.broadcast_to(np.expand_dims(w, slice_axis), SHAPE)
    np.testing.assert_allclose(lab.map("a", "liver", "saliency"), expected, rtol=1e-5, atol=1e-6)
    assert geometry_bytes(lab.file("a", "liver", "saliency")) == geometry_bytes(
        tmp_path / "a.nii.gz"
    )


@pytest.mark.parametrize("suffix", [".nii.gz", ".png", ".xy.png"])
@pytest.mark.slow
def test_pictures_and_2d_nifti(suffix: str, tmp_path: Path) -> None:
    import SimpleITK as sitk

    shape = (10, 14)
    w = noise(shape, seed=7)
    kernel = torch.from_numpy(w)
    lab = weighted_lab(tmp_path, torch.stack([0 * kernel, kernel])[:, None], shape=(2, 2))
    grey = np.random.default_rng(1).integers(0, 255, shape).astype(np.uint8)
    path = tmp_path / f"picture.{suffix.rpartition('.')[2]}"
    if suffix == ".nii.gz":
        path = tmp_path / "picture.nii.gz"
    if suffix.endswith(".png"):
        rows = grey.T if suffix == ".xy.png" else grey
        sitk.WriteImage(sitk.GetImageFromArray(rows), str(path))
    else:
        save_image(path, grey.astype(np.float32), affine_of("oblique", 2))
    lab.keys["data"] = {"cases": [path.name]}
    if suffix == ".xy.png":
        lab.keys["data"]["picture_axes"] = "xy"
    lab.keys["targets"][0]["over"] = "all"
    lab.keys["methods"] = ["saliency", "input_x_gradient"]
    assert lab.run().exit_code == 0
    maps = {method: lab.map("picture", "liver", method) for method in lab.keys["methods"]}
    np.testing.assert_allclose(maps["saliency"], w, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(maps["input_x_gradient"], w * grey, rtol=1e-5, atol=1e-4)
    image = nib.load(lab.file("picture", "liver", "saliency"))
    assert image.shape == shape
    if suffix.endswith(".png"):
        columns = [0, 1, 2, 3] if suffix == ".xy.png" else [1, 0, 2, 3]
        expected = np.diag([-1, -1, 1, 1])[:, columns]
        np.testing.assert_allclose(image.affine, expected, atol=1e-6)
    else:
        assert geometry_bytes(lab.file("picture", "liver", "saliency")) == geometry_bytes(path)
