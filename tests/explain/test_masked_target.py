"""Coalitions equal brute force, and only windows that a change touches are run."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from esegeta.explain import (
    Baseline,
    Explainer,
    FeatureAblation,
    Features,
    KernelShap,
    Lime,
    MaskedTarget,
    Objective,
    Partition,
    ShapleyValueSampling,
)
from esegeta.predict import Predictor, WindowPlan
from esegeta.targets import FrozenTarget, PointRegion, Predicted, VoxelTarget
from esegeta.volume import Volume
from tests.builders import labels, predictor, unet, volume
from tests.networks import Counting, Smooth
from tests.oracles import disguised, everywhere, frozen, monai_prediction, relative_gap
from tests.pairwise import pairwise

TOLERANCE = 2e-5
BLURRED = Baseline("blur", sigma_mm=2.0)
SHAPES = {2: (13, 5), 3: (9, 11, 5)}  # one axis is shorter than the window
TARGETS = {
    "logit": everywhere(),
    "margin": everywhere(of="margin"),
    "mean probability": VoxelTarget("one", "probability", reduce="mean"),
    "live mask": VoxelTarget("one", over=Predicted(), live=True),
}


def left(image: Volume, baseline: Tensor, partition: Partition, kept: Tensor) -> Tensor:
    """Return the image in which only some features are left, voxel by voxel in NumPy's manner."""
    moved = image.data.clone()
    for feature in (~kept).nonzero().flatten().tolist():
        group, region = divmod(feature, partition.num_regions)
        where = partition.labels == region
        for channel in range(image.num_channels):
            if not partition.channels or channel == group:
                moved[channel][where] = baseline[channel][where]
    return moved


def brute_force(
    model: Predictor, target: FrozenTarget, image: Volume, partition: Partition, kept: Tensor
) -> Tensor:
    """Predict each coalition whole with MONAI, `M`."""
    start = BLURRED.of(image)
    values = []
    for row in kept:
        data = left(image, start, partition, row)
        with torch.no_grad():
            values.append(target.value(monai_prediction(model, data[None]))[0])
    return torch.stack(values)


