"""Mirroring and ensembles: one function, exact in its values and its gradient."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from esegeta.errors import ConfigError, ModelError, WeightsError
from esegeta.model import copied_state, hold, join_members, load_members, state_of
from esegeta.predict import (
    Pass,
    Predictor,
    WindowPlan,
    active_windows,
    average_probabilities,
    list_passes,
    require_same_function,
)
from tests.builders import labels, predictor, unet
from tests.networks import Counting, Failing, Smooth, Valid
from tests.oracles import gradient_of, relative_gap
from tests.oracles import state_of as all_of
from tests.predict.averaged import Mirrored, averaging, mean_of, slow_average
from tests.predict.valid import covering, slow_prediction

pytestmark = pytest.mark.usefixtures("whole_windows")

TOLERANCE = 1e-5
SHAPES = {2: [(13, 11), (5, 13)], 3: [(9, 11, 7), (5, 3, 9)]}

COMBINATIONS = {
    "mirrored": (1, 2),
    "ensemble": (3, 0),
    "mirrored ensemble": (2, 1),
}
"""Networks, and axes that are mirrored."""


def folds(ndim: int, count: int, in_channels: int = 1) -> list[nn.Module]:
    """Return networks of one architecture with other weights."""
    networks = []
    for seed in range(count):
        network = Smooth(ndim, in_channels)
        torch.manual_seed(10 + seed)
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.4)
        networks.append(network)
    return networks


@pytest.mark.parametrize(
    ("ndim", "average", "activation"),
    [
        (2, "logits", "softmax"),
        (2, "probabilities", "softmax"),
        (2, "probabilities", "sigmoid"),
        (3, "probabilities", "softmax"),
    ],
)
@pytest.mark.parametrize("combination", COMBINATIONS)
def test_prediction_and_gradient_are_those_of_a_slow_rewrite(
    combination: str, average: str, activation: str, ndim: int
) -> None:
    count, num_axes = COMBINATIONS[combination]
    networks, mirror = folds(ndim, count), list(range(num_axes))
    model = predictor(networks[0], (8,) * ndim, activation=activation)
    found = averaging(networks, model, mirror, average)
    for shape in SHAPES[ndim]:
        x, slope = torch.randn(2, 1, *shape), torch.randn(2, 2, *shape)

        def slow(x: torch.Tensor) -> torch.Tensor:
            return slow_average(networks, model, x, mirror, average)

        with torch.no_grad():
            assert relative_gap(found(x), slow(x)) < TOLERANCE
        expected = gradient_of(lambda x, s=slope, slow=slow: (slow(x) * s).sum(), x)
        assert (
            relative_gap(gradient_of(lambda x, s=slope: (found(x) * s).sum(), x), expected)
            < TOLERANCE
        )
        pulled = found.pull_back(x, slope)
        assert relative_gap(pulled.gradient, expected) < TOLERANCE
        value = (slow(x).detach().double() * slope).flatten(1).sum(dim=1)
        torch.testing.assert_close(pulled.value, value, rtol=1e-4, atol=1e-4)
        if found.is_sum:
            active = active_windows(found.windows(x), slope)
            parts = found.contributions(x, slope, active).sum(dim=1)
            torch.testing.assert_close(parts, value, rtol=1e-4, atol=1e-4)


def test_contributions_to_a_mean_of_probabilities_are_refused() -> None:
    networks = folds(2, 2)
    model = averaging(networks, predictor(networks[0], (8, 8)), [], "probabilities")
    x, slope = torch.randn(1, 1, 10, 9), torch.randn(1, 2, 10, 9)
    with pytest.raises(ModelError, match=r"not a sum over windows; use inference\.average: logits"):
        model.contributions(x, slope, active_windows(model.windows(x), slope))


@pytest.mark.parametrize("average", ["logits", "probabilities"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_2d_network_is_mirrored_within_its_slices(axis: int, average: str) -> None:
    networks = folds(2, 2)
    plan = WindowPlan((8, 6), overlap=(0.5, 0.25), slice_axis=axis)
    model = Predictor(networks[0], plan, labels(), batch_size=3)
    found = averaging(networks, model, [0, 1], average)
    x = torch.randn(1, 1, 7, 9, 8)
    slope = torch.randn(1, 2, 7, 9, 8)
    assert relative_gap(found(x), slow_average(networks, model, x, [0, 1], average)) < TOLERANCE
    expected = gradient_of(
        lambda x: (slow_average(networks, model, x, [0, 1], average) * slope).sum(), x
    )
    assert relative_gap(found.pull_back(x, slope).gradient, expected) < TOLERANCE


@pytest.mark.parametrize("average", ["logits", "probabilities"])
@pytest.mark.slow
def test_mirrored_valid_convolutions(ndim: int, average: str) -> None:
    network = Valid(ndim)
    model = covering(predictor(network, (12,) * ndim, overlap=0.25))
    model = replace(model, plan=replace(model.plan, padding="edge"))
    found = averaging([network], model, [0, 1], average)
    x, slope = torch.randn(1, 1, *SHAPES[ndim][0]), torch.randn(1, 2, *SHAPES[ndim][0])

    def slow(x: torch.Tensor) -> torch.Tensor:
        mirrored = Mirrored(network, [0, 1], average, "softmax")
        how: dict[str, Any] = {"window": (12,) * ndim, "output": (4,) * ndim, "overlap": 0.25}
        return slow_prediction(mirrored, x, padding="edge", **how)

    assert relative_gap(found(x), slow(x)) < TOLERANCE
    expected = gradient_of(lambda x: (slow(x) * slope).sum(), x)
    assert relative_gap(found.pull_back(x, slope).gradient, expected) < TOLERANCE


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_gradcheck_in_float64(ndim: int, average: str) -> None:
    networks = [network.double() for network in folds(ndim, 2)]
    model = averaging(networks, predictor(networks[0], (4,) * ndim, overlap=0.0), [0], average)
    x = torch.randn(1, 1, *(5, 3, 4)[:ndim], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model, (x,), atol=1e-7, rtol=1e-5, fast_mode=True)


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_batch_size_does_not_matter(ndim: int, average: str) -> None:
    networks = folds(ndim, 3)
    model = averaging(networks, predictor(networks[0], (8,) * ndim), [0], average)
    x, slope = torch.randn(2, 1, *SHAPES[ndim][0]), torch.randn(2, 2, *SHAPES[ndim][0])
    other = replace(model, batch_size=5)
    assert relative_gap(other.logits(x), model.logits(x)) < TOLERANCE
    assert (
        relative_gap(other.pull_back(x, slope).gradient, model.pull_back(x, slope).gradient)
        < TOLERANCE
    )


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_only_windows_of_the_target_are_run_once_a_pass(ndim: int, average: str) -> None:
    networks = [Counting(network) for network in folds(ndim, 2)]
    model = averaging(networks, predictor(networks[0], (8,) * ndim), [0], average)
    shape = (40, 17, 9)[:ndim]
    cotangent = torch.zeros(1, 2, *shape)
    cotangent[(0, 1, *(n - 1 for n in shape))] = 3.0
    x = torch.randn(1, 1, *shape)
    pulled = model.pull_back(x, cotangent)
    # All members run in the first network's module. Of probabilities a window of a member goes
    # mirrored and not, forward twice and once more for its gradient.
    forward = 4 if average == "logits" else 2 * 2 * 3
    assert networks[0].windows == forward
    assert networks[1].windows == 0
    assert pulled.num_active == (4 if average == "logits" else 2)
    assert pulled.num_windows == len(model.windows(x))


@pytest.mark.parametrize("nth", [None, 2, 7])
def test_networks_are_left_as_they_were(ndim: int, nth: int | None) -> None:
    networks: list[nn.Module] = [unet(ndim, seed=seed).train() for seed in range(3)]
    if nth is not None:
        networks = [Failing(network, nth) for network in networks]
    before = [all_of(network) for network in networks]
    tensors = [{key: id(t) for key, t in state_of(network).items()} for network in networks]
    model = averaging(networks, predictor(networks[0], (8,) * ndim), [0], "logits")
    x = torch.randn(1, 1, *SHAPES[ndim][0])

    def act() -> None:
        model.pull_back(x, torch.ones(1, 2, *x.shape[2:]))

    if nth is None:
        act()
    else:
        with pytest.raises(Failing.BrokenError):
            act()
    assert [all_of(network) for network in networks] == before
    assert [{key: id(t) for key, t in state_of(one).items()} for one in networks] == tensors


def test_predictions_of_members_average_to_that_of_the_ensemble(ndim: int) -> None:
    networks = folds(ndim, 3)
    model = averaging(networks, predictor(networks[0], (8,) * ndim), [0], "logits")
    x = torch.randn(1, 1, *SHAPES[ndim][0])
    members = model.members()
    assert len(members) == 3
    mean = torch.stack([one.logits(x) for one in members]).mean(dim=0)
    assert relative_gap(mean, model.logits(x)) < TOLERANCE
    alone = predictor(networks[2], (8,) * ndim)
    assert (
        relative_gap(members[2].logits(x), slow_average([networks[2]], alone, x, [0], "logits"))
        < TOLERANCE
    )
    flips = averaging(networks[:1], alone, [0, 1], "logits").members()
    assert [one.plan.passes for one in flips] == [
        (Pass(0, own),) for own in ((), (0,), (1,), (0, 1))
    ]


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_means_of_probabilities_do_not_saturate(activation: str) -> None:
    logits = [torch.tensor([[0.3, -1.2]]), torch.tensor([[2.0, 1.0]]), torch.tensor([[-4.0, 0.0]])]
    expected = mean_of(logits, "probabilities", activation)
    torch.testing.assert_close(average_probabilities(logits, activation), expected)
    far = [torch.tensor([[300.0, -300.0]]), torch.tensor([[302.0, -310.0]])]
    found = average_probabilities(far, activation)
    assert found.isfinite().all()
    exact = [one.double() for one in far]
    spread = found[0, 0] - found[0, 1]
    if activation == "softmax":  # ln of the mean of e^-600 and e^-612
        assert float(spread) == pytest.approx(600 + float(torch.log(torch.tensor(2.0))), abs=1e-3)
    else:
        assert float(found[0, 0]) == pytest.approx(300 + 0.566, abs=1e-2)
    assert average_probabilities(exact[:1], activation) is exact[0]


def test_passes_are_every_choice_of_axes() -> None:
    assert list_passes(()) == (Pass(),)
    assert [one.flips for one in list_passes([2, 0])] == [(), (0,), (2,), (0, 2)]
    assert len(list_passes([0, 1, 2], 3)) == 24
    with pytest.raises(ConfigError, match="twice"):
        list_passes([0, 0])


def test_mirroring_an_axis_that_the_network_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no axis 2.*\[0, 1\]"):
        WindowPlan((8, 8), passes=list_passes([2]))


def test_networks_of_another_architecture_are_refused(ndim: int) -> None:
    wider = unet(ndim, out_channels=3)
    with pytest.raises(ModelError, match=r"b\.pt: is not of the same architecture as a\.pt"):
        join_members([unet(ndim), wider], ["a.pt", "b.pt"])


def test_a_bias_in_only_one_network_counts_as_a_difference() -> None:
    networks = [nn.Conv2d(1, 2, 1, bias=bias) for bias in (True, False)]
    for pair in (networks, networks[::-1]):
        with pytest.raises(ModelError, match="they differ in bias"):
            join_members(pair, ["a.pt", "b.pt"])


def test_weights_that_layers_share_are_shared_in_every_member() -> None:
    networks = []
    for seed in range(2):
        torch.manual_seed(seed)
        one, other = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)
        other.weight = one.weight
        networks.append(nn.Sequential(one, other))
    states = join_members(networks, ["a.pt", "b.pt"])
    for state in (states[1], copied_state(state_of(networks[1]))):
        assert state["0.weight"] is state["1.weight"]
        assert state["0.bias"] is not state["1.bias"]
        assert torch.equal(state["0.weight"], networks[1][0].weight)


def test_networks_that_differ_in_code_are_refused(ndim: int) -> None:
    class Scaled(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.inner = unet(ndim)
            self.factor = factor

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.factor * self.inner(x)

    networks: Sequence[nn.Module] = [Scaled(1.0), Scaled(2.0)]
    names = ["one", "two"]
    states = join_members(networks, names)
    window = torch.randn(1, 1, *(8,) * ndim)
    with pytest.raises(ModelError, match="two: differs from one in more than its parameters"):
        require_same_function(networks, states, names, window)
    same = [Scaled(1.0), Scaled(1.0)]
    require_same_function(same, join_members(same, names), names, window)


def test_weights_of_folds_are_found(tmp_path: Path, ndim: int) -> None:
    networks = [unet(ndim, seed=seed) for seed in range(3)]
    paths = [tmp_path / f"fold_{number}.pt" for number in range(3)]
    for network, path in zip(networks, paths, strict=True):
        torch.save(network.state_dict(), path)
    target = unet(ndim, seed=9)
    states = load_members(target, paths).states
    for network, state in zip(networks, states, strict=True):
        hold(target, state)
        for key, tensor in network.state_dict().items():
            assert torch.equal(target.state_dict()[key], tensor)
    assert load_members(target, paths[:1]).states == ()
    torch.save(unet(ndim, out_channels=3).state_dict(), paths[1])
    with pytest.raises(WeightsError, match=r"fold_1\.pt: the weights do not fit"):
        load_members(target, paths)


def test_too_few_networks_for_a_plan_are_refused(ndim: int) -> None:
    plan = WindowPlan((8,) * ndim, passes=list_passes([], 2))
    with pytest.raises(ModelError, match="the plan averages 2 networks, and there are 1"):
        Predictor(unet(ndim), plan, labels())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["traced", "exported"])
def test_members_may_be_traced_networks(ndim: int, kind: str) -> None:
    """Their parameters are put in place as those of modules are."""
    window = torch.randn(1, 1, *(8,) * ndim)
    networks = [unet(ndim, seed=seed) for seed in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch is about to do without traces
        frozen_code = [
            torch.jit.trace(network, window)
            if kind == "traced"
            else torch.export.export(network, (window,)).module()
            for network in networks
        ]
    names = ["one", "two"]
    states = join_members(frozen_code, names)
    require_same_function(frozen_code, states, names, window)
    plain = predictor(networks[0], (8,) * ndim, batch_size=1)
    expected = averaging(networks, plain, [0], "logits")
    found = replace(expected, network=frozen_code[0], states=states)
    x, slope = torch.randn(1, 1, *SHAPES[ndim][0]), torch.randn(1, 2, *SHAPES[ndim][0])
    assert relative_gap(found.logits(x), expected.logits(x)) < TOLERANCE
    pulled = found.pull_back(x, slope).gradient
    assert relative_gap(pulled, expected.pull_back(x, slope).gradient) < TOLERANCE
