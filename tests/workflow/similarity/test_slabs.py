"""Slabs of one scan that stand for cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from esegeta.config import load_config
from esegeta.predict import Units, blend_units
from esegeta.workflow import build_basis
from esegeta.workflow.similarity import build_comparison
from tests.experiments import esegeta, noise, read_json, save_image
from tests.workflow.similarity.labs import rows_of, similarity_lab, table


def unbiased_cka(k: np.ndarray, m: np.ndarray) -> float:
    """Return it from Gram matrices, written anew."""

    def hsic(k: np.ndarray, m: np.ndarray) -> float:
        n = len(k)
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        ends = k.sum() * m.sum() / ((n - 1) * (n - 2))
        return float(((k * m).sum() + ends - 2 / (n - 2) * (k @ m).sum()) / (n * (n - 3)))

    return hsic(k, m) / float(np.sqrt(hsic(k, k) * hsic(m, m)))


def test_slabs_are_compared_as_cases_are(tmp_path: Path) -> None:
    """Values are those of the whole scan; intervals, p and pairs of cases are over its slabs."""
    shape = (9, 11, 7)
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole = similarity_lab(tmp_path / "whole", cases=1, shape=shape)
    cut = similarity_lab(tmp_path / "cut", cases=1, shape=shape, slabs=3)
    for lab in (whole, cut):
        assert esegeta("similarity", lab.write(), "-q").exit_code == 0
    pair = ("tiny", "model.0", "tiny", "model.1")
    one, other = rows_of(whole)[pair], rows_of(cut)[pair]
    assert float(other["value"]) == pytest.approx(float(one["value"]), abs=1e-9)
    assert (one["cases"], other["cases"]) == ("1", "3")
    assert one["p"] == one["low"] == "" and float(other["p"]) <= 1
    assert float(other["low"]) <= float(other["high"])
    assert abs(float(other["null"])) < 0.5  # it is noise
    record = read_json(cut.root / "similarity" / "similarity.json")
    assert record["cases"] == ["a slab 1", "a slab 2", "a slab 3"] and record["slabs"] == 3
    assert "need not hold in other patients" in record["notes"][-1]
    basis = build_basis(load_config(cut.config))
    units = [Units("model.1", 0, 12)]
    maps = next(iter(blend_units(basis.predictor, basis.read(basis.cases[0])[0].batch, units)))
    values = maps.grid.to_voxels(maps.data).double().numpy()
    slabs = [values[..., :3], values[..., 3:5], values[..., 5:]]
    grams = [np.cov(one.reshape(12, -1), bias=True) for one in slabs]
    listed = {
        (row["case_a"], row["case_b"]): float(row["value"])
        for row in table(cut, "cases.csv")
        if (row["network"], row["layer"]) == ("tiny", "model.1")
    }
    for first, second in ((0, 1), (0, 2), (1, 2)):
        names = (f"a slab {first + 1}", f"a slab {second + 1}")
        assert listed[names] == pytest.approx(unbiased_cka(grams[first], grams[second]), abs=1e-4)


def test_slabs_lie_across_the_last_axis_that_the_network_sees(tmp_path: Path) -> None:
    """Of an image whose first axis points up, when it is turned to RAS."""
    lab = similarity_lab(tmp_path, cases=1, shape=(8, 9, 11), slabs=4)
    up_first = np.eye(4)[[1, 2, 0, 3]]
    path = tmp_path / lab.keys["data"]["cases"][0]["image"]
    save_image(path, noise((8, 9, 11), seed=0), up_first)
    lab.keys["data"]["preprocess"] = {"orientation": "RAS"}
    comparison = build_comparison(load_config(lab.write()))
    where = torch.tensor([[0, 8, 10], [1, 0, 0], [2, 0, 0], [7, 0, 0]])
    assert comparison.slabs_of(comparison.cases[0], where).tolist() == [0, 0, 1, 3]


def test_more_slabs_than_slices_are_refused(tmp_path: Path) -> None:
    result = esegeta("validate", similarity_lab(tmp_path, cases=1, slabs=99).write())
    assert result.exit_code == 2 and "tiny.yaml:" in result.output
    assert "similarity.slabs: 99 slabs of" in result.output
