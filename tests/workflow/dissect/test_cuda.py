"""A dissection on a GPU finds what it finds on the CPU."""

from pathlib import Path

import pytest
import torch

from tests.experiments import esegeta
from tests.workflow.dissect.planted import pairs, planted_lab, table


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_results_of_the_cpu(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    lab.keys["dissection"]["layers"] = ["detector", "pool", "head"]
    lab.keys["dissection"]["ablation"] = {"layers": ["detector"], "draws": 2}
    assert esegeta("dissect", lab.write()).exit_code == 0
    expected, units = pairs(lab), table(lab, "units.csv")
    assert esegeta("dissect", lab.write(), "--device", "cuda", "--overwrite").exit_code == 0
    for key, row in pairs(lab).items():
        assert row == pytest.approx(expected[key], abs=1e-3, nan_ok=True)
    names = [row["concept"] for row in table(lab, "units.csv")]
    assert names == [row["concept"] for row in units]
