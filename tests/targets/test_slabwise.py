"""Targets frozen on a prediction that is never held whole are those of one that is."""

from dataclasses import replace

import pytest
import torch

from esegeta.errors import ModelError
from esegeta.explain import Saliency
from esegeta.model import Labels
from esegeta.targets import (
    Boundary,
    Component,
    DiceTarget,
    FalsePositive,
    Otsu,
    Predicted,
    Region,
    Roi,
    Scene,
    VoxelTarget,
)
from tests.allocations import Allocations
from tests.builders import pointwise, predictor, unet, volume

SHAPE = (11, 6, 5)
OUTPUTS = 4
LABELS = {
    "softmax": Labels({1: "one", 2: "two", 3: "three"}, "softmax", OUTPUTS),
    "sigmoid": Labels({1: "one", 2: "two", 3: "three", 4: "four"}, "sigmoid", OUTPUTS),
    "steps": Labels.of(
        {1: "one", 2: "two", 3: "three"},
        "softmax",
        OUTPUTS,
        postprocessing={"keep_largest": True, "fill_holes": True},
    ),
}
REGIONS = [Predicted(), Component(2), Boundary(1.5), FalsePositive(), Otsu()]


def both(activation: str = "softmax", seed: int = 0) -> tuple[Scene, Scene]:
    """Return a scene whose prediction is held, and the same one slab by slab."""
    network = unet(3, out_channels=OUTPUTS, seed=seed)
    model = predictor(network, (4, 4, 4), num_outputs=OUTPUTS)
    model = replace(model, labels=LABELS[activation])
    generator = torch.Generator().manual_seed(1)
    truth = torch.randint(0, OUTPUTS, SHAPE, generator=generator)
    image = volume(SHAPE)
    return Scene(model, image, truth), Scene(replace(model, held_mb=0), image, truth)


@pytest.mark.parametrize("activation", LABELS)
def test_decisions_by_slabs_equal_those_of_the_whole(activation: str) -> None:
    whole, slabs = both(activation)
    assert whole.prediction.is_held
    assert not slabs.prediction.is_held
    for name in whole.labels.foreground:
        assert torch.equal(slabs.predicted(name), whole.predicted(name))
    assert torch.equal(slabs.segmentation.label_map.long(), whole.segmentation.label_map)
    assert slabs.known_warnings == whole.known_warnings == ()
    assert not slabs.prediction.is_held  # nothing asked for all of it


@pytest.mark.parametrize("region", REGIONS, ids=lambda region: region.describe())
def test_masks_by_slabs_equal_those_of_the_whole(region: Region) -> None:
    whole, slabs = both()
    assert torch.equal(region.mask(slabs, None, "one"), region.mask(whole, None, "one"))
    assert torch.equal(region.mask(whole, whole.logits, "one"), region.mask(whole, None, "one"))
    assert not slabs.prediction.is_held


def test_the_whole_prediction_is_held_once_requested() -> None:
    whole, slabs = both()
    assert torch.equal(slabs.logits, whole.logits)
    assert slabs.prediction.is_held


def test_outputs_of_probabilities_are_warned_of_by_slabs_too() -> None:
    network = torch.nn.Sequential(unet(3, out_channels=OUTPUTS), torch.nn.Softmax(dim=1)).eval()
    whole, slabs = (Scene(replace(one.predictor, network=network), one.volume) for one in both())
    assert whole.known_warnings == slabs.known_warnings == ()  # not predicted yet
    assert whole.predicted("one").any() == slabs.predicted("one").any()
    assert "sum to 1 over the channels" in whole.known_warnings[0]
    assert slabs.known_warnings == whole.known_warnings


def test_logits_that_are_not_finite_are_refused_and_counted() -> None:
    messages = []
    for scene in both():
        data = scene.volume.data.clone()
        data[0, 5, 3, 2] = torch.nan
        bright = Scene(scene.predictor, scene.volume.with_data(data))
        with pytest.raises(ModelError, match="NaN or Inf") as error:
            bright.predicted("one")
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_saliency_by_slabs_equals_that_of_the_whole() -> None:
    whole, slabs = both()
    maps = [
        Saliency().explain(scene.predictor, scene.volume, VoxelTarget("one").freeze(scene)).data
        for scene in (whole, slabs)
    ]
    assert torch.equal(maps[0], maps[1])


@pytest.mark.parametrize("over", ["predicted", "given"])
def test_saliency_holds_a_slab_of_all_outputs_at_most(over: str) -> None:
    network = pointwise(3, out_channels=5)
    model = replace(predictor(network, (4, 4, 4), num_outputs=5, batch_size=1), held_mb=0)
    image = volume((16, 8, 8))
    mask = torch.ones((16, 8, 8), dtype=torch.bool)
    region = Predicted() if over == "predicted" else Roi(mask, "all")
    label = next(
        name for name in model.labels.foreground if Scene(model, image).predicted(name).any()
    )
    with Allocations() as held:
        target = VoxelTarget(label, over=region).freeze(Scene(model, image))
        Saliency().explain(model, image, target)
    slab, window, one = 5 * 4 * 8 * 8 * 4, 5 * 4 * 4 * 4 * 4, 16 * 8 * 8 * 4
    # What is as large as the volume has one channel; float64 of it, where sums are formed.
    assert held.largest == (max(slab, one) if over == "predicted" else max(window, one))


def test_the_reference_of_dice_needs_no_whole_prediction() -> None:
    whole, slabs = both()
    one, other = (DiceTarget("one", "predicted").freeze(scene) for scene in (whole, slabs))
    assert torch.equal(other.mask, one.mask)
    assert not slabs.prediction.is_held
