"""Valid convolutions, mirroring, ensembles and their spread, from a config to files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from esegeta.model import file_sha256
from tests.builders import unet
from tests.experiments import (
    Lab,
    esegeta,
    read_json,
    refused,
    save_image,
    unet_lab,
    voxels,
)

pytestmark = pytest.mark.usefixtures("quick")


def folds(lab: Lab, count: int = 3, ndim: int = 3) -> list[str]:
    names = [f"fold_{number}.safetensors" for number in range(count)]
    for seed, name in enumerate(names):
        save_file(unet(ndim, seed=seed).state_dict(), lab.folder / name)
    lab.keys["model"]["weights"] = names
    lab.keys["targets"][0]["over"] = "all"
    return names


@pytest.mark.slow
def test_a_run_over_an_ensemble_is_the_mean_of_its_folds(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    names = folds(lab)
    result = lab.run()
    assert result.exit_code == 0, result.output
    found = lab.map("a", "liver", "saliency")
    record = lab.record()
    assert record["weights_sha256"] == [file_sha256(tmp_path / name) for name in names]
    assert lab.sidecar("a", "liver", "saliency")["weights_sha256"] == record["weights_sha256"]
    assert record["network"]["members"] == record["network"]["passes_per_window"] == 3
    notes = " ".join(record["notes"])
    assert "3 members = 3 forward passes per window" in notes
    assert "mirrored" not in notes
    maps = []
    for number, name in enumerate(names):
        other = Lab(tmp_path, {**lab.keys, "model": {**lab.keys["model"], "weights": name}})
        other.keys["output"] = str(tmp_path / f"alone-{number}")
        result = other.run()
        assert result.exit_code == 0, result.output
        path = tmp_path / f"alone-{number}" / "tiny" / "a"
        maps.append(voxels(path / "a_label-liver_desc-saliency_attrmap.nii.gz"))
    np.testing.assert_allclose(found, np.mean(maps, axis=0), rtol=1e-4, atol=1e-7)


def test_wrappers_taken_off_every_weights_file_are_reported(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    names = folds(lab, 2)
    torch.save({"state_dict": unet(3, seed=1).state_dict()}, lab.folder / "other.pt")
    lab.keys["model"]["weights"] = [names[0], "other.pt"]
    result = lab.validate()
    assert result.exit_code == 0, result.output
    said = "model.weights: other.pt: removed from the weights: the wrapper"
    assert " ".join(result.output.split()).count(said) == 1
    assert result.output.count("removed from") == 1
    assert lab.run().exit_code == 0
    first, second = lab.record()["network"]["weights"]
    assert first["taken_off"] == {"wrapper": "", "prefixes": [], "entries": []}
    assert Path(second["file"]).name == "other.pt"
    assert second["taken_off"] == {"wrapper": "state_dict", "prefixes": [], "entries": []}


def test_the_cost_of_mirroring_one_network_is_shown(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    lab.keys["inference"].update(mirror=[0, 1, 2])
    result = lab.validate()
    assert "note: 8 mirrored passes = 8 forward passes per window" in result.output


def test_the_cost_is_shown_before_a_run(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    folds(lab)
    lab.keys["inference"].update(mirror=[0, 1, 2], spread="members")
    result = lab.validate()
    assert result.exit_code == 0, result.output
    assert "8 mirrored passes x 3 members = 24 forward passes per window" in result.output
    assert "each map is also made for every member" in result.output


@pytest.mark.parametrize("kind", ["ensemble", "mirrored"])
@pytest.mark.slow
def test_spread_of_members(tmp_path: Path, kind: str) -> None:
    lab = unet_lab(tmp_path)
    if kind == "ensemble":
        folds(lab)
    else:
        lab.keys["targets"][0]["over"] = "all"
        lab.keys["inference"]["mirror"] = [0]
    lab.keys["inference"]["spread"] = "members"
    lab.keys["methods"] = ["saliency", "grad_cam"]
    result = lab.run()
    assert result.exit_code == 0, result.output
    number = 3 if kind == "ensemble" else 2
    for method in ("saliency", "grad_cam"):
        paths = [
            lab.file("a", "liver", method, f"member-{k}_attrmap.nii.gz")
            for k in range(1, number + 1)
        ]
        maps = np.stack([voxels(path) for path in paths])
        spread = voxels(lab.file("a", "liver", method, "stat-spread_attrmap.nii.gz"))
        np.testing.assert_allclose(spread, maps.std(axis=0), rtol=1e-4, atol=1e-6)
        assert spread.max() > 0
        note = lab.sidecar("a", "liver", method)["spread"]
        assert [row["file"] for row in note["members"]] == [path.name for path in paths]
        assert note["members"][0]["sum"] == pytest.approx(float(maps[0].sum()), rel=1e-3)
        if method == "saliency":
            mean = maps.mean(axis=0)
            np.testing.assert_allclose(lab.map("a", "liver", method), mean, rtol=1e-3, atol=1e-6)
    listed = lab.sidecar("a", "liver", "saliency")["files"]
    assert "a_label-liver_desc-saliency_member-1_attrmap.nii.gz" in listed
    # Without the key, nothing of them is left.
    del lab.keys["inference"]["spread"]
    assert lab.run().exit_code == 0
    assert not list(lab.root.rglob("*member-*")) and not list(lab.root.rglob("*spread*"))


def test_spread_of_a_single_network_is_refused(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    lab.keys["inference"]["spread"] = "members"
    result = lab.validate()
    refused(result, lab, "inference.spread: there is one network and no mirrored pass")
    assert f"tiny.yaml:{lab.line_of('spread')}: " in result.stderr


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"mirror": [3]}, "inference.mirror: the network has no axis 3"),
        ({"mirror": [0, 0]}, "inference.mirror: axis 0 is listed twice"),
        ({"mirror": 0}, "inference.mirror: give a list of the network's axes"),
        ({"mirror": [-1]}, "inference.mirror: the network has no axis -1"),
        ({"average": "logit"}, 'inference.average: "logit"'),
        ({"padding": "mirror"}, "inference.padding"),
        ({"spread": "all"}, "inference.spread"),
    ],
)
def test_bad_keys_are_refused_with_their_line(
    tmp_path: Path, keys: dict[str, Any], text: str
) -> None:
    lab = unet_lab(tmp_path)
    lab.keys["inference"].update(keys)
    result = lab.validate()
    assert result.exit_code == 2, result.output
    assert text in result.stderr
    assert f"tiny.yaml:{lab.line_of(next(iter(keys)))}" in result.stderr


def test_a_2d_network_over_volumes_has_two_axes_to_mirror(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path, ndim=2, shape=(12, 11, 3))
    lab.keys["inference"]["mirror"] = [0, 1, 2]
    result = lab.validate()
    refused(result, lab, "the network has no axis 2; it is given windows with the axes [0, 1]")
    lab.keys["inference"]["mirror"] = [0, 1]
    lab.keys["targets"][0]["over"] = "all"
    assert lab.run().exit_code == 0


def test_members_of_another_shape_are_refused_by_their_file(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    names = folds(lab)
    save_file(unet(3, out_channels=3).state_dict(), tmp_path / names[1])
    result = lab.validate()
    refused(result, lab, f"{names[1]}: the weights do not fit", "wrong shape")
    assert f"tiny.yaml:{lab.line_of('weights')}" in result.stderr
    lab.keys["model"]["weights"] = [names[0], "gone.pt"]
    refused(lab.validate(), lab, "gone.pt")
    lab.keys["model"]["weights"] = []
    refused(lab.validate(), lab, "model.weights: give the files of an ensemble, or one file")


@pytest.mark.slow
def test_methods_that_read_layers_explain_a_mean_of_probabilities(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    folds(lab, count=2)
    lab.keys["inference"].update(average="probabilities", mirror=[0], spread="members")
    lab.keys["methods"] = ["hires_cam", "pattern_attribution"]
    result = lab.run()
    assert result.exit_code == 0, result.output
    assert "the mean of their probabilities is explained" in result.output
    for method in ("hires_cam", "pattern_attribution"):
        found = lab.sidecar("a", "liver", method)
        assert found["facts"]["more"]["passes_per_window"] == 4
        assert len(found["spread"]["members"]) == 2


def test_layers_of_mirrored_passes_have_a_spread_beside_their_mean(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path, ndim=2, shape=(9, 8))
    lab.keys["targets"][0]["over"] = "all"
    lab.keys["inference"].update(average="probabilities", mirror=[0], spread="members")
    lab.keys["methods"] = [{"name": "hires_cam", "layer": "model.0"}]
    result = lab.run()
    assert result.exit_code == 0, result.output
    found = lab.sidecar("a", "liver", "hires_cam")
    assert found["facts"]["more"]["passes_per_window"] == 2
    ends = [f"member-{k}_attrmap.nii.gz" for k in (1, 2)]
    assert {lab.file("a", "liver", "hires_cam", end).name for end in ends} <= {*found["files"]}
    maps = np.stack([voxels(lab.file("a", "liver", "hires_cam", end)) for end in ends])
    assert np.abs(maps[0] - maps[1]).max() > 0
    spread = voxels(lab.file("a", "liver", "hires_cam", "stat-spread_attrmap.nii.gz"))
    np.testing.assert_allclose(spread, maps.std(axis=0), rtol=1e-4, atol=1e-6)


def test_dissecting_an_ensemble_is_refused(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    folds(lab)
    lab.keys["dissection"] = {"layers": ["model.0"], "concepts": {"liver": 1}}
    result = lab.validate()
    refused(result, lab, "dissection: units belong to one network, but model.weights lists 3")
    lab.keys["dissection"]["member"] = 4
    refused(lab.validate(), lab, "dissection.member: 4: model.weights lists 3 networks")
    lab.keys["dissection"]["member"] = 1
    lab.keys["model"]["weights"] = "w.safetensors"
    refused(lab.validate(), lab, "dissection.member: 1: there is a single network")


def label_by_brightness(lab: Lab) -> None:
    image = voxels(lab.folder / "a.nii.gz")
    save_image(lab.folder / "mask.nii.gz", (image > np.median(image)).astype(np.uint8))
    lab.keys["data"]["cases"][0]["label"] = "mask.nii.gz"


@pytest.mark.slow
def test_one_network_of_an_ensemble_is_dissected_as_by_itself(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    names = folds(lab, count=2)
    block = {"layers": ["model.0"], "concepts": {"liver": 1}, "chance": {"samples": 5}}
    block |= {"ablation": {"draws": 2}, "figures": {"units": 0, "images": 1}}
    lab.keys["inference"].update(mirror=[0], average="probabilities")
    label_by_brightness(lab)
    tables = []
    for weights, more in ((names, {"member": 2}), (names[1], {})):
        lab.keys["model"]["weights"] = weights
        lab.keys["dissection"] = {**block, **more}
        lab.keys["output"] = str(tmp_path / f"out-{len(tables)}")
        result = esegeta("dissect", lab.write())
        assert result.exit_code == 0, result.output
        assert ("2 of 2 is dissected by itself" in result.output) == bool(more)
        folder = tmp_path / f"out-{len(tables)}" / "tiny" / "dissection"
        files = {path.name: path.read_text() for path in folder.glob("*.csv")}
        tables.append(files)
    assert len(tables[0]) > 2 and tables[0] == tables[1]


def test_the_layers_command_takes_an_ensemble(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    folds(lab)
    result = esegeta("layers", lab.write())
    assert result.exit_code == 0
    assert "model.0" in result.output


@pytest.mark.slow
def test_another_fold_is_another_result(tmp_path: Path) -> None:
    """A run goes on only where weights, mirroring and averages are the same."""
    lab = unet_lab(tmp_path)
    names = folds(lab)
    assert lab.run().exit_code == 0
    before = lab.maps()
    assert lab.run().exit_code == 0
    assert lab.maps() == before
    lab.keys["inference"]["mirror"] = [1]
    assert lab.run().exit_code == 0
    mirrored = lab.maps()
    assert mirrored != before
    lab.keys["model"]["weights"] = names[:2]
    assert lab.run().exit_code == 0
    assert lab.maps() != mirrored
    assert read_json(lab.root / "run.json")["network"]["members"] == 2
