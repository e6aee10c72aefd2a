"""The estimate before a run: passes counted by hand, activations by the layers' shapes."""

from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from esegeta.config import load_config
from esegeta.workflow import build_experiment
from esegeta.workflow.estimate import MB, memory_of, passes_of
from tests.experiments import SHAPE, Lab, pointwise_lab, unet_lab


def lab_of(folder: Path) -> Lab:
    lab = unet_lab(folder)
    lab.keys["methods"] = ["saliency", {"name": "integrated_gradients", "steps": 5}, "occlusion"]
    return lab


def test_passes_are_those_over_all_windows(tmp_path: Path) -> None:
    experiment = build_experiment(load_config(lab_of(tmp_path).write()))
    grids = experiment.network_grids()
    ((name, grid),) = grids.items()
    assert grid.shape == SHAPE
    count = len(experiment.predictor.plan.lay(SHAPE))
    windows, saliency, integrated, occlusion = passes_of(experiment, grids)
    assert windows == f"{name}: {count} windows at most, for a prediction"
    assert saliency.endswith(f"at most {count} forward and {count} backward windows per target")
    assert f"and {5 * count} backward windows" in integrated
    assert "at most" not in occlusion.partition(";")[2]  # nobody knows the number of boxes yet


@pytest.mark.parametrize("batch_size", [1, 3])
def test_memory_is_that_of_the_tensors_that_are_kept(tmp_path: Path, batch_size: int) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    experiment = build_experiment(load_config(lab.write()))
    # The first convolution keeps the window; the ReLU its output, which the second keeps as well.
    network = nn.Sequential(nn.Conv3d(1, 4, 1), nn.ReLU(), nn.Conv3d(4, 2, 1)).eval()
    plan = replace(experiment.predictor.plan, size=(6, 5, 4))
    predictor = replace(experiment.predictor, network=network, plan=plan, batch_size=batch_size)
    found = memory_of(replace(experiment, predictor=predictor), experiment.network_grids())
    assert found.parameters * MB == 4 * (4 + 4 + 8 + 2)
    assert found.activations is not None
    assert found.activations * MB == pytest.approx(batch_size * 4 * (1 + 4) * 6 * 5 * 4)
    voxels = SHAPE[0] * SHAPE[1] * SHAPE[2]
    assert found.volume * MB == pytest.approx(4 * voxels * (2 * 1 + 3 * 2))


def test_validate_prints_it(tmp_path: Path) -> None:
    text = lab_of(tmp_path).validate().output
    assert "  passes: saliency: 1 F + 1 B; at most" in text
    assert "  memory: about " in text


def test_of_a_large_prediction_slabs_are_counted(tmp_path: Path) -> None:
    experiment = build_experiment(load_config(lab_of(tmp_path).write()))
    grids = experiment.network_grids()
    held = memory_of(experiment, grids)
    predictor = replace(experiment.predictor, held_mb=0)
    slabs = memory_of(replace(experiment, predictor=predictor), grids)
    length, *plane = SHAPE  # windows are 8 voxels long
    assert slabs.volume * MB == pytest.approx(4 * plane[0] * plane[1] * (2 * length + 1.5 * 8 * 2))
    assert held.volume * MB == pytest.approx(4 * length * plane[0] * plane[1] * (2 + 3 * 2))
