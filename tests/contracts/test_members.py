"""What holds for every method over mirrored passes and ensembles: one function is explained.

A mean over the same network twice is that network; a network that commutes with flips is its own
mirror. Whatever is a sum is the mean of the members' maps of the same target.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch

from esegeta.explain import Explainer
from esegeta.model import copied_state, state_of
from esegeta.predict import Predictor, list_passes
from esegeta.targets import FrozenTarget
from esegeta.volume import Volume
from tests.builders import predictor, unet, volume
from tests.contracts import rows_backprop, rows_perturbation
from tests.contracts.explainers import ALL, ROWS, mostly_in_2d, with_trait
from tests.contracts.rows import make_case
from tests.networks import Counting, Smooth, symmetric
from tests.oracles import disguised, frozen, relative_gap, with_coefficients
from tests.predict.averaged import averaging

pytestmark = pytest.mark.usefixtures("whole_windows")

TOLERANCE = 1e-4
LEARN = rows_backprop.FITTED
"""Methods that learn something from what each network sees."""


def of(method: str, layer: str | None = None) -> Explainer:
    row = ROWS[method]
    return replace(row, layer=layer) if row.traits.needs_layer and layer is not None else row


def twice(model: Predictor, average: str) -> Predictor:
    """Return an ensemble of a network and itself."""
    own = state_of(model.network)
    plan = replace(model.plan, passes=list_passes([], 2), average=average)
    return replace(model, plan=plan, states=(own, copied_state(own)))


def by_turns(*averages: str) -> list[tuple[int, str, str]]:
    """Return axes, method and average: over tests of either order a method meets both averages."""
    cases = mostly_in_2d(ALL)
    return [
        (ndim, method, averages[place % len(averages)])
        for place, (ndim, method) in enumerate(cases)
    ]


@dataclass(frozen=True)
class Two:
    """Two predictors of one function, and the same target over each; shared by tests."""

    image: Volume
    ensemble: Predictor
    plain: Predictor
    of_ensemble: FrozenTarget
    of_plain: FrozenTarget


@cache
def doubled(ndim: int, average: str) -> Two:
    """Return a network twice and once."""
    case = make_case(ndim, 1, shape=(10, 9, 6)[:ndim])
    target = case.target
    if average == "probabilities":
        # Logits of probabilities are those of the network less what all of them have in common,
        # of which a difference of labels knows nothing.
        weights = case.target.coefficients
        assert isinstance(weights, torch.Tensor)
        weights = weights + torch.tensor([1.0, -1.0]).reshape(2, *[1] * ndim)
        target = with_coefficients(case.target, weights - weights.mean(dim=0))
    # An ensemble's mean of probabilities is not linear, which is another route of some methods.
    alone = target if average == "logits" else disguised(target)
    return Two(case.volume, twice(case.model, average), case.model, target, alone)


@pytest.mark.slow
@pytest.mark.parametrize(("ndim", "method", "average"), by_turns("logits", "probabilities"))
def test_a_network_twice_is_that_network(ndim: int, method: str, average: str) -> None:
    two, explainer = doubled(ndim, average), of(method)
    found = explainer.explain(two.ensemble, two.image, two.of_ensemble)
    expected = explainer.explain(two.plain, two.image, two.of_plain)
    assert found.facts.more["passes_per_window"] == 2
    assert found.facts.num_windows == 2 * expected.facts.num_windows
    assert relative_gap(found.data, expected.data) < 10 * TOLERANCE
    for one, other in zip(found.layer_maps, expected.layer_maps, strict=True):
        assert relative_gap(one.data, other.data) < TOLERANCE


@cache
def mirrored(ndim: int, average: str) -> Two:
    """Return a network that commutes with flips, over mirrored windows and over plain ones."""
    shape = (12, 9, 6)[:ndim]
    image = volume(shape)
    plain = predictor(symmetric(ndim), (8, 6, 6)[:ndim])
    model = replace(plain, plan=replace(plain.plan, passes=list_passes([0, 1]), average=average))
    weights = torch.rand(2, *shape, generator=torch.Generator().manual_seed(3))
    if average == "probabilities":
        weights -= weights.mean(dim=0)
    targets = [with_coefficients(frozen(one, image), weights) for one in (model, plain)]
    return Two(image, model, plain, *targets)


@pytest.mark.slow
@pytest.mark.parametrize(("ndim", "method", "average"), by_turns("probabilities", "logits"))
def test_mirroring_a_symmetric_network_changes_nothing(
    ndim: int, method: str, average: str
) -> None:
    two, explainer = mirrored(ndim, average), of(method, "0")
    found = explainer.explain(two.ensemble, two.image, two.of_ensemble)
    assert found.data.isfinite().all()
    if method in LEARN:  # they learn from mirrored windows too, which are other images
        return
    expected = explainer.explain(two.plain, two.image, two.of_plain)
    assert relative_gap(found.data, expected.data) < 10 * TOLERANCE
    for one, other in zip(found.layer_maps, expected.layer_maps, strict=True):
        assert relative_gap(one.data, other.data) < TOLERANCE


def mixed(ndim: int) -> tuple[Predictor, FrozenTarget]:
    """Return a mirrored ensemble of two U-Nets, over a volume smaller than a window on one axis."""
    networks = [unet(ndim, "relu_instance", seed=seed) for seed in (3, 4)]
    model = averaging(networks, predictor(networks[0], (8,) * ndim), [1], "logits")
    shape = (10, 7, 9)[:ndim]
    weights = torch.rand(2, *shape, generator=torch.Generator().manual_seed(5)) - 0.3
    return model, with_coefficients(frozen(model, volume(shape)), weights)


@pytest.mark.parametrize(
    ("ndim", "method"), mostly_in_2d(with_trait("additive")), indirect=["ndim"]
)
def test_an_additive_map_is_the_mean_of_the_members_maps(ndim: int, method: str) -> None:
    model, target = mixed(ndim)
    image = target.scene.volume
    explainer = of(method)
    found = explainer.explain(model, image, target)
    maps = [explainer.explain(one, image, target) for one in model.members()]
    assert len(maps) == 2
    assert relative_gap(maps[0].data, maps[1].data) > 1e-2
    mean = torch.stack([one.data for one in maps]).mean(dim=0)
    assert relative_gap(found.data, mean) < TOLERANCE
    flips = [replace(model, plan=replace(model.plan, passes=(one,))) for one in model.plan.passes]
    maps = [explainer.explain(one, image, target) for one in flips]
    assert len(maps) == 4
    mean = torch.stack([one.data for one in maps]).mean(dim=0)
    assert relative_gap(found.data, mean) < TOLERANCE
    for place, own in enumerate(found.layer_maps):
        mean = torch.stack([one.layer_maps[place].data for one in maps]).mean(dim=0)
        assert relative_gap(own.data, mean) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize(("ndim", "method"), mostly_in_2d(ALL))
def test_runs_over_a_mirrored_ensemble_by_both_routes(ndim: int, method: str) -> None:
    model, target = mixed(ndim)
    image = target.scene.volume
    explainer = ROWS[method]
    if method in rows_perturbation.ABOUT_LABELS:
        explainer = replace(explainer, baseline="mean", tau=0.9)
    found, other = (
        explainer.explain(model, image, one).data for one in (target, disguised(target))
    )
    assert found.isfinite().all() and found.std() > 0
    assert relative_gap(other, found) < 10 * TOLERANCE


@pytest.mark.parametrize("method", ALL)
def test_explaining_another_member_restores_the_weights_of_the_network(method: str) -> None:
    model, target = mixed(2)
    own = state_of(model.network)
    learning = {name: tensor.requires_grad for name, tensor in own.items()}
    ROWS[method].explain(model.members()[1], target.scene.volume, target)
    now = state_of(model.network)
    assert [name for name in own if now[name] is not own[name]] == []
    assert {name: tensor.requires_grad for name, tensor in now.items()} == learning


@pytest.mark.parametrize("average", ["logits", "probabilities"])
@pytest.mark.parametrize(
    ("ndim", "method"), mostly_in_2d(with_trait("complete")), indirect=["ndim"]
)
def test_complete_methods_add_up(ndim: int, method: str, average: str) -> None:
    networks = [Smooth(ndim) for _ in range(2)]
    for parameter in networks[1].parameters():
        parameter.data.mul_(1.5)
    model = averaging(networks, predictor(networks[0], (8,) * ndim), [0], average)
    image = volume((10, 7, 9)[:ndim])
    target = frozen(model, image)
    found = ROWS[method].explain(model, image, target)
    ends = [target.value(model.logits(scale * image.batch)) for scale in (1, 0)]
    change = float(ends[0] - ends[1])
    assert abs(float(found.data.double().sum()) - change) < 1e-3 * abs(change)
    assert found.facts.completeness_relative is not None
    assert found.facts.completeness_relative < 1e-3


@pytest.mark.parametrize("average", ["logits", "probabilities"])
@pytest.mark.parametrize("method", ["saliency", "integrated_gradients", "occlusion", "rise"])
def test_counts_the_windows_that_it_ran(ndim: int, method: str, average: str) -> None:
    network = Counting(Smooth(ndim))
    model = averaging(
        [network, Counting(Smooth(ndim))], predictor(network, (8,) * ndim), [], average
    )
    image = volume((10, 7, 9)[:ndim])
    target = frozen(model, image)
    target.scene.logits  # noqa: B018  (predicted when the target was frozen)
    network.windows = 0
    found = ROWS[method].explain(model, image, target)
    assert found.facts.windows_run == network.windows > 0
