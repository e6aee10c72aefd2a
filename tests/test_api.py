"""The Python face: five lines from any module to a map on the grid of its image."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import esegeta
from esegeta.config import TargetKeys
from esegeta.config.targets import Over
from esegeta.errors import (
    ConfigError,
    DataError,
    GridError,
    LayerError,
    ModelError,
    TargetError,
    WeightsError,
    WindowError,
)
from esegeta.targets import REGIONS, Boundary, BoxRegion, Predicted
from tests.builders import affine_of, linear, unet, volume
from tests.experiments import noise, read_json, save_image, voxels
from tests.volume.files import geometry_bytes, save_nifti

SHAPE = (12, 10, 9)


def thresholding() -> nn.Module:
    """Return a network whose logit of label 1 is twice the grey value, of 0 nothing."""
    network = linear(3)
    network.weight.data[:] = torch.tensor([0.0, 2.0]).reshape(2, 1, 1, 1, 1)
    return network


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An image on a sheared grid, its qform elsewhere."""
    forms = {"sform": affine_of("sheared"), "qform": affine_of("oblique")}
    return save_nifti(tmp_path / "ct.nii.gz", 100 * noise(SHAPE), **forms)


@pytest.fixture
def model() -> esegeta.SegmentationModel:
    return esegeta.load_model(
        thresholding(), window=(8, 8, 8), overlap=0.5, labels={1: "liver"}, device="cpu"
    )


def test_five_lines(path: Path, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("of", ["dice", "volume_ml"])
def test_whole_map_quantities(of: str, model: esegeta.SegmentationModel, path: Path) -> None:
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
        ({**UNIT, "mask": "live"}, TargetError, "has no mask: live"),
        ({**UNIT, "over": "predicted"}, TargetError, "over: predicted needs a label"),
        ({**UNIT, "of": "logit", "label": 1}, TargetError, "belong to of: unit, not of: logit"),
        ({}, TargetError, "label: no label is given"),
    ],
)
def test_units_that_are_not_said_are_refused(
    keys: dict[str, object], error: type, message: str
) -> None:
    model = esegeta.load_model(unet(3), window=(8, 8, 8), labels={1: "liver"}, device="cpu")
    with pytest.raises(error, match=message):
        model.target(**keys)


def test_regions_have_the_words_of_a_config() -> None:
    assert {*REGIONS, "roi", "box", "point"} == set(get_args(Over))


@pytest.mark.parametrize("of", ["logit", "probability", "margin", "entropy", "dice", "volume_ml"])
def test_the_default_region_is_that_of_a_config(of: str, model: esegeta.SegmentationModel) -> None:
    over = TargetKeys.model_validate({"label": "liver", "of": of}).over
    assert over == ("all" if of in ("entropy", "dice", "volume_ml") else "predicted")
    assert model.target("liver", of=of) == model.target("liver", of=of, over=over)


@pytest.mark.parametrize("of", ["entropy", "dice", "volume_ml"])
def test_a_region_that_is_asked_for_is_respected(of: str, model: esegeta.SegmentationModel) -> None:
    asked = model.target("liver", of=of, over="predicted")
    assert asked != model.target("liver", of=of)
    assert asked.over == Predicted()


@pytest.mark.parametrize("of", ["dice", "volume_ml"])
@pytest.mark.parametrize("keys", [{"reduce": "mean"}, {"mask": "live"}], ids=str)
def test_whole_maps_have_no_mean_and_no_live_mask(
    of: str, keys: dict[str, str], model: esegeta.SegmentationModel
) -> None:
    with pytest.raises(TargetError, match=f"of: {of} describes the whole map"):
        model.target("liver", of=of, **keys)


def test_label_maps_of_files_come_onto_the_volumes_grid(
    model: esegeta.SegmentationModel, path: Path, tmp_path: Path
) -> None:
    forms = {"sform": affine_of("sheared"), "qform": affine_of("oblique")}
    labels = (voxels(path) > 50).astype(np.int16)
    truth_path = save_nifti(tmp_path / "seg.nii.gz", labels, **forms)
    plain = esegeta.load_volume(path)
    truth = esegeta.load_label_map(truth_path, plain)
    torch.testing.assert_close(truth, (plain.data[0] > 50).long())
    keys = {"orientation": "LPS", "spacing_mm": (3.0, 3.0, 3.0)}
    image = esegeta.load_volume(path, **keys)
    moved = esegeta.load_label_map(str(truth_path), image, **keys)
    assert moved.shape == image.data.shape[1:]
    model.freeze(model.target("liver", over="label"), image, truth=moved)
    # The volume knows the way that it went: nothing has to be repeated, and nothing contradicted.
    torch.testing.assert_close(esegeta.load_label_map(truth_path, image), moved)
    with pytest.raises(GridError, match="as for the image"):
        esegeta.load_label_map(truth_path, image, spacing_mm=(2.0, 3.0, 3.0))
    with pytest.raises(GridError, match="as for the image"):
        esegeta.load_label_map(truth_path, plain, **keys)


