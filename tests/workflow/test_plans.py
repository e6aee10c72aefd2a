"""Targets of a config: what is formed of them, and combinations that are refused."""

from pathlib import Path

import numpy as np

from tests.experiments import noise, pointwise_lab, refused
from tests.workflow.test_aggregate import VOXEL_ML


def test_a_volume_is_explained_in_millilitres(tmp_path: Path) -> None:
    """By how its expected size changes: of p = sigmoid(x), p (1 - p) of a voxel's volume."""
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    lab.keys["targets"] = [{"name": "size", "label": "liver", "of": "volume_ml", "over": "all"}]
    assert lab.run().exit_code == 0
    p = 1 / (1 + np.exp(-noise().astype(float)))
    found = lab.map("a", "size", "saliency")
    np.testing.assert_allclose(found, p * (1 - p) * VOXEL_ML, rtol=1e-4)


def test_a_target_split_into_components_cannot_be_combined(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    lab.keys["targets"] += [
        {"name": "parts", "label": "liver", "over": "component", "component": "each"},
        {"name": "rest", "combine": {"liver": 1.0, "parts": -1.0}},
    ]
    result = lab.validate()
    line = lab.line_of("name: rest")
    refused(result, lab, f"tiny.yaml:{line}: ", '"parts" is split into components')
