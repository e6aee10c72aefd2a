"""Targets that are not linear, of a prediction that is not held: as of one that is."""

from dataclasses import replace

import pytest
import torch

from esegeta.explain import IntegratedGradients, Objective, Saliency
from esegeta.explain.perturbation.mask_grid import value_and_gradient
from esegeta.predict import Predictor
from esegeta.targets import DiceTarget, FrozenTarget, Scene, Target, VolumeTarget, VoxelTarget
from esegeta.volume import Volume
from tests.allocations import Allocations
from tests.builders import pointwise, predictor, unet, volume
from tests.oracles import everywhere, relative_gap
from tests.predict.averaged import averaging

ROUNDING = 1e-6
SHAPE = (13, 6, 5)

TARGETS: dict[str, Target] = {
    "probability": VoxelTarget("one", "probability"),
    "log_probability, mean": VoxelTarget("one", "log_probability", reduce="mean"),
    "margin": VoxelTarget("two", "margin"),
    "entropy": everywhere(of="entropy"),
    "dice": DiceTarget("one"),
    "volume": VolumeTarget("one"),
    "two labels": VoxelTarget("one", "probability") - 0.5 * VoxelTarget("two", "margin"),
    "with a linear one": DiceTarget("one") + VoxelTarget("two"),
    "product": VolumeTarget("one") * VoxelTarget("two", "probability"),
}


def model_of(kind: str) -> Predictor:
    networks = [unet(3, out_channels=3, seed=seed) for seed in range(2)]
    model = predictor(networks[0], (4, 4, 4), num_outputs=3)
    if kind == "plain":
        return model
    average = "logits" if kind == "mirrored" else "probabilities"
    return averaging(networks, model, (0, 2), average)


def both(of: str, kind: str = "plain") -> list[tuple[Predictor, Volume, FrozenTarget]]:
    model, image = model_of(kind), volume(SHAPE)
    truth = torch.arange(image.data.numel()).reshape(SHAPE) % 3
    found = []
    for one in (model, replace(model, held_mb=0)):
        scene = Scene(one, image, truth)
        found.append((one, image, TARGETS[of].freeze(scene)))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("of", TARGETS)
def test_gradients_and_values_are_the_same(of: str) -> None:
    whole, slabs = both(of)
    one, other = (Objective.of(model, target, image) for model, image, target in (whole, slabs))
    assert other.rolls
    assert not one.rolls
    assert relative_gap(other.gradient(), one.gradient()) < ROUNDING
    assert other.value() == pytest.approx(one.value(), rel=ROUNDING)
    moved = 0.5 * whole[1].data
    assert relative_gap(other.at(moved).gradient(), one.at(moved).gradient()) < ROUNDING
    assert other.at(moved).value() == pytest.approx(one.at(moved).value(), rel=ROUNDING)
    assert not slabs[2].scene.prediction.is_held


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "of"), [("mirrored", "dice"), ("averaged", "probability")])
def test_mirrored_networks_of_an_ensemble(kind: str, of: str) -> None:
    whole, slabs = both(of, kind)
    one, other = (Objective.of(*parts[:1], parts[2], parts[1]) for parts in (whole, slabs))
    assert relative_gap(other.gradient(), one.gradient()) < ROUNDING
    assert other.value() == pytest.approx(one.value(), rel=ROUNDING)


def test_half_precision_loses_no_accuracy_by_slabs() -> None:
    whole, slabs = both("log_probability, mean")
    halves = [
        Saliency().explain(
            replace(model, precision="bf16"), image, TARGETS["log_probability, mean"]
        )
        for model, image, _ in (whole, slabs)
    ]
    assert relative_gap(halves[1].data, halves[0].data) < 1e-2


def test_several_targets_share_the_slabs() -> None:
    model, image, _ = both("dice")[1]
    scene = Scene(model, image, torch.arange(image.data.numel()).reshape(SHAPE) % 3)
    names = ["dice", "probability", "two labels"]
    targets = [TARGETS[name].freeze(scene) for name in names]
    targets.append(VoxelTarget("one").freeze(scene))
    together = Saliency().explain_together(model, image, targets)
    for target, found in zip(targets, together, strict=True):
        alone = Saliency().explain(model, image, target)
        assert relative_gap(found.data, alone.data) < ROUNDING


def test_methods_on_top_give_the_same_maps() -> None:
    method = IntegratedGradients(steps=2, baseline="zero")
    whole, slabs = (method.explain(*parts) for parts in both("dice"))
    assert relative_gap(slabs.data, whole.data) < ROUNDING
    assert slabs.facts.active_windows == whole.facts.active_windows
    values = [
        value_and_gradient(Objective.of(*parts[:1], parts[2], parts[1])) for parts in both("dice")
    ]
    assert values[1][0] == pytest.approx(values[0][0], rel=ROUNDING)
    assert relative_gap(values[1][1], values[0][1]) < ROUNDING


def test_flipped_targets_are_formed_of_flipped_slabs() -> None:
    whole, slabs = both("two labels")
    maps = []
    for model, image, target in (whole, slabs):
        turned = target.flipped(0)
        maps.append(Saliency().explain(model, image.flipped(0), turned).data)
    assert relative_gap(maps[1], maps[0]) < ROUNDING


def test_the_windows_that_run_twice_are_counted() -> None:
    whole, slabs = both("probability")
    counts = [Saliency().explain(*parts).facts.windows_run for parts in (whole, slabs)]
    assert counts[1] == 2 * counts[0]


@pytest.mark.parametrize("of", ["probability", "dice"])
def test_memory_holds_at_most_one_slab(of: str) -> None:
    network = pointwise(3, out_channels=5)
    model = replace(predictor(network, (4, 4, 4), num_outputs=5, batch_size=1), held_mb=0)
    image = volume((16, 8, 8))
    truth = torch.ones((16, 8, 8), dtype=torch.int64)
    target = everywhere("two", of) if of != "dice" else DiceTarget("one")
    with Allocations() as held:
        Saliency().explain(model, image, target.freeze(Scene(model, image, truth)))
    # Labels and sums of one number a voxel are as large as the volume, in 8 bytes.
    assert held.largest <= max(5 * 4 * 8 * 8 * 4, 8 * 16 * 8 * 8)
    assert held.largest < 5 * 16 * 8 * 8 * 4 / 2
