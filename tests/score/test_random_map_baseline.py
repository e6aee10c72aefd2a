"""The random map baseline: p by hand on a toy score, and what is shared between methods."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch

from esegeta.errors import ConfigError, MapError
from esegeta.explain import Attribution, EdgeMap, RandomMap, Saliency
from esegeta.predict import Predictor
from esegeta.score import (
    Deletion,
    Infidelity,
    Judgement,
    Metric,
    RandomMapBaseline,
    Score,
    ScoreCache,
    ScoreContext,
    SensitivityMax,
)
from tests.builders import SHAPES, affine_of, linear, predictor, unet, volume
from tests.networks import Counting
from tests.oracles import frozen

pytestmark = pytest.mark.usefixtures("whole_windows")


@dataclass(frozen=True)
class First(Score):
    """The first value of a map; its first figure judges nothing."""

    unit: float = 1.0

    seen: ClassVar[list[Attribution]] = []
    name: ClassVar[str] = "first"
    family: ClassVar[str] = "toy"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("first_size", "none"),
        Metric("first", "higher", low=-math.inf),
    )

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        self.seen.append(attribution)
        assert context.explainer.name == attribution.method
        return self._said(self.unit * float(attribution.data.flatten()[0]), attribution)

    def _said(self, value: float, attribution: Attribution) -> Judgement:
        return Judgement({"first_size": abs(value), "first": value})


@dataclass(frozen=True)
class Least(First):
    """The same, where lower is better."""

    name: ClassVar[str] = "least"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("first_size", "none"),
        Metric("first", "lower", low=-math.inf),
    )


@dataclass(frozen=True)
class Picky(First):
    """Does not judge the maps of some methods."""

    refuses: tuple[str, ...] = ()
    raises: bool = False

    def _said(self, value: float, attribution: Attribution) -> Judgement:
        if attribution.method not in self.refuses:
            return super()._said(value, attribution)
        if self.raises:
            raise MapError("picky: I will not")
        return self.undefined("I cannot", ["first_size", "first"])


def made(ndim: int, value: float = 1.0) -> tuple[Predictor, Attribution]:
    """Return a model, and a map whose first value is given."""
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim], affine=affine_of("anisotropic", ndim))
    attribution = Saliency().explain(model, image, frozen(model, image))
    data = attribution.data.clone()
    data.view(-1)[0] = value
    return model, replace(attribution, data=data)


def judged(
    model: Predictor, attribution: Attribution, cache: ScoreCache | None = None, **options: Any
) -> Judgement:
    context = ScoreContext(model, Saliency(), cache or ScoreCache())
    return RandomMapBaseline(**options).judge(attribution, context)


@pytest.mark.parametrize("value", [-9.0, -0.5, 0.25, 9.0])
@pytest.mark.parametrize("kind", [First, Least])
def test_p_and_z_are_counted_by_hand(ndim: int, kind: type[First], value: float) -> None:
    model, attribution = made(ndim, value)
    First.seen.clear()
    found = judged(model, attribution, base=kind(), samples=12)
    own, *noise, edges = [float(item.data.flatten()[0]) for item in First.seen]
    assert own == value
    assert len(noise) == 12
    sign = 1 if kind is First else -1
    as_good = sum(sign * one >= sign * value for one in noise)
    values = torch.tensor(noise, dtype=torch.float64)
    assert found.values == pytest.approx(
        {
            "random_map_baseline": (1 + as_good) / 13,
            "random_map_baseline_z": sign * (value - float(values.mean())) / float(values.std()),
            "random_map_baseline_edges": sign * (value - edges),
        }
    )
    assert found.reasons == {}


def test_the_competitors_are_noise_of_each_width_in_turn_and_the_edges(ndim: int) -> None:
    model, attribution = made(ndim)
    First.seen.clear()
    judged(model, attribution, base=First(), samples=5, sigmas_mm=(0.0, 4.0))
    own, *noise, edges = First.seen
    assert own is attribution
    assert [one.method for one in noise] == ["random_map"] * 5
    assert [one.parameters["sigma_mm"] for one in noise] == [0, 4, 0, 4, 0]
    assert len({one.parameters["seed"] for one in noise}) == 5
    expected = EdgeMap().explain(model, attribution.volume, attribution.target)
    assert torch.equal(edges.data, expected.data)
    for one in noise:
        assert one.target is attribution.target
        again = RandomMap(one.parameters["sigma_mm"], seed=one.parameters["seed"])
        found = again.explain(model, attribution.volume, attribution.target)
        assert torch.equal(one.data, found.data)
    first = {one.parameters["seed"] for one in noise}
    First.seen.clear()
    judged(model, attribution, base=First(), samples=5, seed=1)
    assert first.isdisjoint(one.parameters.get("seed") for one in First.seen)


def test_all_methods_of_a_target_share_their_competitors(ndim: int) -> None:
    model, attribution = made(ndim)
    cache = ScoreCache()
    First.seen.clear()
    first = judged(model, attribution, cache, base=First(), samples=4)
    assert len(First.seen) == 1 + 4 + 1
    again = judged(model, attribution, cache, base=First(), samples=4)
    assert len(First.seen) == 6 + 1
    assert again == first
    # Another base, other parameters of it, other samples: others.
    for options in ({"base": Least()}, {"base": First(2.0)}, {"base": First(), "seed": 3}):
        before = len(First.seen)
        judged(model, attribution, cache, samples=4, **options)
        assert len(First.seen) == before + 6


def test_p_of_a_random_map_is_uniform() -> None:
    """Of many random maps, p at most 1/4 comes in about a quarter: it is a p-value."""
    model, attribution = made(2)
    cache = ScoreCache()
    found = []
    for seed in range(200):
        map_ = RandomMap(seed=seed).explain(model, attribution.volume, attribution.target)
        context = ScoreContext(model, RandomMap(seed=seed), cache)
        score = RandomMapBaseline(First(), samples=199, sigmas_mm=(0.0,))
        found.append(score.judge(map_, context).values["random_map_baseline"])
    below = sum(value <= 0.25 for value in found) / 200
    assert 0.15 < below < 0.35
    assert min(found) >= 1 / 200


def test_the_default_is_deletion_in_few_steps() -> None:
    assert RandomMapBaseline().base == Deletion(steps=5)


@pytest.mark.slow
def test_an_exact_map_beats_all_random_maps(ndim: int) -> None:
    model, image = predictor(linear(ndim, kernel=3), (4,) * ndim), volume(SHAPES[ndim])
    attribution = Saliency().explain(model, image, frozen(model, image))
    found = judged(model, attribution, base=Infidelity(perturbation="gaussian"))
    assert found.values["random_map_baseline"] == 1 / 20
    assert found.values["random_map_baseline_z"] > 2
    assert found.values["random_map_baseline_edges"] > 0.5
    infidelity = (
        Infidelity(perturbation="gaussian")
        .judge(attribution, ScoreContext(model, Saliency()))
        .values
    )
    edges = EdgeMap().explain(model, image, attribution.target)
    other = Infidelity(perturbation="gaussian").judge(edges, ScoreContext(model, EdgeMap())).values
    lead = other["infidelity_relative"] - infidelity["infidelity_relative"]
    assert found.values["random_map_baseline_edges"] == pytest.approx(lead)


def test_infidelity_perturbs_once_for_the_map_and_its_competitors() -> None:
    network = Counting(unet(2))
    model, image = predictor(network, (8, 8)), volume(SHAPES[2])
    attribution = Saliency().explain(model, image, frozen(model, image))
    network.windows = 0
    judged(model, attribution, base=Infidelity(samples=5, perturbation="gaussian"), samples=4)
    assert network.windows == (1 + 5) * attribution.facts.active_windows


def test_a_map_that_the_base_cannot_judge_is_undefined() -> None:
    model, attribution = made(2)
    found = judged(model, attribution, base=Picky(refuses=("saliency",)))
    assert all(math.isnan(value) for value in found.values.values())
    assert set(found.reasons.values()) == {"first of saliency: I cannot"}


@pytest.mark.parametrize("raises", [False, True])
def test_competitors_that_the_base_cannot_judge_leave_their_figures_undefined(raises: bool) -> None:
    model, attribution = made(2)
    words = "first of edge_map: picky: I will not" if raises else "first of edge_map: I cannot"
    found = judged(model, attribution, base=Picky(refuses=("edge_map",), raises=raises))
    assert found.reasons == {"random_map_baseline_edges": words}
    assert math.isnan(found.values["random_map_baseline_edges"])
    assert math.isfinite(found.values["random_map_baseline"])
    found = judged(model, attribution, base=Picky(refuses=("random_map",), raises=raises))
    assert set(found.reasons) == {"random_map_baseline", "random_map_baseline_z"}
    assert all(math.isnan(found.values[name]) for name in found.reasons)
    assert math.isfinite(found.values["random_map_baseline_edges"])


def test_an_image_without_edges_has_no_edge_map() -> None:
    model, attribution = made(2)
    flat = attribution.volume.with_data(torch.ones_like(attribution.volume.data))
    found = judged(model, replace(attribution, volume=flat), base=First())
    reason = found.reasons["random_map_baseline_edges"]
    assert reason == "first of edge_map: edge_map: the map is zero everywhere"
    assert math.isfinite(found.values["random_map_baseline"])


def test_z_is_undefined_if_all_random_maps_score_the_same() -> None:
    """Noise stays the same when the image moves: each random map has a sensitivity of 0."""
    model, attribution = made(2)
    found = judged(model, attribution, base=SensitivityMax(samples=1), samples=3)
    assert found.values["random_map_baseline"] == 1
    assert found.reasons == {"random_map_baseline_z": "all random maps score the same"}


@dataclass(frozen=True)
class Describes(First):
    """Only describes."""

    name: ClassVar[str] = "describes"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("first_size", "none"),)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"samples": 1}, "samples: 1 must be at least 2"),
        ({"sigmas_mm": ()}, "sigmas_mm: give widths of 0 or more"),
        ({"sigmas_mm": (0.0, -1.0)}, "sigmas_mm: give widths of 0 or more"),
        ({"base": RandomMapBaseline()}, "cannot be judged by itself"),
        ({"base": Describes()}, "describes a map and does not judge it"),
    ],
)
def test_bad_parameters_are_refused(bad: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RandomMapBaseline(**bad)


def test_a_map_of_zeros_is_refused() -> None:
    model, attribution = made(2)
    with pytest.raises(MapError, match="random_map_baseline: the map is zero everywhere"):
        judged(model, replace(attribution, data=0 * attribution.data), base=First())


def test_the_headline_of_a_score_is_its_first_ranked_figure() -> None:
    assert First.headline().name == "first"
    assert SensitivityMax.headline().name == "sensitivity_max"
    assert Infidelity.headline().name == "infidelity_relative"
