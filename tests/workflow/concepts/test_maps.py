"""Maps of concepts are judged, warned of and written as the maps of a run are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from esegeta.report import TaskFiles
from tests.experiments import Lab, esegeta, read_json, save_image, voxels
from tests.workflow.concepts.planted import DRIVES, SHAPE, planted_lab, planted_state

pytestmark = pytest.mark.usefixtures("quick_concepts")

METHOD = f"concept-{DRIVES}-units"
DELETION = {"name": "deletion", "features": {"kind": "blocks", "side_mm": 8}, "steps": 2}
DELETION |= {"baseline": {"kind": "zero"}}


def mapped_lab(folder: Path, **keys: Any) -> Lab:
    """Return an experiment of which two cases have a map each of one concept."""
    lab = planted_lab(folder)
    del lab.keys["data"]["cases"][2:]
    lab.keys["concepts"] |= {
        "concepts": {DRIVES: {"masks": f"masks/{{case}}_{DRIVES}.nii.gz"}},
        "maps": "all",
        "level": 0.99,
    }
    lab.keys |= keys
    return lab


def concepts(lab: Lab) -> str:
    """Run the command, and return what it says on one line."""
    result = esegeta("concepts", lab.write())
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def files_of(lab: Lab, case: str = "a") -> TaskFiles:
    return TaskFiles(lab.root, case, "label", METHOD)


def recorded(lab: Lab) -> set[Path]:
    """Return the files that the record names."""
    folder = lab.root / "concepts"
    return {(folder / name).resolve() for name in read_json(folder / "concepts.json")["files"]}


def test_scores_alone_are_kept_where_no_map_is_asked_for(tmp_path: Path) -> None:
    lab = mapped_lab(tmp_path, scores=[DELETION], write="scores")
    concepts(lab)
    own = files_of(lab)
    assert [path.name for path in own.map.parent.iterdir()] == [own.sidecar.name]
    sidecar = read_json(own.sidecar)
    assert sidecar["map"] == "not written (write: scores)" and sidecar["concept"] == DRIVES
    assert {row["score"] for row in sidecar["scores"]} >= {"deletion"}
    assert recorded(lab) >= {own.sidecar.resolve(), files_of(lab, "b").sidecar.resolve()}
    assert "summary: skipped" in concepts(lab)
    del lab.keys["write"]
    concepts(lab)
    assert own.map.is_file() and own.overlay.is_file()
    assert read_json(own.sidecar)["scores"] == sidecar["scores"]


def test_maps_are_summed_up_by_the_regions_of_atlases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esegeta.report.save.draw_regions", lambda path, *rest: path.touch())
    lab = mapped_lab(tmp_path, aggregate={"atlases": {"halves": "halves.nii.gz"}})
    halves = np.ones(SHAPE, dtype=np.int16)
    halves[:, 9:] = 2
    save_image(tmp_path / "halves.nii.gz", halves, np.eye(4))
    concepts(lab)
    own = files_of(lab)
    sums = {
        row["region"]: row["signed_sum"]
        for row in read_json(own.sidecar)["regions"]
        if row["atlas"] == "halves"
    }
    values = voxels(own.map).astype(float)
    for region in (1, 2):
        assert sums[str(region)] == pytest.approx(values[halves == region].sum(), rel=1e-4)
    assert own.regions.is_file() and own.regions.resolve() in recorded(lab)
    halves[:, 12:] = 3
    save_image(tmp_path / "halves.nii.gz", halves, np.eye(4))
    concepts(lab)  # another atlas, other rows
    assert "3" in {row["region"] for row in read_json(own.sidecar)["regions"]}


@pytest.fixture
def doubted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Return a lab each of whose maps is taken for no better than random ones."""
    monkeypatch.setattr("esegeta.workflow.chance.MOST_BY_CHANCE", 0.0)
    scores = [{"name": "random_map_baseline", "base": DELETION, "samples": 2}]
    return mapped_lab(tmp_path, scores=scores)


def test_a_map_that_random_ones_equal_says_so(doubted: Lab) -> None:
    said = concepts(doubted)
    sidecar = read_json(files_of(doubted).sidecar)
    (text,) = sidecar["chance_warnings"]
    assert text.startswith("does not beat a random map: random_map_baseline is")
    assert text in sidecar["warnings"] and f"warning: {text}" in said


