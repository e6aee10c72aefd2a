"""A study on a device that is strict as CUDA: the same tables as on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.experiments import esegeta
from tests.workflow.examples.labs import examples_lab, with_influence

TABLES = (
    *("groups", "prototypes", "neighbours", "surrogate", "surrogate_features"),
    *("influence", "self_influence", "leave_one_out"),
)


@pytest.mark.slow
@pytest.mark.parametrize("of", ["supervoxel", "component"])
def test_a_study_gives_the_same_tables(of: str, tmp_path: Path, second: torch.device) -> None:
    lab = with_influence(
        examples_lab(tmp_path, cases=3, of=of, min_voxels=2, supervoxels=30),
        leave_one_out={"seeds": [0], "checkpoints": 1},
    )
    lab.keys["examples"]["surrogate"] = {"kind": "tree", "depth": 2, "least_fidelity": 0.0}
    lab.keys["retrain"] = {"iterations": 2, "batch_size": 2, "patch": [4, 4, 4]}
    found = []
    for name in ("cpu", "testdevice"):
        lab.keys |= {"device": name, "output": str(tmp_path / name)}
        result = esegeta("examples", lab.write(), "-q")
        assert result.exit_code == 0, result.stderr
        folder = tmp_path / name / "tiny" / "examples"
        found.append({table: (folder / f"{table}.csv").read_text() for table in TABLES})
    for table in TABLES:
        assert found[0][table] == found[1][table], table
