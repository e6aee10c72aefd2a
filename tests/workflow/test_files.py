"""Files of every kind through the command line: units, large labels, axes, pictures, pairs."""

import csv
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from esegeta.config import list_cases, load_config
from esegeta.errors import DataError
from tests.builders import affine_of
from tests.experiments import SHAPE, Lab, noise, pointwise_lab, read_json, refused, save_image
from tests.volume.files import save_nifti

SMALL, LARGE = 312782546, 312782550
"""Two regions of the Allen atlas that float32 cannot tell apart."""


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esegeta.report.save.draw_regions", lambda path, *rest: path.touch())


def lab_of(folder: Path, **more: Any) -> Lab:
    """A voxel is liver where it is above zero; the map of input x gradient is its value."""
    lab = pointwise_lab(folder, [[0.0], [1.0]], [0.0, 0.0], **more)
    lab.keys["methods"] = ["input_x_gradient"]
    lab.keys["targets"][0]["over"] = "all"
    return lab


def regions_of(lab: Lab) -> dict[tuple[str, str], dict[str, str]]:
    with (lab.root / "regions.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["method"] == "input_x_gradient"]
        return {(row["atlas"], row["region"]): row for row in rows}


def in_micrometres(path: Path, array: np.ndarray) -> Path:
    """Write an image of 25 x 30 x 40 um voxels, in um."""
    image = nib.Nifti1Image(array, np.diag([25.0, 30.0, 40.0, 1.0]))
    image.header.set_xyzt_units("micron")
    nib.save(image, path)
    return path


@pytest.mark.slow
def test_images_in_micrometres_have_volumes_distances_and_boxes_in_mm(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    in_micrometres(tmp_path / "a.nii.gz", noise())
    in_micrometres(tmp_path / "truth.nii.gz", (noise(seed=5) > 0).astype(np.uint8))
    lab.keys["data"]["cases"][0]["label"] = "truth.nii.gz"
    lab.keys["aggregate"] = {"atlases": {"truth": "label"}}
    lab.keys["targets"].append(
        {"name": "parts", "label": "liver", "component": "each", "min_volume_ml": 1e-6}
    )
    lab.keys["methods"] = ["input_x_gradient", {"name": "occlusion", "box_mm": 0.06}]
    lab.keys["targets"].append(
        {"name": "rim", "label": "liver", "over": "boundary", "within_mm": 0.026}
    )
    assert lab.run().exit_code == 0
    voxel_ml = 0.025 * 0.03 * 0.04 / 1000
    table = regions_of(lab)
    liver = int((noise(seed=5) > 0).sum())
    assert float(table["truth", "liver"]["volume_ml"]) == pytest.approx(liver * voxel_ml)
    predicted = lab.segmentation("a") == 1
    parts, _ = nib_label(predicted)
    sizes = np.bincount(parts.ravel())[1:] * voxel_ml
    found = sorted(lab.root.glob("a/a_label-parts#*_desc-input_x_gradient_attrmap.json"))
    assert len(found) == int((sizes >= 1e-6).sum())
    first = lab.sidecar("a", "parts#1", "input_x_gradient")["target_facts"]
    assert first["volume_ml"] == pytest.approx(sizes.max())
    # Within 26 um of the surface lie the neighbours along x, which are 25 um away.
    across = predicted[1:] != predicted[:-1]
    rim = np.zeros(SHAPE, bool)
    rim[1:] |= across
    rim[:-1] |= across
    map_ = lab.map("a", "rim", "input_x_gradient")
    np.testing.assert_array_equal(map_ != 0, rim & (noise() != 0))
    source = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    written = sitk.ReadImage(str(lab.file("a", "rim", "input_x_gradient")))
    assert written.GetSpacing() == source.GetSpacing()
    assert written.GetOrigin() == source.GetOrigin()
    assert "0.025x0.03x0.04 mm" in lab.sidecar("a", "rim", "input_x_gradient")["grid"]["source"]


def nib_label(mask: np.ndarray) -> tuple[np.ndarray, int]:
    from scipy import ndimage

    numbered, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    return numbered, count


def test_regions_with_integers_beyond_float32_stay_apart(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    atlas = np.zeros(SHAPE, np.uint32)
    atlas[:4], atlas[4:8] = SMALL, LARGE
    save_image(tmp_path / "atlas.nii.gz", atlas)
    lab.keys["aggregate"] = {
        "atlases": {"allen": "atlas.nii.gz"},
        "names": {"allen": {SMALL: "one", LARGE: "other"}},
    }
    lab.keys["methods"].append({"name": "feature_ablation", "features": "atlas.nii.gz"})
    assert lab.run().exit_code == 0
    table = regions_of(lab)
    for name, part in (("one", slice(0, 4)), ("other", slice(4, 8)), ("outside", slice(8, None))):
        expected = noise()[part].sum(dtype=np.float64)
        assert float(table["allen", name]["signed_sum"]) == pytest.approx(expected, rel=1e-4)
    values = lab.sidecar("a", "liver", "feature_ablation")["facts"]["more"]["values"]
    assert set(values) == {f"label {SMALL}", f"label {LARGE}"}


def test_labels_and_truth_of_large_integers(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0], [-1.0]], [0.0, -0.5, -0.5])
    lab.keys["labels"] = {SMALL: "one", LARGE: "other"}
    truth = np.where(noise() > 0.5, SMALL, np.where(noise() < -0.5, LARGE, 0)).astype(np.uint32)
    save_image(tmp_path / "truth.nii.gz", truth)
    lab.keys["data"]["cases"][0]["label"] = "truth.nii.gz"
    lab.keys["targets"] = [
        {"name": "one", "label": "one", "over": "label"},
        {"name": "other", "label": "other", "over": "label"},
    ]
    assert lab.run().exit_code == 0
    segmentation = lab.segmentation("a")
    assert segmentation.dtype == np.int32
    np.testing.assert_array_equal(segmentation, truth)
    np.testing.assert_array_equal(lab.map("a", "one", "saliency") != 0, truth == SMALL)
    np.testing.assert_array_equal(lab.map("a", "other", "saliency") != 0, truth == LARGE)


def flipped_label(folder: Path, array: np.ndarray) -> str:
    """Write a label map stored in the other direction of its second axis."""
    affine = affine_of("anisotropic")
    affine[:, 3] += affine[:, 1] * (array.shape[1] - 1)
    affine[:, 1] *= -1
    save_image(folder / "turned.nii.gz", np.flip(array, 1).copy(), affine)
    return "turned.nii.gz"


def test_files_of_other_axes_beside_the_image(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    mask = (noise(seed=5) > 0).astype(np.uint8)
    turned = flipped_label(tmp_path, mask)
    baseline = noise(seed=9)
    flipped_label(tmp_path, baseline)
    (tmp_path / "turned.nii.gz").rename(tmp_path / "baseline.nii.gz")
    flipped_label(tmp_path, mask)
    lab.keys["data"]["cases"][0]["label"] = turned
    lab.keys["targets"] = [
        {"name": "truth", "label": "liver", "over": "label"},
        {"name": "roi", "label": "liver", "roi": turned},
    ]
    lab.keys["methods"] = [
        "saliency",
        {"name": "integrated_gradients", "steps": 2, "baseline": {"file": "baseline.nii.gz"}},
    ]
    lab.keys["aggregate"] = {"atlases": {"mask": turned}}
    assert lab.run().exit_code == 0
    for name in ("truth", "roi"):
        np.testing.assert_allclose(lab.map("a", name, "saliency"), mask, atol=1e-6)
        path = lab.map("a", name, "integrated_gradients")
        np.testing.assert_allclose(path, mask * (noise() - baseline), atol=1e-5)


@pytest.mark.slow
def test_a_rounded_label_map_is_a_note_of_the_run(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    truth = (noise(seed=5) > 0) * 0.99999
    save_image(tmp_path / "truth.nii.gz", truth)
    lab.keys["data"]["cases"][0]["label"] = "truth.nii.gz"
    lab.keys["targets"] = [{"name": "t", "label": "liver", "over": "label"}]
    result = lab.run()
    assert result.exit_code == 0
    (note,) = [note for note in lab.record()["notes"] if "truth.nii.gz" in note]
    assert "rounded, such as 0.99999 to 1" in note
    assert result.stdout.count("rounded, such as 0.99999 to 1") == 1
    np.testing.assert_array_equal(lab.map("a", "t", "input_x_gradient") != 0, truth != 0)


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["label", "roi", "atlas"])
def test_nan_in_a_label_map(reader: str, tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    mask = (noise(seed=5) > 0).astype(np.float32)
    mask[2, 3, 4] = np.nan
    save_image(tmp_path / "mask.nii.gz", mask)
    if reader == "label":
        lab.keys["data"]["cases"][0]["label"] = "mask.nii.gz"
        lab.keys["targets"] = [{"name": "t", "label": "liver", "over": "label"}]
    elif reader == "roi":
        lab.keys["targets"] = [{"name": "t", "label": "liver", "roi": "mask.nii.gz"}]
    else:
        lab.keys["targets"][0]["name"] = "t"
        lab.keys["aggregate"] = {"atlases": {"mask": "mask.nii.gz"}}
    result = lab.run()
    assert result.exit_code == 2
    for fragment in ("mask.nii.gz", "1 voxel is NaN or Inf", "voxel (2, 3, 4)", "nan: zero"):
        assert fragment in result.stderr
    lab.keys["data"]["nan"] = "zero"
    assert lab.run().exit_code == 0
    if reader != "atlas":
        expected = np.nan_to_num(mask) * noise()
        np.testing.assert_allclose(lab.map("a", "t", "input_x_gradient"), expected, atol=1e-6)


def test_changing_one_file_of_a_pair_makes_a_new_image(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    for seed in (0, 1):
        nib.save(nib.Nifti1Pair(noise(seed=seed), affine_of("anisotropic")), tmp_path / "p.img")
        lab.keys["data"]["cases"] = "*.hdr"
        assert lab.run().exit_code == 0
        map_ = lab.map("p", "liver", "input_x_gradient")
        np.testing.assert_allclose(map_, noise(seed=seed), atol=1e-6)
    hashed = {Path(path).name for path in lab.record()["inputs_sha256"]}
    assert hashed == {"p.hdr", "p.img"}


CASES = {
    "folder": ("set", ["A", "b", "c", "d", "e"]),
    "glob": ("set/*", ["A", "b", "c", "d", "e"]),
    "glob of voxels": ("set/*.img", ["c"]),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_pair_is_one_case_and_suffixes_may_be_upper_case(kind: str, tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    text, expected = CASES[kind]
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("A.NII.GZ", "b.Nii", "c.hdr", "c.img", "d.TIF", "e.JPEG", "notes.txt", ".f.nii"):
        (folder / name).touch()
    lab.keys["data"]["cases"] = text
    assert sorted(case.name for case in list_cases(load_config(lab.write()))) == expected


@pytest.mark.parametrize("cases", ["set", "set/*", "set/*.mgz"])
def test_a_folder_with_only_unsupported_formats_is_refused(cases: str, tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    (tmp_path / "set").mkdir()
    for name in ("a.mgz", "b.MGZ", "notes.txt"):
        (tmp_path / "set" / name).touch()
    lab.keys["data"]["cases"] = cases
    result = lab.validate()
    count = 1 if cases.endswith(".mgz") else 2
    place = f"tiny.yaml:{lab.line_of('cases:')}: data.cases: '{cases}' matches {count} .mgz file"
    refused(result, lab, place, ".mgz is not supported", "FreeSurfer")


def test_a_case_of_an_unsupported_format_is_refused(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    (tmp_path / "a.mgz").touch()
    lab.keys["data"]["cases"][0]["image"] = "a.mgz"
    refused(lab.validate(), lab, "a.mgz: .mgz is not supported; convert it to NIfTI")
    lab.keys["data"]["cases"][0]["image"] = "a.nii.gz"
    lab.keys["methods"].append({"name": "feature_ablation", "features": "a.mgz"})
    refused(lab.validate(), lab, "a.mgz: .mgz is not supported; convert it to NIfTI")


def picture_lab(folder: Path, axes: str | None) -> tuple[Lab, np.ndarray]:
    """A pixel is liver where it is above 100; the picture is neither square nor symmetric."""
    lab = pointwise_lab(folder, [[0.0], [1.0]], [0.0, -100.5], ndim=2, shape=(9, 8))
    lab.keys["methods"] = ["input_x_gradient"]
    rows = np.random.default_rng(1).integers(0, 200, (12, 9)).astype(np.uint8)
    Image.fromarray(rows).save(folder / "a.png")
    Image.fromarray((rows > 150).astype(np.uint8)).save(folder / "truth.png")
    lab.keys["data"] = {"cases": [{"name": "a", "image": "a.png", "label": "truth.png"}]}
    if axes is not None:
        lab.keys["data"]["picture_axes"] = axes
    return lab, rows


@pytest.mark.parametrize("axes", [None, "yx", "xy"])
@pytest.mark.slow
def test_pictures_count_pixels_and_have_no_ml(axes: str | None, tmp_path: Path) -> None:
    lab, rows = picture_lab(tmp_path, axes)
    lab.keys["aggregate"] = {"atlases": {"found": "prediction", "truth": "label"}}
    lab.keys["targets"].append({"name": "parts", "label": "liver", "component": "each"})
    assert lab.run().exit_code == 0
    array = rows.T if axes == "xy" else rows
    np.testing.assert_array_equal(lab.segmentation("a"), array > 100)
    expected = np.where(array > 100, array, 0)
    np.testing.assert_allclose(lab.map("a", "liver", "input_x_gradient"), expected, atol=1e-4)
    sidecar = read_json(lab.root / "a" / "a_desc-prediction_dseg.json")
    assert sidecar["volume_ml"] == {"liver": None}
    assert sidecar["num_pixels"] == {"liver": int((rows > 100).sum())}
    assert sidecar["grid"]["source"] == ("9x12 pixels" if axes == "xy" else "12x9 pixels")
    for row in regions_of(lab).values():
        assert (row["volume_ml"], row["per_ml"], row["magnitude_per_ml"]) == ("nan",) * 3
        assert float(row["share"]) >= 0
    facts = lab.sidecar("a", "parts#1", "input_x_gradient")["target_facts"]
    assert "volume_ml" not in facts
    assert "centre_mm" not in facts
    map_ = lab.map("a", "parts#1", "input_x_gradient") != 0
    assert facts["num_pixels"] == int(map_.sum())
    np.testing.assert_allclose(facts["centre_pixel"], np.argwhere(map_).mean(axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("target", "key"),
    [
        ({"of": "volume_ml"}, "of: volume_ml"),
        ({"component": "each", "min_volume_ml": 0.1}, "min_volume_ml"),
    ],
)
def test_keys_in_ml_are_refused_for_pictures(
    target: dict[str, Any], key: str, tmp_path: Path
) -> None:
    lab, _ = picture_lab(tmp_path, None)
    lab.keys["targets"] = [{"name": "t", "label": "liver", **target}]
    result = lab.validate()
    place = f"tiny.yaml:{lab.line_of('name: t')}: "
    refused(result, lab, place, f"a: {key} is in ml, but a picture has pixels", "as NIfTI")


def test_the_axes_of_pictures_decide_the_result(tmp_path: Path) -> None:
    lab, _ = picture_lab(tmp_path, "yx")
    assert lab.run().exit_code == 0
    lab.keys["data"]["picture_axes"] = "xy"
    assert lab.run().exit_code == 0
    assert set(lab.statuses().values()) == {"done"}
    lab.keys["data"]["picture_axes"] = "rc"
    result = lab.validate()
    assert result.exit_code == 2
    assert f"tiny.yaml:{lab.line_of('picture_axes')}: data.picture_axes" in result.stderr


def test_a_folder_without_an_image_is_refused(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    (tmp_path / "set").mkdir()
    lab.keys["data"]["cases"] = "set"
    with pytest.raises(DataError, match="'set' matches no image"):
        list_cases(load_config(lab.write()))


@pytest.mark.slow
def test_gzip_named_nii_runs(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    (tmp_path / "a.nii.gz").rename(tmp_path / "a.nii")
    lab.keys["data"]["cases"] = ["a.nii"]
    assert lab.run().exit_code == 0
    np.testing.assert_allclose(lab.map("a", "liver", "input_x_gradient"), noise(), atol=1e-6)
    save_nifti(tmp_path / "b.nii", noise())
    (tmp_path / "b.nii").rename(tmp_path / "b.nii.gz")
    lab.keys["data"]["cases"] = ["b.nii.gz"]
    assert lab.run().exit_code == 0
    np.testing.assert_allclose(lab.map("b", "liver", "input_x_gradient"), noise(), atol=1e-6)
