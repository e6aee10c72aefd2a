"""The Python face: five lines from any module to a map on the grid of its image."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

import esegeta
from esegeta.config import TargetKeys
from esegeta.config.targets import Over
from esegeta.errors import DataError, LayerError, TargetError
from esegeta.targets import REGIONS, Boundary, BoxRegion, Predicted
from tests.api.thresholding import SHAPE, thresholding
from tests.builders import unet
from tests.experiments import read_json, voxels
from tests.volume.files import geometry_bytes


def test_a_map_takes_five_lines(path: Path, tmp_path: Path) -> None:
    network = unet(3)
    model = esegeta.load_model(network, window=(8, 8, 8), overlap=0.5, labels={1: "liver"})
    image = esegeta.load_volume(path, orientation="RAS", window_hu=(-250, 400))
    target = model.target("liver", over="predicted")
    attribution = esegeta.IntegratedGradients(steps=3, baseline="blur").explain(
        model, image, target
    )
    attribution.save(tmp_path / "liver_ig.nii.gz")
    assert geometry_bytes(tmp_path / "liver_ig.nii.gz") == geometry_bytes(path)
    map_ = voxels(tmp_path / "liver_ig.nii.gz")
    assert map_.shape == SHAPE
    assert np.abs(map_).max() > 0
    sidecar = read_json(tmp_path / "liver_ig.json")
    assert sidecar["method"] == "integrated_gradients"
    assert sidecar["parameters"]["steps"] == 3
    assert sidecar["image"] == [str(path)]


@pytest.mark.parametrize("orientation", [None, "RAS", "LPS"])
def test_the_saved_map_is_the_gradient_on_the_files_grid(
    orientation: str | None, model: esegeta.SegmentationModel, path: Path, tmp_path: Path
) -> None:
    image = esegeta.load_volume(path, orientation=orientation)
    saved = esegeta.Saliency().explain(model, image, model.target(1)).save(tmp_path / "s.nii.gz")
    np.testing.assert_allclose(voxels(saved), 2.0 * (voxels(path) > 0), atol=1e-5)


def test_targets_make_an_algebra(model: esegeta.SegmentationModel, path: Path) -> None:
    image = esegeta.load_volume(path)
    whole, spot = model.target(1, over="all"), model.target(1, over=BoxRegion((0, 0, 0), (2, 2, 2)))
    corner = np.zeros(SHAPE)
    corner[:2, :2, :2] = 1
    x = voxels(path).astype(float)
    total = (2 * x * corner).sum()
    cases = [
        (whole - 0.5 * spot, 2 - corner),
        (whole + spot * 3.0, 2 + 6 * corner),
        (-whole, -2 * np.ones(SHAPE)),
        (spot * spot, 2 * total * 2 * corner),
    ]
    for target, expected in cases:
        found = esegeta.Saliency().explain(model, image, target).total
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-3)
    description = (whole - 0.5 * spot).describe()
    assert description.endswith("- 0.5 * (sum of logit of 1 over box [0, 0, 0] to [2, 2, 2])")


def test_a_frozen_target_serves_several_methods(
    model: esegeta.SegmentationModel, path: Path
) -> None:
    image = esegeta.load_volume(path)
    frozen = model.freeze(model.target("liver"), image)
    gradient = esegeta.Saliency().explain(model, image, frozen)
    product = esegeta.InputXGradient().explain(model, image, frozen)
    torch.testing.assert_close(product.data, gradient.data * image.data)
    assert gradient.target is product.target


def test_targets_that_need_the_truth_take_it(model: esegeta.SegmentationModel, path: Path) -> None:
    image = esegeta.load_volume(path)
    truth = (image.data[0] > 50).long()
    frozen = model.freeze(model.target("liver", over="label"), image, truth=truth)
    found = esegeta.Saliency().explain(model, image, frozen).total
    torch.testing.assert_close(found, 2.0 * truth.float())
    with pytest.raises(TargetError, match="needs a ground truth"):
        model.freeze(model.target("liver", over="label"), image)


def arrays_of(label_map: torch.Tensor) -> list[np.ndarray]:
    array = label_map.numpy()
    backwards = np.ascontiguousarray(array[::-1])[::-1]
    kinds = ("u1", "u2", ">i4", "u8", "f4", "?")
    return [backwards, *(array.astype(kind) for kind in kinds)]


def test_label_maps_may_be_arrays(
    model: esegeta.SegmentationModel, path: Path, tmp_path: Path
) -> None:
    image = esegeta.load_volume(path)
    own = model.predict(image)
    truth = (image.data[0] > 50).long()
    target = model.target("liver", over="label")
    expected = model.freeze(target, image, truth=truth).value(model.logits(image.batch))
    for array in arrays_of(truth):
        assert model.compare(image, array) == model.compare(image, truth)
        frozen = model.freeze(target, image, truth=array)
        assert torch.equal(frozen.value(model.logits(image.batch)), expected)
        esegeta.save_label_map(tmp_path / "saved.nii.gz", array, image)
        assert model.compare(image, tmp_path / "saved.nii.gz") == model.compare(image, truth)
    assert model.compare(image, own.numpy()) == {"liver": 1.0}
    with pytest.raises(DataError, match="expected: a label map must hold integers"):
        model.compare(image, 0.5 * truth.numpy())
    with pytest.raises(DataError, match=r"must hold integers \(found <U1\)"):
        model.compare(image, truth.numpy().astype("U1"))


@pytest.mark.parametrize("of", ["dice", "volume_ml"])
def test_dice_and_volume_follow_their_definitions(
    of: str, model: esegeta.SegmentationModel, path: Path
) -> None:
    image = esegeta.load_volume(path)
    frozen = model.freeze(model.target("liver", of=of), image, truth=(image.data[0] > 0).long())
    p = torch.sigmoid(2 * image.data[0].double())
    overlap = 2 * (p * (p > 0.5)).sum() / (p.sum() + (p > 0.5).sum())
    volume = p.sum() * abs(np.linalg.det(image.affine[:3, :3])) / 1000
    expected = overlap if of == "dice" else volume
    value = frozen.value(model.logits(image.batch))
    assert float(value[0]) == pytest.approx(float(expected), rel=1e-5)


def test_a_unit_of_a_layer(path: Path) -> None:
    """Unit 1 of the last layer is what the logit of label 1 is."""
    network = nn.Sequential(thresholding())
    model = esegeta.load_model(network, window=(8, 8, 8), labels={1: "liver"}, device="cpu")
    image = esegeta.load_volume(path)
    unit = model.target(of="unit", layer="0", channel=1)
    assert unit.describe() == "sum of unit 1 of layer 0 over all"
    found = esegeta.Saliency().explain(model, image, unit).total
    torch.testing.assert_close(found, torch.full_like(found, 2.0))
    liver = model.target("liver", of="unit", layer="0", channel=1, over="predicted", reduce="mean")
    frozen = model.freeze(liver, image)
    mask = (image.data[0] > 0).float()
    found = esegeta.Saliency().explain(model, image, frozen).total
    torch.testing.assert_close(found, 2 * mask / mask.sum())
    both = esegeta.Saliency().explain(model, image, 2 * unit - liver).total
    torch.testing.assert_close(both, 4 - 2 * mask / mask.sum())


UNIT = {"of": "unit", "layer": "model.0", "channel": 1}


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({**UNIT, "layer": None}, TargetError, "needs a layer and a channel"),
        ({**UNIT, "channel": None}, TargetError, "needs a layer and a channel"),
        ({**UNIT, "layer": "model.00"}, LayerError, r'"model.00" is not in .*"model.0"'),
        ({**UNIT, "mask": "live"}, TargetError, "cannot have mask: live"),
        ({**UNIT, "over": "predicted"}, TargetError, "over: predicted needs a label"),
        ({**UNIT, "of": "logit", "label": 1}, TargetError, "belong to of: unit, not of: logit"),
        ({}, TargetError, "label: no label is given"),
    ],
)
def test_invalid_units_are_refused(keys: dict[str, object], error: type, message: str) -> None:
    model = esegeta.load_model(unet(3), window=(8, 8, 8), labels={1: "liver"}, device="cpu")
    with pytest.raises(error, match=message):
        model.target(**keys)


def test_regions_have_the_names_used_in_configs() -> None:
    assert {*REGIONS, "roi", "box", "point"} == set(get_args(Over))


@pytest.mark.parametrize("of", ["logit", "probability", "margin", "entropy", "dice", "volume_ml"])
def test_the_default_region_is_that_of_a_config(of: str, model: esegeta.SegmentationModel) -> None:
    over = TargetKeys.model_validate({"label": "liver", "of": of}).over
    assert over == ("all" if of in ("entropy", "dice", "volume_ml") else "predicted")
    assert model.target("liver", of=of) == model.target("liver", of=of, over=over)


@pytest.mark.parametrize("of", ["entropy", "dice", "volume_ml"])
def test_a_given_region_overrides_the_default(of: str, model: esegeta.SegmentationModel) -> None:
    asked = model.target("liver", of=of, over="predicted")
    assert asked != model.target("liver", of=of)
    assert asked.over == Predicted()


@pytest.mark.parametrize("of", ["dice", "volume_ml"])
@pytest.mark.parametrize("keys", [{"reduce": "mean"}, {"mask": "live"}], ids=str)
def test_mean_and_live_masks_are_refused_for_whole_map_quantities(
    of: str, keys: dict[str, str], model: esegeta.SegmentationModel
) -> None:
    with pytest.raises(TargetError, match=f"of: {of} describes the whole map"):
        model.target("liver", of=of, **keys)


UNKNOWN = {
    "label": ({"label": "livr"}, 'label "livr" is not among the labels; did you mean "liver"?'),
    "integer": ({"label": 7}, 'label "7" is not among the labels; choose from: liver'),
    "quantity": ({"of": "logits"}, 'of: "logits" is not a quantity; did you mean "logit"?'),
    "reduce": ({"reduce": "avg"}, 'reduce: "avg" is not known; choose from: sum, mean'),
    "mask": ({"mask": "lve"}, 'mask: "lve" is not known; did you mean "live"?'),
    "region": ({"over": "boundry"}, 'over: "boundry" is not a region; did you mean "boundary"?'),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_unknown_names_are_refused_with_the_nearest(
    what: str, model: esegeta.SegmentationModel
) -> None:
    keys, message = UNKNOWN[what]
    with pytest.raises(TargetError) as caught:
        model.target(**{"label": "liver", **keys})
    assert str(caught.value) == message


def test_regions_with_parameters_are_passed_as_objects(model: esegeta.SegmentationModel) -> None:
    assert model.target("liver", over=Boundary(5.0)).describe().endswith("boundary within 5 mm")
