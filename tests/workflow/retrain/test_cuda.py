"""Retraining on a CUDA device: `pytest -m gpu`."""

from pathlib import Path

import pytest
import torch

from tests.workflow.retrain.tasks import half_task

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def test_known_answers_on_a_gpu(ndim: int, tmp_path: Path) -> None:
    lab = half_task(tmp_path, ndim=ndim)
    result = lab.retrain("-q", "--device", "cuda")
    assert result.exit_code == 0, result.output
    assert min(lab.dice("roar", "reference", 0.0)) > 0.95
    assert max(lab.dice("roar", "input_x_gradient", 0.5)) < 0.4
    assert min(lab.dice("kar", "input_x_gradient", 0.5)) > 0.95
    assert lab.retrain_record()["device"]["type"] == "cuda"
