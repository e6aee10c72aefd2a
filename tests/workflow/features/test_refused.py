"""Bad keys of `features` and `inspect` are named with file and line, before anything is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.experiments import esegeta, refused
from tests.workflow.features.labs import feature_lab, features, inspect, inspect_lab

UNIT = {"layer": "model.0", "unit": 1}

BAD_FEATURES: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"objectives": []}, ("features.objectives", "at least 1")),
    ({"objectives": [{"layer": "model.9"}]}, ("objectives[0]", '"model.9"', "model.0")),
    ({"objectives": [UNIT | {"unit": 99}]}, ("objectives[0]", "channel 99", "0 to")),
    ({"objectives": [{"label": "lver"}]}, ('"lver"', "liver")),
    ({"objectives": [{"unit": 3}]}, ("objectives[0]", "layer")),
    ({"objectives": [UNIT | {"at": [0, 0]}]}, ("objectives[0]", "no position [0, 0]")),
    ({"objectives": [UNIT, UNIT]}, ("model.0-1", "`name`")),
    ({"objectives": [UNIT | {"direction": [1.0]}]}, ("not both",)),
    ({"objectives": [{"layer": "model.0", "direction": [1.0, 2.0]}]}, ("units, but the direc",)),
    ({"objectives": [{"layer": "model.0", "direction": "no.npy"}]}, ("no such file",)),
    ({"objectives": [{"combine": {"x": 1}}]}, ('no objective "x"',)),
    ({"objectives": [{"label": "liver"}, {"combine": {"liver": 0}}]}, ("all coefficients are 0",)),
    ({"objectives": [{"label": "liver", "layer": "model.0"}]}, ("give one of",)),
    ({"size": [8, 8]}, ("features.size", "give 3 lengths")),
    ({"size": [99, 8, 8]}, ("features.size", "[14, 8, 8]")),
    ({"size": [9, 9, 9]}, ("features.size", "multiple of 2")),
    ({"size": 8}, ("features.size", "[48, 48, 48]")),
    ({"parametrisation": "furier"}, ("features.parametrisation", "fourier")),
    ({"prior": "code", "parametrisation": "voxels"}, ("parametrisation: code",)),
    ({"prior_weight": 2}, ("prior_weight",)),
    ({"start_label": "liver"}, ("start: class_mean",)),
    ({"start": "case", "start_case": "z"}, ("features.start_case", 'no case "z"')),
    ({"start": "class_mean", "start_label": "lver"}, ("lver", "liver")),
    (
        {"objectives": [UNIT | {"name": "u.1"}, UNIT | {"name": "u-1"}]},
        ('features.objectives: "u.1" and "u-1" would be one folder', "`name`"),
    ),
    ({"norm": 1, "clip": True}, ("norm", "clip")),
    ({"jitter_voxels": 1000}, ("jitter_voxels: 1000", "at most")),
    ({"expert": {"kind": "denoiser", "patch": 3}}, ("`patch` belongs to kind: mixture",)),
    ({"prior": "expert", "expert": {"patch": 9}}, ("features.expert.patch", "at most 8")),
    ({"generator": {"kind": "pca", "iterations": 3}}, ("`iterations` belongs to kind: vae",)),
    ({"dream": {"layer": "model.7"}}, ("features.dream.layer", "model.7")),
    ({"dream": {"layer": "model.0", "case": "q"}}, ("features.dream.case", 'no case "q"')),
    ({"diversity": {"layer": "nope"}}, ("features.diversity.layer", "nope")),
    ({"member": 1}, ("features.member", "not an ensemble")),
    ({"stps": 3}, ("features.stps", "steps")),
    ({"compare": "densty"}, ("density",)),
]


@pytest.mark.parametrize(("keys", "words"), BAD_FEATURES, ids=lambda value: str(value)[:40])
def test_a_bad_key_of_features_is_named(
    keys: dict[str, Any], words: tuple[str, ...], tmp_path: Path
) -> None:
    lab = feature_lab(tmp_path, **keys)
    refused(features(lab), lab, f"{lab.config}:", *words)


def test_a_class_mean_needs_a_truth(tmp_path: Path) -> None:
    lab = feature_lab(tmp_path, start="class_mean")
    for case in lab.keys["data"]["cases"]:
        del case["label"]
    refused(features(lab), lab, "class mean needs a ground truth", f":{lab.line_of('start:')}:")


def test_the_background_has_no_class_mean(tmp_path: Path) -> None:
    lab = feature_lab(tmp_path, start="class_mean", start_label="air")
    lab.keys["labels"] = {0: "air", 1: "liver"}
    what = "features.start_label: the background has no class mean"
    refused(features(lab), lab, f":{lab.line_of('start_label:')}: {what}", "liver")


def test_an_invalid_direction_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([1.0, np.nan, 0, 0]))
    lab = feature_lab(tmp_path, objectives=[{"layer": "model.0", "direction": "v.npy"}])
    refused(features(lab), lab, "v.npy", "finite")


BAD_INSPECT: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"layers": ["model.9"]}, ("inspect.layers", "model.9", "model.0")),
    ({"channels": 0}, ("inspect.channels",)),
    ({"channels": [0, 99]}, ("inspect.channels", "no channel 99")),
    ({"channels": [1, 1]}, ("named twice",)),
    ({"channels": [1], "by": "variance"}, ("`by`",)),
    ({"by": "dissection"}, ("inspect.by", "esegeta dissect")),
    ({"cases": ["z"]}, ("inspect.cases", 'no case "z"')),
    ({"weight": True}, ("inspect.weight", "weights")),
]


@pytest.mark.parametrize(("keys", "words"), BAD_INSPECT, ids=lambda value: str(value)[:40])
def test_a_bad_key_of_inspect_is_named(
    keys: dict[str, Any], words: tuple[str, ...], tmp_path: Path
) -> None:
    lab = inspect_lab(tmp_path, **keys)
    refused(inspect(lab), lab, *words)


@pytest.mark.parametrize("command", ["features", "inspect"])
def test_a_missing_block_is_refused(command: str, tmp_path: Path) -> None:
    lab = feature_lab(tmp_path) if command == "inspect" else inspect_lab(tmp_path)
    refused(esegeta(command, lab.write()), lab, f"has no block `{command}`", "docs/features.md")


def test_a_run_without_targets_names_the_command_of_the_block(tmp_path: Path) -> None:
    for make, command in ((feature_lab, "features"), (inspect_lab, "inspect")):
        folder = tmp_path / command
        folder.mkdir()
        lab = make(folder)
        refused(esegeta("run", lab.write()), lab, "no targets", f"esegeta {command}")
        result = esegeta("validate", lab.config)
        assert result.exit_code == 0, result.output
        assert f"valid for `esegeta {command}`" in result.output


def test_a_command_without_a_config_is_refused(tmp_path: Path) -> None:
    for words in (["fit"], ["fit", "a.yaml", "b.yaml"], ["a.yaml", "b.yaml"]):
        result = esegeta("features", *words)
        assert result.exit_code == 2
        assert "config" in result.stderr
