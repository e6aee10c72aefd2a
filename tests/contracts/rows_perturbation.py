"""The perturbation methods as the contract tests run them; baselines are zero everywhere."""

from __future__ import annotations

from esegeta.explain import Explainer, Occlusion

ROWS: dict[str, Explainer] = {
    "occlusion": Occlusion(box=4, baseline="zero"),
}

ACROSS_SLICES: set[str] = {"occlusion"}
"""Methods whose map of one slice depends on the others, even where the network's does not."""