def test_a_prediction_lies_on_the_grid_of_the_file(
    model: esegeta.SegmentationModel, path: Path, tmp_path: Path
) -> None:
    image = esegeta.load_volume(path, orientation="LPS")
    found = model.predict(image)
    np.testing.assert_array_equal(found, voxels(path) > 0)
    saved = tmp_path / "seg.nii.gz"
    esegeta.save_label_map(saved, found, image)
    np.testing.assert_array_equal(voxels(saved), voxels(path) > 0)
    assert geometry_bytes(saved) == geometry_bytes(path)
    assert model.compare(image, saved) == {"liver": 1.0}
    assert model.compare(image, str(saved)) == {"liver": 1.0}
    other = found.roll(1, 0)
    dice = 2 * int((found & other).sum()) / int(found.sum() + other.sum())
    assert model.compare(image, other) == {"liver": pytest.approx(dice)}
    assert model.compare(image, (other > 0).float()) == {"liver": pytest.approx(dice)}


def test_a_prediction_of_another_spacing_is_decided_on_the_grid_of_the_file(
    model: esegeta.SegmentationModel, path: Path
) -> None:
    image = esegeta.load_volume(path, spacing_mm=(2.0, 2.0, 2.0))
    found = {rule: model.predict(image, resample=rule) for rule in ("logits", "labels")}
    assert found["logits"].shape == found["labels"].shape == SHAPE
    assert not torch.equal(found["logits"], found["labels"])
    assert model.compare(image, found["labels"])["liver"] < 0.99
    assert model.compare(image, found["labels"], resample="labels") == {"liver": 1.0}


def test_what_cannot_be_compared(model: esegeta.SegmentationModel, path: Path) -> None:
    image = esegeta.load_volume(path, spacing_mm=(2.0, 2.0, 2.0))
    on_network = torch.zeros(image.grid.shape, dtype=torch.long)
    with pytest.raises(GridError, match="but the image's file has 12x10x9"):
        model.compare(image, on_network)
    with pytest.raises(GridError, match="but the image's file has 12x10x9"):
        esegeta.save_label_map("x.nii.gz", on_network, image)
    with pytest.raises(DataError, match="holds 7; the labels are 0, 1"):
        model.compare(image, torch.full(SHAPE, 7))
    with pytest.raises(DataError, match="must hold integers"):
        model.compare(image, torch.full(SHAPE, 0.5))
    with pytest.raises(ConfigError, match='did you mean "logits"'):
        model.predict(image, resample="logit")


def test_volumes_are_loaded_as_a_config_says(tmp_path: Path) -> None:
    array = np.zeros((9, 8, 7), dtype=np.float32)
    array[2:7, 1:6, 3:6] = noise((5, 5, 3)) + 5
    path = save_nifti(tmp_path / "head.nii.gz", array)
    truth_path = save_nifti(tmp_path / "seg.nii.gz", (array > 5).astype(np.int16))
    image = esegeta.load_volume(
        path,
        intensity=[{"clip": [4, 6], "when": "before_resampling"}, {"rescale": [-1, 1]}],
        spacing_mm=(None, 3.1, 1.4),
        order=3,
        separate_axis="auto",
        crop={"margin": 1},
        crop_or_pad={"size": [7, 6, 9], "value": -2},
        transpose=(1, 2, 0),
    )
    preprocess = esegeta.Preprocess(
        spacing_mm=(None, 3.1, 1.4),
        intensity=esegeta.intensity_of(
            [{"clip": [4, 6], "when": "before_resampling"}, {"rescale": [-1, 1]}]
        ),
        order=3,
        separate_axis="auto",
        crop=esegeta.Crop(margin=1),
        crop_or_pad=esegeta.CropOrPad((7, 6, 9), -2.0),
        transpose=(1, 2, 0),
    )
    raw = esegeta.load_volume(path)
    assert image.grid.shape == (7, 6, 9)
    assert torch.equal(image.data, preprocess(raw).data)
    assert esegeta.load_label_map(truth_path, image).shape == image.grid.shape
    # Slopes come back to the voxels of the file, and there is none beyond the crop.
    slopes = preprocess.adjoint(torch.ones_like(image.data), raw)
    assert slopes.shape == raw.data.shape
    outside = torch.ones(9, 8, 7, dtype=torch.bool)
    outside[1:8, 0:7, 2:7] = False
    assert not slopes[0, outside].any()
    with pytest.raises(ConfigError, match='did you mean "foreground"'):
        esegeta.load_volume(path, crop="foregound")


