"""The perturbation methods as the contract tests run them; baselines are zero everywhere."""

from __future__ import annotations

from esegeta.explain import Explainer, MeaningfulPerturbation, MiSuRe, Occlusion

ROWS: dict[str, Explainer] = {
    "occlusion": Occlusion(box=4, baseline="zero"),
    "meaningful_perturbation": MeaningfulPerturbation(steps=4, l1=0.1, cell=2, baseline="zero"),
    "misure": MiSuRe(tau=0.8, steps=8, rate=0.1, cell=2, baseline="minimum"),
}

ACROSS_SLICES: set[str] = {"occlusion", "meaningful_perturbation", "misure"}
"""Methods whose map of one slice depends on the others, even where the network's does not."""