def test_components_are_named_in_their_warnings(doubted: Lab) -> None:
    each = {"name": "each", "label": "label", "component": "each", "min_volume_ml": 0.002}
    doubted.keys["concepts"]["targets"] = [each]
    said = concepts(doubted)
    assert "warning: each#1: does not beat" in said and "warning: each#2: does not beat" in said


def test_what_is_wrong_with_the_prediction_is_said_of_its_maps(tmp_path: Path) -> None:
    lab = mapped_lab(tmp_path)
    save_image(tmp_path / "theirs.nii.gz", np.zeros(SHAPE, dtype=np.int16), np.eye(4))
    lab.keys["data"]["cases"][0]["expected"] = "theirs.nii.gz"
    assert lab.predict().exit_code == 1  # for it warns
    concepts(lab)
    (text,) = read_json(files_of(lab).sidecar)["prediction_warnings"]
    assert text.startswith("not your pipeline's prediction")
    assert text in read_json(files_of(lab).sidecar)["warnings"]
    assert read_json(files_of(lab, "b").sidecar)["prediction_warnings"] == []


def test_a_prediction_of_other_weights_says_nothing(tmp_path: Path) -> None:
    lab = mapped_lab(tmp_path)
    save_image(tmp_path / "theirs.nii.gz", np.zeros(SHAPE, dtype=np.int16), np.eye(4))
    lab.keys["data"]["cases"][0]["expected"] = "theirs.nii.gz"
    assert lab.predict().exit_code == 1  # for it warns
    ensemble_of(lab)
    lab.keys["concepts"]["member"] = 2
    concepts(lab)
    assert read_json(files_of(lab).sidecar)["prediction_warnings"] == []


def ensemble_of(lab: Lab) -> None:
    """Give it two networks: the planted one, and one that is twice as steep."""
    state = planted_state()
    save_file(state, lab.folder / "w.safetensors")
    state["head.weight"] = 2 * state["head.weight"]
    save_file(state, lab.folder / "steep.safetensors")
    lab.keys["model"]["weights"] = ["w.safetensors", "steep.safetensors"]


def test_mirrored_passes_have_maps_of_their_own_whose_mean_is_the_map(tmp_path: Path) -> None:
    lab = mapped_lab(tmp_path)
    lab.keys["inference"] |= {"mirror": [0], "average": "logits", "spread": "members"}
    concepts(lab)
    own = files_of(lab)
    members = [voxels(own.member_map(number)) for number in (1, 2)]
    np.testing.assert_allclose(voxels(own.map), np.mean(members, axis=0), rtol=1e-4, atol=1e-6)
    assert voxels(own.spread).shape == SHAPE
    assert recorded(lab) >= {own.member_map(2).resolve(), own.spread.resolve()}
    assert len(read_json(own.sidecar)["spread"]["members"]) == 2


def test_one_network_of_an_ensemble_has_no_spread_and_that_is_said(tmp_path: Path) -> None:
    lab = mapped_lab(tmp_path)
    ensemble_of(lab)
    lab.keys["inference"]["spread"] = "members"
    lab.keys["concepts"]["member"] = 2
    said = concepts(lab)
    assert "inference.spread: concepts.member: 2 has no mirrored passes" in said
    own = files_of(lab)
    assert own.map.is_file() and not own.spread.exists()
    assert "spread" not in read_json(own.sidecar)


@pytest.mark.parametrize(
    ("keys", "fragments"),
    [
        ({"write": ["nifti", "dicom"]}, ("write: dicom", "a")),
        (
            {"aggregate": {"atlases": {"lobes": "no_such.nii.gz"}}},
            ("aggregate", "no_such.nii.gz"),
        ),
        (
            {
                "scores": [
                    {
                        **DELETION,
                        "baseline": {"file": "none_{case}.nii.gz"},
                    }
                ]
            },
            ("none_a.nii.gz",),
        ),
    ],
)
def test_what_cannot_be_done_with_maps_is_refused_beforehand(
    keys: dict[str, Any], fragments: tuple[str, ...], tmp_path: Path
) -> None:
    lab = mapped_lab(tmp_path, **keys)
    result = esegeta("concepts", lab.write())
    assert result.exit_code == 2, result.output
    for fragment in fragments:
        assert fragment in result.stderr
    assert not lab.root.exists()
    lab.keys["concepts"]["maps"] = "none"
    assert esegeta("concepts", lab.write()).exit_code == 0
