"""On a CUDA device every score is as on the CPU: `pytest -m gpu`."""

from __future__ import annotations

import pytest
import torch

from esegeta.score import SCORES, Infidelity, ScoreContext, SensitivityAvg, SensitivityMax
from tests.contracts.rows import make_case, moved
from tests.contracts.test_every_score import EXPLAINER, ROWS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

WITHOUT_DRAWS = [name for name, kind in SCORES.items() if "seed" not in kind.__dataclass_fields__]


@pytest.mark.parametrize("name", WITHOUT_DRAWS)
def test_scores_without_draws_equal_those_of_the_cpu(ndim: int, name: str) -> None:
    case = make_case(ndim, 2)
    values = []
    for one in (case, moved(case, "cuda")):
        attribution = EXPLAINER.explain(one.model, one.volume, one.target)
        values.append(ROWS[name].score(attribution, ScoreContext(one.model, EXPLAINER)))
    assert values[1] == pytest.approx(values[0], rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("score", [Infidelity(), SensitivityMax(), SensitivityAvg()])
def test_scores_with_draws_run(
    ndim: int, score: Infidelity | SensitivityMax | SensitivityAvg
) -> None:
    """Other devices draw other numbers."""
    case = moved(make_case(ndim, 2), "cuda")
    attribution = EXPLAINER.explain(case.model, case.volume, case.target)
    found = score.score(attribution, ScoreContext(case.model, EXPLAINER))
    assert all(value > 0 for value in found.values())
