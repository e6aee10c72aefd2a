"""Retraining on a device that is strict as CUDA: bit for bit the networks and Dice of the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from esegeta.retraining import Training
from esegeta.retraining.samples import Removal
from esegeta.workflow import Silence
from tests.experiments import read_json
from tests.second_device import MODULE
from tests.workflow.retrain.tasks import small_task
from tests.workflow.retrain.test_retraining import bits, same, trainer_of, unet_retrain_lab

ROAR = Training(Removal("roar", "m", 0.5), 0, 0)


@pytest.mark.slow
def test_a_network_trains_and_is_tested_alike(
    ndim: int, tmp_path: Path, second: torch.device
) -> None:
    """With dropout, which draws on the device: its state is as before when the training ends."""
    lab = unet_retrain_lab(tmp_path, ndim, cases=2, shape=(12, 11, 9)[:ndim])
    lab.keys["model"]["args"]["dropout"] = 0.5
    networks: list[list[Tensor]] = []
    dice, losses = [], []
    for name in ("cpu", "testdevice"):
        lab.keys["device"] = name
        torch.manual_seed(1)
        trainer, before = trainer_of(lab), MODULE.get_rng_state()
        network, history = trainer.train(ROAR, Silence())
        assert next(network.parameters()).device.type == name
        assert torch.equal(MODULE.get_rng_state(), before)
        networks.append([tensor.cpu() for tensor in bits(network)])
        losses.append(history)
        dice.append(trainer.test(network, ROAR, Silence()))
    assert same(*networks)
    assert losses[0] == losses[1]
    assert repr(dice[0]) == repr(dice[1])


@pytest.mark.slow
def test_a_retraining_gives_the_same_table(tmp_path: Path, second: torch.device) -> None:
    lab = small_task(tmp_path)
    tables = []
    for name in ("cpu", "testdevice"):
        lab.keys |= {"device": name, "output": str(tmp_path / name)}
        result = lab.retrain("-q")
        assert result.exit_code == 0, result.stderr
        folder = tmp_path / name / "tiny" / "retrain"
        tables.append((folder / "retrain.csv").read_bytes())
    assert tables[0] == tables[1]
    assert read_json(folder / "retrain.json")["device"]["name"] == "second device of the tests"
