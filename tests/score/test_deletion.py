"""Deletion, insertion, ROAD and effective complexity: brute force, and cases known by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from esegeta.errors import ConfigError
from esegeta.explain import (
    Attribution,
    Features,
    InputXGradient,
    Meaning,
    RandomMap,
    Saliency,
)
from esegeta.explain.meaning import CONTRIBUTION
from esegeta.score import (
    Deletion,
    EffectiveComplexity,
    Infidelity,
    Insertion,
    Road,
    Score,
    ScoreCache,
)
from esegeta.score.removal import NoisyLinear, impute
from esegeta.score.removal.removal_order import rank_in_steps
from tests.builders import SHAPES, linear, predictor, volume
from tests.networks import Counting
from tests.oracles import disguised, everywhere, frozen
from tests.score.brute_force import (
    BLOCKS,
    context,
    images_without,
    part_order,
    scene_of_unet,
    trapezoid,
    value_of,
)

pytestmark = pytest.mark.usefixtures("whole_windows")


@dataclass(frozen=True)
class SaliencyPerHounsfield(Saliency):
    """Saliency that spells its unit otherwise."""

    name: ClassVar[str] = "saliency_per_hounsfield"

    @property
    def meaning(self) -> Meaning:
        return replace(super().meaning, unit="{target} / HU")


@pytest.mark.parametrize(
    "score",
    [
        Deletion(BLOCKS, "zero", 4),
        Insertion(BLOCKS, "zero", 4),
        Infidelity(samples=4, perturbation="square", side_mm=6.0),
        Infidelity(samples=4, perturbation="supervoxels", features=BLOCKS),
    ],
    ids=["deletion", "insertion", "infidelity of boxes", "infidelity of parts"],
)
def test_the_name_of_the_unit_of_a_map_does_not_matter(score: Score) -> None:
    model, attribution = scene_of_unet(2)
    found = []
    for method in (Saliency(), SaliencyPerHounsfield()):
        map_ = method.explain(model, attribution.volume, attribution.target)
        found.append(score.score(map_, context(model)))
    assert map_.unit.endswith(" / HU")
    assert found[0] == found[1]
    by_value = score.score(replace(map_, meaning=CONTRIBUTION), context(model))
    assert by_value != found[0]


@pytest.mark.parametrize("of", ["logit", "probability"])
@pytest.mark.parametrize("num_channels", [1, 2])
def test_deletion_and_insertion_equal_brute_force(ndim: int, num_channels: int, of: str) -> None:
    model, attribution = scene_of_unet(ndim, num_channels=num_channels)
    target = frozen(model, attribution.volume, everywhere(of=of))
    attribution = InputXGradient().explain(model, attribution.volume, target)
    x = attribution.volume.data
    labels = BLOCKS.of(attribution.volume).labels
    order = part_order(attribution.data.double().numpy(), labels.numpy())
    start = value_of(model, target, x)
    zero = torch.zeros_like(x)
    end = value_of(model, target, zero)

    def heights(images: list[Tensor]) -> list[float]:
        return [(value_of(model, target, image) - end) / (start - end) for image in images]

    found = Deletion(BLOCKS, "zero", 4).score(attribution, context(model))
    for name, parts in (("deletion", order), ("deletion_lerf", order[::-1])):
        images, shares = images_without(x, zero, labels, parts, 4)
        assert found[name] == pytest.approx(trapezoid(shares, heights(images)), rel=1e-3, abs=1e-4)
    assert found["deletion_gap"] == pytest.approx(found["deletion_lerf"] - found["deletion"])
    found = Insertion(BLOCKS, "zero", 4).score(attribution, context(model))
    for name, parts in (("insertion", order), ("insertion_lerf", order[::-1])):
        images, shares = images_without(zero, x, labels, parts, 4)
        assert found[name] == pytest.approx(trapezoid(shares, heights(images)), rel=1e-3, abs=1e-4)
    assert found["insertion_gap"] == pytest.approx(found["insertion"] - found["insertion_lerf"])


def test_road_equals_brute_force(ndim: int) -> None:
    model, attribution = scene_of_unet(ndim)
    x, target = attribution.volume.data, attribution.target
    spacing = attribution.volume.grid.spacing_mm
    step = rank_in_steps(attribution.data.abs().sum(0), 4, seed=0)
    images, shares = [], []
    for rung in range(5):
        gone = step < rung
        images.append(impute(x, gone, spacing, noise=0.01))
        shares.append(float(gone.double().mean()))
    values = [value_of(model, target, image) for image in images]
    heights = [(value - values[-1]) / (values[0] - values[-1]) for value in values]
    found = Road(steps=4).score(attribution, context(model))
    assert found["road"] == pytest.approx(trapezoid(shares, heights), rel=1e-3, abs=1e-4)
    quiet = Road(steps=4, baseline=NoisyLinear(noise=0.0)).score(attribution, context(model))
    assert quiet != pytest.approx(found, rel=1e-6)


@pytest.mark.parametrize("baseline", ["zero", "mean", "blur", "noisy_linear"])
@pytest.mark.parametrize("features", [BLOCKS, Features("blocks", 4.0, channels="each"), "voxels"])
def test_every_replacement_and_kind_of_part_works(features: Features | str, baseline: str) -> None:
    model, attribution = scene_of_unet(2, num_channels=2)
    for kind in (Deletion, Insertion):
        judged = kind(features, baseline, 4).judge(attribution, context(model))
        assert not judged.reasons
        first, last = judged.curves
        for curve in (first, last):
            assert sorted(curve.x) == list(curve.x)
            ends = (1, 0) if kind is Deletion else (0, 1)
            assert (curve.y[0], curve.y[-1]) == pytest.approx(ends, abs=1e-6)


def additive(ndim: int) -> tuple[object, Attribution]:
    """Return a network whose target is a plain sum, with the exact share of each voxel."""
    model = predictor(linear(ndim), (4,) * ndim)
    image = volume(SHAPES[ndim])
    return model, InputXGradient().explain(model, image, frozen(model, image))


@pytest.mark.slow
def test_the_true_order_is_the_best_for_an_additive_target(ndim: int) -> None:
    model, attribution = additive(ndim)
    # Made positive: a target that only falls.
    data = attribution.data.abs()
    x = attribution.volume.with_data(data / (attribution.data / attribution.volume.data))
    true = InputXGradient().explain(model, x, frozen(model, x))
    score = Deletion("voxels", "zero", 11)  # which divides the number of voxels
    best = score.score(true, context(model))
    shares = np.sort(true.data.double().numpy().ravel())[::-1]
    lost = np.concatenate([[0], np.cumsum(shares)]) / shares.sum()
    sizes = torch.bincount(rank_in_steps(true.total, 11, seed=0).flatten())
    gone = np.concatenate([[0], np.cumsum(sizes.numpy())])
    expected = trapezoid(list(gone / len(shares)), list(1 - lost[gone]))
    assert best["deletion"] == pytest.approx(expected, abs=1e-5)
    for seed in range(3):
        noise = RandomMap(seed=seed).explain(model, x, true.target)
        assert score.score(noise, context(model))["deletion"] > best["deletion"]
    reverse = score.score(replace(true, data=-true.data), context(model))
    assert reverse["deletion"] == pytest.approx(best["deletion_lerf"])
    assert reverse["deletion_gap"] == pytest.approx(-best["deletion_gap"])


def test_effective_complexity_is_the_share_that_is_needed(ndim: int) -> None:
    """Of blocks that hold nothing but a few, no more than those few are needed."""
    model, attribution = additive(ndim)
    labels = BLOCKS.of(attribution.volume).labels
    needed = (labels == 0) | (labels == 2)
    signs = torch.where(attribution.data < 0, -1.0, 1.0)
    sparse = attribution.volume.with_data(attribution.volume.data * signs * needed)
    true = InputXGradient().explain(model, sparse, frozen(model, sparse))
    count = int(labels.max()) + 1
    score = EffectiveComplexity(BLOCKS, "zero", count, tolerance=0.01)
    found = score.score(true, context(model))["effective_complexity"]
    assert found == pytest.approx(float(needed.double().mean()))
    loose = replace(score, tolerance=0.99).score(true, context(model))
    assert loose["effective_complexity"] < found


def test_scores_share_parts_and_windows_are_predicted(ndim: int) -> None:
    """The curves of a second map with the same order cost no window more."""
    model, attribution = scene_of_unet(ndim)
    network = Counting(model.network)
    counted = replace(model, network=network)
    shared = replace(context(counted), cache=ScoreCache())
    first = Deletion(BLOCKS, "zero", 4).score(attribution, shared)
    ran = network.windows
    scaled = replace(attribution, data=3 * attribution.data)
    assert Deletion(BLOCKS, "zero", 4).score(scaled, shared) == first
    assert network.windows == ran


def test_only_windows_that_the_target_touches_are_run(ndim: int) -> None:
    model, attribution = scene_of_unet(ndim)
    mask = torch.zeros(attribution.volume.grid.shape, dtype=torch.bool)
    mask[(0,) * ndim] = True
    form = attribution.target.coefficients
    assert form is not None and not isinstance(form, Tensor)
    local = replace(form, terms=tuple(replace(term, weights=mask) for term in form.terms))
    target = replace(attribution.target, coefficients=local, mask=mask, support=mask, known={})
    network = Counting(model.network)
    counted = replace(model, network=network)
    Deletion(BLOCKS, "zero", 4).score(replace(attribution, target=target), context(counted))
    num_touched = len(target.touched(model.windows(attribution.volume.batch)))
    assert num_touched < len(model.windows(attribution.volume.batch))
    assert network.windows <= num_touched * 2 * 5


@pytest.mark.parametrize(
    "score",
    [Deletion(BLOCKS), Insertion(BLOCKS), Road(), EffectiveComplexity(BLOCKS)],
    ids=lambda score: score.name,
)
def test_a_target_that_nothing_changes_is_undefined_with_a_reason(score: Score) -> None:
    model, attribution = scene_of_unet(2)
    still = replace(
        disguised(attribution.target),
        function=lambda y: 0 * y.flatten(1).double().sum(dim=1) + 3,
    )
    judged = score.judge(replace(attribution, target=still), context(model))
    assert all(value != value for value in judged.values.values())
    assert all("nothing to rank" in reason for reason in judged.reasons.values())


@pytest.mark.parametrize(
    ("bad", "fragment"),
    [
        ({"steps": 1}, "steps: 1"),
        ({"baseline": "blurr"}, 'baseline: "blurr" is not known'),
        ({"features": "pixels"}, 'features: "pixels" is not known'),
    ],
)
def test_bad_parameters_are_refused(bad: dict[str, object], fragment: str) -> None:
    with pytest.raises(ConfigError, match=fragment):
        Deletion(**bad)


def test_a_tolerance_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="tolerance"):
        EffectiveComplexity(tolerance=1.0)
    with pytest.raises(ConfigError, match="noise"):
        NoisyLinear(noise=-0.1)
