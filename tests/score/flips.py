"""What tests of consistency under flips share: its judgement, and a slow likeness of two maps."""

from __future__ import annotations

import numpy as np
from scipy import stats
from torch import Tensor

from esegeta.explain import Attribution, Explainer
from esegeta.predict import Predictor
from esegeta.score import ConsistencyUnderFlips, Judgement, ScoreContext

SYMMETRIC_SHAPE = (12, 8, 12)
COSINE, SPEARMAN = (metric.name for metric in ConsistencyUnderFlips.metrics)


def judged(
    attribution: Attribution,
    model: Predictor,
    explainer: Explainer,
    axes: tuple[int, ...] | None = None,
) -> Judgement:
    return ConsistencyUnderFlips(axes).judge(attribution, ScoreContext(model, explainer))


def likeness(one: Tensor, other: Tensor) -> tuple[float, float]:
    """Return NumPy's cosine and SciPy's rank correlation."""
    a, b = one.double().numpy().ravel(), other.double().numpy().ravel()
    cosine = a @ b / np.sqrt((a @ a) * (b @ b))
    return float(cosine), float(stats.spearmanr(a, b).statistic)
