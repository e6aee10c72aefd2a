"""Localisation where there is no structure or nothing to place, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch

from esegeta.errors import ConfigError, MapError
from esegeta.score import HaloProfile, PointingGame, Score
from esegeta.score.localisation import LOCALISATION
from esegeta.targets import Everywhere, VoxelTarget
from tests.score.maps import ONE_VOXEL, RAMP, judged, written_map

NOWHERE = torch.zeros_like(ONE_VOXEL)
ALL = list(LOCALISATION)
WITHOUT_A_LABEL = VoxelTarget("one", over=Everywhere()) - 0.5 * VoxelTarget(
    "one", "probability", Everywhere()
)

NO_VALUE = {
    "nothing predicted": (
        written_map(RAMP, NOWHERE),
        "prediction",
        'the prediction of "one" holds no voxel',
    ),
    "all predicted": (
        written_map(RAMP, ~NOWHERE),
        "prediction",
        'the prediction of "one" holds every voxel: nothing lies outside',
    ),
    "no ground truth": (
        written_map(RAMP, ONE_VOXEL),
        "label",
        "the case has no ground truth",
    ),
    "label not in the ground truth": (
        written_map(RAMP, ONE_VOXEL, truth=2 * ONE_VOXEL.long()),
        "label",
        'the ground truth of "one" holds no voxel',
    ),
    "ground truth everywhere": (
        written_map(RAMP, ONE_VOXEL, truth=torch.ones(4, 5, dtype=torch.int64)),
        "label",
        'the ground truth of "one" holds every voxel: nothing lies outside',
    ),
    "target over all": (
        written_map(RAMP, ONE_VOXEL),
        "target",
        "the target's mask holds every voxel: nothing lies outside",
    ),
    "target of no label": (
        written_map(RAMP, ONE_VOXEL, target=WITHOUT_A_LABEL),
        "prediction",
        "the target is not about one label; `against: target` needs none",
    ),
    "truth, target of no label": (
        written_map(RAMP, ONE_VOXEL, truth=ONE_VOXEL.long(), target=WITHOUT_A_LABEL),
        "label",
        "the target is not about one label; `against: target` needs none",
    ),
}


@pytest.mark.parametrize("cause", NO_VALUE)
@pytest.mark.parametrize("name", ALL)
def test_without_a_structure_the_value_is_undefined_with_a_reason(name: str, cause: str) -> None:
    map_, against, reason = NO_VALUE[cause]
    score: Score = LOCALISATION[name](against=against)
    found = judged(score, map_)
    wanted = [metric.name for metric in score.metrics]
    assert list(found.values) == wanted
    assert all(math.isnan(value) for value in found.values.values())
    assert found.reasons == dict.fromkeys(wanted, reason)
    assert found.curves == ()


@pytest.mark.parametrize("name", ALL)
def test_a_negative_map_has_no_value_for_positive_relevance(name: str) -> None:
    map_ = written_map(-RAMP, ONE_VOXEL)
    found = judged(LOCALISATION[name](use="positive"), map_)
    assert all(math.isnan(value) for value in found.values.values())
    reasons = set(found.reasons.values())
    assert reasons == {"the map, summed over channels, has no positive value"}
    by_magnitude = judged(LOCALISATION[name](use="magnitude"), map_)
    assert all(math.isfinite(value) for value in by_magnitude.values.values())


@pytest.mark.parametrize("name", ALL)
def test_a_map_of_zeros_is_refused(name: str) -> None:
    with pytest.raises(MapError, match=f"{name}: the map is zero everywhere"):
        judged(LOCALISATION[name](), written_map(0 * RAMP, ONE_VOXEL))


@pytest.mark.parametrize("bad", [PointingGame, HaloProfile])
def test_bad_parameters_are_refused(bad: type[Score]) -> None:
    name, options = {
        PointingGame: ("within_mm", {"within_mm": -1.0}),
        HaloProfile: ("bin_mm", {"bin_mm": 0.0}),
    }[bad]
    with pytest.raises(ConfigError, match=f"{bad.name}: {name}"):
        bad(**options)
