"""Soft Dice and soft volume: closed forms, slow rewrites and gradients."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from esegeta.errors import DataError, EmptyTargetError, TargetError
from esegeta.model import Labels
from esegeta.targets import (
    BoxRegion,
    DiceTarget,
    Everywhere,
    Labelled,
    Predicted,
    Region,
    VolumeTarget,
    VoxelTarget,
    split_components,
)
from esegeta.volume import load_volume
from tests.builders import affine_of, scene
from tests.targets.cases import logits_of, noise_logits, noise_scene, probabilities

REGIONS = [Everywhere(), Predicted(), BoxRegion((2, 1), (8, 6))]
VOXEL_ML = 0.7 * 1.9 * 3.1 / 1000


def region_of(region: Region, ndim: int) -> Region:
    return (
        BoxRegion((2, 1, 1), (8, 6, 5)) if isinstance(region, BoxRegion) and ndim == 3 else region
    )


@pytest.mark.parametrize("region", REGIONS, ids=lambda region: region.name)
@pytest.mark.parametrize("reference", ["label", "predicted"])
def test_dice_equals_a_rewrite(ndim: int, activation: str, reference: str, region: Region) -> None:
    at, over = noise_scene(ndim, activation), region_of(region, ndim)
    frozen = DiceTarget("two", reference=reference, over=over).freeze(at)
    channel = at.labels.channel("two")
    domain = over.mask(at, at.logits, "two").numpy()
    truth = (Labelled() if reference == "label" else Predicted()).mask(at, at.logits, "two")
    logits = noise_logits(ndim, batch=2, seed=3)
    for image, p in enumerate(probabilities(logits, activation)):
        overlap = total = 0.0
        for voxel in np.argwhere(domain):
            here, given = p[(channel, *voxel)], float(truth[tuple(voxel)])
            overlap += here * given
            total += here + given
        assert float(frozen.value(logits)[image]) == pytest.approx(2 * overlap / total, rel=1e-5)
    assert not frozen.is_linear
    assert frozen.unit == "Dice"


def test_dice_in_closed_form() -> None:
    # Certain predictions: 6 voxels predicted, 4 labelled, 3 of them shared.
    predicted, truth = torch.zeros(2, 4, 5, dtype=torch.bool)
    predicted[0, :5] = predicted[1, 0] = True
    truth[0, :3] = truth[3, 4] = True
    at = scene(100 * logits_of(predicted), truth=truth.long())
    assert float(DiceTarget("one").freeze(at).value(at.logits)) == pytest.approx(2 * 3 / (6 + 4))
    own = DiceTarget("one", reference="predicted").freeze(at)
    assert float(own.value(at.logits)) == pytest.approx(1.0)
    # Full doubt everywhere: p = 1/2 in 20 voxels.
    doubt = torch.zeros(1, 2, 4, 5)
    assert float(DiceTarget("one").freeze(at).value(doubt)) == pytest.approx(2 * 2 / (10 + 4))


@pytest.mark.parametrize("region", REGIONS, ids=lambda region: region.name)
def test_volume_in_ml(ndim: int, activation: str, region: Region) -> None:
    at, over = noise_scene(ndim, activation), region_of(region, ndim)
    frozen = VolumeTarget("two", over=over).freeze(at)
    domain = over.mask(at, at.logits, "two").numpy()
    logits = noise_logits(ndim, batch=2, seed=3)
    p = probabilities(logits, activation)[:, at.labels.channel("two")]
    for image in range(2):
        expected = p[image][domain].sum() * VOXEL_ML
        assert float(frozen.value(logits)[image]) == pytest.approx(expected, rel=1e-5)
    assert frozen.unit == "ml"


def test_volume_of_certain_predictions() -> None:
    inside = torch.zeros(4, 5, 6, dtype=torch.bool)
    inside[1:3, 2:5, 0] = True
    at = scene(100 * logits_of(inside), affine=affine_of("sheared"))
    assert float(VolumeTarget("one").freeze(at).value(at.logits)) == pytest.approx(6 * VOXEL_ML)


@pytest.mark.parametrize("target", [DiceTarget("one"), VolumeTarget("one")])
def test_gradients_in_float64(target: DiceTarget | VolumeTarget, activation: str) -> None:
    truth = torch.tensor([[0, 1, 2], [1, 1, 0]])
    frozen = target.freeze(scene(torch.randn(1, 3, 2, 3), activation=activation, truth=truth))
    y = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(frozen.value, (y,), fast_mode=True)


def test_a_better_prediction_has_a_higher_dice() -> None:
    at = noise_scene(2)
    truth = at.require_truth("test")
    better = at.logits.clone()
    better[0, 1] += torch.where(truth == 1, 1.0, -1.0)
    dice = DiceTarget("one").freeze(at)
    assert dice.value(better) > dice.value(at.logits)


def test_whole_map_targets_without_ground_truth_or_voxels_are_refused() -> None:
    nothing = torch.zeros(3, 4, dtype=torch.bool)
    with pytest.raises(TargetError, match="case: of: dice needs a ground truth"):
        DiceTarget("one").freeze(scene(logits_of(~nothing)))
    at = scene(logits_of(nothing), truth=nothing.long())
    for reference in ("label", "predicted"):
        with pytest.raises(EmptyTargetError, match=f'case: no voxel of label "one".*{reference}'):
            DiceTarget("one", reference=reference).freeze(at)
    with pytest.raises(EmptyTargetError, match="over: box"):
        VolumeTarget("one", over=BoxRegion((9, 9), (10, 10))).freeze(at)


def test_the_ground_truth_is_that_of_the_label_not_of_its_channel() -> None:
    # Sparse integers: label 4 is channel 2, and its truth is where the map says 4.
    from esegeta.model import Labels
    from esegeta.predict import Predictor
    from esegeta.targets import Scene

    at = scene(torch.randn(1, 3, 4, 5))
    sparse = Labels({1: "a", 4: "b"}, "softmax", 3)
    model = Predictor(at.predictor.network, at.predictor.plan, sparse)
    truth = torch.zeros(4, 5, dtype=torch.long)
    truth[0, 0], truth[1, 1] = 4, 2
    other = Scene(model, at.volume, truth=truth, known_logits=at.logits)
    mask = Labelled().mask(other, None, "b")
    assert torch.equal(mask, truth == 4)
    frozen = DiceTarget("b").freeze(other)
    p = probabilities(at.logits, "softmax")[0, 2]
    assert float(frozen.value(at.logits)) == pytest.approx(2 * p[0, 0] / (p.sum() + 1), rel=1e-5)


def test_a_picture_has_no_volume_in_ml(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((11, 13), np.uint8)).save(tmp_path / "a.png")
    picture = load_volume(tmp_path / "a.png")
    at = scene(torch.randn(1, 3, 11, 13), of=picture)
    with pytest.raises(DataError, match=r"of: volume_ml is in ml, but a picture has pixels"):
        VolumeTarget("two").freeze(at)
    target = VoxelTarget("two")
    with pytest.raises(DataError, match=r"min_volume_ml is in ml"):
        split_components(target, at, min_volume_ml=0.1)
    steps = Labels.of({2: "two"}, "softmax", 3, postprocessing={"min_volume_ml": 0.1})
    filtered = replace(at, predictor=replace(at.predictor, labels=steps))
    with pytest.raises(DataError, match=r"postprocessing: min_volume_ml is in ml, but a picture"):
        target.freeze(filtered)
    with pytest.raises(DataError, match=r"postprocessing: min_volume_ml is in ml, but a picture"):
        filtered.on_source("logits")
    parts = split_components(target, at)
    sizes = [part.facts["num_pixels"] for part in parts]
    assert sum(sizes) == int(at.labels.predicted(at.logits, "two").sum())
    assert sizes == sorted(sizes, reverse=True)
