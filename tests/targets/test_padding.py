"""Padding is of no image: every number about an image that was padded is that of the image."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from esegeta.errors import EmptyTargetError
from esegeta.explain import Atlas, Features, OverlappingAtlas, Saliency, aggregate
from esegeta.model import Postprocessing
from esegeta.predict import SourceGrid
from esegeta.score import (
    Deletion,
    EffectiveComplexity,
    Entropy,
    Gini,
    Insertion,
    Score,
    ScoreContext,
)
from esegeta.score.localisation import RelevanceMass
from esegeta.targets import (
    Boundary,
    BoxRegion,
    Component,
    DiceTarget,
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
    VolumeTarget,
    VoxelTarget,
    label_dice,
    split_components,
)
from esegeta.volume import CropOrPad, Preprocess, Volume, volume_from_tensor
from tests.builders import labels, predictor

SHAPE, PADDED = (9, 8), (15, 12)
INSIDE = (slice(3, 12), slice(2, 10))
PAD = CropOrPad(PADDED, value=3.0)


class Affine(torch.nn.Module):
    """Predicts label "one" where the image is above 1/2, as padding is."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([torch.full_like(x, 0.5), x], dim=1)


def image() -> Volume:
    """One part of 12 voxels at the border, one of 20 with a hole, one of 2; other values vary."""
    data = torch.rand((1, *SHAPE), generator=torch.Generator().manual_seed(0)) * 0.4
    data[:, 0:3, 0:4] = 1.0
    data[:, 4:9, 1:6] = 2.0
    data[:, 5:7, 2:4] = 0.1
    data[:, 8, 3] = 0.2  # a bay that is open to the border
    data[:, 0:2, 7] = 0.9
    return volume_from_tensor(data, (1.0, 1.0))


def scene_of(volume: Volume, truth: Tensor | None = None, **postprocessing: Any) -> Scene:
    model = predictor(Affine(), (8, 8))
    steps = Postprocessing(**postprocessing)
    return Scene(replace(model, labels=replace(labels(2), postprocessing=steps)), volume, truth)


def truth_of_image() -> Tensor:
    truth = torch.zeros(SHAPE, dtype=torch.long)
    truth[0:2, 0:6] = 1
    return truth


def padded(values: Tensor, fill: float = 0) -> Tensor:
    result = torch.full(PADDED, fill, dtype=values.dtype)
    result[INSIDE] = values
    return result


def both(truth: bool = True, **postprocessing: Any) -> tuple[Scene, Scene]:
    """The scene of the image as it is, and padded; the padding's truth is wrong on purpose."""
    here = truth_of_image() if truth else None
    there = padded(here, 1) if here is not None else None
    volume = image()
    return (
        scene_of(volume, here, **postprocessing),
        scene_of(Preprocess(crop_or_pad=PAD)(volume), there, **postprocessing),
    )


STEPS: dict[str, dict[str, Any]] = {
    "none": {},
    "keep_largest": {"keep_largest": ("one",)},
    "min_volume_ml": {"min_volume_ml": {"one": 0.0025}},
    "fill_holes": {"fill_holes": ("one",)},
}


REGIONS: list[Region] = [
    Predicted(),
    Labelled(),
    FalsePositive(),
    FalseNegative(),
    Component(),
    Component(2),
    Boundary(1.5),
    Otsu(),
    Everywhere(),
    BoxRegion((-3, 2), (5, 20)),
]


def test_an_image_tells_which_of_its_voxels_are_padding() -> None:
    one, other = both()
    assert one.volume.inside is None
    found = other.volume.inside
    assert found is not None
    assert torch.equal(found, padded(torch.ones(SHAPE, dtype=torch.bool)))
    turned = other.volume.flipped(0).inside
    assert turned is not None
    assert torch.equal(turned, found.flip(0))
    cut = Preprocess(crop_or_pad=CropOrPad((5, 5)))(image())
    assert cut.inside is None


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("region", REGIONS, ids=lambda region: region.describe())
def test_masks_are_empty_in_padding(region: Region, steps: str) -> None:
    masks = []
    for scene in both(**STEPS[steps]):
        needed = scene.logits if region.follows_prediction else None
        masks.append(region.mask(scene, needed, "one"))
    assert torch.equal(masks[1], padded(masks[0]))
    if not (steps == "keep_largest" and region == Component(2)):
        assert bool(masks[0].any())


