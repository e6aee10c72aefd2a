"""Planted networks through the command line: what drives, what does not, and what is an address."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.experiments import Lab, esegeta, read_json, voxels
from tests.workflow.concepts.planted import DRIVES, IDLE, NEAR, planted_lab, table

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Six cases, all that there is to ask for."""
    lab = planted_lab(tmp_path_factory.mktemp("planted"))
    lab.keys["concepts"] |= {
        "discover": {"count": 3, "method": "nmf", "scales": [40], "names": {"units/1": "first"}},
        "shap": True,
    }
    lab.keys["scores"] = ["gini"]
    result = esegeta("concepts", lab.write())
    assert result.exit_code == 0, result.output
    return lab


def rows(lab: Lab) -> dict[str, dict[str, str]]:
    return {row["concept"]: row for row in table(lab.root / "concepts" / "tcav.csv")}


def test_only_a_concept_that_drives_the_label_is_significant(done: Lab) -> None:
    found = rows(done)
    drives, idle = found[DRIVES], found[IDLE]
    assert float(drives["tcav"]) == 1.0 and drives["significant"] == "1"
    assert float(drives["size_low"]) > 0 and float(drives["p_holm"]) < 0.001
    # The slope of 2 at each of 26 x 24 voxels times the 4 that the unit differs by.
    assert float(drives["size"]) == pytest.approx(8 * 26 * 24, rel=0.1)
    assert float(idle["accuracy"]) > 0.9 and idle["significant"] == "0"
    assert drives["refused"] == idle["refused"] == ""
    assert float(idle["p"]) > 0.05


def test_the_vectors_are_those_of_the_planted_units(done: Lab) -> None:
    vectors = load_file(done.root / "concepts" / "cavs.safetensors")
    for name, unit in ((DRIVES, 0), (IDLE, 1)):
        assert int(np.abs(vectors[f"units/{name}"]).argmax()) == unit
        assert vectors[f"units/{name}/draws"].shape == (30, 6)
        step = vectors[f"units/{name}/step"]
        assert step[unit] == pytest.approx(4, rel=0.1)
        assert np.abs(np.delete(step, [unit, 2])).max() < 0.3


def test_maps_of_significant_concepts_have_sidecars_and_add_up_to_the_size(done: Lab) -> None:
    method = f"concept-{DRIVES}-units"
    sums = [voxels(done.file(case, "label", method)).sum() for case in "abcdef"]
    assert np.mean(sums) == pytest.approx(float(rows(done)[DRIVES]["size"]), rel=0.05)
    sidecar = done.sidecar("a", "label", method)
    assert sidecar["concept"] == DRIVES and sidecar["method"] == "concept_derivative"
    assert [row["score"] for row in sidecar["scores"]]
    assert not done.file("a", "label", f"concept-{IDLE}-units").exists()


def test_discovered_concepts_are_named_ranked_and_shown(done: Lab) -> None:
    folder = done.root / "concepts"
    listed = table(folder / "discovered.csv")
    assert {row["concept"] for row in listed} >= {"first"}
    assert next(row["number"] for row in listed if row["concept"] == "first") == "units/1"
    sizes = [abs(float(row["size"])) for row in listed if row["size"] != "nan"]
    assert sizes == sorted(sizes, reverse=True)
    assert (folder / "discovered" / "units_first.png").is_file()


def test_shapley_values_add_up(done: Lab) -> None:
    listed = [row for row in table(done.root / "concepts" / "shap.csv") if row["kind"] == "named"]
    total = sum(float(row["shapley_dice"]) for row in listed)
    first = listed[0]
    expected = float(first["dice_concepts"]) - float(first["dice_nothing"])
    assert total == pytest.approx(expected)
    worth = {row["concept"]: float(row["shapley_dice"]) for row in listed}
    assert worth[DRIVES] > 3 * abs(worth[IDLE])


def test_the_record_lists_its_files_and_the_report_shows_concepts(done: Lab) -> None:
    record = read_json(done.root / "concepts" / "concepts.json")
    assert {"concept": DRIVES, "layer": "units", "target": "label"} in record["significant"]
    folder = done.root / "concepts"
    assert all((folder / name).is_file() for name in record["files"])
    assert not (folder / "work").exists()
    again = esegeta("concepts", done.config)
    assert again.exit_code == 0 and "already finished" in again.output
    page = esegeta("report", done.root)
    assert page.exit_code == 0, page.output
    text = (done.root / "report" / "index.html").read_text(encoding="utf-8")
    assert "tcav.csv" in text and DRIVES in text


@pytest.mark.parametrize("counters", ["matched", "anywhere"])
def test_a_concept_of_depth_is_not_significant_against_counters_of_equal_depth(
    tmp_path: Path, counters: str
) -> None:
    """Against places anywhere its vector is the depth, which drives the label."""
    lab = planted_lab(tmp_path)
    lab.keys["concepts"] |= {
        "concepts": {NEAR: {"masks": "masks/{case}_near.nii.gz"}},
        "counters": counters,
        "piece_mm": 1.0,
        "pieces": 5,
        "maps": "none",
    }
    result = esegeta("concepts", lab.write())
    assert result.exit_code == 0, result.output
    found = rows(lab)[NEAR]
    assert (found["significant"] == "1") == (counters == "anywhere")
    if counters == "matched":
        assert "does not generalise" in found["refused"]
    else:
        assert float(found["size"]) > 0 and float(found["accuracy"]) > 0.75
        assert "may distinguish places" in result.output
