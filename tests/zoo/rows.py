"""Every method as the zoo runs it: few steps, few features, on windows of any side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from esegeta.explain import (
    EXPLAINERS,
    ExactShapley,
    Explainer,
    FeatureAblation,
    Features,
    KernelShap,
    Lime,
    MeaningfulPerturbation,
    MiSuRe,
    Occlusion,
    Rise,
    ShapleyValueSampling,
)
from tests.contracts.explainers import ROWS

SMOOTH: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"steps": 3},
    "gradient_shap": {"samples": 2},
    "neuron_conductance": {"steps": 2},
    "layer_integrated_gradients": {"steps": 2},
    "layer_conductance": {"steps": 2},
    "internal_influence": {"steps": 2},
    "deep_lift_shap": {"baselines": ("zero", "mean")},
    "score_cam": {"max_channels": 2},
}
"""Fewer steps than in the contract tests: formulas are held against the same formulas."""


def methods_for(side: int, layer: str | None) -> dict[str, Explainer]:
    """Return all methods for windows of one side, layer methods at one layer."""
    blocks = Features("blocks", side_mm=float(side))
    rows: dict[str, Explainer] = {
        **ROWS,
        "occlusion": Occlusion(box=float(side), baseline="zero"),
        "feature_ablation": FeatureAblation(blocks, baseline="zero"),
        "exact_shapley": ExactShapley(blocks, baseline="zero"),
        "shapley_value_sampling": ShapleyValueSampling(blocks, baseline="zero", samples=2),
        "kernel_shap": KernelShap(blocks, baseline="zero", samples=32),
        "lime": Lime(blocks, baseline="zero", samples=20),
        "rise": Rise(baseline="zero", samples=4, cell_mm=side / 2),
        "meaningful_perturbation": MeaningfulPerturbation(steps=2, cell=side / 2, baseline="zero"),
        "misure": MiSuRe(tau=0.7, steps=2, rate=0.1, cell=side / 2, baseline="minimum"),
    }
    rows = {name: replace(row, **SMOOTH.get(name, {})) for name, row in rows.items()}
    assert list(rows) == list(EXPLAINERS) or set(rows) == set(EXPLAINERS)
    return {
        name: replace(row, layer=layer) if row.traits.needs_layer else row
        for name, row in rows.items()
    }