@pytest.mark.parametrize(
    "region",
    [region for region in REGIONS if region.follows_prediction],
    ids=lambda region: region.describe(),
)
def test_live_masks_are_empty_in_padding(region: Region) -> None:
    one, other = (region.mask(s, s.logits.clone(), "one") for s in both())
    assert torch.equal(other, padded(one))


def test_given_masks_and_points_outside_of_the_image_are_ignored() -> None:
    _, other = both()
    everywhere = Roi(torch.ones(PADDED))
    assert int(everywhere.mask(other, None, "one").sum()) == 9 * 8
    with pytest.raises(EmptyTargetError):
        VoxelTarget("one", over=PointRegion((-2.0, 1.0))).freeze(other)
    assert int(UnitTarget("", 0).over.mask(other, None, "").sum()) == 9 * 8


@pytest.mark.parametrize(
    "target",
    [
        VoxelTarget("one"),
        VoxelTarget("one", "entropy", Everywhere()),
        VoxelTarget("one", live=True),
        VoxelTarget("one", over=FalsePositive()),
        DiceTarget("one"),
        DiceTarget("one", "predicted"),
        VolumeTarget("one"),
    ],
    ids=lambda target: target.describe(),
)
def test_targets_have_the_same_value_with_padding(target: Any) -> None:
    values = [float(target.freeze(scene).value(scene.logits)) for scene in both()]
    assert values[0] == pytest.approx(values[1], rel=1e-6)


@pytest.mark.parametrize("steps", STEPS)
def test_the_written_prediction_does_not_depend_on_padding(steps: str) -> None:
    one, other = both(**STEPS[steps])
    for rule in ("logits", "labels"):
        found = [scene.on_source(rule) for scene in (one, other)]  # type: ignore[arg-type]
        assert torch.equal(found[1].label_map, found[0].label_map)
        assert torch.equal(dict(found[1].masks())["one"], dict(found[0].masks())["one"])
    assert torch.equal(other.segmentation.label_map, padded(one.segmentation.label_map))


def test_components_do_not_depend_on_padding() -> None:
    found = [split_components(VoxelTarget("one"), scene) for scene in both()]
    facts = [[part.facts["volume_ml"] for part in parts] for parts in found]
    assert facts[0] == facts[1]
    assert len(facts[0]) == 3


def test_sums_over_regions_do_not_depend_on_padding() -> None:
    integers = truth_of_image()
    mask = integers == 1
    rows = []
    for place, scene in enumerate(both()):
        put: Callable[[Tensor], Tensor] = padded if place else lambda values: values
        target = VoxelTarget("one", "probability", Everywhere()).freeze(scene)
        found = Saliency().explain(scene.predictor, scene.volume, target)
        if place:  # whatever a map holds there is of no region
            outside = ~scene.volume.inside  # type: ignore[operator]
            found = replace(found, data=found.data + 5.0 * outside)
        atlases = (
            Atlas("organs", put(integers)),
            OverlappingAtlas("nested", {"outside": ~put(mask), "a": put(mask)}),
        )
        rows.append(aggregate(found, *atlases))
    for one, other in zip(*rows, strict=True):
        assert (one.atlas, one.region) == (other.atlas, other.region)
        assert vars(other) == {
            key: pytest.approx(value, rel=1e-6) if isinstance(value, float) else value
            for key, value in vars(one).items()
        }


@pytest.mark.parametrize("against", ["prediction", "label", "target"])
def test_scores_ignore_relevance_in_padding(against: Any) -> None:
    values = []
    for scene in both():
        target = VoxelTarget("one", "probability").freeze(scene)
        found = Saliency().explain(scene.predictor, scene.volume, target)
        relevance = scene.volume.data.clone()  # padding holds the most
        context = ScoreContext(scene.predictor, Saliency())
        score = RelevanceMass(against=against)
        found = replace(found, data=relevance)
        values.append(list(score.score(found, context).values()))
    assert values[0] == pytest.approx(values[1], rel=1e-6)