def some_coalitions(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    kept = torch.rand((7, count), generator=generator) < torch.linspace(0.1, 0.95, 7)[:, None]
    return torch.cat([kept, torch.tensor([[True], [False]]).expand(2, count), kept[:2]])


def atlas_of(shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 5, shape, generator=generator)


@pairwise(ndim=[2, 3], of=TARGETS, channels=["together", "each"])
def test_coalitions_equal_brute_force(ndim: int, of: str, channels: str) -> None:
    model = predictor(unet(ndim, in_channels=2), (8,) * ndim)
    image = volume(SHAPES[ndim], 2)
    target = frozen(model, image, TARGETS[of])
    partition = Features(labels=atlas_of(SHAPES[ndim]), channels=channels).of(image)
    masked_target = MaskedTarget(Objective.of(model, target, image), partition, BLURRED.of(image))
    kept = some_coalitions(len(partition))
    expected = brute_force(model, target, image, partition, kept)
    found = masked_target.values(kept)
    assert relative_gap(found - found[-3], expected - expected[-3]) < TOLERANCE
    assert relative_gap(found, expected) < TOLERANCE
    assert torch.equal(found[-2:], found[:2])  # the same coalition, asked for twice


def test_a_2d_network_over_slices_equals_brute_force() -> None:
    model = Predictor(Smooth(2), WindowPlan((4, 4), slice_axis=1), labels(), batch_size=3)
    image = volume((6, 5, 7))
    target = frozen(model, image)
    partition = Features("blocks", side_mm=3.0).of(image)
    masked_target = MaskedTarget(Objective.of(model, target, image), partition, BLURRED.of(image))
    kept = some_coalitions(len(partition))
    expected = brute_force(model, target, image, partition, kept)
    assert relative_gap(masked_target.values(kept), expected) < TOLERANCE


@pairwise(ndim=[2, 3], of=TARGETS, channels=["together", "each"])
def test_feature_ablation_equals_brute_force(ndim: int, of: str, channels: str) -> None:
    model = predictor(unet(ndim, in_channels=2), (8,) * ndim)
    image = volume(SHAPES[ndim], 2)
    target = frozen(model, image, TARGETS[of])
    features = Features("blocks", side_mm=3.0, channels=channels)
    found = FeatureAblation(features, BLURRED).explain(model, image, target)
    partition = features.of(image)
    whole = torch.ones((1, len(partition)), dtype=torch.bool)
    values = brute_force(
        model, target, image, partition, torch.cat([whole, ~torch.eye(len(partition)).bool()])
    )
    falls = values[0] - values[1:]
    expected = torch.zeros((partition.num_groups, *SHAPES[ndim]))
    for feature, fall in enumerate(falls):
        group, region = divmod(feature, partition.num_regions)
        expected[group][partition.labels == region] = float(fall)
    assert relative_gap(found.data, expected) < TOLERANCE
    names = found.facts.more["values"]
    assert list(names) == list(partition.names)
    assert relative_gap(torch.tensor(list(names.values())), falls.float()) < TOLERANCE


def corner(ndim: int) -> tuple[Counting, Predictor, Volume, FrozenTarget]:
    """A target of one voxel in the corner, which one window of many holds."""
    network = Counting(unet(ndim))
    model = predictor(network, (8,) * ndim, batch_size=3)
    image = volume((24, 12, 8)[:ndim])
    target = frozen(model, image, VoxelTarget("one", over=PointRegion((2.0,) * ndim)))
    target.scene.logits  # noqa: B018
    network.windows = 0
    return network, model, image, target


@pytest.mark.parametrize("linear", [True, False])
def test_only_the_windows_that_hold_a_feature_are_run(
    ndim: int, linear: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esegeta.predict.locality.PASSES_OF_PROOF", float("inf"))
    network, model, image, target = corner(ndim)
    target = target if linear else disguised(target)
    features = Features("blocks", side_mm=4.0)
    found = FeatureAblation(features, "zero").explain(model, image, target)
    inside = 2**ndim
    # The window as it is, and without each of its blocks; a target that is not linear knows it.
    assert network.windows == inside + (1 if linear else 0) == found.facts.windows_run
    assert found.facts.more["features_in_reach"] == inside
    assert not found.data[0, 8:].any()
    assert found.data[0, :8].any()
    by_brute_force = found.facts.more["windows_by_brute_force"]
    assert by_brute_force == (inside + 1) * found.facts.num_windows > network.windows


def test_adding_a_feature_runs_only_its_windows(ndim: int) -> None:
    network = Counting(unet(ndim))
    model = predictor(network, (8,) * ndim, overlap=0.0)
    image = volume((32, 8, 8)[:ndim])
    target = frozen(model, image)
    target.scene.logits  # noqa: B018
    network.windows = 0
    stripes = (torch.arange(32) // 8).reshape(32, *(1,) * (ndim - 1)).expand(image.grid.shape)
    method = ShapleyValueSampling(Features(labels=stripes + 1), "zero", samples=6)
    found = method.explain(model, image, target)
    # Each of the four windows is one feature: as it is, and without; no order asks for more.
    assert network.windows == 8 == found.facts.windows_run


METHODS: dict[str, Explainer] = {
    "feature_ablation": FeatureAblation(baseline="zero"),
    "shapley_value_sampling": ShapleyValueSampling(baseline="zero", samples=2),
    "kernel_shap": KernelShap(baseline="zero", samples=60, spread=True),
    "lime": Lime(baseline="zero", samples=60, spread=True),
}


@pytest.mark.parametrize("name", METHODS)
def test_features_out_of_reach_are_exactly_zero(ndim: int, name: str) -> None:
    _, model, image, target = corner(ndim)
    method = replace(METHODS[name], features=Features("blocks", side_mm=4.0))
    found = method.explain(model, image, target)
    assert not found.data[0, 8:].any()
    assert (found.data[0, :8, :8] != 0).all()
    if found.standard_error is not None:
        assert not found.standard_error[0, 8:].any()
        assert found.standard_error[0, :8, :8].any() != found.facts.more.get("exact", False)


@pytest.mark.parametrize("linear", [True, False])
def test_never_more_windows_than_brute_force(ndim: int, linear: bool) -> None:
    network = Counting(unet(ndim))
    model = predictor(network, (8,) * ndim)
    image = volume(SHAPES[ndim])
    target = frozen(model, image)
    target = target if linear else disguised(target)
    target.scene.logits  # noqa: B018
    network.windows = 0
    partition = Features("blocks", side_mm=3.0).of(image)
    masked_target = MaskedTarget(Objective.of(model, target, image), partition, BLURRED.of(image))
    kept = torch.rand((9, len(partition)), generator=torch.Generator().manual_seed(0)) < 0.5
    masked_target.values(kept)
    assert (
        network.windows
        <= 10 * len(masked_target.target.windows)
        == masked_target.target.brute_force_windows
    )


def test_windows_that_are_not_kept_are_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model, image = predictor(unet(2), (8, 8)), volume((24, 8))
    target = frozen(model, image, everywhere(of="probability"))
    partition = Features("blocks", side_mm=8.0).of(image)
    # None of the coalitions changes more than half of the windows: the others are not run.
    kept = ~torch.eye(len(partition), dtype=torch.bool)
    found, runs = [], []
    for number in (16, 1):
        monkeypatch.setattr("esegeta.explain.perturbation.edits._Any.KEPT", number)
        objective = Objective.of(model, target, image)
        masked = MaskedTarget(objective, partition, BLURRED.of(image))
        found.append(masked.changes(kept.repeat(2, 1)[:-1]))
        runs.append(objective.tally.windows_run)
    assert torch.equal(found[0], found[1])
    assert runs[0] < runs[1]


def test_a_linear_target_is_not_blended() -> None:
    model, image = predictor(unet(2), (8, 8)), volume((9, 8))
    masked = MaskedTarget(
        Objective.of(model, frozen(model, image), image),
        Features("channels").of(image),
        BLURRED.of(image),
    )
    with pytest.raises(ValueError, match="a linear target has no use for a blended prediction"):
        next(masked.predictions(torch.tensor([[False]])))


def test_nested_removal_is_a_deletion_curve(ndim: int) -> None:
    """The ten tenths of the voxels, brightest first: what a score of a map needs."""
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    target = frozen(model, image, everywhere(of="log_probability"))
    order = image.data[0].flatten().argsort(descending=True).argsort()
    steps = (order * 10 // order.numel()).reshape(image.grid.shape)
    partition = Partition(steps, tuple(str(step) for step in range(10)))
    masked_target = MaskedTarget(
        Objective.of(model, target, image), partition, torch.zeros_like(image.data)
    )
    kept = torch.arange(10) >= torch.arange(11)[:, None]
    curve = masked_target.values(kept)
    for step in range(11):
        moved = torch.where(steps < step, torch.zeros_like(image.data), image.data)
        with torch.no_grad():
            expected = target.value(monai_prediction(model, moved[None]))
        assert relative_gap(curve[step : step + 1], expected) < TOLERANCE
