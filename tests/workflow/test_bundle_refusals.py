"""Bundles: what has no counterpart in keys of a config is named, and so is what is missing."""

from pathlib import Path
from typing import Any

import pytest

from tests.bundles import (
    CLIPPED,
    FOREGROUND,
    ORIENT,
    POST,
    SPACE,
    bundle_lab,
    compose,
    inference,
)
from tests.experiments import refused


def test_a_simple_inferer_for_images_of_any_size_needs_a_window(tmp_path: Path) -> None:
    lab = bundle_lab(tmp_path, inference(inferer={"_target_": "SimpleInferer"}))
    refused(lab.run(), lab, "SimpleInferer (runs whole images", "give `inference` in the config")
    lab.keys["inference"] = {"window": [16, 16, 16], "overlap": 0}
    assert lab.validate().exit_code == 0


SAID_OF_STEPS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "unknown": ([{"_target_": "Resized", "spatial_size": [8, 8, 8]}], "Resized (is not known)"),
    "of its own": ([{"_target_": "scripts.own.Spacingd"}], "scripts.own.Spacingd (is not known)"),
    "spline": ([{**SPACE, "mode": 3}], "Spacingd (mode: 3)"),
    "zeros": ([{**SPACE, "padding_mode": "zeros"}], "Spacingd (padding_mode: zeros)"),
    "diagonal": ([{**SPACE, "diagonal": True}], "Spacingd (diagonal: True)"),
    "order": ([SPACE, ORIENT], "Orientationd (comes after spacing_mm"),
    "two crops": ([FOREGROUND, SPACE, FOREGROUND, FOREGROUND], "CropForegroundd (comes after crop"),
    "statistic": (
        [{"_target_": "NormalizeIntensityd"}, FOREGROUND],
        "CropForegroundd (comes after an intensity step that depends",
    ),
    "own foreground": ([{**FOREGROUND, "select_fn": "$lambda x: x > 3"}], "a custom select_fn"),
    "padded margin": ([{**FOREGROUND, "margin": 2}], "a margin that pads"),
    "large pad": (
        [CLIPPED, {"_target_": "SpatialPadd", "spatial_size": [8, 16, 8]}],
        "pads to [8, 16, 8], beyond the window [8, 8, 8]",
    ),
    "arguments": ([{"_target_": "Spacingd", "pixdim": "wide"}], "Spacingd (its arguments: "),
    "two": (
        [{"_target_": "RandFlipd"}, {"_target_": "GaussianSmoothd"}],
        "RandFlipd (is not known), GaussianSmoothd (is not known)",
    ),
}


@pytest.mark.parametrize("name", SAID_OF_STEPS)
def test_transforms_without_a_counterpart_are_named(name: str, tmp_path: Path) -> None:
    chain, said = SAID_OF_STEPS[name]
    lab = bundle_lab(tmp_path, inference(preprocessing=compose(*chain)))
    what = "give `data.preprocess` in the config, which replaces the bundle's preprocessing"
    place = f"tiny.yaml:{lab.write() and lab.line_of('path: bundle')}: "
    for result in (lab.run(), lab.validate()):
        refused(result, lab, place, "cannot be mapped to keys of a config", said, what)
    if name != "large pad":
        lab.keys["data"]["preprocess"] = {"intensity": "minmax"}
        assert lab.validate().exit_code == 0


def test_postprocessing_without_counterpart_is_named(tmp_path: Path) -> None:
    post = {"_target_": "Compose", "transforms": [*POST[:3], {"_target_": "MeanEnsembled"}]}
    lab = bundle_lab(tmp_path, inference(postprocessing=post))
    said = "MeanEnsembled (is not known); give `postprocessing` in the config"
    refused(lab.run(), lab, "postprocessing: cannot be mapped", said)
    lab.keys["postprocessing"] = {}
    assert lab.validate().exit_code == 0


def test_an_incomplete_bundle_is_refused_naming_the_missing_part(tmp_path: Path) -> None:
    lab = bundle_lab(tmp_path)
    bundle = tmp_path / "bundle"
    (bundle / "models" / "model.pt").rename(tmp_path / "model.pt")
    said = "has no weights: neither models/model.pt nor models/model.ts; nothing is downloaded"
    refused(lab.run(), lab, f"tiny.yaml:{lab.line_of('path: bundle')}: model: ", said)
    lab.keys["model"]["weights"] = "model.pt"
    assert lab.validate().exit_code == 0
    (bundle / "configs" / "inference.json").rename(bundle / "configs" / "train.json")
    refused(lab.run(), lab, "holds no configs/inference.json", "configs holds metadata.json, train")
    lab.keys["model"]["path"] = "nowhere"
    refused(lab.run(), lab, "nowhere: no such folder", "never fetched from a network")
    lab.keys["model"]["path"] = "model.pt"
    refused(lab.run(), lab, "model.pt: is a file, not the folder of a bundle")


def test_an_expression_that_fails_is_refused_with_its_section(tmp_path: Path) -> None:
    lab = bundle_lab(tmp_path, inference(pixdim="$[1 / 0]"))
    said = "inference.json: preprocessing cannot be resolved (ZeroDivisionError: division by zero)"
    refused(lab.run(), lab, said)


def test_labels_in_neither_metadata_nor_config_are_refused_as_missing(tmp_path: Path) -> None:
    lab = bundle_lab(tmp_path, metadata={})
    refused(lab.run(), lab, "labels: missing")