REMOVING: list[Score] = [
    Gini(),
    Entropy(),
    EffectiveComplexity(features="voxels", baseline="zero", steps=8),
    Deletion(features="voxels", baseline="zero", steps=8),
    Insertion(features=Features("atlas", file="parts.nii"), baseline="zero", steps=8),
]


@pytest.mark.parametrize("score", REMOVING)
def test_padding_is_neither_removed_nor_counted(score: Any) -> None:
    values = []
    parts = torch.arange(72).reshape(SHAPE) % 5 + 1
    for scene, labels_ in zip(both(), (parts, padded(parts, 9)), strict=True):
        target = VoxelTarget("one", "probability").freeze(scene)
        found = Saliency().explain(scene.predictor, scene.volume, target)
        # Padding holds the most, and is a part of its own.
        found = replace(found, data=scene.volume.data + 0.01 * scene.volume.data.square())
        own = score
        if isinstance(getattr(score, "features", None), Features):
            own = replace(score, features=replace(score.features, labels=labels_))
        context = ScoreContext(scene.predictor, Saliency())
        values.append(list(own.score(found, context).values()))
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_the_dice_of_labels_does_not_depend_on_padding() -> None:
    one, other = both()
    expected = label_dice(one.labels, one.logits, truth_of_image())
    inside = other.volume.inside
    assert other.truth is not None
    assert label_dice(other.labels, other.logits, other.truth, inside=inside) == expected


def interpolated(**postprocessing: Any) -> tuple[SourceGrid, SourceGrid]:
    """A resampled prediction by `resample: labels`, without and with postprocessing."""
    data = torch.rand((1, 12, 11), generator=torch.Generator().manual_seed(1))
    volume = Preprocess(spacing_mm=(0.7, 1.4))(volume_from_tensor(data, (1.0, 1.0)))
    logits = torch.randn((1, 3, *volume.grid.shape), generator=torch.Generator().manual_seed(2))
    plain = labels(3, "sigmoid")
    steps = replace(plain, postprocessing=Postprocessing(**postprocessing))
    return (
        SourceGrid(logits, volume, plain, "labels"),
        SourceGrid(logits, volume, steps, "labels"),
    )


def test_labels_are_postprocessed_on_the_grid_of_the_file() -> None:
    least = 0.004  # ml: 4 voxels of the file, 4.08 of the network's grid
    plain, found = interpolated(min_volume_ml={"one": least}, keep_largest=("two",))
    before, after = dict(plain.masks()), dict(found.masks())
    steps = found.labels.postprocessing
    expected = steps.refine(before, voxel_ml=1e-3, exclusive=False)
    assert not torch.equal(before["one"], after["one"])
    for name, mask in expected.items():
        assert torch.equal(after[name], mask), name
    # A voxel where all labels stayed is painted as it was; where none did, with none.
    stayed = torch.stack([after[name] == before[name] for name in before]).all(dim=0)
    assert torch.equal(found.label_map[stayed], plain.label_map[stayed])
    none = ~torch.stack(list(after.values())).any(dim=0)
    assert torch.equal(found.label_map == 0, none)


@pytest.mark.parametrize(
    ("region", "text"),
    [
        (Predicted(), r"34 voxels were predicted, and postprocessing \(min_volume_ml\) removed"),
        (Component(), r"34 voxels were predicted, and postprocessing \(min_volume_ml\) removed"),
        (FalsePositive(), r"34 voxels were predicted, and postprocessing"),
    ],
)
def test_an_error_says_that_postprocessing_emptied_a_mask(region: Region, text: str) -> None:
    for scene in both(min_volume_ml={"one": 1.0}):
        with pytest.raises(EmptyTargetError, match=text) as caught:
            VoxelTarget("one", over=region).freeze(scene)
        assert "the network" not in str(caught.value)
        with pytest.raises(EmptyTargetError, match=text):
            split_components(VoxelTarget("one"), scene)


def test_an_error_says_what_part_of_a_mask_postprocessing_took() -> None:
    for scene in both(keep_largest=("one",)):
        with pytest.raises(EmptyTargetError, match=r"34 voxels .* \(keep_largest\) removed 14 of"):
            VoxelTarget("one", over=Component(2)).freeze(scene)
