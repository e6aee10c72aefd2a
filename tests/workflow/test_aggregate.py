"""Maps by channel and region through the command line: table, sidecar, picture, resuming."""

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders import affine_of
from tests.experiments import Lab, esegeta, noise, pointwise_lab, refused, save_image

VOXEL_ML = 0.7 * 1.9 * 3.1 / 1000
ATLAS = np.zeros((12, 11, 9), np.uint8)
ATLAS[:4], ATLAS[6:8] = 1, 4


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esegeta.report.save.draw_regions", lambda path, *rest: path.touch())


def lab_of(folder: Path, cases: int = 2) -> Lab:
    """A voxel is liver where it is above zero; input x gradient is its value."""
    lab = pointwise_lab(folder, [[0.0], [1.0]], [0.0, 0.0], cases=cases)
    for case in lab.keys["data"]["cases"]:
        name = case["name"]
        save_image(folder / f"{name}_truth.nii.gz", (noise(seed=5) > 1).astype(np.uint8))
        save_image(folder / f"{name}_lobes.nii.gz", ATLAS)
        case["label"] = f"{name}_truth.nii.gz"
    lab.keys["methods"] = ["input_x_gradient", "saliency"]
    lab.keys["aggregate"] = {
        "atlases": {"found": "prediction", "truth": "label", "lobes": "{case}_lobes.nii.gz"},
        "names": {"lobes": {1: "left", 9: "gone"}},
    }
    return lab


def table(lab: Lab) -> list[dict[str, str]]:
    with (lab.root / "regions.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("orientation", [None, "LPS"])
@pytest.mark.slow
def test_the_table_is_the_map_summed_by_region(tmp_path: Path, orientation: str | None) -> None:
    lab = lab_of(tmp_path)
    lab.keys["data"]["preprocess"] = {"orientation": orientation}
    assert lab.run().exit_code == 0
    header = (lab.root / "regions.csv").read_text().splitlines()[0]
    assert header == (
        "case,target,method,atlas,region,channel,share,signed_sum,volume_ml,per_ml,magnitude_per_ml"
    )
    found = {tuple(row.values())[:6]: row for row in table(lab)}
    assert [key[:3] for key in found][::9] == [
        (case, "liver", method) for case in "ab" for method in ("input_x_gradient", "saliency")
    ]
    for place, case in enumerate("ab"):
        map_ = np.where(noise(seed=place) > 0, noise(seed=place), 0).astype(np.float64)
        regions = {
            ("image", "all"): np.ones_like(map_, bool),
            ("found", "outside"): map_ == 0,
            ("found", "liver"): map_ > 0,
            ("truth", "outside"): noise(seed=5) <= 1,
            ("truth", "liver"): noise(seed=5) > 1,
            ("lobes", "outside"): ATLAS == 0,
            ("lobes", "left"): ATLAS == 1,
            ("lobes", "4"): ATLAS == 4,
            ("lobes", "gone"): ATLAS == 9,
        }
        for (atlas, region), mask in regions.items():
            row = found[case, "liver", "input_x_gradient", atlas, region, "all"]
            total, volume_ml = map_[mask].sum(), mask.sum() * VOXEL_ML
            assert float(row["signed_sum"]) == pytest.approx(total, rel=1e-5)
            assert float(row["share"]) == pytest.approx(total / map_.sum(), rel=1e-5)
            assert float(row["volume_ml"]) == pytest.approx(volume_ml)
            if region == "gone":
                assert math.isnan(float(row["per_ml"]))
            else:
                assert float(row["per_ml"]) == pytest.approx(total / volume_ml, rel=1e-5)


def test_a_truth_of_overlapping_labels_has_a_region_for_other_integers(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[1.0], [2.0]], [0.0, 0.0])
    truth = np.zeros((12, 11, 9), np.uint8)
    truth[:3], truth[3:5], truth[8:] = 1, 2, 7
    save_image(tmp_path / "truth.nii.gz", truth)
    lab.keys["data"]["cases"][0]["label"] = "truth.nii.gz"
    lab.keys |= {"activation": "sigmoid", "labels": {"whole": [1, 2], "core": 2}}
    lab.keys["region_order"] = ["whole", "core"]
    lab.keys["targets"] = [{"name": "core", "label": "core", "over": "all"}]
    lab.keys["aggregate"] = {"atlases": {"truth": "label"}}
    assert lab.run().exit_code == 0
    sizes = {row["region"]: float(row["volume_ml"]) / VOXEL_ML for row in table(lab)}
    slab = 11 * 9
    expected = {"all": 12, "outside": 3, "whole": 5, "core": 2, "7": 4}
    assert sizes == pytest.approx({name: slab * count for name, count in expected.items()})


