"""The backprop methods as the contract tests run them; baselines are zero, the same everywhere."""

from __future__ import annotations

from esegeta.explain import (
    ContrastiveExcitationBackprop,
    Deconvolution,
    DeepLift,
    DeepLiftShap,
    ExcitationBackprop,
    Explainer,
    GuidedBackprop,
    LayerwiseRelevance,
)

ROWS: dict[str, Explainer] = {
    "guided_backprop": GuidedBackprop(),
    "deconvolution": Deconvolution(),
    "deep_lift": DeepLift(baseline="zero"),
    "deep_lift_shap": DeepLiftShap(baselines=("zero", "zero")),
    "lrp": LayerwiseRelevance(),
    "excitation_backprop": ExcitationBackprop(),
    "contrastive_excitation_backprop": ContrastiveExcitationBackprop(),
}

ACROSS_SLICES: set[str] = set()
"""Methods whose map of one slice depends on the others, even where the network's does not."""
