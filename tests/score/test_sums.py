"""Sensitivity-n, completeness and infidelity by removal: exact for sums, and slow rewrites."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from esegeta.errors import ConfigError
from esegeta.explain import (
    DeepLiftShap,
    FeatureAblation,
    GradCam,
    InputXGradient,
    IntegratedGradients,
    LayerActivation,
    Saliency,
)
from esegeta.score import Completeness, Infidelity, Judgement, ScoreContext, SensitivityN
from esegeta.score.infidelity import random_boxes
from esegeta.score.sums import random_coalitions, subset_sizes
from tests.builders import SHAPES, affine_of, linear, predictor, volume
from tests.oracles import disguised, everywhere, frozen
from tests.pairwise import pairwise
from tests.score.brute_force import BLOCKS, context, scene_of_unet, value_of


@pairwise(ndim=[2, 3], num_channels=[1, 2], baseline=["zero", "mean", "noisy_linear"])
@pytest.mark.slow
def test_gradients_of_a_linear_network_predict_every_removal(
    ndim: int, num_channels: int, baseline: str
) -> None:
    model = predictor(linear(ndim, num_channels, kernel=3), (4,) * ndim)
    image = volume(SHAPES[ndim], num_channels)
    exact = Saliency().explain(model, image, frozen(model, image))
    score = SensitivityN(BLOCKS, baseline, sizes=4, samples=5)
    assert score.score(exact, context(model))["sensitivity_n"] == pytest.approx(1, abs=1e-5)
    turned = score.score(replace(exact, data=-2 * exact.data), context(model))
    assert turned["sensitivity_n"] == pytest.approx(-1, abs=1e-5)


def test_sensitivity_n_equals_a_slow_rewrite(ndim: int) -> None:
    model, attribution = scene_of_unet(ndim)
    attribution = InputXGradient().explain(model, attribution.volume, attribution.target)
    x = attribution.volume.data
    labels = BLOCKS.of(attribution.volume).labels
    count = int(labels.max()) + 1
    sizes = subset_sizes(count, 3)
    rows = random_coalitions(count, sizes, 5, seed=4)
    start = value_of(model, attribution.target, x)
    worths, falls = [], []
    for row in rows:
        gone = torch.isin(labels, (~row).nonzero().flatten().to(labels.dtype))
        worths.append(float(attribution.data.double()[:, gone].sum()))
        image = torch.where(gone, torch.zeros_like(x), x)
        falls.append(start - value_of(model, attribution.target, image))
    expected = [
        np.corrcoef(worths[5 * place : 5 * place + 5], falls[5 * place : 5 * place + 5])[0, 1]
        for place in range(len(sizes))
    ]
    judged = SensitivityN(BLOCKS, "zero", sizes=3, samples=5, seed=4).judge(
        attribution, context(model)
    )
    assert judged.curves[0].y == pytest.approx(expected, abs=1e-3)
    assert judged.values["sensitivity_n"] == pytest.approx(np.mean(expected), abs=1e-3)


def test_subset_sizes_range_from_one_part_to_most_of_them() -> None:
    assert subset_sizes(100, 8) == (1, 2, 3, 7, 12, 23, 43, 80)
    assert subset_sizes(3, 8) == (1, 2)
    assert subset_sizes(1, 4) == (1,)
    rows = random_coalitions(10, (1, 8), 6, seed=0)
    assert (~rows).sum(dim=1).tolist() == [1] * 6 + [8] * 6
    assert len({tuple(row.tolist()) for row in rows[6:]}) > 3


@pytest.mark.slow
def test_a_target_that_never_changes_is_undefined() -> None:
    model, attribution = scene_of_unet(2)
    still = replace(
        disguised(attribution.target),
        function=lambda y: 0 * y.flatten(1).double().sum(dim=1) + 3,
    )
    frozen_ = replace(attribution, target=still)
    judged = SensitivityN(BLOCKS).judge(frozen_, context(model))
    assert "the same for all sets" in judged.reasons["sensitivity_n"]
    assert len(judged.curves[0].y) > 1


@pairwise(ndim=[2, 3], num_channels=[1, 2], perturbation=["square", "supervoxels"])
@pytest.mark.slow
def test_removals_of_a_linear_network_are_predicted(
    ndim: int, num_channels: int, perturbation: str
) -> None:
    model = predictor(linear(ndim, num_channels, kernel=3), (4,) * ndim)
    image = volume(SHAPES[ndim], num_channels, affine=affine_of("anisotropic", ndim))
    target = frozen(model, image)
    score = Infidelity(
        samples=6, perturbation=perturbation, side_mm=4.0, features=BLOCKS, baseline="mean"
    )
    slopes = Saliency().explain(model, image, target)
    assert score.score(slopes, context(model))["infidelity_relative"] < 1e-9
    score = replace(score, baseline="zero")
    shares = InputXGradient().explain(model, image, target)
    assert score.score(shares, context(model))["infidelity_relative"] < 1e-9
    ablation = FeatureAblation(BLOCKS, "zero").explain(model, image, target)
    found = score.score(ablation, context(model))["infidelity_relative"]
    assert (found < 1e-9) == (perturbation == "supervoxels")


def test_infidelity_of_box_removals_equals_a_computation_by_hand(ndim: int) -> None:
    model, attribution = scene_of_unet(ndim, num_channels=2)
    x, target = attribution.volume.data, attribution.target
    boxes = random_boxes(attribution.volume.grid, 3.0, 5, seed=2)
    foreseen, falls = [], []
    start = value_of(model, target, x)
    for box in boxes:
        image = x.clone()
        image[(slice(None), *box)] = 0
        foreseen.append(float(((x - image) * attribution.data).double().sum()))
        falls.append(start - value_of(model, target, image))
    found = Infidelity(samples=5, seed=2, perturbation="square", side_mm=3.0).score(
        attribution, context(model)
    )
    a, d = np.array(foreseen), np.array(falls)
    assert found["infidelity"] == pytest.approx(np.mean((a - d) ** 2), rel=1e-3)
    cosine = (a @ d) / np.sqrt((a @ a) * (d @ d))
    assert found["infidelity_relative"] == pytest.approx(1 - cosine**2, abs=1e-4)


def test_boxes_lie_anywhere_inside_and_have_one_side_in_mm() -> None:
    image = volume((9, 11, 7), affine=affine_of("anisotropic"))  # 0.7 x 1.9 x 3.1 mm
    boxes = random_boxes(image.grid, 4.0, 60, seed=0)
    assert {tuple(s.stop - s.start for s in box) for box in boxes} == {(6, 2, 1)}
    assert {box[1].start for box in boxes} == set(range(10))
    for box in boxes:
        for side, length in zip(box, image.grid.shape, strict=True):
            assert 0 <= side.start < side.stop <= length


def test_completeness_of_sums_and_of_claims(ndim: int) -> None:
    model = predictor(linear(ndim, 2, kernel=3), (4,) * ndim)
    image = volume(SHAPES[ndim], 2)
    target = frozen(model, image)
    shares = InputXGradient().explain(model, image, target)
    score = Completeness("zero")
    assert score.score(shares, context(model))["completeness"] < 1e-5
    doubled = replace(shares, data=2 * shares.data)
    assert score.score(doubled, context(model))["completeness"] == pytest.approx(1, rel=1e-4)
    curved, slopes = scene_of_unet(ndim)
    complete = IntegratedGradients(steps=4, baseline="blur").explain(
        curved, slopes.volume, slopes.target
    )
    own = ScoreContext(curved, IntegratedGradients(steps=4, baseline="blur"))
    found = score.score(complete, own)["completeness"]
    assert found == pytest.approx(abs(complete.facts.completeness_relative), rel=1e-3)
    # What a map claims of itself is not believed where it can be checked.
    other = replace(complete, data=-complete.data)
    assert score.score(other, own)["completeness"] == pytest.approx(2, abs=2 * found + 1e-3)


def test_whether_a_map_can_add_up_is_not_read_out_of_its_unit() -> None:
    model, slopes = scene_of_unet(2)
    target = slopes.target
    complete = InputXGradient().explain(model, slopes.volume, target)
    named = replace(complete, meaning=replace(complete.meaning, unit="of the sum of logits"))
    score = Completeness()
    assert score.score(named, context(model)) == score.score(complete, context(model))
    alike = replace(slopes, meaning=replace(slopes.meaning, unit="{target}"))
    assert "does not add up" in score.judge(alike, context(model)).reasons["completeness"]


def test_completeness_of_maps_that_do_not_add_up_has_a_reason() -> None:
    model, slopes = scene_of_unet(2)
    judged = Completeness().judge(slopes, context(model))
    assert "does not add up" in judged.reasons["completeness"]
    # A target in the unit that the map has by chance: the sum is no change of it all the same.
    target = replace(slopes.target, unit="activation")
    activation = LayerActivation().explain(model, slopes.volume, target)
    assert activation.unit == target.unit
    reasons = Completeness().judge(activation, context(model)).reasons
    assert "does not add up" in reasons["completeness"]
    cam = GradCam().explain(model, slopes.volume, slopes.target)
    assert "does not add up" in Completeness().judge(cam, context(model)).reasons["completeness"]
    flat = volume(SHAPES[2]).with_data(torch.ones(1, *SHAPES[2]))
    target = frozen(model, flat, everywhere())
    shares = InputXGradient().explain(model, flat, target)
    judged = Completeness("mean").judge(shares, context(model))
    assert "the same on the image and on the baseline" in judged.reasons["completeness"]


def test_completeness_over_several_baselines_is_taken_from_the_method() -> None:
    model, slopes = scene_of_unet(2)
    method = DeepLiftShap(baselines=("zero", "blur"))
    shares = method.explain(model, slopes.volume, slopes.target)
    claimed = shares.facts.completeness_relative
    assert claimed
    found = Completeness().score(shares, ScoreContext(model, method))["completeness"]
    assert found == abs(claimed)


def test_removals_that_change_nothing_have_no_correlation() -> None:
    model, shape = predictor(linear(2, kernel=3), (4, 4)), (9, 8)
    flat = volume(shape).with_data(torch.ones(1, *shape))
    attribution = Saliency().explain(model, flat, frozen(model, flat))
    judged = SensitivityN(BLOCKS, "mean", sizes=2, samples=3).judge(attribution, context(model))
    assert "at every size the map or the target is the same" in judged.reasons["sensitivity_n"]
    assert all(math.isnan(value) for value in judged.curves[0].y)


def test_a_value_that_is_missing_must_say_why() -> None:
    with pytest.raises(ValueError, match="b: NaN without a reason"):
        Judgement({"a": 1.0, "b": math.nan, "c": math.nan}, {"c": "the map is zero"})


@pytest.mark.parametrize("bad", [{"sizes": 0}, {"samples": 2}])
def test_too_few_sets_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="sensitivity_n"):
        SensitivityN(**bad)


def test_a_box_without_extent_is_refused() -> None:
    with pytest.raises(ConfigError, match="side_mm"):
        Infidelity(side_mm=0.0)
