"""Groups of too few and of too many items, what failed choices leave, and cases of all shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.experiments import Lab, esegeta, noise, read_json
from tests.workflow.examples.labs import (
    examples_lab,
    failures,
    image_of,
    set_case,
    table,
    with_influence,
)


def pictures(lab: Lab) -> set[str]:
    return {path.name for path in (lab.root / "examples").glob("*.png")}


def test_a_failed_selection_removes_older_pictures(tmp_path: Path) -> None:
    lab = examples_lab(tmp_path, cases=1, of="supervoxel", supervoxels=12, min_voxels=1)
    assert esegeta("examples", lab.write(), "-q").exit_code == 0
    rows = [row for row in table(lab, "prototypes") if row["group"] == "all"]
    assert all(row["item"].startswith("a, supervoxel ") for row in rows)
    both = {"prototypes_all.png", "neighbours_all.png"}
    assert both <= pictures(lab)
    found = int(table(lab, "groups")[0]["items"])
    lab.keys["examples"]["prototypes"] = found + 1
    said = failures(esegeta("examples", lab.write()))
    place = f"{lab.config}:{lab.line_of('prototypes:')}"
    what = f"{found + 1} prototypes of {found} items (supervoxel) of at least 1 voxels"
    assert f"{place}: examples.prototypes: {what}" in said
    assert "give fewer, more cases, or a smaller examples.min_voxels" in said
    assert not pictures(lab) & both
    assert not [row for row in table(lab, "prototypes") if row["group"] == "all"]
    # Of the label there are fewer as well, which is noted: nobody has asked for so many of it.
    assert [row["group"] for row in table(lab, "groups")] == ["liver", "errors"]


def test_more_items_than_can_be_compared_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esegeta.workflow.examples.select.MOST_ITEMS", 3)
    lab = examples_lab(tmp_path, cases=4)
    said = failures(esegeta("examples", lab.write()))
    assert "prototypes / all: all items: 4 items are too many to compare all pairs" in said
    assert "raise examples.min_voxels" in said


def test_a_group_of_one_item_is_counted_and_not_compared(tmp_path: Path) -> None:
    """One block of liver, just as the ground truth has it: one component, and no error."""
    lab = examples_lab(tmp_path, cases=1, of="component")
    image = np.full((12, 11, 9), -1.0, dtype=np.float32)
    image[3:7, 2:6, 4:8] = 1.0
    set_case(lab, 0, image, image > 0)
    result = esegeta("examples", lab.write())
    assert result.exit_code == 0, result.output
    found = {row["group"]: (row["items"], row["mmd2"]) for row in table(lab, "groups")}
    assert found == {"liver": ("1", ""), "errors": ("0", "")}
    assert table(lab, "prototypes") == table(lab, "neighbours") == []
    assert not pictures(lab)
    notes = read_json(lab.root / "examples" / "examples.json")["notes"]
    few = "items of at least 8 voxels are fewer than 2 prototypes and 1 criticisms, too few to be"
    assert f"liver: 1 {few} compared" in notes
    assert f"errors: 0 {few} compared" in notes


@pytest.mark.slow
def test_errors_are_of_the_cases_whose_truth_is_known(tmp_path: Path) -> None:
    lab = examples_lab(tmp_path, cases=4)
    set_case(lab, 3, image_of(3), None)
    assert esegeta("examples", lab.write(), "-q").exit_code == 0
    assert {row["group"]: row["items"] for row in table(lab, "groups")} == {
        "all": "4",
        "liver": "4",
        "errors": "3",
    }
    rows = [row for row in table(lab, "neighbours") if row["group"] == "errors"]
    assert {row["item"] for row in rows} == {"a", "b", "c"}


def test_a_2d_image_is_its_own_thumbnail(tmp_path: Path) -> None:
    lab = examples_lab(tmp_path, cases=3, ndim=2)
    assert esegeta("examples", lab.write(), "-q").exit_code == 0
    items = load_file(lab.root / "examples" / "units" / "a_items.safetensors")
    # Pixels are 0.7 by 1.9 mm, and shown as long as wide: 12 by 11 x 1.9 / 0.7.
    assert items["pictures"].shape[1:] == (12, 30)
    image = image_of(0)[..., 0]
    centre = np.argwhere(image > 0).mean(axis=0) * (0.7, 1.9) + (12.5, -40.0)
    np.testing.assert_allclose(items["centre_mm"][1, :2], centre, rtol=1e-6)
    assert items["masks"][0].all()
    assert items["voxels"].tolist()[:2] == [12 * 11, (image > 0).sum()]


@pytest.mark.parametrize(("axis", "sides"), [(0, (10, 15)), (1, (10, 40)), (2, (10, 24))])
def test_a_scan_of_one_slice_is_shown_as_that_slice(
    axis: int, sides: tuple[int, int], tmp_path: Path
) -> None:
    """Voxels of 0.7, 1.9 and 3.1 mm: nine of them are shown as wide as they are."""
    lab = examples_lab(tmp_path, cases=2, ndim=2)
    lab.keys["inference"]["slice_axis"] = axis
    for place in range(2):
        image = np.expand_dims(noise((10, 9), seed=place), axis)
        set_case(lab, place, image, image > 0.2)
    assert esegeta("examples", lab.write(), "-q").exit_code == 0
    items = load_file(lab.root / "examples" / "units" / "a_items.safetensors")
    assert items["pictures"].shape[1:] == sides
    assert items["masks"][0].all()


@pytest.mark.slow
@pytest.mark.parametrize("axis", [0, 1])
def test_a_network_in_three_dimensions_shows_the_only_slice_too(axis: int, tmp_path: Path) -> None:
    lab = examples_lab(tmp_path, cases=2)
    for place in range(2):
        image = np.expand_dims(noise((10, 9), seed=place), axis)
        set_case(lab, place, image, image > 0.2)
    assert esegeta("examples", lab.write(), "-q").exit_code == 0
    items = load_file(lab.root / "examples" / "units" / "a_items.safetensors")
    assert min(items["pictures"].shape[1:]) > 3
    assert items["masks"][0].all()


@pytest.mark.parametrize("name", ["prototypes", "influence"])
def test_a_case_may_have_the_name_of_a_part_of_the_study(name: str, tmp_path: Path) -> None:
    lab = with_influence(examples_lab(tmp_path, cases=2))
    lab.keys["data"]["cases"][0]["name"] = name
    result = esegeta("examples", lab.write())
    assert result.exit_code in (0, 1), result.output
    assert "Traceback" not in result.output
    assert {row["item"] for row in table(lab, "prototypes")} == {name, "b"}
    assert {row["case"] for row in table(lab, "influence")} == {name, "b"}
