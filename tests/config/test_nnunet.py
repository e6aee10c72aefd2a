"""What the keys of an nnU-Net folder are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("dynamic_network_architectures")

from tests.nnunet_folder import Results
from tests.nnunet_folder import load_nnunet_config as load


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results")


def test_an_nnunet_folder_gives_all_keys(results: Results, tmp_path: Path) -> None:
    results.write()
    keys = load(tmp_path, {"path": "results", "configuration": "3d_fullres"}).keys
    trained = "results/Dataset012_Tiny/nnUNetTrainer__nnUNetPlans__3d_fullres"
    assert keys.model.weights == [f"{trained}/fold_{fold}/checkpoint_final.pth" for fold in (0, 1)]
    assert keys.model.args["features_per_stage"] == [2, 4]
    assert keys.activation == "softmax"
    assert keys.labels == {1: "liver", 2: "tumour"}
    assert keys.data.channels == ["CT"]
    steps = keys.data.preprocess
    assert steps.transpose == (2, 1, 0)
    assert steps.crop is not None and steps.crop.above is None
    assert steps.spacing_mm == (2.0, 1.5, 1.0)
    assert (steps.order, steps.separate_axis) == (3, "auto")
    (step,) = steps.intensity if isinstance(steps.intensity, list) else [steps.intensity]
    assert step.ct is not None and step.when == "before_resampling"
    assert (step.ct.clip, step.ct.mean, step.ct.std) == ((-40.0, 190.0), 60.5, 21.25)
    block = keys.inference
    assert (block.window, block.overlap, block.blend) == ((8, 8, 8), 0.5, "nnunet")
    assert (block.positions, block.mirror) == ("even", (0, 1, 2))
    assert keys.prediction.resample == "logits"


def test_the_folder_of_a_fold_stands_for_the_whole_folder(results: Results, tmp_path: Path) -> None:
    folder = results.write()
    whole, part = (
        load(tmp_path, {"path": str(path)}).keys.model for path in (folder, folder / "fold_1")
    )
    assert part.weights == whole.weights
    assert (part.network, part.args) == (whole.network, whole.args)


def test_keys_of_the_config_override_the_folder(results: Results, tmp_path: Path) -> None:
    folder = results.write()
    keys = load(
        tmp_path,
        {"path": str(folder), "folds": [1]},
        inference={"mirror": [], "overlap": 0.25},
        data={"preprocess": {"spacing_mm": None, "intensity": "zscore"}},
        labels={1: "lobe", 2: "lesion"},
        targets=[{"name": "t", "label": "lobe"}],
        prediction={"resample": "labels"},
    ).keys
    assert keys.model.weights == str(folder / "fold_1" / "checkpoint_final.pth")
    assert (keys.inference.mirror, keys.inference.overlap) == ((), 0.25)
    assert keys.inference.blend == "nnunet"
    assert keys.labels == {1: "lobe", 2: "lesion"}
    assert keys.data.preprocess.crop is not None
    assert keys.prediction.resample == "labels"


def test_a_spacing_of_the_config_uses_the_resampling_of_the_folder(
    results: Results, tmp_path: Path
) -> None:
    folder = results.write(mirror=None)
    given = {"preprocess": {"spacing_mm": [3, 3, 3]}}
    keys = load(tmp_path, {"path": str(folder)}, data=given).keys
    steps = keys.data.preprocess
    assert (steps.spacing_mm, steps.order, steps.separate_axis) == ((3, 3, 3), 3, "auto")
    assert keys.inference.mirror == ()  # training mirrored nothing


def test_a_configuration_inherits_from_its_parent(results: Results, tmp_path: Path) -> None:
    results.configuration = "3d_lowres"
    results.write()
    keys = load(tmp_path, {"path": "results"}).keys
    assert keys.data.preprocess.spacing_mm == (4.0, 3.0, 2.0)
    assert keys.inference.window == (8, 8, 8)
    assert keys.model.configuration == "3d_lowres"


def test_a_recorded_config_resolves_to_itself(results: Results, tmp_path: Path) -> None:
    results.write()
    model = load(tmp_path, {"path": "results"}).resolved()["model"]
    assert load(tmp_path, model).resolved()["model"] == model


@pytest.mark.parametrize(
    ("axes", "expected"), [([0, 1, 2], (2, 1, 0)), ([2, 0, 1], (0, 2, 1)), ([1, 2, 0], (1, 0, 2))]
)
def test_axes_are_those_of_nnunets_readers(
    axes: list[int], expected: tuple[int, ...], results: Results, tmp_path: Path
) -> None:
    """numpy: an array `x y z`, read as `z y x` and transposed forward."""
    results.plans["transpose_forward"] = axes
    results.write()
    assert load(tmp_path, {"path": "results"}).keys.data.preprocess.transpose == expected
    x = torch.arange(24).reshape(2, 3, 4)
    assert torch.equal(x.permute(expected), x.permute(2, 1, 0).permute(axes))


@pytest.mark.parametrize(
    ("there", "folds", "expected"),
    [
        ((0, 1, 10, 2), None, ["0", "1", "2", "10"]),
        ((0, "all"), "all", ["0"]),
        (("all",), None, ["all"]),
        ((0, "all"), ["all"], ["all"]),
        ((0, 1), 1, ["1"]),
        ((0, 1, 2), [2, 0], ["2", "0"]),
    ],
)
def test_folds_default_to_all_and_can_be_chosen(
    there: tuple[int | str, ...],
    folds: Any,
    expected: list[str],
    results: Results,
    tmp_path: Path,
) -> None:
    results.folds = there
    results.write()
    chosen = {} if folds is None else {"folds": folds}
    files = load(tmp_path, {"path": "results", **chosen}).keys.model.weights_files
    assert [Path(file).parent.name for file in files] == [f"fold_{fold}" for fold in expected]


def test_regions_are_labels_in_their_order(results: Results, tmp_path: Path) -> None:
    results.dataset["labels"] = {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}
    results.dataset["regions_class_order"] = [1, 2]
    results.write(num_outputs=2)
    keys = load(tmp_path, {"path": "results"}, targets=[{"name": "t", "label": "core"}]).keys
    assert keys.activation == "sigmoid"
    assert keys.labels == {"whole": (1, 2), "core": (2,)}
    assert (keys.region_order, keys.ignore_label) == ([1, 2], 3)
    assert keys.model.args["num_classes"] == 2


def test_names_unfit_for_files_are_changed(results: Results, tmp_path: Path) -> None:
    results.dataset["labels"] = {"background": 0, "left/right": 1, "a: b": 2}
    results.dataset["channel_names"] = {"0": "C/T"}
    results.write()
    keys = load(tmp_path, {"path": "results"}, targets=[{"name": "t", "label": "a- b"}]).keys
    assert keys.labels == {1: "left-right", 2: "a- b"}
    assert keys.data.channels == []
