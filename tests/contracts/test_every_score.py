"""What holds for every score, in 2D and 3D, for one channel and two: one table drives it all."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import replace
from functools import cache, cached_property
from typing import Any, get_args

import pytest
import torch

from esegeta.errors import MapError
from esegeta.explain import Attribution, Features, GradCam, InputXGradient, Objective
from esegeta.explain.explainer import RawMap
from esegeta.score import (
    SCORES,
    Auroc,
    ClassSensitivity,
    Completeness,
    ConsistencyUnderFlips,
    Deletion,
    DiceDrop,
    EffectiveComplexity,
    EfficientMprt,
    Entropy,
    Gini,
    HaloProfile,
    Infidelity,
    Insertion,
    ParameterRandomization,
    PointingGame,
    RandomMapBaseline,
    RelevanceMass,
    RelevanceRank,
    Road,
    Score,
    ScoreContext,
    SensitivityAvg,
    SensitivityMax,
    SensitivityN,
)
from esegeta.score.score import Better
from esegeta.targets import FrozenTarget
from tests.contracts.rows import Case, CaseKind, assert_documented
from tests.each import for_each
from tests.networks import Failing
from tests.oracles import disguised, state_of

BLOCKS = Features("blocks", side_mm=4.0)

ROWS: dict[str, Score] = {
    "infidelity": Infidelity(samples=5, noise=0.3, perturbation="gaussian"),
    "deletion": Deletion(BLOCKS, baseline="zero", steps=5),
    "insertion": Insertion(BLOCKS, baseline="blur", steps=5),
    "dice_drop": DiceDrop(BLOCKS, baseline="zero", steps=3),
    "road": Road(steps=4),
    "sensitivity_n": SensitivityN(BLOCKS, baseline="zero", sizes=3, samples=4),
    "completeness": Completeness(baseline="zero"),
    "sensitivity_max": SensitivityMax(samples=3, radius=0.2),
    "sensitivity_avg": SensitivityAvg(samples=3, radius=0.2),
    "consistency_under_flips": ConsistencyUnderFlips(),
    "relevance_mass": RelevanceMass(),
    "relevance_rank": RelevanceRank(),
    "pointing_game": PointingGame(),
    "auroc": Auroc(),
    "halo_profile": HaloProfile(bin_mm=1.0),
    "gini": Gini(),
    "entropy": Entropy(),
    "effective_complexity": EffectiveComplexity(BLOCKS, baseline="zero", steps=5),
    "parameter_randomization": ParameterRandomization(max_layers=2),
    "efficient_mprt": EfficientMprt(bins=20),
    "class_sensitivity": ClassSensitivity(),
    "random_map_baseline": RandomMapBaseline(
        Infidelity(samples=4, perturbation="gaussian"), samples=9
    ),
}

OF_ANY_SEED = {"random_map_baseline", "random_map_baseline_edges"}
"""Figures that another seed need not change: a count out of a few, and one without a draw."""

READ_THE_MAP_ALONE = {
    "relevance_mass",
    "relevance_rank",
    "pointing_game",
    "auroc",
    "halo_profile",
    "gini",
    "entropy",
}
"""Scores that never ask the network for anything."""

EXPLAINER = InputXGradient()
ALL = list(SCORES)
RUN_THE_NETWORK = [name for name in ALL if name not in READ_THE_MAP_ALONE]


KINDS = ("2d-1ch", "3d-2ch", "2d-2ch", "3d-1ch")


def meeting(turn: int, names: list[str] = ALL) -> list[tuple[str, str]]:
    """Return a case for each score: over tests of turns 0 to 3 each score meets all of them."""
    return [(KINDS[(place + turn) % len(KINDS)], name) for place, name in enumerate(names)]


class Judged(Case):
    """A case with a map of it, which is made once."""

    @cached_property
    def map(self) -> Attribution:
        """Of the explainer that the scores judge, with a ground truth beside it."""
        return EXPLAINER.explain(self.model, self.volume, with_truth(self.target))


def make_case(kind: str) -> Judged:
    """Return three labels beside the background: some scores ask about the other labels."""
    return Judged(**vars(CaseKind(int(kind[0]), "relu_batch", int(kind[3]), num_outputs=4).make()))


kept_case = cache(make_case)


@pytest.fixture(params=KINDS[:2])
def case(request: pytest.FixtureRequest) -> Judged:
    """A case that many tests share: none of them changes anything in it."""
    return kept_case(request.param)


@pytest.fixture
def own_case(request: pytest.FixtureRequest) -> Judged:
    """A case of a test that trains its network or breaks it."""
    return make_case(request.param)


FLIPS = {"dice_drop": 5e-3}
"""Scores that count voxels, of which rounding turns a few that lie on the decision's edge."""