@pytest.mark.slow
def test_channels_alone_without_an_atlas(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0, 0.0], [1.0, -3.0]], [0.0, 0.0])
    images = [str(save_image(tmp_path / f"{c}.nii.gz", noise(seed=1))) for c in ("t1", "t2")]
    lab.keys["data"] = {"cases": [{"name": "a", "image": images}], "channels": ["t1", "t2"]}
    lab.keys["targets"][0]["over"] = "all"
    lab.keys["aggregate"] = {"atlases": {}}
    assert lab.run().exit_code == 0
    rows = [(row["atlas"], row["region"], row["channel"], row["share"]) for row in table(lab)]
    assert [row[:3] for row in rows] == [("image", "all", "t1"), ("image", "all", "t2")]
    assert [float(row[3]) for row in rows] == pytest.approx([0.25, 0.75])


@pytest.mark.slow
def test_skipped_tasks_keep_their_rows_and_pictures(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    lab.run()
    before = (lab.root / "regions.csv").read_bytes()
    pictures = {path.name for path in lab.root.rglob("*_regions.png")}
    assert len(pictures) == 4
    lab.file("a", "liver", "saliency").unlink()
    assert lab.run().exit_code == 0
    assert list(lab.statuses().values()).count("skipped") == 3
    assert (lab.root / "regions.csv").read_bytes() == before
    lab.file("b", "liver", "saliency", "regions.png").unlink()
    lab.run()
    assert lab.statuses()["b", "liver", "saliency"] == "done"


@pytest.mark.slow
def test_a_changed_atlas_renews_the_rows(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    lab.run()
    save_image(tmp_path / "b_lobes.nii.gz", ATLAS[::-1].copy())
    lab.run()
    done = {task[0] for task, status in lab.statuses().items() if status == "done"}
    assert done == {"b"}


@pytest.mark.slow
def test_without_the_block_there_is_no_table(tmp_path: Path) -> None:
    lab = lab_of(tmp_path, cases=1)
    lab.run()
    del lab.keys["aggregate"]
    assert lab.run().exit_code == 0
    assert not (lab.root / "regions.csv").exists()
    assert not list(lab.root.rglob("*_regions.png"))
    assert "regions" not in lab.sidecar("a", "liver", "saliency")


FAULTS: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "unknown key": ({"atlas": {}}, "atlas:", ("aggregate.atlas: unknown key", '"atlases"')),
    "names of no atlas": (
        {"names": {"lobe": {1: "left"}}},
        "names:",
        ("aggregate.names", 'no atlas "lobe"', 'did you mean "lobes"'),
    ),
    "names of labels": (
        {"names": {"found": {1: "left"}}},
        "names:",
        ('atlas "found" uses the names of `labels`',),
    ),
    "two of one name": (
        {"names": {"lobes": {1: "left", 2: "left"}}},
        "names:",
        ('two regions of atlas "lobes" share a name',),
    ),
    "a name that is no integer": (
        {"names": {"lobes": {"left": "1"}}},
        "left:",
        ("the integer comes first, then the name",),
    ),
    "reserved name": ({"atlases": {"image": "label"}}, "atlases:", ('"image" stands for',)),
    "no such file": (
        {"atlases": {"lobes": "none/{case}.nii.gz"}, "names": {}},
        "lobes:",
        ("none/a.nii.gz: no such file",),
    ),
    "no text": ({"atlases": {"lobes": 7}, "names": {}}, "lobes:", ("aggregate.atlases.lobes",)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_refused_with_their_line(fault: str, tmp_path: Path) -> None:
    change, text, fragments = FAULTS[fault]
    lab = lab_of(tmp_path)
    lab.keys["aggregate"].update(change)
    result = lab.validate()
    refused(result, lab, f"tiny.yaml:{lab.line_of(text)}: ", *fragments)


def test_a_ground_truth_atlas_needs_ground_truth_of_every_case(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    del lab.keys["data"]["cases"][1]["label"]
    lab.keys["targets"][0]["over"] = "all"
    result = lab.validate()
    place = f"tiny.yaml:{lab.line_of('truth: label')}: "
    refused(result, lab, place, "aggregate.atlases.truth: case b has no ground truth")


def test_an_atlas_on_another_grid(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    save_image(tmp_path / "b_lobes.nii.gz", ATLAS, affine_of("oblique"))
    refused(esegeta("validate", lab.write()), lab, "different grids", "b_lobes.nii.gz")
