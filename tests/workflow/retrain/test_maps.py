"""What the maps that rank voxels explain, and what they may have read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from esegeta.config import load_config
from esegeta.workflow import Silence, build_experiment
from esegeta.workflow.retrain import Retraining, build_retraining
from esegeta.workflow.retrain.material import map_cases, read_material
from tests.workflow.retrain.tasks import RetrainLab, small_task


def built(lab: RetrainLab, target: dict[str, Any] | None = None) -> Retraining:
    """Return a checked retraining, of another target if one is given."""
    lab.keys["targets"] = lab.keys["targets"] if target is None else [target]
    return build_retraining(build_experiment(load_config(lab.write())))


def test_a_unit_of_the_last_layer_is_ranked_as_its_logit(tmp_path: Path) -> None:
    """It has no label, so that what is said is of the mean over labels."""
    lab = small_task(tmp_path)
    of_logit = built(lab)
    unit = {"name": "u", "of": "unit", "layer": "head", "channel": 1, "over": "all"}
    of_unit = built(lab, unit)
    assert (of_logit.label, of_unit.label) == ("liver", "mean")
    maps = [
        map_cases(one, "input_x_gradient", read_material(one), Silence())
        for one in (of_logit, of_unit)
    ]
    assert len(maps[0]) == 4
    for logit, found in zip(*maps, strict=True):
        assert float(logit.std()) > 0
        torch.testing.assert_close(found, logit)


def test_a_baseline_equal_to_the_ground_truth_is_noted_as_a_leak(tmp_path: Path) -> None:
    lab = small_task(tmp_path)
    for case in lab.keys["data"]["cases"]:
        shutil.copy(tmp_path / case["label"], tmp_path / f"{case['name']}_fill.nii.gz")
    for channel, leaks in (("{case}_here.nii.gz", 0), ("{case}_fill.nii.gz", 1)):
        files = [channel, "{case}_signal.nii.gz"]
        baseline = {"kind": "file", "file": files}
        lab.keys["methods"] = ["saliency", {"name": "occlusion", "baseline": baseline}]
        told = [note for note in built(lab).notes if "reveals the label" in note]
        assert len(told) == leaks
        assert all(note.startswith('method "occlusion" reads the ground truth') for note in told)
