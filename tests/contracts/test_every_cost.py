"""How many windows every method runs: as it says afterwards, and as it foresees."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch

from esegeta.explain import NULL
from tests.contracts.explainers import ALL, ROWS, mostly_in_2d
from tests.contracts.rows import FEW_CASES, Case, make_case
from tests.networks import Counting
from tests.oracles import disguised, with_coefficients

pytestmark = pytest.mark.usefixtures("whole_windows")

KNOWN_COST = [method for method in ALL if ROWS[method].cost.is_known]
SHARED_EVALUATIONS = {"kernel_shap", "lime", "rise"}
"""Methods that run a window once for all coalitions that look the same in it."""
LOOK_FOR_A_BYPASS = {"layer_conductance", "layer_deep_lift"}
"""Methods whose maps add up only where nothing goes around the layer."""


@cache
def counted(ndim: int) -> Case:
    return FEW_CASES[ndim - 2].make()


@cache
def foreseen_for() -> Case:
    return make_case(2, 1, shape=(20, 22))


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize(("ndim", "method"), mostly_in_2d(ALL))
def test_counts_the_windows_that_it_ran(ndim: int, method: str, linear: bool) -> None:
    case = counted(ndim)
    network = Counting(case.network)
    model = replace(case.model, network=network)
    target = case.target if linear else disguised(case.target)
    target.scene.logits  # noqa: B018  (predicted when the target was frozen)
    found = ROWS[method].explain(model, case.volume, target)
    assert found.facts.windows_run == network.windows
    assert network.windows > 0 or method in NULL
    assert found.facts.active_windows == found.facts.num_windows > 1
    assert (found.facts.evaluations > 0) == ROWS[method].traits.reads_target


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("method", KNOWN_COST)
def test_the_foreseen_windows_are_those_that_run(method: str, linear: bool) -> None:
    """A corner of the volume is the target: active windows and all windows are told apart."""
    case, explainer = foreseen_for(), ROWS[method]
    weights = torch.zeros_like(case.target.scene.logits[0])
    weights[1, :6, :6] = 1
    target = with_coefficients(case.target, weights)
    target = target if linear else disguised(target)
    windows = case.model.windows(case.volume.batch)
    active = len(target.touched(windows))
    assert active < len(windows)
    foreseen = explainer.cost.windows(active, len(windows), is_linear=linear)
    facts = explainer.explain(case.model, case.volume, target).facts
    assert foreseen is not None
    # The deepest layer is found by running one window, and what goes around it by another.
    found = facts.windows_run - explainer.traits.needs_layer - (method in LOOK_FOR_A_BYPASS)
    if method in SHARED_EVALUATIONS:
        assert 0.5 * foreseen < found < 1.2 * foreseen
    else:
        assert found == pytest.approx(foreseen, abs=active if not linear else 0)
