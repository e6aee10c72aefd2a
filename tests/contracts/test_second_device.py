"""Every method and score on a device that is strict as CUDA: bit for bit what the CPU gives."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cache
from typing import Any

import pytest
import torch

from esegeta.explain import EXPLAINERS, Attribution
from esegeta.score import SCORES, ScoreContext
from esegeta.targets import Predicted, Scene, UnitTarget
from tests.contracts.explainers import ROWS as EXPLAINER_ROWS
from tests.contracts.explainers import mostly_in_2d
from tests.contracts.rows import Case, CaseKind, moved
from tests.contracts.test_every_score import EXPLAINER, with_truth
from tests.contracts.test_every_score import ROWS as SCORE_ROWS
from tests.oracles import disguised
from tests.second_device import MODULE
from tests.second_memory import PEAK_MB

SHAPES = {2: (13, 8), 3: (8, 13, 7)}
"""Three windows, in batches of two and one."""

FEW = ("saliency", "gradient_shap", "lrp", "occlusion", "hires_cam")
"""One method of each kind."""

MEASURED = {"seconds", "peak_memory_mb"}


@cache
def case_of(ndim: int, num_outputs: int) -> Case:
    """Return a small case, which tests share: one channel in 2D, two in 3D."""
    norm = "prelu_batch" if ndim == 2 else "relu_instance"
    return CaseKind(ndim, norm, ndim - 1, num_outputs=num_outputs).make(shape=SHAPES[ndim])


def assert_same(found: Attribution, expected: Attribution, device: torch.device) -> None:
    assert found.data.device == device
    assert torch.equal(found.data.cpu(), expected.data)
    assert facts(found) == facts(expected)
    for one, other in zip(found.layer_maps, expected.layer_maps, strict=True):
        assert one.data.device == device
        assert torch.equal(one.data.cpu(), other.data)


def facts(attribution: Attribution) -> dict[str, Any]:
    return {key: fact for key, fact in asdict(attribution.facts).items() if key not in MEASURED}


@pytest.mark.parametrize(("ndim", "method"), mostly_in_2d(list(EXPLAINERS)))
def test_every_explainer(ndim: int, method: str, second: torch.device) -> None:
    case = case_of(ndim, 2)
    there, explainer = moved(case, second), EXPLAINER_ROWS[method]
    waits = MODULE.waits
    found = explainer.explain(there.model, there.volume, there.target)
    assert MODULE.waits > waits  # or its seconds would be those of asking
    assert found.facts.peak_memory_mb == PEAK_MB
    assert_same(found, explainer.explain(case.model, case.volume, case.target), second)


@pytest.mark.parametrize("method", FEW)
def test_a_target_that_is_not_linear(ndim: int, method: str, second: torch.device) -> None:
    case, explainer = case_of(ndim, 2), EXPLAINER_ROWS[method]
    expected, found = (
        explainer.explain(one.model, one.volume, disguised(one.target))
        for one in (case, moved(case, second))
    )
    assert_same(found, expected, second)


@pytest.mark.parametrize("method", FEW)
def test_a_unit_inside_the_network(ndim: int, method: str, second: torch.device) -> None:
    case, explainer = case_of(ndim, 2), EXPLAINER_ROWS[method]
    if explainer.traits.needs_layer:
        explainer = replace(explainer, layer="model.0")
    unit = UnitTarget("model.1.submodule", 0, Predicted(), label="one")
    expected, found = (
        explainer.explain(one.model, one.volume, unit.freeze(Scene(one.model, one.volume)))
        for one in (case, moved(case, second))
    )
    assert_same(found, expected, second)


@pytest.mark.parametrize("name", SCORES)
def test_every_score(ndim: int, name: str, second: torch.device) -> None:
    case = case_of(ndim, 3)
    judgements, before = [], MODULE.get_rng_state()
    for one in (case, moved(case, second)):
        attribution = EXPLAINER.explain(one.model, one.volume, with_truth(one.target))
        judgements.append(SCORE_ROWS[name].judge(attribution, ScoreContext(one.model, EXPLAINER)))
    assert repr(judgements[1]) == repr(judgements[0])  # in which NaN equals itself
    assert torch.equal(MODULE.get_rng_state(), before)
