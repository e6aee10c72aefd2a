"""Bad input of `concepts` is named, with the line, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.experiments import esegeta, save_image
from tests.workflow.concepts.planted import CASES, SHAPE, planted_lab

FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "layer": ({"layers": ["unit"]}, 'layer "unit" is not in the network; did you mean "units"?'),
    "randoms": ({"randoms": 12}, "concepts.randoms: must be at least 30"),
    "target": ({"targets": ["lable"]}, 'no target or label "lable"; did you mean "label"?'),
    "source": (
        {"concepts": {"edge": {"boundary_of": "livr", "within_mm": 3}}},
        'concepts.concepts.edge: no concept or label "livr"',
    ),
    "key": ({"randms": 30}, 'concepts.randms: unknown key; did you mean "randoms"?'),
    "method": ({"discover": {"method": "ica"}}, "concepts.discover.method"),
    "nothing": ({"concepts": {}}, "name a concept in `concepts`"),
    "permutations": ({"level": 0.01}, "with 19, p cannot be below 0.05"),
    "box": (
        {"concepts": {"it": {"boxes": {"z": [[[0, 0], [2, 2]]]}}}},
        'concepts.concepts.it: no case "z"',
    ),
    "axes": (
        {"concepts": {"it": {"points": {"a": [[1, 1, 1]]}, "radius_mm": 2}}},
        "3 numbers, but the image of case a has 2 axes",
    ),
    "partner": (
        {"concepts": {"it": {"bright": 0.1, "radius_mm": 2}}},
        "`radius_mm` belongs to `points`, not to `bright`",
    ),
    "file": ({"concepts": {"it": {"masks": "nowhere/{case}.nii.gz"}}}, "no such file"),
    "errors": ({"errors": True}, "case a has none"),
    "unit": (
        {"targets": [{"name": "it", "of": "unit", "layer": "units", "channel": 0}]},
        'concepts.targets[0]: "it" is a unit inside the network',
    ),
    "slabs": ({"slabs": 99}, "concepts.slabs: 99 slabs of"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(tmp_path: Path, fault: str) -> None:
    lab = planted_lab(tmp_path)
    changes, words = FAULTS[fault]
    lab.keys["concepts"] |= changes
    if fault == "errors":
        del lab.keys["data"]["cases"][0]["label"]
    result = esegeta("validate", lab.write())
    assert result.exit_code == 2, result.output
    assert words in result.output
    assert "tiny.yaml:" in result.output


def test_one_case_alone_is_refused(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    del lab.keys["data"]["cases"][1:]
    result = esegeta("concepts", lab.write())
    assert result.exit_code == 2
    assert "one case only, a" in result.output and "slabs" in result.output


def test_a_missing_block_is_refused(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    del lab.keys["concepts"]
    result = esegeta("concepts", lab.write())
    assert result.exit_code == 2 and "has no block `concepts`" in result.output


@pytest.mark.slow
def test_a_concept_without_voxels_in_any_case_is_refused(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    lab.keys["concepts"]["concepts"] = {"void": {"masks": "masks/{case}_void.nii.gz"}}
    lab.keys["concepts"]["targets"] = ["label"]
    for number in range(CASES):
        empty = np.zeros(SHAPE, dtype=np.int16)
        save_image(tmp_path / "masks" / f"{chr(97 + number)}_void.nii.gz", empty, np.eye(4))
    result = esegeta("concepts", lab.write())
    assert result.exit_code == 2, result.output
    assert 'concept "void" has no voxel within the body in any case' in result.output
    assert not (lab.root / "concepts" / "concepts.json").exists()


def test_a_valid_config_says_what_would_be_tested(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    result = esegeta("validate", lab.write())
    assert result.exit_code == 0, result.output
    assert "valid for concepts" in result.output
    assert "layers (units): units (6)" in result.output
    assert "30 random concepts" in result.output
