"""Values are those of all activations at once, and the same wherever a network sees the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from esegeta.config import load_config
from esegeta.predict import Units, blend_units
from esegeta.workflow import build_basis
from tests.experiments import esegeta, noise, pointwise_lab, read_json, save_image, unet_lab
from tests.workflow.similarity.labs import other, rows_of, similarity_lab, table

Array = NDArray[np.float64]


def unbiased_cka(x: Array, y: Array) -> float:
    """Return it from Gram matrices, written anew."""

    def hsic(k: Array, m: Array) -> float:
        n = len(k)
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        ends = k.sum() * m.sum() / ((n - 1) * (n - 2))
        return float(((k * m).sum() + ends - 2 / (n - 2) * (k @ m).sum()) / (n * (n - 3)))

    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / float(np.sqrt(hsic(k, k) * hsic(m, m)))


@pytest.mark.slow
@pytest.mark.parametrize(("ndim", "shape"), [(2, (14, 11)), (3, (9, 11, 7))], ids=["2d", "3d"])
def test_cka_is_that_of_all_voxels(ndim: int, shape: tuple[int, ...], tmp_path: Path) -> None:
    """Over several windows that overlap, each label by itself, all cases together."""
    lab = similarity_lab(tmp_path, cases=2, shape=shape, ndim=ndim)
    labels = []
    for seed, case in enumerate(lab.keys["data"]["cases"]):
        labels.append((noise(shape, seed=seed + 50) > 0.5).astype(np.uint8))
        save_image(tmp_path / f"l{seed}.nii.gz", labels[-1])
        case["label"] = f"l{seed}.nii.gz"
    assert esegeta("similarity", lab.write(), "-q").exit_code == 0
    basis = build_basis(load_config(lab.config))
    assert len(basis.predictor.plan.lay(shape)) > 3
    seen: list[list[Array]] = [[], []]
    for case in basis.cases:
        image = basis.read(case)[0].batch
        maps = blend_units(
            basis.predictor, image, [Units("model.0", 0, 4), Units("model.1", 0, 12)]
        )
        for own, one in zip(seen, maps, strict=True):
            own.append(one.grid.to_voxels(one.data).flatten(1).T.double().numpy())
    x, y = (np.concatenate(own) for own in seen)
    label = np.concatenate([one.ravel() for one in labels])
    name = lab.keys["labels"][1]
    for stratum, mask in (("(all)", label >= 0), (name, label == 1), ("background", label == 0)):
        row = rows_of(lab, label=stratum)["tiny", "model.0", "tiny", "model.1"]
        assert float(row["value"]) == pytest.approx(unbiased_cka(x[mask], y[mask]), abs=1e-5)
        assert int(row["positions"]) == mask.sum() and row["cases"] == "2"


def test_a_network_has_similarity_one_with_itself_on_another_grid(tmp_path: Path) -> None:
    """Pointwise, turned, in other windows: the same values at the same voxels of the image."""
    weight = [[1.0], [-2.0]]
    lab = pointwise_lab(tmp_path, weight, [0.5, 0.0])
    for block in ("targets", "methods", "scores"):
        lab.keys.pop(block, None)
    lab.keys["similarity"] = {"methods": ["cka", "cca"], "samples": 300, "layers": "all"}
    window = [5] * len(lab.keys["inference"]["window"])
    turned = other(
        lab,
        "turned",
        inference={"window": window, "overlap": 0.25},
        data={**lab.keys["data"], "preprocess": {"orientation": "LPS"}},
    )
    lab.keys["similarity"]["with"] = [turned]
    result = esegeta("similarity", lab.write(), "-q")
    assert result.exit_code == 0, result.stderr
    networks = [
        one["name"] for one in read_json(lab.root / "similarity/similarity.json")["networks"]
    ]
    assert networks == ["tiny", "turned", "untrained"]
    for method in ("cka", "cca"):
        same = rows_of(lab, method=method)["tiny", "head", "turned", "head"]
        assert float(same["value"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_networks_are_listed_in_their_order_under_unique_names(tmp_path: Path) -> None:
    lab = similarity_lab(tmp_path, cases=2, samples=200)
    lab.keys["similarity"]["with"] = [other(lab, "one")]
    twin = tmp_path / other(lab, "two", seed=9)
    twin.write_text(twin.read_text().replace("name: two", "name: one"))
    assert esegeta("similarity", lab.write(), twin, "-q").exit_code == 0
    record = read_json(lab.root / "similarity" / "similarity.json")
    names = [one["name"] for one in record["networks"]]
    assert names == ["tiny", "one (one.yaml)", "one (two.yaml)", "untrained"]
    rows = rows_of(lab)
    for name in names[1:3]:  # the same weights
        assert float(rows["tiny", "model.1", name, "model.1"]["value"]) == pytest.approx(1)
    assert float(rows["tiny", "model.1", "untrained", "model.1"]["value"]) < 0.99
    assert (lab.root / "similarity" / "cka_curves.png").is_file()


@pytest.mark.slow
def test_networks_of_an_ensemble_are_compared_one_by_one(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    lab = similarity_lab(tmp_path, cases=2, samples=200)
    state = load_file(tmp_path / "w.safetensors")
    torch.manual_seed(0)
    changed = {
        key: value + 0.5 * torch.randn_like(value)
        if value.is_floating_point() and "running" not in key
        else value
        for key, value in state.items()
    }
    save_file(changed, tmp_path / "v.safetensors")
    lab.keys["model"]["weights"] = ["w.safetensors", "v.safetensors", "w.safetensors"]
    assert esegeta("similarity", lab.write(), "-q").exit_code == 0
    rows = rows_of(lab)
    assert float(rows["tiny#1", "model.1", "tiny#3", "model.1"]["value"]) == pytest.approx(1)
    assert float(rows["tiny#1", "model.1", "tiny#2", "model.1"]["value"]) < 0.99


@pytest.mark.slow
def test_every_method_writes_its_table(tmp_path: Path) -> None:
    methods = ["cka", "cka_rbf", "svcca", "pwcca", "cca", "pca"]
    lab = similarity_lab(tmp_path, cases=3, samples=600, methods=methods)
    assert esegeta("similarity", lab.write(), "-q").exit_code == 0
    for method in methods[:-1]:
        rows = rows_of(lab, method=method)
        pairs = 4 * 3 if method == "pwcca" else 4 * 3 / 2
        assert len(rows) == pairs
        for row in rows.values():
            assert -0.2 < float(row["value"]) <= 1
            assert float(row["low"]) <= float(row["high"]) and 0 < float(row["p"]) <= 1
    points = table(lab, "pca.csv")
    assert {row["kind"] for row in points} == {"position", "case"}
    assert {row["case"] for row in points} == {"a", "b", "c"}
    assert len(table(lab, "cases.csv")) == 4 * 3
    layers = table(lab, "layers.csv")
    assert all(1 <= int(row["directions"]) <= int(row["units"]) for row in layers)


def test_one_case_has_values_and_no_test(tmp_path: Path) -> None:
    lab = similarity_lab(tmp_path, cases=1, samples=200)
    result = esegeta("similarity", lab.write())
    assert result.exit_code == 0
    assert "note: one case: values only" in result.stdout + result.stderr
    for row in rows_of(lab).values():
        assert row["value"] and not (row["low"] or row["high"] or row["null"] or row["p"])
    assert not (lab.root / "similarity" / "cases.csv").exists()


@pytest.mark.slow
def test_the_report_shows_the_similarity(tmp_path: Path) -> None:
    lab = similarity_lab(tmp_path, cases=2, samples=200)
    assert esegeta("similarity", lab.write(), "-q").exit_code == 0
    assert esegeta("report", lab.root, "-q").exit_code == 0
    page = (lab.root / "report" / "index.html").read_text(encoding="utf-8")
    assert "Similarity" in page and "similarity.csv" in page


@pytest.mark.slow
def test_validate_checks_both_run_and_similarity(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    lab.keys["similarity"] = {"layers": ["model.0"]}
    text = lab.validate().stdout
    assert "tasks into" in text and "valid for a comparison of layers" in text


@pytest.mark.slow
def test_positions_lie_in_the_body_and_in_the_crop_of_every_network(tmp_path: Path) -> None:
    lab = similarity_lab(tmp_path, cases=1)
    image = np.zeros((12, 11, 9), dtype=np.float32)
    image[2:10, 3:9, 1:8] = noise((8, 6, 7))
    save_image(tmp_path / "a.nii.gz", image)
    assert esegeta("similarity", lab.write(), "-q").exit_code == 0
    (row,) = [
        row for row in rows_of(lab).values() if row["network_b"] == row["network_a"] == "tiny"
    ]
    assert int(row["positions"]) == 8 * 6 * 7
    lab.keys["similarity"]["samples"] = 100
    assert esegeta("similarity", lab.write(), "-q").exit_code == 0
    rows = [int(row["positions"]) for row in table(lab) if row["network_b"] == "untrained"]
    assert max(rows) == 100
