"""Folders of nnU-Net that cannot be used, and keys beside them, are refused by name and line."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from esegeta.config import load_config
from esegeta.errors import EsegetaError

pytest.importorskip("dynamic_network_architectures")

from tests.nnunet_folder import Results
from tests.nnunet_folder import load_nnunet_config as load
from tests.nnunet_folder import write_nnunet_config as write


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results")


def _change(what: str, *path: str, **values: Any) -> Callable[[Results], None]:
    def change(results: Results) -> None:
        block = getattr(results, what)
        for key in path:
            block = block[key]
        block.update(values)

    return change


BROKEN: dict[str, tuple[Callable[[Results], None], str]] = {
    "channels at odds": (
        _change("dataset", channel_names={"0": "T1", "1": "T2"}),
        "dataset.json: names 2 channels (T1, T2), and plans.json normalises 1 (CTNormalization); "
        "are both files from the same training?",
    ),
    "channels without numbers": (
        _change("dataset", channel_names={"CT": "0"}),
        'the keys are the channels\' numbers, such as {"0": "CT"}',
    ),
    "no channels": (_change("dataset", channel_names={}), "dataset.json: has no channel_names"),
    "labels of version 1": (
        _change("dataset", labels={"0": "background", "1": "liver"}),
        "is it the dataset.json of nnU-Net v1?",
    ),
    "regions without order": (
        _change("dataset", labels={"background": 0, "whole": [1, 2], "core": [2]}),
        "has regions (whole, core), but regions_class_order is None",
    ),
    "labels that are no integers": (
        _change("dataset", labels={"background": 0, "liver": "1"}),
        "are not integers or lists of them",
    ),
    "unknown normalisation": (
        _change("block", normalization_schemes=["ZScoreNormalisation"]),
        'normalization_schemes of channel 0: "ZScoreNormalisation" is not supported; did you mean '
        '"ZScoreNormalization"',
    ),
    "unknown reader": (
        _change("plans", image_reader_writer="MyIO"),
        'plans.json: image_reader_writer: "MyIO" is not supported',
    ),
    "unknown preprocessor": (
        _change("block", preprocessor_name="MyPreprocessor"),
        'preprocessor_name: "MyPreprocessor" is not supported; did you mean "DefaultPreprocessor"?',
    ),
    "unknown resampling": (
        _change("block", resampling_fn_data="resample_torch_fornnunet"),
        'resampling_fn_data: "resample_torch_fornnunet" is not supported',
    ),
    "spline of another order": (
        _change("block", "resampling_fn_probabilities_kwargs", order=3),
        "resampling_fn_probabilities_kwargs: order: 3 is not supported, only 1",
    ),
    "no fingerprint": (
        _change("plans", foreground_intensity_properties_per_channel={"0": {"mean": 1.0}}),
        "has no percentile_00_5, percentile_99_5, std of channel 0, which CTNormalization needs",
    ),
    "no network": (
        _change("block", architecture=None),
        "the configuration describes no network",
    ),
    "unknown old network": (
        _change("block", architecture=None, UNet_class_name="PlainConvUnet"),
        'UNet_class_name "PlainConvUnet" is not known; did you mean "PlainConvUNet"?',
    ),
    "plans of version 1": (
        lambda results: results.plans.pop("configurations"),
        "plans.json: has no configurations; are these the plans of nnU-Net v1?",
    ),
    "network without arguments": (
        _change("block", architecture={"network_class_name": "PlainConvUNet"}),
        "`architecture` has no network_class_name and arch_kwargs",
    ),
    "heir of nothing": (
        _change("block", inherits_from="3d_fulres"),
        'plans.json: no configuration "3d_fulres"; did you mean "3d_fullres"',
    ),
    "circular plans": (
        _change("block", inherits_from="3d_lowres"),
        'configuration "3d_fullres" inherits from itself',
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_folder_is_refused(fault: str, results: Results, tmp_path: Path) -> None:
    change, message = BROKEN[fault]
    change(results)
    results.write()
    path = write(tmp_path, {"path": "results"})
    with pytest.raises(EsegetaError) as caught:
        load_config(path)
    line = 1 + path.read_text().splitlines().index("  path: results")
    assert f"{path}:{line}: model: " in str(caught.value)
    assert message in str(caught.value)


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no path": ({}, "model:", "model.path: missing; kind: nnunet needs the folder"),
    "no such folder": (
        {"path": "result"},
        "path: result",
        'result: no such folder; did you mean "results"?',
    ),
    "a file": (
        {"path": "ct.nii.gz"},
        "path: ct.nii.gz",
        "is a file; kind: nnunet reads the folder that training wrote",
    ),
    "an empty folder": ({"path": "empty"}, "path: empty", "holds no trained nnU-Net v2"),
    "several configurations": (
        {"path": "results"},
        "path: results",
        "Dataset012_Tiny/nnUNetTrainer__nnUNetPlans__3d_fullres, Dataset012_Tiny/",
    ),
    "unknown configuration": (
        {"path": "results", "configuration": "3d_fulres"},
        "configuration: 3d_fulres",
        'no results of configuration "3d_fulres"; did you mean "3d_fullres"',
    ),
    "another configuration": (
        {"path": "FOLDER", "configuration": "2d"},
        "configuration: 2d",
        'was trained as configuration "3d_fullres", not "2d"; write configuration: 3d_fullres',
    ),
    "the cascade": (
        {"path": "results", "configuration": "3d_cascade_fullres"},
        "configuration: 3d_cascade_fullres",
        'it takes the segmentation of "3d_lowres", one channel per label',
    ),
    "no such fold": (
        {"path": "FOLDER", "folds": [0, 4]},
        "folds:",
        "no fold_4; choose from: 0, 1",
    ),
    "a fold in words": (
        {"path": "FOLDER", "folds": ["first"]},
        "folds:",
        "model.folds: 'first' is not a fold; write folds: [0, 1], one number, or all",
    ),
    "a fold twice": ({"path": "FOLDER", "folds": [0, 0]}, "folds:", "0 is listed twice"),
    "no folds": ({"path": "FOLDER", "folds": []}, "folds: []", "model.folds: no fold is listed"),
    "a number for a configuration": (
        {"path": "FOLDER", "configuration": 3},
        "configuration: 3",
        "model.configuration: should be text (found 3)",
    ),
    "several checkpoints": (
        {"path": "FOLDER", "checkpoint": ["a.pth"]},
        "checkpoint:",
        "model.checkpoint: should be text (found ['a.pth'])",
    ),
    "no such checkpoint": (
        {"path": "FOLDER", "checkpoint": "checkpoint_best.pth"},
        "checkpoint: checkpoint_best.pth",
        'no such checkpoint; did you mean "checkpoint_final.pth"?',
    ),
    "a network besides": (
        {"path": "FOLDER", "network": "UNet"},
        "network: UNet",
        "model.network: kind: nnunet takes it from",
    ),
    "weights besides": (
        {"path": "FOLDER", "weights": "a.pt"},
        "weights: a.pt",
        "leave it out; `folds` and `checkpoint` choose weights",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_refusals_name_the_line(fault: str, results: Results, tmp_path: Path) -> None:
    model, line, message = REFUSED[fault]
    folder = results.write()
    for configuration in ("3d_lowres", "3d_cascade_fullres"):
        other = Results(tmp_path / "results", configuration)
        other.write()
    (tmp_path / "empty").mkdir()
    named = {key: str(folder) if value == "FOLDER" else value for key, value in model.items()}
    path = write(tmp_path, named)
    with pytest.raises(EsegetaError) as caught:
        load_config(path)
    lines = path.read_text().splitlines()
    number = 1 + next(place for place, text in enumerate(lines) if text.strip().startswith(line))
    assert f"{path}:{number}: " in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["plans.json", "dataset.json"])
def test_damaged_and_missing_files_are_refused(name: str, results: Results, tmp_path: Path) -> None:
    folder = results.write()
    (folder / name).write_text("{")
    with pytest.raises(EsegetaError, match=f"{name}: cannot be read as JSON"):
        load(tmp_path, {"path": str(folder)})
    (folder / name).write_text("[1]")
    with pytest.raises(EsegetaError, match=f"{name}: holds a list, not a mapping"):
        load(tmp_path, {"path": str(folder)})
    (folder / name).unlink()
    with pytest.raises(EsegetaError, match=f"{name}: is missing; nnU-Net's training writes"):
        load(tmp_path, {"path": str(folder)})


@pytest.mark.parametrize("name", ["plans.json", "dataset.json"])
@pytest.mark.parametrize("above", [1, 2])
def test_a_missing_file_is_named_from_parent_folders_too(
    name: str, above: int, results: Results, tmp_path: Path
) -> None:
    folder = results.write()
    (folder / name).unlink()
    top = folder.rename(tmp_path / folder.name)
    for part in ("Dataset001_A", "nnUNet_results")[:above]:
        inner, top = top, tmp_path / part
        top.mkdir()
        inner.rename(top / inner.name)
    with pytest.raises(EsegetaError, match=f"{folder.name}/{name}: is missing; nnU-Net's training"):
        load(tmp_path, {"path": str(top)})


def test_a_folder_without_folds_is_refused(results: Results, tmp_path: Path) -> None:
    folder = results.write()
    for fold in folder.glob("fold_*"):
        shutil.rmtree(fold)
    with pytest.raises(EsegetaError, match="holds no fold; its weights should be in fold_0/"):
        load(tmp_path, {"path": str(folder)})


def test_a_pickle_is_not_run(results: Results, tmp_path: Path) -> None:
    folder = results.write()
    victim = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> Any:
            return (Path.touch, (victim,))

    with (folder / "fold_0" / "checkpoint_final.pth").open("wb") as stream:
        pickle.dump({"network_weights": Payload()}, stream)
    with pytest.raises(EsegetaError, match="loading it could run"):
        load(tmp_path, {"path": str(folder)})
    assert not victim.exists()


def test_a_bare_state_dict_is_refused_as_a_checkpoint(results: Results, tmp_path: Path) -> None:
    folder = results.write()
    torch.save({"weight": torch.zeros(1)}, folder / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(EsegetaError, match='it has no "network_weights"'):
        load(tmp_path, {"path": str(folder)})


def test_keys_of_nnunet_are_refused_for_other_kinds(tmp_path: Path, results: Results) -> None:
    path = write(tmp_path, {"path": "results"})
    content = yaml.safe_load(path.read_text())
    content["model"] = {"kind": "monai", "network": "UNet", "folds": [0]}
    content |= {"labels": {1: "liver"}, "inference": {"window": [8, 8, 8]}}
    path.write_text(json.dumps(content))
    with pytest.raises(EsegetaError, match="`folds` belongs to kind: nnunet"):
        load_config(path)
