"""Straight paths from a baseline to the image, as methods of layers walk them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from esegeta.axes import Image
from esegeta.explain.objective import Objective
from esegeta.predict import Cotangent, Pieces, spot

Node = tuple[float, float]
"""A place on a path, 0 at the baseline and 1 at the image, and its weight in a mean over it."""


def gauss_legendre(steps: int) -> list[Node]:
    """Return the nodes and weights of Gauss-Legendre quadrature over the path."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return [((float(n) + 1) / 2, float(w) / 2) for n, w in zip(nodes, weights, strict=True)]


def legs(
    objective: Objective, nodes: Sequence[Node], cotangent_at: Callable[[float], Cotangent]
) -> Iterator[tuple[Sequence[Node], Cotangent]]:
    """Yield nodes of a path with the cotangent that holds at all of them.

    A linear target has one, so that each batch of windows can go through all nodes before the
    next; any other has one at each node, of the whole prediction there.
    """
    if objective.target.is_linear:
        yield nodes, objective.cotangent()
        return
    for node in nodes:
        yield [node], cotangent_at(node[0])


def crops_of(objective: Objective, data: Image, pieces: Pieces) -> Tensor:
    """Return the same windows of another image of the volume's shape, `N C *W`."""
    padded = objective.windows.pad(data[None])
    crops = torch.stack([padded[spot(0, box)] for box in pieces.boxes])
    return crops.to(pieces.crops.device)


def completeness(total: float, change: float) -> dict[str, float]:
    """Return the facts of how far a layer's map is from adding up to a change of the target."""
    delta = total - change
    return {
        "change_of_target": change,
        "completeness_delta": delta,
        "completeness_relative": abs(delta) / max(abs(change), 1e-12),
    }
