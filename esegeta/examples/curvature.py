"""Influence functions of the last layers: gradients seen through an inverse curvature.

    influence(z) = - grad R . (F + delta)^-1 grad loss(z),    F = mean over windows of g g^T

Of a weight W, seen as a matrix `O x I`, F is taken to be diagonal in the basis U_O x U_I of the
eigenvectors of `mean g g^T` and `mean g^T g`, as EK-FAC does, with its true diagonal there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.examples.gradients import (
    Example,
    Loss,
    ParameterSlopes,
    add,
    learning,
    target_slopes,
    window_slopes,
    zeros,
)
from esegeta.examples.influence import InfluenceQuery
from esegeta.predict import Predictor

DAMPING = 0.1
"""Of the mean eigenvalue, which is added to all of them."""


@dataclass(frozen=True, eq=False)
class Curvature:
    """The curvature of one parameter in its eigenbasis.

    Args:
        rows: eigenvectors of the outputs' side, `O O`.
        columns: of the inputs' side, `I I`.
        eigenvalues: mean square of the windows' gradients in the basis, `O I`.
        damping: added to all eigenvalues.
    """

    rows: Float[Tensor, "O O"]
    columns: Float[Tensor, "I I"]
    eigenvalues: Float[Tensor, "O I"]
    damping: float

    def solve(self, slope: Tensor) -> Tensor:
        """Return `(F + delta)^-1 slope`, in the slope's shape, float64."""
        matrix = self.rows.T @ as_matrix(slope) @ self.columns
        solved = self.rows @ (matrix / (self.eigenvalues + self.damping)) @ self.columns.T
        return solved.reshape(slope.shape)


def as_matrix(slope: Tensor) -> Float[Tensor, "O I"]:
    """Return a parameter's gradient as a matrix, float64; that of a bias has one row."""
    slope = slope.double()
    return slope.flatten(1) if slope.ndim > 1 else slope.reshape(1, -1)


def curvature_of(slopes: Sequence[Tensor], *, damping: float = DAMPING) -> Curvature:
    """Return the curvature of one parameter from the gradients of windows.

    Args:
        slopes: of each window's loss, in the parameter's shape.
        damping: as a share of the mean eigenvalue.

    Source: George et al., Fast Approximate Natural Gradient Descent in a Kronecker-factored
    Eigenbasis, 2018; damping of Grosse et al., 2023. The basis is that of the windows' gradients,
    not of activations and their gradients, and F is the empirical Fisher matrix.
    """
    stacked = torch.stack([as_matrix(one) for one in slopes])
    rows = torch.linalg.eigh(torch.einsum("noi,npi->op", stacked, stacked)).eigenvectors
    columns = torch.linalg.eigh(torch.einsum("noi,noj->ij", stacked, stacked)).eigenvectors
    turned = rows.T @ stacked @ columns
    eigenvalues = (turned**2).mean(dim=0)
    floor = torch.finfo(torch.float64).tiny
    return Curvature(rows, columns, eigenvalues, max(damping * float(eigenvalues.mean()), floor))


def curvatures_of(slopes: Iterable[ParameterSlopes]) -> dict[str, Curvature]:
    """Return the curvature of each parameter from the gradients of windows."""
    whole = list(slopes)
    return {name: curvature_of([one[name] for one in whole]) for name in whole[0]}


def curved_influence(
    asked: ParameterSlopes, slopes: ParameterSlopes, curvatures: Mapping[str, Curvature]
) -> float:
    """Return `- grad R . (F + delta)^-1 grad loss`; above zero, the example raises the target."""
    return -sum(
        float((asked[name].double() * curvature.solve(slopes[name])).sum())
        for name, curvature in curvatures.items()
    )


@dataclass(frozen=True)
class CurvedInfluence:
    """What each example does to each target by the inverse curvature of some layers.

    Args:
        pulls: by target and example; above zero, the example raises the target.
        self_influence: `grad loss(z) . (F + delta)^-1 grad loss(z)` of each example.
    """

    pulls: dict[str, dict[str, float]]
    self_influence: dict[str, float]


def curved_at(
    predictor: Predictor,
    questions: Sequence[InfluenceQuery],
    examples: Sequence[Example],
    loss: Loss,
    layers: Collection[str],
) -> CurvedInfluence:
    """Return influences at the weights that the network holds, by the parameters of some layers.

    The gradients of all windows by these parameters are held: the layers should be small ones.

    Args:
        predictor: one network over windows, at the end of its training.
        questions: targets of test images.
        examples: training images.
        loss: that the network was trained with, of one window.
        layers: names, such as that of the last.

    Source: Koh and Liang, Understanding Black-box Predictions via Influence Functions, 2017, eq. 2.
    """
    with learning(predictor.network, layers) as parameters:
        asked = {
            question.name: target_slopes(predictor, parameters, question.x, question.target)[1]
            for question in questions
        }
        of_windows: list[ParameterSlopes] = []
        means: dict[str, ParameterSlopes] = {}
        for example in examples:
            means[example.name] = zeros(parameters)
            for _, slopes in window_slopes(predictor, parameters, example, loss):
                add(means[example.name], slopes, 1 / len(example.windows))
                of_windows.append(slopes)
    curvatures = curvatures_of(of_windows)
    return CurvedInfluence(
        {
            question: {
                name: curved_influence(slopes, mean, curvatures) for name, mean in means.items()
            }
            for question, slopes in asked.items()
        },
        {name: -curved_influence(mean, mean, curvatures) for name, mean in means.items()},
    )
