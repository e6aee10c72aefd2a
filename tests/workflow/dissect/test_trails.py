"""Trails through networks whose causes are known: every edge, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pytest
import torch
from scipy import stats

from tests.experiments import Lab, esegeta, read_json, refused, save_image, voxels
from tests.workflow.dissect.causal import EDGES, causal_lab
from tests.workflow.dissect.planted import noisy_lab, planted_lab

SETTINGS: dict[str, dict[str, Any]] = {
    "2d": {"shape": (30, 20)},
    "3d": {},
    "2d sigmoid": {"shape": (30, 20), "activation": "sigmoid"},
    "3d sigmoid": {"activation": "sigmoid"},
    "slices": {"shape": (12, 10, 5), "ndim": 2, "activation": "sigmoid"},
    "smaller than a window": {"shape": (12, 4, 3), "cases": 4},
}


def trails_of(lab: Lab) -> Any:
    result = esegeta("dissect", lab.write())
    assert result.exit_code == 0, result.output
    return read_json(lab.root / "dissection" / "trails.json")


def edges_of(found: Any) -> dict[tuple[str, str], Any]:
    """Return edges by their ends; labels by their names."""
    labels = {node["id"]: node["concept"] for node in found["nodes"] if node["kind"] == "label"}
    return {
        (edge["source"], labels.get(edge["target"], edge["target"])): edge
        for edge in found["edges"]
    }


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.slow
def test_edges_are_the_planted_causes(name: str, tmp_path: Path) -> None:
    lab = causal_lab(tmp_path, **SETTINGS[name])
    found = trails_of(lab)
    edges = edges_of(found)
    assert set(edges) == EDGES
    for edge in edges.values():
        assert edge["weight"] == pytest.approx(1)  # one to one
        assert edge["p"] == pytest.approx(0.01) and edge["q"] <= 0.05
        assert edge["influence"] > 0.5
    for (source, target), edge in edges.items():
        turned = target.startswith("second") or source.startswith("second")
        assert np.sign(edge["correlation"]) == (-1 if turned else 1)
    assert found["pairs_influenced"] == len(EDGES) < found["pairs"]


@pytest.mark.slow
def test_an_effect_belongs_to_the_last_layer_that_carries_it(tmp_path: Path) -> None:
    """Without the second layer among the nodes, what it carries is the first one's own."""
    lab = causal_lab(tmp_path)
    lab.keys["dissection"]["layers"] = ["first", "third"]
    assert set(edges_of(trails_of(lab))) == {
        ("first[0]", "third[0]"),
        ("first[1]", "third[1]"),
        ("third[0]", "label1"),
        ("third[1]", "label2"),
    }


@pytest.mark.slow
def test_pairs_without_any_influence_are_no_tests(tmp_path: Path) -> None:
    """Few permutations are enough for few causes, however many pairs have none."""
    lab = causal_lab(tmp_path)
    lab.keys["dissection"]["trails"]["permutations"] = 24
    found = trails_of(lab)
    assert set(edges_of(found)) == EDGES
    assert all(edge["p"] == 0.04 and edge["q"] == pytest.approx(0.04) for edge in found["edges"])
    assert found["pairs_influenced"] < found["pairs"] and not found["notes"]


@pytest.mark.slow
def test_trails_run_through_the_planted_chain(tmp_path: Path) -> None:
    lab = causal_lab(tmp_path)
    found = trails_of(lab)
    listed = {trail["label"]: trail for trail in found["trails"]}
    assert len(found["trails"]) == 2
    nodes = listed["label1"]["nodes"]
    assert nodes[:-1] == ["first[0]", "second[0]", "third[0]"]
    assert listed["label1"]["words"] == "high -> low -> high -> label1"
    assert listed["label2"]["nodes"][:-1] == ["first[1]", "third[1]"]
    assert listed["label2"]["words"] == "high -> label2"
    summary = read_json(lab.root / "dissection" / "summary.json")
    assert summary["trails"]["label1"] == ["high -> low -> high -> label1"]
    assert {"trails.json", "trails.graphml", "trails.png"} <= set(summary["files"])


