"""The null competitors as the contract tests run them."""

from __future__ import annotations

from esegeta.explain import EdgeMap, Explainer, RandomMap

ROWS: dict[str, Explainer] = {
    "random_map": RandomMap(),
    "edge_map": EdgeMap(),
}

ACROSS_SLICES: set[str] = set(ROWS)
"""Noise is drawn for the volume whole, and edges lie between slices too."""
