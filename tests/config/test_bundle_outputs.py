"""What a bundle does with windows and outputs, and sections that it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from esegeta.config import load_config
from esegeta.config.bundle_output import (
    BundleDecisions,
    inference_keys,
    input_names,
    output_names,
)
from esegeta.config.bundle_steps import UnmappedError
from esegeta.errors import ConfigError
from esegeta.model.bundle import BundleComponent
from tests.bundles import CLIPPED, SPACE, bundle_lab, compose, inference

NAMES = {0: "background", 1: "liver", 2: "spleen"}
Transform = tuple[str, dict[str, Any]]


@pytest.mark.parametrize(
    ("target", "args", "said"),
    [
        ("PatchInferer", {}, "is not known"),
        ("scripts.own.SlidingWindowInferer", {"roi_size": 8}, "is not known"),
        ("SlidingWindowInferer", {"roi_size": [8, -1, 8]}, r"roi_size \[8, -1, 8\] takes whole"),
        ("SlidingWindowInferer", {"roi_size": None}, r"roi_size \[None, None, None\] takes whole"),
        ("SlidingWindowInferer", {"roi_size": 8, "padding_mode": "circular"}, "mode: circular$"),
        ("SlidingWindowInferer", {"roi_size": 8, "cval": -1.0}, "^cval: -1.0$"),
    ],
)
def test_inferers_without_a_counterpart_have_a_reason(
    target: str, args: dict[str, Any], said: str
) -> None:
    name = target.rpartition(".")[2]
    inferer = BundleComponent(name, target, args, is_monai=name == target)
    with pytest.raises(UnmappedError, match=said):
        inference_keys(inferer, ndim=3, size=None)


def decided(*chain: Transform) -> BundleDecisions:
    """Return what transforms for dictionaries decide about the outputs."""
    decisions = BundleDecisions(NAMES)
    for name, args in chain:
        decisions.take(BundleComponent(name, f"{name}d", args))
    return decisions


LARGEST, FILL = "KeepLargestConnectedComponent", "FillHoles"
TAKEN: dict[str, tuple[list[Transform], dict[str, Any]]] = {
    "argmax without an activation": (
        [("Activations", {}), ("AsDiscrete", {"argmax": True})],
        {"activation": "softmax"},
    ),
    "a threshold without an activation": (
        [("AsDiscrete", {"threshold": 0.4})],
        {"activation": "sigmoid", "threshold": 0.4},
    ),
    "one hot alone": (
        [("AsDiscrete", {"to_onehot": 3}), ("Invert", {})],
        {"prediction": {"resample": "logits"}},
    ),
    "largest of all": ([(LARGEST, {})], {"postprocessing": {"keep_largest": True}}),
    "largest of one": (
        [(LARGEST, {"applied_labels": 2, "independent": False})],
        {"postprocessing": {"keep_largest": ["spleen"]}},
    ),
    "holes of two": (
        [(FILL, {"applied_labels": [2, 1]})],
        {"postprocessing": {"fill_holes": ["spleen", "liver"]}},
    ),
    "holes of all": ([(FILL, {})], {"postprocessing": {"fill_holes": True}}),
}


@pytest.mark.parametrize("name", TAKEN)
def test_postprocessing_is_mapped_to_keys(name: str) -> None:
    chain, keys = TAKEN[name]
    decisions = decided(*chain)
    assert (decisions.keys, decisions.unmapped) == (keys, [])


TOGETHER = "independent: false, over several labels at once"
UNMAPPED: dict[str, tuple[list[Transform], str]] = {
    "two activations": (
        [("Activations", {"softmax": True, "sigmoid": True})],
        "Activationsd (softmax and sigmoid)",
    ),
    "argmax of sigmoids": (
        [("Activations", {"sigmoid": True}), ("AsDiscrete", {"argmax": True})],
        "AsDiscreted (argmax of sigmoids)",
    ),
    "a threshold of softmax": (
        [("Activations", {"softmax": True}), ("AsDiscrete", {"threshold": 0.5})],
        "AsDiscreted (a threshold of softmax)",
    ),
    "all at once": ([(LARGEST, {"independent": False})], f"{LARGEST}d ({TOGETHER})"),
    "two at once": (
        [(LARGEST, {"independent": False, "applied_labels": [1, 2]})],
        f"{LARGEST}d ({TOGETHER})",
    ),
    "a label without a name": (
        [(FILL, {"applied_labels": [1, 7]})],
        "FillHolesd (applied_labels: 7 has no name; give `postprocessing`)",
    ),
}


@pytest.mark.parametrize("name", UNMAPPED)
def test_postprocessing_without_a_counterpart_has_a_reason(name: str) -> None:
    chain, said = UNMAPPED[name]
    assert decided(*chain).unmapped == [said]


def test_names_are_taken_from_the_first_tensor_with_names() -> None:
    named = {"channel_def": {"1": "b/c", "0": "a"}}
    for blocks, names in (({"aux": {}, "pred": named}, ["a", "b_c"]), ({"aux": {}}, [])):
        metadata = {"network_data_format": {"inputs": blocks, "outputs": blocks}}
        assert input_names(metadata) == names
        assert output_names(metadata) == dict(enumerate(names))


def test_steps_of_the_ground_truth_are_passed_over(tmp_path: Path) -> None:
    chain = compose(SPACE, CLIPPED)
    chain["transforms"].append({"_target_": "Spacingd", "keys": ["label"], "pixdim": [9, 9, 9]})
    keys = load_config(bundle_lab(tmp_path, inference(preprocessing=chain)).write()).keys
    assert keys.data.preprocess.spacing_mm == (1.5, 1.5, 2.0)


def without(section: str) -> dict[str, Any]:
    """Return an inference config that lacks a section."""
    return {key: value for key, value in inference().items() if key != section}


def test_without_preprocessing_the_config_has_to_say_it(tmp_path: Path) -> None:
    lab = bundle_lab(tmp_path, {**without("preprocessing"), "postprocessing": []})
    said = 'has no section "preprocessing"; give data.preprocess in the config, which replaces it'
    with pytest.raises(ConfigError, match=said):
        load_config(lab.write())
    lab.keys["data"]["preprocess"] = {"intensity": "minmax"}
    keys = load_config(lab.write()).keys.data.preprocess
    assert keys.model_dump(exclude_defaults=True) == {"intensity": {"minmax": True}}


def test_without_an_inferer_the_config_has_to_give_the_window(tmp_path: Path) -> None:
    lab = bundle_lab(tmp_path, without("inferer"))
    with pytest.raises(ConfigError, match=r"inference\.window: missing"):
        load_config(lab.write())
    lab.keys["inference"] = {"window": [16, 16, 8]}
    assert load_config(lab.write()).keys.inference.window == (16, 16, 8)


def test_without_postprocessing_outputs_are_softmax(tmp_path: Path) -> None:
    keys = load_config(bundle_lab(tmp_path, without("postprocessing")).write()).keys
    assert (keys.activation, keys.postprocessing) == ("softmax", None)
    assert keys.prediction.resample == "logits"


def test_a_function_among_the_transforms_is_refused(tmp_path: Path) -> None:
    lab = bundle_lab(tmp_path, inference(preprocessing=["$lambda data: data"]))
    said = "preprocessing: function is not a transform .*give `data.preprocess` in the config"
    with pytest.raises(ConfigError, match=said):
        load_config(lab.write())


def test_weights_as_torchscript_alone_need_no_file_of_weights(tmp_path: Path) -> None:
    lab = bundle_lab(tmp_path)
    models = tmp_path / "bundle" / "models"
    (models / "model.pt").rename(models / "model.ts")
    assert load_config(lab.write()).keys.model.weights is None