@pytest.mark.slow
def test_a_dead_unit_is_no_node(tmp_path: Path) -> None:
    found = trails_of(causal_lab(tmp_path))
    assert [node["id"] for node in found["nodes"] if node["layer"] == "first"] == [
        "first[0]",
        "first[1]",
    ]
    orders = {node["layer"]: node["order"] for node in found["nodes"]}
    assert orders == {"first": 0, "second": 1, "third": 2, "(logits)": 3}


@pytest.mark.parametrize("to", ["zero", "mean"])
def test_units_are_held_at_zero_or_at_their_mean(to: str, tmp_path: Path) -> None:
    """For a chain from -u to exp(u): exp(u) - exp(held), in standard deviations of exp(u)."""
    lab = causal_lab(tmp_path, cases=1, shape=(13, 8, 7))
    lab.keys["dissection"]["trails"].update(to=to, samples=12000)
    lab.keys["inference"]["window"] = [13, 8, 7]  # every voxel, once
    found = trails_of(lab)
    image = np.random.default_rng(0).normal(size=(2, 13, 8, 7)).astype(np.float32)[0]
    held = 0.0 if to == "zero" else float(image.mean())
    response = (np.exp(image) - np.exp(held)) / np.exp(image).std()
    expected = float(np.sqrt((response**2).mean()))
    assert edges_of(found)["second[0]", "third[0]"]["influence"] == pytest.approx(
        expected, rel=1e-5
    )
    assert found["samples"] == image.size
    assert found["held_at"] == to
    notes = read_json(lab.root / "dissection" / "summary.json")["notes"]
    assert f"trails: 12000 samples were asked for, but the windows hold only {image.size}" in notes