UNKNOWN = {
    "label": ({"label": "livr"}, 'label "livr" is not among the labels; did you mean "liver"?'),
    "integer": ({"label": 7}, 'label "7" is not among the labels; choose from: liver'),
    "quantity": ({"of": "logits"}, 'of: "logits" is not a quantity; did you mean "logit"?'),
    "reduce": ({"reduce": "avg"}, 'reduce: "avg" is not known; choose from: sum, mean'),
    "mask": ({"mask": "lve"}, 'mask: "lve" is not known; did you mean "live"?'),
    "region": ({"over": "boundry"}, 'over: "boundry" is not a region; did you mean "boundary"?'),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_unknown_words_are_refused_with_the_nearest(
    what: str, model: esegeta.SegmentationModel
) -> None:
    keys, message = UNKNOWN[what]
    with pytest.raises(TargetError) as caught:
        model.target(**{"label": "liver", **keys})
    assert str(caught.value) == message


def test_regions_with_parameters_are_passed_as_objects(model: esegeta.SegmentationModel) -> None:
    assert model.target("liver", over=Boundary(5.0)).describe().endswith("boundary within 5 mm")


REFUSED = {
    "window": ({"window": (9, 8, 8)}, WindowError, "multiple of 2"),
    "labels": ({"labels": {5: "liver"}}, None, None),
    "too many labels": ({"labels": {1: "a", 5: "b", 6: "c"}}, ConfigError, "cannot be matched"),
    "no labels": ({"labels": {}}, ConfigError, "labels: none are given"),
    "overlap": ({"overlap": 1.0}, ConfigError, "outside"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_model_that_cannot_be_is_refused(what: str) -> None:
    keys, error, message = REFUSED[what]
    arguments = {"window": (8, 8, 8), "labels": {1: "liver"}, "device": "cpu", **keys}
    if error is None:
        assert esegeta.load_model(unet(3), **arguments).labels.channel("liver") == 1
        return
    with pytest.raises(error, match=message):
        esegeta.load_model(unet(3), **arguments)


def test_weights_are_loaded_first(tmp_path: Path) -> None:
    trained = unet(2, seed=1)
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    model = esegeta.load_model(
        unet(2, seed=2),
        window=(8, 8),
        labels={1: "liver"},
        weights=tmp_path / "w.safetensors",
        device="cpu",
    )
    x = torch.randn(1, 1, 8, 8)
    torch.testing.assert_close(model.logits(x), trained(x).detach())


def test_volumes_of_several_files_and_of_tensors(tmp_path: Path) -> None:
    for name in ("t1", "t2"):
        save_image(tmp_path / f"{name}.nii.gz", noise(SHAPE, seed=len(name)))
    volume = esegeta.load_volume([tmp_path / "t1.nii.gz", tmp_path / "t2.nii.gz"])
    assert volume.data.shape == (2, *SHAPE)
    with pytest.raises(DataError, match="no such file"):
        esegeta.load_volume(tmp_path / "t3.nii.gz")
    model = esegeta.load_model(
        linear(3, in_channels=2), window=(8, 8, 8), labels={1: "liver"}, device="cpu"
    )
    memory = esegeta.volume_from_tensor(volume.data, (0.7, 1.9, 3.1))
    maps = [
        esegeta.Saliency().explain(model, image, model.target(1, over="all"))
        for image in (volume, memory)
    ]
    torch.testing.assert_close(maps[0].data, maps[1].data)
    saved = maps[1].save(tmp_path / "map.nii.gz")
    np.testing.assert_allclose(nib.load(saved).header.get_zooms(), (0.7, 1.9, 3.1), rtol=1e-6)


class TwoHeads(nn.Module):
    """A network that returns its input twice, and the other way round."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"aux": torch.cat([x, -x], dim=1), "out": torch.cat([-x, x], dim=1)}


def test_one_of_several_outputs_is_chosen() -> None:
    arguments = {"window": (8, 8), "labels": {1: "liver"}, "device": "cpu"}
    first = esegeta.load_model(TwoHeads(), **arguments)
    chosen = esegeta.load_model(TwoHeads(), output="out", **arguments)
    image = volume((9, 10))
    assert torch.equal(first.logits(image.batch), -chosen.logits(image.batch))
    assert first.notes == (
        "the network returns 2 tensors: aux (2x8x8), out (2x8x8); the first, aux, is taken as the "
        "prediction (choose with model.output)",
    )
    assert chosen.notes == ()
    # Its logit is x: the slope is 1 where the label is predicted.
    found = esegeta.Saliency().explain(chosen, image, chosen.target("liver"))
    assert torch.allclose(found.data, (image.data > 0).float(), atol=1e-6)
    with pytest.raises(ModelError, match=r'no tensor "logits"; it returns aux .*choose from'):
        esegeta.load_model(TwoHeads(), output="logits", **arguments)


def test_weights_are_chosen_by_their_key(tmp_path: Path) -> None:
    states = [unet(2, seed=seed).state_dict() for seed in (1, 2)]
    content = {"model": states[0], "ema": {"module": states[1]}, "best": np.float64(0.9)}
    torch.save(content, tmp_path / "w.pt")
    arguments = {"window": (8, 8), "labels": {1: "liver"}, "device": "cpu"}
    x = volume((9, 10)).batch
    for key, seed in (("model", 1), ("ema.module", 2)):
        model = esegeta.load_model(
            unet(2, seed=3), weights=tmp_path / "w.pt", weights_key=key, **arguments
        )
        expected = esegeta.load_model(unet(2, seed=seed), **arguments)
        assert torch.equal(model.logits(x), expected.logits(x))
        assert model.notes == ()
    model = esegeta.load_model(unet(2, seed=3), weights=tmp_path / "w.pt", **arguments)
    assert [note.partition(":")[2] for note in model.notes] == [
        ' taken off the weights: the wrapper "model"',
        ' several weights fit: "model" was taken, and not "ema.module"; choose with weights_key',
    ]


def test_probabilities_are_said_of_the_model_and_of_its_maps() -> None:
    network = nn.Sequential(unet(2), nn.Softmax(dim=1))
    model = esegeta.load_model(network, window=(8, 8), labels={1: "liver"}, device="cpu")
    said = "the network's output looks like probabilities, not logits"
    assert [note[: len(said)] for note in model.notes] == [said]
    image = volume((9, 10))
    found = esegeta.Saliency().explain(model, image, model.target("liver"))
    assert [text[: len(said)] for text in found.warnings] == [said]
    unit = model.target("liver", of="unit", layer="0.model.0", channel=0, over="predicted")
    assert [text[: len(said)] for text in esegeta.Saliency().explain(model, image, unit).warnings]
    plain = esegeta.load_model(network[0], window=(8, 8), labels={1: "liver"}, device="cpu")
    assert plain.notes == ()
    assert not esegeta.Saliency().explain(plain, image, plain.target("liver")).warnings


def test_every_public_name_resolves() -> None:
    for name in esegeta.__all__:
        assert getattr(esegeta, name).__name__ == name
    assert dir(esegeta) == sorted([*esegeta.__all__, "__version__"])
    with pytest.raises(AttributeError, match="Salience"):
        _ = esegeta.Salience


def in_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_names_are_looked_up_without_importing_what_they_name() -> None:
    done = in_python(
        "import sys, esegeta; dir(esegeta); print({'torch', 'numpy'} & {*sys.modules})"
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_a_name_that_is_not_there_comes_with_the_nearest_one() -> None:
    done = in_python("import esegeta; esegeta.Salience")
    assert done.returncode == 1
    assert "Salience" in done.stderr and "Did you mean: 'Saliency'?" in done.stderr


def test_a_star_imports_every_public_name() -> None:
    space: dict[str, object] = {}
    exec("from esegeta import *", space)
    assert {name for name in space if name != "__builtins__"} == set(esegeta.__all__)


def test_each_name_is_listed_once() -> None:
    stub = Path(esegeta.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    lines = [line for line in stub.splitlines() if line.startswith("from ")]
    names = [line.split()[3] for line in lines]
    assert sorted(names) == esegeta.__all__
    # Type checkers take a name of a stub for public only where it is given under itself.
    assert all(
        line.endswith(f" import {name} as {name}") for line, name in zip(lines, names, strict=True)
    )


def test_regions_and_decisions_are_those_of_a_config() -> None:
    model = esegeta.load_model(
        linear(2, out_channels=3),
        window=(8, 8),
        labels={"whole": [1, 2, 4], "core": [1, 4], "enhancing": 4},
        activation="sigmoid",
        region_order=[2, 1, 4],
        ignore_label=255,
        threshold={"core": 0.4},
        postprocessing={"keep_largest": ["whole"]},
        device="cpu",
    )
    assert model.labels.names == {2: "whole", 1: "core", 4: "enhancing"}
    assert model.labels.thresholds == {"core": 0.4}
    assert model.labels.postprocessing.keep_largest == ("whole",)
    image = esegeta.volume_from_tensor(torch.randn(1, 9, 8), (1.0, 1.0))
    truth = torch.zeros(9, 8, dtype=torch.long)
    truth[:2], truth[2:4], truth[4:] = 1, 2, 255
    frozen = model.freeze(model.target("core", over="label"), image, truth=truth)
    assert int(frozen.mask.sum()) == 16
    wrong = model.freeze(model.target("core", over="false_positive"), image, truth=truth)
    assert not wrong.mask[4:].any()
    with pytest.raises(DataError, match="holds 0, 3, but none of the labels"):
        model.freeze(model.target("core", over="label"), image, truth=(truth == 1) * 3)
    with pytest.raises(ConfigError, match='region_order: "core" and "enhancing" are missing'):
        esegeta.load_model(
            linear(2, out_channels=3),
            window=(8, 8),
            labels={"whole": [1, 2], "core": 1, "enhancing": 4},
            activation="sigmoid",
            region_order=["whole"],
            device="cpu",
        )


def folds_of(tmp_path: Path, count: int = 3) -> tuple[list[nn.Module], list[Path]]:
    networks = [unet(3, seed=seed) for seed in range(count)]
    paths = [tmp_path / f"fold_{number}.safetensors" for number in range(count)]
    for network, path in zip(networks, paths, strict=True):
        save_file(network.state_dict(), path)
    return networks, paths


def test_ensembles_from_networks_and_from_files_are_the_same(tmp_path: Path) -> None:
    networks, paths = folds_of(tmp_path)
    keys = {"window": (8, 8, 8), "labels": {1: "liver"}, "device": "cpu", "mirror": [0]}
    given = esegeta.load_model(networks, **keys)
    loaded = esegeta.load_model(unet(3, seed=9), weights=paths, **keys)
    x = torch.randn(1, 1, 10, 9, 8)
    assert torch.equal(given.logits(x), loaded.logits(x))
    alone = [esegeta.load_model(network, **keys).logits(x) for network in networks]
    torch.testing.assert_close(given.logits(x), torch.stack(alone).mean(dim=0))
    mean = esegeta.load_model(networks, average="probabilities", **keys).logits(x).softmax(dim=1)
    inner = [
        esegeta.load_model(network, average="probabilities", **keys).logits(x)
        for network in networks
    ]
    expected = torch.stack([one.softmax(dim=1) for one in inner]).mean(dim=0)
    torch.testing.assert_close(mean, expected)


def test_members_and_their_spread(tmp_path: Path, path: Path) -> None:
    networks, _ = folds_of(tmp_path)
    model = esegeta.load_model(networks, window=(8, 8, 8), labels={1: "liver"}, device="cpu")
    image = esegeta.load_volume(path)
    target = model.freeze(model.target("liver", over="all"), image)
    found = esegeta.explain_members(esegeta.Saliency(), model, image, target)
    whole = esegeta.Saliency().explain(model, image, target)
    torch.testing.assert_close(found.maps.mean(dim=0), whole.data[0], rtol=1e-4, atol=1e-6)


def test_ensembles_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    networks, paths = folds_of(tmp_path, 2)
    keys = {"window": (8, 8, 8), "labels": {1: "liver"}, "device": "cpu"}
    with pytest.raises(ModelError, match=r"network\[1\]: is not of the same architecture"):
        esegeta.load_model([networks[0], unet(3, out_channels=3)], **keys)
    save_file(unet(3, out_channels=3).state_dict(), paths[1])
    with pytest.raises(WeightsError, match=r"fold_1\.safetensors: the weights do not fit"):
        esegeta.load_model(networks[0], weights=paths, **keys)
    with pytest.raises(ConfigError, match="2 files of weights for 2 networks"):
        esegeta.load_model(networks, weights=paths, **keys)
    with pytest.raises(ConfigError, match="no axis 3"):
        esegeta.load_model(networks, mirror=[3], **keys)


def test_a_network_of_valid_convolutions_needs_no_word(path: Path) -> None:
    from tests.networks import Valid

    keys = {"labels": {1: "liver"}, "device": "cpu"}
    model = esegeta.load_model(Valid(3), window=(14, 14, 14), padding="reflect", **keys)
    image = esegeta.load_volume(path)
    found = esegeta.Saliency().explain(model, image, model.target("liver", over="all"))
    assert found.data.shape == image.data.shape
    assert model.logits(image.batch).shape == (1, 2, *SHAPE)
