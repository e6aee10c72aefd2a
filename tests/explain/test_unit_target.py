"""Units as targets: whole graphs written out, regions and combinations."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from esegeta.errors import EmptyTargetError, TargetError
from esegeta.explain import InputXGradient, Objective, Saliency
from esegeta.predict import WindowPlan
from esegeta.score import Infidelity, ScoreContext
from esegeta.targets import (
    Boundary,
    BoxRegion,
    Component,
    Everywhere,
    FalseNegative,
    FalsePositive,
    Labelled,
    Otsu,
    PointRegion,
    Predicted,
    Region,
    Roi,
    Scene,
    UnitTarget,
    VoxelTarget,
    split_components,
)
from esegeta.volume import Volume
from tests.builders import SHAPES, volume
from tests.explain.unit_maps import LAYER, TOLERANCE, blended_unit, case
from tests.networks import Counting
from tests.oracles import gradient_of, relative_gap
from tests.pairwise import pairwise


@pairwise(
    ndim=[2, 3],
    kind=["prelu_batch", "relu_instance"],
    layer=["model.0.conv", LAYER, "model.1"],
    reduce=["sum", "mean"],
)
def test_value_and_gradient_are_those_of_the_whole_graph(
    ndim: int, kind: str, layer: str, reduce: str
) -> None:
    model, image = case(ndim, kind)
    mask = model.labels.predicted(model.logits(image.batch), "one")[0]
    assert 0 < mask.sum() < mask.numel()

    def value(x: Tensor) -> Tensor:
        kept = blended_unit(model, layer, (3,), x)[0, 0][mask]
        return kept.sum() if reduce == "sum" else kept.mean()

    target = UnitTarget(layer, 3, Predicted(), reduce, "one").freeze(Scene(model, image))
    assert torch.equal(target.mask, mask)
    found = Saliency().explain(model, image, target).data
    assert relative_gap(found, gradient_of(value, image.batch)[0]) < TOLERANCE
    objective = Objective.of(model, target, image)
    with torch.no_grad():
        assert objective.value() == pytest.approx(float(value(image.batch)), rel=1e-4)


def test_a_2d_network_over_slices() -> None:
    model, _ = case(2)
    model = replace(model, plan=WindowPlan((8, 8), slice_axis=1))
    image = volume((9, 3, 10), 2)
    target = UnitTarget(LAYER, 2).freeze(Scene(model, image))
    found = Saliency().explain(model, image, target).data
    expected = gradient_of(lambda x: blended_unit(model, LAYER, (2,), x), image.batch)[0]
    assert relative_gap(found, expected) < TOLERANCE


def test_a_volume_smaller_than_the_window(ndim: int) -> None:
    model, _ = case(ndim)
    image = volume((5, 9, 6)[:ndim], 2)
    target = UnitTarget(LAYER, 2).freeze(Scene(model, image))
    found = Saliency().explain(model, image, target).data
    expected = gradient_of(lambda x: blended_unit(model, LAYER, (2,), x), image.batch)[0]
    assert relative_gap(found, expected) < TOLERANCE


def truth_of(image: Volume) -> Tensor:
    return (image.data[0] > 0.3).long()


REGIONS: dict[str, Region] = {
    "predicted": Predicted(),
    "label": Labelled(),
    "false_positive": FalsePositive(),
    "false_negative": FalseNegative(),
    "component": Component(),
    "boundary": Boundary(1.0),
    "box": BoxRegion((1, 2, 0), (7, 6, 5)),
    "point": PointRegion((4, 5, 3)),
    "otsu": Otsu(),
    "all": Everywhere(),
}


@pytest.mark.parametrize("region", REGIONS)
def test_the_mask_is_that_of_the_whole_networks_prediction(ndim: int, region: str) -> None:
    """Each region gives a unit the very voxels that it gives a label."""
    model, image = case(ndim)
    over = REGIONS[region]
    over = BoxRegion(over.start[:ndim], over.stop[:ndim]) if isinstance(over, BoxRegion) else over
    over = PointRegion(over.index[:ndim]) if isinstance(over, PointRegion) else over
    scene = Scene(model, image, truth_of(image))
    expected = VoxelTarget("one", over=over).freeze(scene).mask
    label = "one" if over.needs_label else None
    target = UnitTarget(LAYER, 1, over, label=label).freeze(scene)
    assert torch.equal(target.mask, expected)
    found = Saliency().explain(model, image, target).data
    gradient = gradient_of(
        lambda x: blended_unit(model, LAYER, (1,), x)[0, 0][expected].sum(), image.batch
    )
    assert relative_gap(found, gradient[0]) < TOLERANCE
    assert found.any()


def test_a_unit_target_over_a_roi_or_a_component() -> None:
    model, image = case(2)
    scene = Scene(model, image)
    roi = torch.zeros(SHAPES[2], dtype=torch.long)
    roi[2:5, 3:] = 1
    assert torch.equal(UnitTarget(LAYER, 1, Roi(roi)).freeze(scene).mask, roi > 0)
    parts = split_components(UnitTarget(LAYER, 1, Predicted(), label="one"), scene)
    masks = [part.freeze(scene).mask for part in parts]
    assert torch.equal(torch.stack(masks).sum(dim=0), Predicted().mask(scene, scene.logits, "one"))
    assert parts[0].freeze(scene).facts["component"] == 1
    with pytest.raises(TargetError, match="a label is needed to split"):
        split_components(UnitTarget(LAYER, 1), scene)


def test_a_region_without_the_prediction_costs_no_prediction() -> None:
    model, image = case(2)
    network = Counting(model.network)
    scene = Scene(replace(model, network=network), image)
    UnitTarget("inner." + LAYER, 1).freeze(scene)
    assert network.windows == 1  # to see that the layer has the unit
    UnitTarget("inner." + LAYER, 1, Predicted(), label="one").freeze(scene)
    assert network.windows > 2


def test_units_of_one_layer_combine(ndim: int) -> None:
    model, image = case(ndim)
    scene = Scene(model, image)
    six, one = UnitTarget(LAYER, 6), UnitTarget(LAYER, 1, Predicted(), label="one")
    box = UnitTarget(LAYER, 4, BoxRegion((0,) * ndim, (5,) * ndim))
    mask = one.freeze(scene).mask
    spot = box.freeze(scene).mask

    def parts(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps = blended_unit(model, LAYER, (6, 1, 4), x)[0]
        return maps[0].sum(), maps[1][mask].sum(), maps[2][spot].sum()

    def mixed(x: Tensor) -> Tensor:
        a, b, c = parts(x)
        return 2 * a - b + 0.5 * c

    def multiplied(x: Tensor) -> Tensor:
        a, b, c = parts(x)
        return (a - c) * b

    for target, function in ((2 * six - one + 0.5 * box, mixed), ((six - box) * one, multiplied)):
        frozen = target.freeze(scene)
        assert frozen.is_linear == (function is mixed)
        found = Saliency().explain(model, image, frozen).data
        assert relative_gap(found, gradient_of(function, image.batch)[0]) < TOLERANCE
        objective = Objective.of(model, frozen, image)
        expected = float(function(image.batch).detach())
        assert objective.value() == pytest.approx(expected, rel=1e-4)
        assert objective.at(image.data).value() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("other", [VoxelTarget("one"), UnitTarget("model.0", 1)])
def test_targets_of_different_layers_cannot_be_combined(other: VoxelTarget | UnitTarget) -> None:
    unit = UnitTarget(LAYER, 1)
    place = "the logits" if isinstance(other, VoxelTarget) else "layer model.0"
    for combine in (lambda: unit + other, lambda: other - unit, lambda: unit * other):
        with pytest.raises(TargetError, match=f"{place}|{LAYER}.*cannot be combined"):
            combine()
    with pytest.raises(TargetError, match="cannot be combined"):
        (unit + UnitTarget(LAYER, 2)) * other


def test_a_unit_target_describes_itself() -> None:
    model, image = case(2)
    target = UnitTarget(LAYER, 2, Predicted(), "mean", "one").freeze(Scene(model, image))
    assert target.description == f"mean of unit 2 of layer {LAYER} over predicted of one"
    assert target.unit == "activation"
    assert target.facts["layer"] == LAYER
    assert target.facts["channel"] == 2
    assert UnitTarget(LAYER, 2).describe() == f"sum of unit 2 of layer {LAYER} over all"


def test_scores_judge_a_unit_target_like_any_other(ndim: int) -> None:
    """A map that is the unit's exact first order has next to no infidelity under small noise."""
    model, image = case(ndim)
    target = UnitTarget("model.0.conv", 1).freeze(Scene(model, image))  # linear in the input
    method = InputXGradient()
    map_ = replace(
        method.explain(model, image, target), data=Saliency().explain(model, image, target).data
    )
    found = Infidelity(perturbation="gaussian", noise=0.1).score(map_, ScoreContext(model, method))
    assert found["infidelity_relative"] < 1e-6


def test_a_region_of_a_label_needs_one_and_an_empty_one_is_refused() -> None:
    model, image = case(2)
    scene = Scene(model, image)
    with pytest.raises(TargetError, match="over: predicted needs a label"):
        UnitTarget(LAYER, 1, Predicted())
    with pytest.raises(TargetError, match="channel: -1"):
        UnitTarget(LAYER, -1)
    with pytest.raises(EmptyTargetError, match="no voxel over: box"):
        UnitTarget(LAYER, 1, BoxRegion((50, 50), (60, 60))).freeze(scene)
