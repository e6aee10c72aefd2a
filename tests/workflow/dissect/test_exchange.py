"""Label maps exchanged between cases: p by all their orders, and cases that cannot be laid over."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.experiments import esegeta, read_json, refused
from tests.workflow.dissect.planted import COUNT, label_map, pairs, planted_lab

SHAPE = (15, 9)


def test_p_is_the_share_of_permutations_that_reach_the_iou(tmp_path: Path) -> None:
    """Units that are the concepts, on one grid: every order of the label maps, by hand."""
    lab = planted_lab(tmp_path, shape=SHAPE, cases=5)
    lab.keys["dissection"]["chance"] = "exchange"
    result = esegeta("dissect", lab.write())
    assert result.exit_code == 0, result.output
    truths = [label_map(SHAPE, place) for place in range(5)]
    found = pairs(lab)
    for unit, concept in itertools.product(range(1, COUNT + 1), repeat=2):
        both = np.array([[((a == unit) & (b == concept)).sum() for b in truths] for a in truths])
        sums = [
            sum(both[case, other] for case, other in enumerate(order))
            for order in itertools.permutations(range(5))
        ]
        expected = sum(one >= sums[0] for one in sums) / 120
        row = found[("detector", unit - 1, f"c{concept}")]
        assert row["p"] == pytest.approx(expected)
    summary = read_json(lab.root / "dissection" / "summary.json")
    assert summary["chance"] == {"kind": "exchange", "samples": 1000, "draws": 119}


@pytest.mark.slow
def test_changing_one_label_map_counts_all_cases_again(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path, shape=SHAPE, cases=5)
    lab.keys["dissection"]["chance"] = "exchange"
    assert esegeta("dissect", lab.write()).exit_code == 0
    before = {key: row["p"] for key, row in pairs(lab).items()}
    image = nib.load(tmp_path / "e_label.nii.gz")
    everything = np.ones_like(np.asarray(image.dataobj))
    nib.save(nib.Nifti1Image(everything, image.affine, image.header), tmp_path / "e_label.nii.gz")
    assert esegeta("dissect", lab.config).exit_code == 0
    assert {key: row["p"] for key, row in pairs(lab).items()} != before


def test_cases_of_different_orientation_are_refused(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path, shape=(13, 8, 7), cases=5)
    lab.keys["dissection"]["chance"] = "exchange"
    for kind in ("c_0", "c_label"):
        path = tmp_path / f"{kind}.nii.gz"
        image = nib.load(path)
        affine = image.affine @ np.diag([-1, 1, 1, 1])
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), path)
    refused(esegeta("validate", lab.write()), lab, "dissection.chance: exchange puts", "RAS")
