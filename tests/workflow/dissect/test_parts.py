"""A dissection in parts, one process after the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.experiments import Lab, esegeta
from tests.workflow.dissect.planted import noisy_lab

ROUNDS = 6


def small_lab(folder: Path) -> Lab:
    """Return a dissection of three passes for thresholds, and of units that are switched off."""
    lab = noisy_lab(folder, shape=(8, 8), ndim=2)
    lab.keys["dissection"] |= {
        "layers": ["model.0"],
        "concepts": {"one": 1},
        "quantile": 0.5,
        "memory_mb": 0.0005,
        "chance": {"samples": 1},
        "min_iou": 0.0,
        "q_value": 1.0,
        "figures": {"units": 0},
        "ablation": {"draws": 2},
    }
    return lab


def tables(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "dissection").glob("*.csv")}


@pytest.mark.slow
def test_parts_give_the_results_of_one_process(tmp_path: Path) -> None:
    """Pass by pass: each part goes on from what all have taken in the pass before.

    The one process makes the maps anew in each pass, for want of room on disk.
    """
    lab = small_lab(tmp_path)
    options = ("-o", tmp_path / "alone", "--set", "dissection.disk_mb=0")
    alone = esegeta("dissect", lab.write(), *options)
    assert alone.exit_code == 0, alone.output
    assert "thresholds, pass 3" in alone.output
    said = ""
    for _ in range(ROUNDS):
        for number in (2, 1):
            part = esegeta("dissect", lab.config, "--part", f"{number}/2")
            assert part.exit_code == 0, part.output
            said += part.output
        gathered = esegeta("gather", lab.root)
        if "not done yet" not in gathered.output:
            break
    assert gathered.exit_code == 0, gathered.output
    for name in "ab":
        for turn in (1, 2, 3):
            done = f"{name} / dissection / thresholds, pass {turn} of 3: done"
            assert said.count(done) == 1
        assert said.count(f"{name} / dissection / ablation: done") == 1
    expected = tables(tmp_path / "alone" / "tiny")
    assert {"units.csv", "ablation.csv"} <= expected.keys()
    assert tables(lab.root) == expected
