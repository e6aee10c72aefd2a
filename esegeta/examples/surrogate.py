"""Surrogates: a small tree or a sparse linear model of what the network does, if there is one.

How well it predicts what it has not seen comes first; what it looks like only matters after that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

SurrogateKind = Literal["tree", "linear"]
SurrogateQuestion = Literal["presence", "dice"]

SPARSITY = 10.0
"""The penalty is this part of the one at which no feature is left."""

LEAST_GAIN = 1e-6
"""Of a split of a tree: below it there is nothing but rounding."""

SLABS = 4
"""Parts of a single case that are held out one after the other."""


@dataclass(frozen=True, eq=False)
class SurrogateData:
    """What a surrogate learns from.

    Args:
        features: names of the columns.
        values: of each region.
        answers: 0 or 1 for presence, a Dice from 0 to 1.
        groups: of each region: regions of one group are held out together.
        question: which of them is predicted.
    """

    features: tuple[str, ...]
    values: Float[np.ndarray, "R F"]
    answers: Float[np.ndarray, " R"]
    groups: Int[np.ndarray, " R"]
    question: SurrogateQuestion


@dataclass(frozen=True)
class Fidelity:
    """How well a surrogate predicts regions of groups that it was not fitted on.

    Args:
        value: presence: sensitivity + specificity - 1; Dice: R^2. 1 is perfect, 0 is no better
            than a constant, and less is worse.
        sensitivity: share of present regions that are found; NaN for Dice.
        specificity: share of the others that are; NaN for Dice.
        num_regions: that were predicted.
        num_positive: of these, where the label is; for Dice, all.
        num_groups: that were held out, one after the other.
    """

    value: float
    sensitivity: float
    specificity: float
    num_regions: int
    num_positive: int
    num_groups: int


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A fitted surrogate.

    Args:
        kind: what it is.
        features: names of the columns.
        model: scikit-learn's tree, or pipeline of a scaler and a linear model.
        weights: by feature: the share of the tree's gain, or the weight of one standard deviation.
    """

    kind: SurrogateKind
    features: tuple[str, ...]
    model: Any
    weights: tuple[float, ...]


def measure_fidelity(table: SurrogateData, kind: SurrogateKind, depth: int) -> Fidelity:
    """Return how well surrogates predict each group from all others.

    Args:
        table: of at least two groups.
        kind: of the surrogate.
        depth: of a tree.
    """
    predicted = np.empty_like(table.answers)
    groups = np.unique(table.groups)
    for group in groups:
        held = table.groups == group
        predicted[held] = _predict(table, kind, depth, ~held, held)
    num_groups, count = len(groups), len(table.answers)
    if table.question == "dice":
        spread = float(((table.answers - table.answers.mean()) ** 2).sum())
        left = float(((table.answers - predicted) ** 2).sum())
        value = 1 - left / spread if spread > 0 else 0.0
        return Fidelity(value, np.nan, np.nan, count, count, num_groups)
    present = table.answers > 0.5
    found = predicted > 0.5
    sensitivity, specificity = float(found[present].mean()), float((~found[~present]).mean())
    return Fidelity(
        sensitivity + specificity - 1,
        sensitivity,
        specificity,
        count,
        int(present.sum()),
        num_groups,
    )


def fit_surrogate(table: SurrogateData, kind: SurrogateKind, depth: int) -> Surrogate:
    """Fit a surrogate on all regions.

    A tree's leaves hold 2 regions and 1 % of them at least, and both answers weigh the same. A
    linear model has an L1 penalty, a tenth of the one that leaves no feature, on standardised
    features.
    """
    everything = np.ones(len(table.answers), dtype=bool)
    model = _fitted(table, kind, depth, everything)
    linear = kind == "linear"
    weights = np.ravel(model[-1].coef_) if linear else model.feature_importances_
    return Surrogate(kind, table.features, model, tuple(float(weight) for weight in weights))


def _predict(
    table: SurrogateData, kind: SurrogateKind, depth: int, fitted: np.ndarray, held: np.ndarray
) -> np.ndarray:
    answers = table.answers[fitted]
    if np.ptp(answers) == 0:
        return np.full(int(held.sum()), answers[0])
    predicted: np.ndarray = _fitted(table, kind, depth, fitted).predict(table.values[held])
    return predicted


def _fitted(table: SurrogateData, kind: SurrogateKind, depth: int, chosen: np.ndarray) -> Any:
    values, answers = table.values[chosen], table.answers[chosen]
    is_presence = table.question == "presence"
    made = _tree(depth, len(answers), is_presence) if kind == "tree" else None
    return (made or _linear(values, answers, is_presence)).fit(values, answers)


def _tree(depth: int, count: int, is_presence: bool) -> Any:
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    least = max(2, count // 100)
    given: dict[str, Any] = {
        "max_depth": depth,
        "min_samples_leaf": least,
        "min_impurity_decrease": LEAST_GAIN,
        "random_state": 0,
    }
    if is_presence:
        return DecisionTreeClassifier(class_weight="balanced", **given)
    return DecisionTreeRegressor(**given)


def _linear(values: np.ndarray, answers: np.ndarray, is_presence: bool) -> Any:
    from sklearn.linear_model import Lasso, LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import l1_min_c

    scaler = StandardScaler()
    scaled = scaler.fit_transform(values)
    if is_presence:
        strength = SPARSITY * l1_min_c(scaled, answers, loss="log")
        given = {"l1_ratio": 1.0, "solver": "liblinear", "class_weight": "balanced"}
        model = LogisticRegression(C=strength, random_state=0, max_iter=1000, **given)
        return make_pipeline(scaler, model)
    largest = np.abs(scaled.T @ (answers - answers.mean())).max() / len(answers)
    return make_pipeline(scaler, Lasso(alpha=largest / SPARSITY, max_iter=10_000))


def slab_groups(places: Sequence[float]) -> Int[np.ndarray, " R"]:
    """Return groups of a single case's regions: parts of about as many, side by side.

    Args:
        places: of the regions along an axis.
    """
    ranks = np.argsort(np.argsort(np.asarray(places), kind="stable"), kind="stable")
    return ranks * min(SLABS, len(ranks)) // len(ranks)