TIES_ONLY = {"deletion", "insertion", "dice_drop", "road", "effective_complexity"}
"""Scores whose seed only decides the order among equals."""


def with_truth(target: FrozenTarget) -> FrozenTarget:
    """Return the same target with a ground truth: a box of the label "one"."""
    truth = torch.zeros(target.mask.shape, dtype=torch.long)
    truth[tuple(slice(2, 7) for _ in truth.shape)] = 1
    return replace(target, scene=replace(target.scene, truth=truth))


def figures(score: Score, attribution: Attribution, case: Case) -> dict[str, float]:
    return score.score(attribution, ScoreContext(case.model, EXPLAINER))


def close_to(expected: dict[str, float], score: Score, *, rel: float) -> dict[str, Any]:
    """Return what equals these figures; correlations are as exact as their range, also near 0."""
    slack = FLIPS.get(score.name)
    signed = {
        one.name
        for one in score.metrics
        if (one.low, one.high) == (-1, 1) or score.name == "parameter_randomization"
    }
    return {
        key: pytest.approx(value, rel=rel, abs=slack or (rel / 10 if key in signed else None))
        for key, value in expected.items()
    }


def test_every_score_has_a_row_of_its_own_class() -> None:
    assert list(ROWS) == list(SCORES)
    for name, kind in SCORES.items():
        assert type(ROWS[name]) is kind
        assert kind.name == name


def test_no_two_scores_give_a_figure_of_one_name() -> None:
    names = [metric.name for kind in SCORES.values() for metric in kind.metrics]
    assert len(set(names)) == len(names)


@for_each(ALL)
def test_documents_itself(name: str) -> None:
    assert_documented(SCORES[name])
    assert SCORES[name]() == SCORES[name]()  # usable without a parameter
    for metric in SCORES[name].metrics:
        assert metric.better in get_args(Better)
        assert metric.low < metric.high


@pytest.mark.parametrize("name", ALL)
def test_gives_each_of_its_figures_within_its_range(case: Judged, name: str) -> None:
    found = figures(ROWS[name], case.map, case)
    assert list(found) == [metric.name for metric in SCORES[name].metrics]
    for metric in SCORES[name].metrics:
        value = found[metric.name]
        assert isinstance(value, float)
        assert math.isfinite(value)
        assert metric.low <= value <= metric.high


@pytest.mark.parametrize(("case", "name"), meeting(0), indirect=["case"])
def test_curves_can_be_drawn(case: Judged, name: str) -> None:
    context = ScoreContext(case.model, EXPLAINER)
    curves = ROWS[name].judge(case.map, context).curves
    assert len({curve.name for curve in curves}) == len(curves)
    for curve in curves:
        assert curve.x_label
        assert curve.y_label
        assert len(curve.x) == len(curve.y) > 1
        assert len(curve.ticks) in (0, len(curve.x))
        assert all(math.isfinite(x) for x in curve.x)
        assert curve.ticks or list(curve.x) == sorted(curve.x)
        assert any(math.isfinite(y) for y in curve.y)


@pytest.mark.parametrize(("case", "name"), meeting(1), indirect=["case"])
def test_the_same_again_and_another_under_another_seed(case: Judged, name: str) -> None:
    attribution = case.map
    first = figures(ROWS[name], attribution, case)
    torch.manual_seed(99)
    assert figures(ROWS[name], attribution, case) == first
    seeded = "seed" in {field.name for field in dataclasses.fields(ROWS[name])}
    if seeded and name not in TIES_ONLY:
        other = figures(replace(ROWS[name], seed=7), attribution, case)
        moved = {key: other[key] != value for key, value in first.items()}
        assert all(moved[key] for key in moved.keys() - OF_ANY_SEED)
        assert any(moved.values())


