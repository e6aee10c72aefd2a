"""Complexity: closed forms, a Gini index by all pairs, SciPy's entropy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from esegeta.errors import MapError
from esegeta.score import Entropy, Gini
from tests.builders import SHAPES
from tests.score.maps import judged, spots, value_of, written_map

NOWHERE = torch.zeros(4, 5, dtype=torch.bool)


def gini_by_pairs(values: np.ndarray) -> float:
    """Return the mean difference of two values in units of twice their mean."""
    return float(np.abs(values[:, None] - values[None]).mean() / (2 * values.mean()))


@pytest.mark.parametrize("num_channels", [1, 2])
def test_gini_equals_the_mean_difference_of_all_pairs(ndim: int, num_channels: int) -> None:
    map_ = torch.randn(num_channels, *SHAPES[ndim]).round(decimals=1)
    inside = torch.zeros(SHAPES[ndim], dtype=torch.bool)
    expected = gini_by_pairs(map_.abs().double().numpy().ravel())
    assert value_of(Gini(), written_map(map_, inside)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("num_channels", [1, 2])
def test_entropy_equals_scipys(ndim: int, num_channels: int) -> None:
    map_ = torch.randn(num_channels, *SHAPES[ndim])
    map_[0, :2] = 0
    inside = torch.zeros(SHAPES[ndim], dtype=torch.bool)
    found = judged(Entropy(), written_map(map_, inside)).values
    expected = stats.entropy(map_.abs().double().numpy().ravel())
    assert found["entropy"] == pytest.approx(expected, abs=1e-12)
    assert found["entropy_relative"] == pytest.approx(expected / math.log(map_.numel()), abs=1e-12)


def test_complexity_of_a_map_of_one_voxel() -> None:
    map_ = written_map(spots((4, 5), {(1, 1): -3.0})[None], NOWHERE)
    assert value_of(Gini(), map_) == pytest.approx(1 - 1 / 20)
    assert judged(Entropy(), map_).values == {"entropy": 0, "entropy_relative": 0}


def test_complexity_of_a_map_of_equal_magnitudes() -> None:
    map_ = written_map(torch.where(torch.rand(1, 4, 5) < 0.5, 0.3, -0.3), NOWHERE)
    assert value_of(Gini(), map_) == pytest.approx(0, abs=1e-12)
    found = judged(Entropy(), map_).values
    assert found["entropy"] == pytest.approx(math.log(20))
    assert found["entropy_relative"] == pytest.approx(1)


def test_the_scale_of_a_map_does_not_matter() -> None:
    map_ = torch.randn(1, 4, 5)
    for score in (Gini(), Entropy()):
        found = judged(score, written_map(map_, NOWHERE)).values
        assert judged(score, written_map(-64 * map_, NOWHERE)).values == pytest.approx(found)


def test_the_gini_of_noise() -> None:
    """Half-normal magnitudes: sqrt(2) - 1, which a method must beat to be sparse at all."""
    noise = written_map(torch.randn(1, 300, 300), torch.zeros(300, 300, dtype=torch.bool))
    assert value_of(Gini(), noise) == pytest.approx(math.sqrt(2) - 1, abs=3e-3)


def test_maps_without_channels_are_split_evenly_over_them() -> None:
    data = torch.randn(1, 4, 5)
    alone, split = (written_map(data, NOWHERE, num_channels=count) for count in (1, 2))
    both = written_map(torch.cat([data, data]), NOWHERE)
    assert value_of(Gini(), split) == pytest.approx(value_of(Gini(), alone))
    one, two = (judged(Entropy(), map_).values["entropy"] for map_ in (alone, split))
    assert two == pytest.approx(one + math.log(2))
    assert judged(Entropy(), both).values == pytest.approx(judged(Entropy(), split).values)


def test_a_features_worth_is_shared_among_its_voxels() -> None:
    """Worth 1 in one voxel and 1 in four: shares 1/2 and 4 times 1/8."""
    data = torch.tensor([[[1.0, 1, 1, 1, 1]]])
    sharing = torch.tensor([[[1.0, 4, 4, 4, 4]]])
    nowhere = torch.zeros(1, 5, dtype=torch.bool)
    map_ = written_map(data, nowhere, sharing=sharing)
    expected = 0.5 * math.log(2) + 0.5 * math.log(8)
    assert judged(Entropy(), map_).values["entropy"] == pytest.approx(expected)
    shares = np.array([1, 0.25, 0.25, 0.25, 0.25])
    assert value_of(Gini(), map_) == pytest.approx(gini_by_pairs(shares))


def test_a_single_input_has_no_relative_entropy() -> None:
    found = judged(Entropy(), written_map(torch.ones(1, 1, 1), torch.zeros(1, 1) > 0))
    assert found.values["entropy"] == 0
    assert math.isnan(found.values["entropy_relative"])
    assert found.reasons == {"entropy_relative": "the image has a single input"}


@pytest.mark.parametrize("score", [Gini(), Entropy()], ids=lambda score: score.name)
def test_a_map_of_zeros_is_refused(score: Gini | Entropy) -> None:
    with pytest.raises(MapError, match=f"{score.name}: the map is zero everywhere"):
        judged(score, written_map(torch.zeros(1, 4, 5), NOWHERE))
