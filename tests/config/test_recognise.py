"""What a path on the command line can be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from esegeta.config.recognise import recognise
from esegeta.errors import EsegetaError


@pytest.mark.parametrize("path", ["/dev/zero", "~nosuchuser/x"])
def test_devices_and_unknown_users_are_refused_as_paths(path: str) -> None:
    with pytest.raises(EsegetaError, match=r"device|no user"):
        recognise(Path(path))


def bundle(folder: Path) -> Path:
    """Make what a folder is told to be a bundle by."""
    for part in ("configs", "models"):
        (folder / part).mkdir(parents=True)
    (folder / "configs" / "train.json").touch()
    (folder / "models" / "own.safetensors").touch()
    return folder


def nnunet(folder: Path) -> Path:
    """Make what a folder is told to be a trained nnU-Net by."""
    (folder / "fold_3").mkdir(parents=True)
    for name in ("dataset.json", "plans.json"):
        (folder / name).write_text(json.dumps({}))
    for name in ("checkpoint_final.pth", "checkpoint_best.pth"):
        (folder / "fold_3" / name).touch()
    return folder


def config(path: Path, **keys: Any) -> Path:
    """Write a config."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(keys))
    return path


def test_a_bundle_without_its_config_is_recognised(tmp_path: Path) -> None:
    """What is missing is said as the bundle is opened."""
    folder = bundle(tmp_path / "b")
    assert recognise(folder).model == {"kind": "bundle", "path": str(folder)}


def test_the_path_of_bundle_weights_stands_for_the_bundle_with_them(tmp_path: Path) -> None:
    weights = bundle(tmp_path / "b") / "models" / "own.safetensors"
    model = {"kind": "bundle", "path": str(tmp_path / "b"), "weights": str(weights)}
    assert recognise(weights).model == model


def test_the_path_of_a_checkpoint_stands_for_its_fold_and_unusual_name(tmp_path: Path) -> None:
    fold = nnunet(tmp_path / "n") / "fold_3"
    model = {"kind": "nnunet", "path": str(tmp_path / "n"), "folds": [3]}
    assert recognise(fold / "checkpoint_final.pth").model == model
    best = recognise(fold / "checkpoint_best.pth").model
    assert best == {**model, "checkpoint": "checkpoint_best.pth"}


def test_a_folder_with_a_config_is_read_from_the_config(tmp_path: Path) -> None:
    (tmp_path / "n").mkdir()
    for name in ("a.safetensors", "b.safetensors"):
        (tmp_path / "n" / name).touch()
    model = {"kind": "monai", "network": "UNet", "weights": ["a.safetensors", "b.safetensors"]}
    config(tmp_path / "n" / "config.yaml", model=model, labels={1: "liver"}, seed=3)
    found = recognise(tmp_path / "n")
    files = [str(tmp_path / "n" / f"{name}.safetensors") for name in "ab"]
    assert found.model == {**model, "weights": files}
    assert found.content == {"labels": {1: "liver"}, "data": {}}


def _json(folder: Path) -> Path:
    return nnunet(folder / "n") / "plans.json"


def _without_model(folder: Path) -> Path:
    return config(folder / "c.yaml", name="x")


def _closed(folder: Path) -> Path:
    config(folder / "config.yaml", model={"kind": "torchscript", "path": "n.ts"})
    (folder / "w.safetensors").touch()
    return folder / "w.safetensors"


def _code_beside(folder: Path) -> Path:
    (folder / "own.py").touch()
    return config(folder / "c.yaml", name="x", model={"kind": "module", "class": "own:Net"})


def _package_beside(folder: Path) -> Path:
    (folder / "own").mkdir()
    return config(folder / "c.yaml", name="x", model={"kind": "module", "class": "own.net:Net"})


FAULTS = {
    "a file of the folder": (_json, "plans.json: name the folder of the model, not a file in it$"),
    "no model": (_without_model, "c.yaml: is not a config of esegeta: it has no `model`$"),
    "weights of a closed network": (
        _closed,
        "config.yaml: model.kind: torchscript takes no weights; give the config alone",
    ),
    "code beside": (_code_beside, "c.yaml:2: the class of kind: module is next to this config"),
    "a package beside": (_package_beside, "c.yaml:2: the class of kind: module is next to this"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_unusable_models_are_refused(fault: str, tmp_path: Path) -> None:
    make, said = FAULTS[fault]
    with pytest.raises(EsegetaError, match=said):
        recognise(make(tmp_path))
