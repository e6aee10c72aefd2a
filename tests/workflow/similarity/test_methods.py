"""What each measure, figure and note of a comparison is made of, on one small network or two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.experiments import Lab, esegeta, read_json, save_image
from tests.workflow.similarity.labs import other, rows_of, similarity_lab, table

SHAPE = (14, 11)


def flat_lab(folder: Path, *, cases: int = 2, **keys: Any) -> Lab:
    """Return a comparison of two layers on images of two axes."""
    return similarity_lab(folder, cases=cases, shape=SHAPE, ndim=2, **{"samples": 100, **keys})


def compared(lab: Lab) -> dict[str, Any]:
    """Compare, and return the record."""
    result = esegeta("similarity", lab.write(), "-q")
    assert result.exit_code == 0, result.output
    record: dict[str, Any] = read_json(lab.root / "similarity" / "similarity.json")
    return record


def save_label(lab: Lab, case: int, values: np.ndarray) -> None:
    """Give a case a label map."""
    own = lab.keys["data"]["cases"][case]
    own["label"] = f"{own['name']}_label.nii.gz"
    save_image(lab.folder / own["label"], values.astype(np.uint8))


def test_equal_networks_have_similarity_one_by_every_method(tmp_path: Path) -> None:
    lab = flat_lab(tmp_path, methods=["cka_rbf", "cca", "pca"])
    lab.keys["similarity"]["with"] = [other(lab, "twin")]
    record = compared(lab)
    for method in ("cka_rbf", "cca"):
        rows = rows_of(lab, method=method)
        for layer in ("model.0", "model.1"):
            same = rows["tiny", layer, "twin", layer]
            for key in ("value", "low", "high"):
                assert float(same[key]) == pytest.approx(1, abs=1e-6), (method, layer, key)
            assert 0 < float(same["p"]) <= 1 and float(same["null"]) < 1
        apart = rows["tiny", "model.1", "untrained", "model.1"]
        assert float(apart["low"]) <= float(apart["high"]) and float(apart["value"]) < 0.999
    points = table(lab, "pca.csv")
    own = {
        name: np.array(
            [
                [float(row["pc1"]), float(row["pc2"])]
                for row in points
                if (row["network"], row["layer"]) == (name, "model.1")
            ]
        )
        for name in ("tiny", "twin", "untrained")
    }
    np.testing.assert_allclose(own["tiny"], own["twin"], atol=1e-5)
    assert not np.allclose(own["tiny"], own["untrained"], atol=1e-2)
    assert (
        sum(row["kind"] == "case" for row in points) == 2 * 2 * 2 * 3
    )  # cases, labels, layers, networks
    files = set(record["files"])
    assert {"pca_tiny.png", "pca_twin.png", "pca_untrained.png", "cca.png"} <= files
    assert not [name for name in files if name.startswith("cka.") or "labels" in name]
    # 100 positions are ten for each of the 4 units of model.0, and not of the 12 of model.1.
    (note,) = [note for note in record["notes"] if "ten positions per unit" in note]
    assert note.startswith("cca: ") and "tiny: model.1" in note and "model.0" not in note


def test_a_layer_that_never_changes_is_named_and_has_no_figure(tmp_path: Path) -> None:
    lab = flat_lab(tmp_path)
    path = tmp_path / "w.safetensors"
    save_file({name: torch.zeros_like(one) for name, one in load_file(path).items()}, path)
    record = compared(lab)
    note = "layers that never change, and have no value: tiny: model.0, tiny: model.1"
    assert note in record["notes"]
    figures = {name for name in record["files"] if name.startswith("cases_")}
    assert figures == {"cases_untrained.png"}
    assert all(row["value"] == "" for row in rows_of(lab).values() if row["network_a"] == "tiny")


@pytest.mark.parametrize(
    ("layers", "drawn"), [(["model.1"], ["model.1"]), (["model.2"], [])], ids=["some", "none"]
)
def test_curves_show_layers_that_both_networks_have(
    layers: list[str], drawn: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one case a value has no interval: both its ends are the value."""
    curves: list[Any] = []

    def noted(path: Path, names: list[str], paths: list[Any], title: str) -> None:
        assert names == ["one", "two"]
        curves.extend(paths)
        path.touch()

    monkeypatch.setattr("esegeta.workflow.similarity.pictures.draw_curves", noted)
    lab = flat_lab(tmp_path, cases=1)
    names = [other(lab, name, similarity={"layers": layers}) for name in ("one", "two")]
    lab.keys["similarity"]["with"] = names
    record = compared(lab)
    assert ("cka_curves.png" in record["files"]) == bool(drawn)
    assert [one.name for one in curves] == drawn
    for curve in curves:
        for value, low, high in curve.points:
            assert value == low == high == pytest.approx(1)


def test_a_label_missing_in_a_case_is_counted_in_the_others(tmp_path: Path) -> None:
    """Voxels of the ignored integer are no positions of any label."""
    lab = flat_lab(tmp_path, samples=10**4)
    lab.keys["ignore_label"] = 9
    first, second = np.zeros(SHAPE), np.zeros(SHAPE)
    first[:5], first[5:7] = 1, 9
    second[:2] = 9
    save_label(lab, 0, first)
    save_label(lab, 1, second)
    compared(lab)
    pair = ("tiny", "model.0", "tiny", "model.1")
    found = {
        label: (int(row["positions"]), row["cases"])
        for label in ("(all)", "liver", "background")
        if (row := rows_of(lab, label=label)[pair])
    }
    whole = 14 * 11
    assert found == {
        "(all)": (2 * whole - 4 * 11, "2"),
        "liver": (5 * 11, "1"),
        "background": (2 * whole - 9 * 11, "2"),
    }


def test_a_case_with_only_ignored_voxels_has_no_position(tmp_path: Path) -> None:
    lab = flat_lab(tmp_path)
    lab.keys["ignore_label"] = 9
    save_label(lab, 1, np.full(SHAPE, 9))
    result = esegeta("similarity", lab.write())
    assert result.exit_code == 2
    assert "b: there is no position to compare layers at" in result.stderr
    assert not (lab.root / "similarity" / "similarity.json").exists()
