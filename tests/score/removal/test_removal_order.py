"""Removal orders: nested, in the map's order, whole voxels in equal steps, ties by chance."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from esegeta.explain import (
    Attribution,
    Features,
    InputXGradient,
    Saliency,
    relevance,
    shuffled_order,
)
from esegeta.explain.meaning import CONTRIBUTION
from esegeta.predict import Predictor
from esegeta.score import ScoreContext
from esegeta.score.removal import RemovalOrder, parse_replacement, removal_order, sums_by_part
from esegeta.score.removal.removal_order import rank_in_steps
from esegeta.volume import Volume
from tests.builders import SHAPES, affine_of, linear, predictor, volume
from tests.oracles import frozen


def explained(ndim: int) -> tuple[Attribution, ScoreContext]:
    model: Predictor = predictor(linear(ndim, 2, kernel=3), (4,) * ndim)
    image: Volume = volume(SHAPES[ndim], 2, affine=affine_of("anisotropic", ndim))
    map_ = InputXGradient().explain(model, image, frozen(model, image))
    return map_, ScoreContext(model, InputXGradient())


def removal_order_of(
    attribution: Attribution, context: ScoreContext, features: object
) -> RemovalOrder:
    how = parse_replacement("zero")
    return removal_order(attribution, context, features=features, replacement=how, steps=4)


@pytest.mark.parametrize("channels", ["together", "each"])
def test_parts_are_removed_by_their_mean_in_nested_steps(ndim: int, channels: str) -> None:
    attribution, context = explained(ndim)
    rungs = removal_order_of(
        attribution, context, Features("blocks", side_mm=6.0, channels=channels)
    )
    partition = rungs.removals.partition
    groups = attribution.data if channels == "each" else attribution.data.sum(0, keepdim=True)
    means = [
        float(group[partition.labels == region].mean())
        for group in groups
        for region in range(partition.num_regions)
    ]
    assert rungs.order.tolist() == sorted(range(len(means)), key=lambda place: -means[place])
    rows = rungs.without_first()
    assert rows[0].all()
    assert not rows[-1].any()
    assert bool((rows[1:] <= rows[:-1]).all())
    counts = (~rows).sum(dim=1)
    assert counts.tolist() == [step * len(means) // 4 for step in range(5)]
    gone = (~rows[1]).nonzero().flatten().tolist()
    assert sorted(gone) == sorted(rungs.order[: int(counts[1])].tolist())
    assert torch.equal(rungs.with_first(), ~rows)
    last = (~rungs.without_last()[1]).nonzero().flatten().tolist()
    assert sorted(last) == sorted(rungs.order[-int(counts[1]) :].tolist())
    share = rungs.share_removed(rows)
    assert share[0] == 0
    assert share[-1] == 1


def test_voxels_are_removed_in_steps_of_equal_size(ndim: int) -> None:
    attribution, context = explained(ndim)
    rungs = removal_order_of(attribution, context, "voxels")
    step = rungs.removals.partition.labels
    total = attribution.total
    sizes = torch.bincount(step.flatten())
    assert int(sizes.max() - sizes.min()) <= 1
    for place in range(3):
        assert total[step == place].min() >= total[step == place + 1].max()
    share = rungs.share_removed(rungs.without_first())
    assert share.tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=0.01)


def test_equal_values_are_removed_in_random_order() -> None:
    heights = torch.tensor([1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.0])
    orders = {tuple(shuffled_order(heights, seed=seed).tolist()) for seed in range(8)}
    assert len(orders) > 1
    assert all(order[:2] == (7, 1) for order in orders)
    first = {
        frozenset((rank_in_steps(torch.zeros(12), 3, seed=seed) == 0).nonzero().flatten().tolist())
        for seed in range(5)
    }
    assert len(first) > 1


def test_slopes_are_ranked_by_magnitude_and_other_maps_by_value() -> None:
    model = predictor(linear(2), (4, 4))
    image = volume(SHAPES[2])
    slope = Saliency().explain(model, image, frozen(model, image))
    slope = replace(slope, data=torch.randn_like(slope.data))
    assert torch.equal(relevance(slope, "auto"), slope.data.abs())
    assert torch.equal(relevance(slope, "value"), slope.data)
    share = replace(slope, meaning=CONTRIBUTION)
    assert torch.equal(relevance(share, "auto"), slope.data)
    assert torch.equal(relevance(share, "magnitude"), slope.data.abs())


def test_the_value_of_a_feature_is_shared_by_its_voxels() -> None:
    attribution, _ = explained(2)
    parts = Features("blocks", side_mm=6.0).of(attribution.volume)
    worths = torch.randn(len(parts), dtype=torch.float64)
    painted = replace(attribution, data=parts.paint(worths), sharing=parts.paint(parts.sizes))
    sums = sums_by_part(painted.density(), parts)
    assert torch.allclose(sums, worths, atol=1e-5)
