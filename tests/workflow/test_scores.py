"""Scores of a run: tables, reasons, curves, files that scores name, and what is done again."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from weakref import WeakSet

import numpy as np
import pytest

from esegeta.report import save_attribution
from esegeta.score import ScoreCache
from esegeta.workflow import maps
from esegeta.workflow.attribute import TARGETS_AT_A_TIME
from tests.experiments import Lab, noise, read_json, save_image, unet_lab

BLOCKS = {"kind": "blocks", "side_mm": 6}
DELETION = {"name": "deletion", "features": BLOCKS, "steps": 3}


@pytest.fixture
def lab(tmp_path: Path, quick: None) -> Lab:
    lab = unet_lab(tmp_path, shape=(9, 8, 8))
    lab.keys["targets"][0]["over"] = "all"
    lab.keys["scores"] = [DELETION, {"name": "dice_drop", "features": BLOCKS, "steps": 2}]
    return lab


def curves_of(lab: Lab) -> list[dict[str, str]]:
    with (lab.root / "curves.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_every_value_has_a_row_and_undefined_ones_a_reason(lab: Lab) -> None:
    assert lab.run().exit_code == 0
    rows = {row["score"]: row for row in lab.scores()}
    assert list(rows) == [
        "deletion",
        "deletion_lerf",
        "deletion_gap",
        "dice_drop",
        "dice_drop_label",
    ]
    assert rows["deletion"]["better"] == "lower"
    assert rows["dice_drop_label"]["value"] == "nan"
    sidecar = lab.sidecar("a", "liver", "saliency")
    assert sidecar["score_reasons"] == {"dice_drop_label": "the case has no label"}
    assert sidecar["score_parameters"]["deletion"]["steps"] == 3
    assert sidecar["score_parameters"]["deletion"]["seed"] == lab.keys["seed"]
    assert read_json(lab.root / "run.json")["scores"]["deletion"]["baseline"]["kind"] == "mean"


@pytest.mark.slow
def test_curves_go_to_a_table_and_a_picture_and_give_the_areas(lab: Lab) -> None:
    lab.keys["methods"] = ["saliency", "random_map"]
    assert lab.run().exit_code == 0
    rows = curves_of(lab)
    assert {row["method"] for row in rows} == {"saliency", "random_map"}
    for row in lab.scores():
        if row["score"] not in ("deletion", "deletion_lerf"):
            continue
        name = "most first" if row["score"] == "deletion" else "least first"
        points = [
            (float(point["x"]), float(point["y"]))
            for point in rows
            if (point["method"], point["score"], point["curve"])
            == (row["method"], "deletion", name)
        ]
        assert len(points) == 4
        x, y = zip(*points, strict=True)
        assert float(row["value"]) == pytest.approx(np.trapezoid(y, x))
    pictures = sorted(path.name for path in lab.root.rglob("*_curves.png"))
    assert pictures == [
        f"a_label-liver_score-{score}_curves.png" for score in ("deletion", "dice_drop")
    ]


@pytest.mark.slow
def test_write_scores_keeps_no_map(lab: Lab) -> None:
    lab.keys["scores"] = [{"name": "infidelity", "samples": 2}]
    assert lab.run().exit_code == 0
    before = (lab.root / "scores.csv").read_bytes()
    lab.keys |= {"write": ["scores"], "output": str(lab.folder / "alone")}
    assert lab.run().exit_code == 0
    root = lab.folder / "alone" / "tiny"
    assert (root / "scores.csv").read_bytes() == before
    assert not list(root.rglob("*_attrmap.nii.gz"))
    assert not list(root.rglob("*.png"))


@pytest.mark.slow
def test_pictures_of_curves_are_drawn_again_only_where_they_change(lab: Lab) -> None:
    lab.keys["methods"] = ["saliency", "random_map"]
    assert lab.run().exit_code == 0
    path = lab.root / "a" / "a_label-liver_score-deletion_curves.png"
    before = path.stat().st_mtime_ns
    assert lab.run().exit_code == 0
    assert path.stat().st_mtime_ns == before
    lab.keys["methods"] = ["saliency"]
    assert lab.run().exit_code == 0
    assert path.stat().st_mtime_ns > before


@pytest.mark.slow
def test_running_again_reads_scores_and_curves_back(lab: Lab) -> None:
    assert lab.run().exit_code == 0
    before = (lab.scores(), curves_of(lab))
    (lab.root / "curves.csv").unlink()
    assert lab.run().exit_code == 0
    assert set(lab.statuses().values()) == {"skipped"}
    assert (lab.scores(), curves_of(lab)) == before


@pytest.mark.slow
def test_without_curves_there_is_no_table_of_them(lab: Lab) -> None:
    assert lab.run().exit_code == 0
    lab.keys["scores"] = [{"name": "sensitivity_max", "samples": 1}]
    assert lab.run().exit_code == 0
    assert not (lab.root / "curves.csv").exists()
    assert not list(lab.root.rglob("*_curves.png"))


@pytest.mark.slow
def test_scores_read_files_of_each_case_and_follow_their_content(lab: Lab) -> None:
    save_image(lab.folder / "a_low.nii.gz", noise((9, 8, 8)) / 4)
    parts = (np.arange(9 * 8 * 8).reshape(9, 8, 8) // 90 + 1).astype(np.uint8)
    save_image(lab.folder / "parts.nii.gz", parts)
    lab.keys["scores"] = [
        {"name": "deletion", "features": {"file": "parts.nii.gz"}, "steps": 3},
        {**DELETION, "id": "low", "baseline": {"file": "{case}_low.nii.gz"}},
    ]
    assert lab.run().exit_code == 0
    first = {row["score"]: float(row["value"]) for row in lab.scores()}
    assert all(math.isfinite(value) for value in first.values())
    assert "low.deletion" in first
    save_image(lab.folder / "a_low.nii.gz", noise((9, 8, 8), seed=8))
    assert lab.run().exit_code == 0
    assert set(lab.statuses().values()) == {"done"}
    again = {row["score"]: float(row["value"]) for row in lab.scores()}
    assert again["deletion"] == first["deletion"]
    assert again["low.deletion"] != first["low.deletion"]


@pytest.mark.parametrize(
    ("score", "fragment"),
    [
        ({"name": "deletion", "features": {"file": "none.nii.gz"}}, "none.nii.gz"),
        ({"name": "deletion", "baseline": "none.nii.gz"}, "none.nii.gz"),
        ({"name": "deletion", "baseline": "blurr"}, 'did you mean "blur"?'),
        ({"name": "deletion", "stps": 3}, 'did you mean "steps"?'),
        ({"name": "road", "baseline": {"kind": "noisy_linear", "nois": 1}}, "nois"),
    ],
)
def test_faults_of_scores_are_found_before_the_run(
    lab: Lab, score: dict[str, object], fragment: str
) -> None:
    lab.keys["scores"] = [score]
    result = lab.validate()
    assert result.exit_code == 2
    assert fragment in result.stderr
    assert "tiny.yaml:" in result.stderr


@pytest.mark.slow
def test_score_caches_are_kept_for_a_few_targets_only(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Buffers of the volume's size must not pile up with the number of targets."""
    alive: WeakSet[ScoreCache] = WeakSet()
    held: list[int] = []

    class Counted(ScoreCache):
        def __init__(self) -> None:
            super().__init__()
            alive.add(self)

    def save(*args: object, **more: object) -> None:
        held.append(len(alive))
        save_attribution(*args, **more)

    monkeypatch.setattr(maps, "ScoreCache", Counted)
    monkeypatch.setattr(maps, "save_attribution", save)
    first = lab.keys["targets"][0]
    lab.keys["targets"] = [{**first, "name": f"t{place}"} for place in range(9)]
    assert lab.run().exit_code == 0
    assert len(held) == 9
    assert max(held) == TARGETS_AT_A_TIME < 9
