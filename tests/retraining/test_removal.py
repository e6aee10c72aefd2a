"""Exactly how many voxels are removed, which, and in which channels."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from esegeta.explain import Attribution
from esegeta.explain.meaning import CONTRIBUTION
from esegeta.retraining.samples import EMPTY, UNTOUCHED, Removal, Sample, importance_of, rank_voxels
from tests.builders import SHAPES, labels_of, pointwise, predictor, volume
from tests.oracles import frozen

FRACTIONS = [0.0, 0.001, 0.1, 1 / 3, 0.5, 0.7, 0.999, 1.0]


def attribution(data: torch.Tensor, num_channels: int = 2) -> Attribution:
    """Return an attribution with these values, `A *S`."""
    shape = tuple(data.shape[1:])
    image = volume(shape, num_channels)
    model = predictor(pointwise(len(shape), num_channels), window=(8,) * len(shape))
    return Attribution(data, CONTRIBUTION, "m", {}, image, frozen(model, image))


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_the_number_of_removed_voxels_is_exact(fraction: float, ndim: int) -> None:
    shape = SHAPES[ndim]
    num_voxels = math.prod(shape)
    order = rank_voxels(torch.randn(shape), seed=0)
    num_top = int(np.floor(np.float64(fraction) * num_voxels + 0.5))
    roar = Removal("roar", "m", fraction).mask(order, shape)
    kar = Removal("kar", "m", fraction).mask(order, shape)
    assert roar.shape == shape
    assert int(roar.sum()) == num_top
    assert int(kar.sum()) == num_voxels - num_top
    assert torch.equal(kar, ~roar)


def test_the_highest_are_removed_or_kept(ndim: int) -> None:
    shape = SHAPES[ndim]
    importance = torch.randn(shape)
    order = rank_voxels(importance, seed=0)
    assert order.tolist() == np.argsort(-importance.numpy().ravel()).tolist()
    values = np.sort(importance.numpy().ravel())[::-1]
    threshold = values[math.floor(0.3 * len(values) + 0.5)]
    assert torch.equal(Removal("roar", "m", 0.3).mask(order, shape), importance > threshold)
    assert torch.equal(Removal("kar", "m", 0.3).mask(order, shape), importance <= threshold)


def test_removals_are_nested() -> None:
    order = rank_voxels(torch.zeros(7, 9), seed=0)
    masks = [Removal("roar", "m", fraction).mask(order, (7, 9)) for fraction in FRACTIONS]
    for less, more in itertools.pairwise(masks):
        assert bool((more | ~less).all())


def test_fractions_0_and_1_remove_nothing_and_everything() -> None:
    order = torch.arange(63)
    assert not UNTOUCHED.mask(order, (7, 9)).any()
    assert EMPTY.mask(order, (7, 9)).all()


def test_ties_are_broken_at_random_by_the_seed() -> None:
    importance = torch.zeros(40, 50)
    importance[:4] = 1.0
    top = [rank_voxels(importance, seed)[:600] for seed in range(200)]
    assert torch.equal(top[0], rank_voxels(importance, 0)[:600])
    assert not torch.equal(top[0], top[1])
    # The 200 of value 1 always come first, in any order; of the 1800 zeros 400 follow.
    counts = torch.zeros(2000)
    for chosen in top:
        assert set(chosen[:200].tolist()) == set(range(200))
        counts[chosen] += 1
    zeros = counts[200:]
    # Each zero is drawn 200 times with chance 400 / 1800: a binomial, whose mean does not depend
    # on the place. Halves of the image differ by less than five standard errors.
    chance = 400 / 1800
    error = math.sqrt(200 * chance * (1 - chance) / 900)
    assert abs(float(zeros[:900].mean()) - 200 * chance) < 5 * error
    assert abs(float(zeros[::2].mean()) - 200 * chance) < 5 * error


def test_magnitude_adds_up_information_and_value_evidence(ndim: int) -> None:
    data = torch.randn(2, *SHAPES[ndim])
    found = attribution(data)
    assert torch.equal(importance_of(found, "magnitude"), data[0].abs() + data[1].abs())
    assert torch.equal(importance_of(found, "value"), data[0] + data[1])
    opposed = torch.zeros(2, *SHAPES[ndim])
    opposed[:, 0, 0] = torch.tensor([3.0, -3.0]).reshape(2, *[1] * (ndim - 2))
    assert importance_of(attribution(opposed), "value").abs().max() == 0
    assert importance_of(attribution(opposed), "magnitude").max() == 6


def test_voxels_are_ranked_by_the_value_per_voxel() -> None:
    single = torch.randn(1, 8, 8)
    torch.testing.assert_close(importance_of(attribution(single), "value"), single[0])
    torch.testing.assert_close(importance_of(attribution(single), "magnitude"), single[0].abs())
    # A feature of 10 voxels that is worth 3 is less a voxel than one of a single voxel worth 1.
    painted, sharing = torch.full((1, 8, 8), 3.0), torch.full((1, 8, 8), 10.0)
    painted[0, 0, 0], sharing[0, 0, 0] = 1.0, 1.0
    found = importance_of(replace(attribution(painted), sharing=sharing), "value")
    ranked = rank_voxels(found, seed=0)
    assert int(ranked[0]) == 0


def test_a_voxel_is_removed_in_all_channels(ndim: int) -> None:
    shape = SHAPES[ndim]
    data, fill = torch.randn(3, *shape), torch.randn(3, *shape)
    box = tuple(slice(0, length) for length in shape)
    truth = torch.zeros(shape, dtype=torch.long)
    sample = Sample(0, 0, box, data, fill, truth, labels_of(1))
    mask = torch.rand(shape) < 0.4
    expected = data.numpy().copy()
    for channel in range(3):
        expected[channel][mask.numpy()] = fill[channel].numpy()[mask.numpy()]
    before = data.clone()
    assert np.array_equal(sample.without(mask).numpy(), expected)
    assert torch.equal(data, before)
