"""Null competitors: maps that know nothing of the network, which every real one must beat."""

from esegeta.explain.explainer import Explainer
from esegeta.explain.null.edge_map import EdgeMap
from esegeta.explain.null.random_map import RandomMap

NULL: dict[str, type[Explainer]] = {
    "random_map": RandomMap,
    "edge_map": EdgeMap,
}
"""Null competitors by the name that configs use."""

__all__ = ["NULL", "EdgeMap", "RandomMap"]