def test_dead_units_alone_have_no_trails(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    for entry in lab.keys["data"]["cases"]:
        path = tmp_path / entry["image"][0]
        save_image(path, np.zeros_like(voxels(path), dtype=np.float32))
    lab.keys["dissection"]["trails"] = True
    found = trails_of(lab)
    assert not found["edges"] and not found["trails"]
    assert "trails: no path leads to label1, label2, label3" in found["notes"]


@pytest.mark.slow
def test_graphml_and_json_hold_the_same_graph(tmp_path: Path) -> None:
    lab = causal_lab(tmp_path)
    found = trails_of(lab)
    graph = networkx.read_graphml(lab.root / "dissection" / "trails.graphml")
    assert graph.is_directed()
    assert set(graph.nodes) == {node["id"] for node in found["nodes"]}
    assert set(graph.edges) == {(edge["source"], edge["target"]) for edge in found["edges"]}
    for edge in found["edges"]:
        own = graph.edges[edge["source"], edge["target"]]
        assert own == {key: edge[key] for key in edge if key not in ("source", "target")}
    for node in found["nodes"]:
        own = graph.nodes[node["id"]]
        assert own["layer"] == node["layer"] and own["order"] == node["order"]
        assert own["is_label"] == (node["kind"] == "label")
        assert own["units"] == " ".join(map(str, node["units"]))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    lab = causal_lab(tmp_path)
    lab.keys["dissection"]["trails"]["windows"] = 6
    first = trails_of(lab)
    files = [lab.root / "dissection" / f"trails.{ending}" for ending in ("json", "graphml")]
    texts = [path.read_bytes() for path in files]
    for path in files:
        path.unlink()
    lab.keys["inference"]["batch_size"] = 2
    assert esegeta("dissect", lab.write()).exit_code == 0
    again = read_json(files[0])
    assert set(edges_of(again)) == set(edges_of(first)) and again["windows"] == first["windows"]
    lab.keys["inference"]["batch_size"] = 1
    assert esegeta("dissect", lab.write(), "--overwrite").exit_code == 0
    assert [path.read_bytes() for path in files] == texts
    lab.keys["seed"] = 5
    assert trails_of(lab)["windows"] != first["windows"]


@pytest.mark.slow
def test_units_of_a_layer_are_clustered_into_few_nodes(tmp_path: Path) -> None:
    """Units go to one node each, and coarser layers than the image take part."""
    lab = noisy_lab(tmp_path, shape=(16, 16), ndim=2)
    lab.keys["dissection"]["trails"] = {"clusters": 2, "samples": 300, "permutations": 49}
    found = trails_of(lab)
    for layer in lab.keys["dissection"]["layers"]:
        own = [node["units"] for node in found["nodes"] if node["layer"] == layer]
        assert len(own) == 2
        units = [unit for item in own for unit in item]
        assert len(units) == len(set(units))
    num_labels = sum(node["kind"] == "label" for node in found["nodes"])
    assert found["pairs"] == 2 * (2 + 2 + num_labels) + 2 * (2 + num_labels) + 2 * num_labels


@pytest.mark.slow
def test_trails_are_found_for_the_requested_labels(tmp_path: Path) -> None:
    lab = causal_lab(tmp_path)
    lab.keys["dissection"]["trails"]["labels"] = ["label2"]
    found = trails_of(lab)
    assert [node["concept"] for node in found["nodes"] if node["kind"] == "label"] == ["label2"]
    assert {trail["label"] for trail in found["trails"]} == {"label2"}


@pytest.mark.parametrize("value", [False, None])
def test_trails_are_off_by_default(value: Any, tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    lab.keys["dissection"]["trails"] = value
    assert esegeta("dissect", lab.write()).exit_code == 0
    assert not list((lab.root / "dissection").glob("trails*"))


@pytest.mark.slow
def test_trails_without_keys_use_the_defaults(tmp_path: Path) -> None:
    lab = planted_lab(tmp_path)
    lab.keys["dissection"]["trails"] = True
    found = trails_of(lab)
    assert found["permutations"] == 200
    assert {(e["source"], e["target"]) for e in found["edges"]} == {
        (f"detector[{unit}]", f"(logits)[{unit + 1}]") for unit in range(3)
    }


FAULTS: dict[str, tuple[Any, str, tuple[str, ...]]] = {
    "unknown key": ({"sample": 100}, "sample:", ("unknown key", '"samples"')),
    "unknown label": ({"labels": ["label3"]}, "labels:", ('no label "label3"', '"label1"')),
    "few samples": ({"samples": 9}, "samples: 9", ("dissection.trails.samples", "100")),
    "no clusters": ({"clusters": 0}, "clusters: 0", ("dissection.trails.clusters",)),
    "held at": ({"to": "one"}, "to: one", ("dissection.trails.to",)),
    "no block": ("yes please", "trails:", ("dissection.trails",)),
    "beyond memory": ({"samples": 10**7}, "trails:", ("10000000 samples", "raise memory_mb")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_placed_by_file_and_line(fault: str, tmp_path: Path) -> None:
    keys, text, words = FAULTS[fault]
    lab = causal_lab(tmp_path)
    lab.keys["dissection"]["trails"] = keys
    result = esegeta("dissect", lab.write())
    place = f"{lab.config}:"
    refused(result, lab, place, *words)
    number = int(result.stderr.split(place)[1].split(":")[0])
    assert text in lab.config.read_text().splitlines()[number - 1]


@pytest.mark.slow
def test_p_is_uniform_where_units_tell_nothing() -> None:
    """Smooth maps that have nothing to do with each other, shifted as places are."""
    from esegeta.dissection import Bins, dependence
    from esegeta.dissection.places import Covered, Places

    size, found = (24, 24), []
    for seed in range(200):
        generator = torch.Generator().manual_seed(seed)
        spectrum = torch.fft.fft2(torch.randn(2, *size, generator=generator))
        frequencies = torch.fft.fftfreq(24)
        smooth = torch.exp(-80 * (frequencies[:, None] ** 2 + frequencies[None] ** 2))
        x, y = torch.fft.ifft2(spectrum * smooth).real.flatten(1)
        voxels = torch.stack(torch.unravel_index(torch.arange(24 * 24), size), dim=1)
        shifts = torch.randint(24, (39, 2), generator=generator)
        everywhere = torch.ones(size, dtype=torch.bool)
        places = Places(0, voxels, shifts, (0, 0), size, everywhere)
        bins = Bins.of(x, 6)
        drawn = bins.codes(x[places.shifted_positions(Covered(size, size), size)])
        codes = bins.codes(x[places.positions(Covered(size, size), size)])
        found.append(dependence(codes, Bins.of(y, 6).codes(y), drawn).p)
    assert stats.kstest(np.array(found) - 1 / 80, "uniform").pvalue > 0.01
