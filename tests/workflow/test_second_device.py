"""A run on a device that is strict as CUDA writes, bit for bit, what it writes on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from esegeta.config import load_config
from esegeta.errors import ConfigError, DeviceError
from esegeta.workflow.build import build_basis, build_experiment
from esegeta.workflow.record import describe_basis
from tests.experiments import unet_lab, voxels


def test_a_list_of_devices_shares_windows_out(tmp_path: Path, second: torch.device) -> None:
    lab = unet_lab(tmp_path, shape=(9, 8, 8))
    lab.keys["device"] = ["cpu", str(second)]
    predictor = build_experiment(load_config(lab.write())).predictor
    assert predictor.copies is not None
    (copy,) = predictor.copies.modules
    assert next(copy.parameters()).device.type == second.type
    assert next(predictor.network.parameters()).device.type == "cpu"
    lab.keys["device"] = ["cpu", "cpu"]
    with pytest.raises(DeviceError, match="twice"):
        build_experiment(load_config(lab.write()))
    lab.keys["device"] = []
    with pytest.raises(ConfigError, match="device"):
        load_config(lab.write())


def test_the_record_names_the_device(tmp_path: Path, second: torch.device) -> None:
    config = load_config(unet_lab(tmp_path, shape=(9, 8, 8)).write())
    found = describe_basis(build_basis(config, device=second.type))["device"]
    assert (found["type"], found["name"]) == (second.type, "second device of the tests")


@pytest.mark.slow
def test_a_run_gives_the_same_maps_and_scores(
    tmp_path: Path, second: torch.device, quick: None
) -> None:
    lab = unet_lab(tmp_path, shape=(9, 8, 8))
    lab.keys["methods"] = ["smoothgrad", "lrp", "pattern_net", "grad_cam"]
    lab.keys["scores"] = [{"name": "infidelity", "samples": 4}, "gini"]
    scores, maps, states = [], [], []
    for options in ((), ("--device", "testdevice", "--overwrite")):
        result = lab.run(*options)
        assert result.exit_code == 0, result.output
        scores.append(lab.scores())
        found = sorted(lab.root.rglob("*.nii.gz"))
        maps.append({path.name: voxels(path).tolist() for path in found})
        states.append(lab.record()["device"])
    assert scores[0] == scores[1]
    assert maps[0] == maps[1]
    assert states[0]["type"] == "cpu"
    assert states[1] == {**states[0], "type": "testdevice", "name": "second device of the tests"}
