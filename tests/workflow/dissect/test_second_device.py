"""A dissection on a device that is strict as CUDA writes, bit for bit, what it does on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.experiments import Lab, esegeta, read_json
from tests.workflow.dissect.causal import causal_lab
from tests.workflow.dissect.planted import planted_lab


def tables_on(lab: Lab, device: str) -> dict[str, bytes]:
    """Dissect on a device, in a folder of its own, and return all tables."""
    output = lab.folder / device
    lab.keys |= {"device": device, "output": str(output)}
    result = esegeta("dissect", lab.write())
    assert result.exit_code == 0, result.output
    folder = output / "tiny" / "dissection"
    assert read_json(folder / "summary.json")["config"]["device"] == device
    paths = [*folder.rglob("*.csv"), *folder.rglob("trails.json")]
    return {path.name: path.read_bytes() for path in paths}


@pytest.mark.slow
def test_units_and_their_ablation_equal_those_of_the_cpu(
    ndim: int, tmp_path: Path, second: torch.device
) -> None:
    lab = planted_lab(tmp_path, shape=(13, 8, 7)[:ndim])
    lab.keys["dissection"] |= {
        "layers": ["detector", "pool"],
        "concepts": {
            "c1": 1,
            "c2": 2,
            "c3": 3,
            "rim": {"boundary_of": "c2", "within_mm": 2},
            "bright": {"edges": 0.2},
        },
        "ablation": {"draws": 2},
        "per_image": True,
    }
    expected = tables_on(lab, "cpu")
    assert len(expected) >= 5
    assert len(expected["ablation.csv"].splitlines()) > 3
    assert tables_on(lab, second.type) == expected


@pytest.mark.slow
def test_trails_equal_those_of_the_cpu(tmp_path: Path, second: torch.device) -> None:
    lab = causal_lab(tmp_path, shape=(18, 15))
    lab.keys["dissection"]["trails"] = {"samples": 300, "permutations": 99, "windows": 8}
    expected = tables_on(lab, "cpu")
    assert b'"influence"' in expected["trails.json"]
    assert tables_on(lab, second.type) == expected