@pytest.mark.parametrize(("case", "name"), meeting(2), indirect=["case"])
def test_batch_size_does_not_matter(case: Judged, name: str) -> None:
    attribution = case.map
    one, three = (
        figures(ROWS[name], attribution, replace(case, model=replace(case.model, batch_size=size)))
        for size in (1, 3)
    )
    assert three == close_to(one, ROWS[name], rel=1e-4)


@dataclasses.dataclass(frozen=True)
class Scaled(InputXGradient):
    """The same map in another unit."""

    factor: float = 1.0

    def attribute(self, objective: Objective) -> RawMap:
        found = super().attribute(objective)
        return replace(found, data=self.factor * found.data)


@pytest.mark.parametrize("name", ALL)
def test_ranked_figures_do_not_depend_on_the_scale_of_the_map(name: str) -> None:
    """x 100 and x 1e-3: a figure without a scale is the same, one with a scale is not."""
    case = kept_case("2d-2ch")
    target, score = with_truth(case.target), ROWS[name]

    def found(factor: float) -> dict[str, float]:
        explainer = Scaled(factor=factor)
        context = ScoreContext(case.model, explainer)
        return score.score(explainer.explain(case.model, case.volume, target), context)

    expected = found(1.0)
    same = close_to(expected, score, rel=1e-4)
    for factor in (100.0, 1e-3):
        scaled = found(factor)
        for metric in score.metrics:
            alike = scaled[metric.name] == same[metric.name]
            assert alike == metric.scale_free, metric.name


@pytest.mark.parametrize(("case", "name"), meeting(3), indirect=["case"])
def test_both_routes_agree(case: Judged, name: str) -> None:
    attribution = case.map
    other = replace(attribution, target=disguised(attribution.target))
    expected = figures(ROWS[name], attribution, case)
    assert figures(ROWS[name], other, case) == close_to(expected, ROWS[name], rel=1e-3)


@pytest.mark.parametrize(("own_case", "name"), meeting(0), indirect=["own_case"])
def test_leaves_map_image_and_network_as_they_were(own_case: Judged, name: str) -> None:
    case, attribution = own_case, own_case.map
    network = case.network.train()
    before = state_of(network)
    map_, image = attribution.data.clone(), case.volume.data.clone()
    figures(ROWS[name], attribution, case)
    assert state_of(network) == before
    assert torch.equal(attribution.data, map_)
    assert torch.equal(case.volume.data, image)


@pytest.mark.parametrize(("case", "name"), meeting(1), indirect=["case"])
def test_runs_only_the_necessary_windows(case: Judged, name: str) -> None:
    attribution = case.map
    windows_run: list[int] = []  # also by copies of the network
    figures(
        ROWS[name],
        attribution,
        replace(case, model=replace(case.model, on_windows=windows_run.append)),
    )
    assert (windows_run == []) == (name in READ_THE_MAP_ALONE)


@pytest.mark.parametrize("nth", [1, 3])
@pytest.mark.parametrize(("own_case", "name"), meeting(0, RUN_THE_NETWORK), indirect=["own_case"])
def test_leaves_the_network_as_it_was_after_an_exception(
    own_case: Judged, name: str, nth: int
) -> None:
    case, attribution = own_case, own_case.map
    network = Failing(case.network.train(), nth)
    before = state_of(network)
    broken = replace(case, model=replace(case.model, network=network))
    with pytest.raises(Failing.BrokenError):
        figures(ROWS[name], attribution, broken)
    assert state_of(network) == before


@pytest.mark.parametrize(("case", "name"), meeting(2), indirect=["case"])
def test_a_map_of_zeros_is_refused(case: Judged, name: str) -> None:
    attribution = case.map
    empty = replace(attribution, data=torch.zeros_like(attribution.data))
    with pytest.raises(MapError, match=f"{name}: the map is zero everywhere"):
        figures(ROWS[name], empty, case)


@pytest.mark.parametrize(("case", "name"), meeting(3), indirect=["case"])
def test_scores_maps_of_voxels_too(case: Judged, name: str) -> None:
    attribution = GradCam().explain(case.model, case.volume, with_truth(case.target))
    found = ROWS[name].judge(attribution, ScoreContext(case.model, GradCam()))
    # Only a mean over a curve may have a value and leave something out.
    gaps = any(math.isnan(y) for curve in found.curves for y in curve.y)
    for key, value in found.values.items():
        reason = found.reasons.get(key, "")
        assert math.isfinite(value) != bool(reason) or (gaps and "left out" in reason)
