"""Means along a straight line, by Gauss-Legendre quadrature."""

from __future__ import annotations

import numpy as np


def line_nodes(num_nodes: int) -> list[tuple[float, float]]:
    """Return the nodes in [0, 1] and their weights, which add up to one."""
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)
    return [(float(n + 1) / 2, float(w) / 2) for n, w in zip(nodes, weights, strict=True)]
