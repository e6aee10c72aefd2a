"""The perturbation methods as the contract tests run them; baselines are zero everywhere."""

from __future__ import annotations

from esegeta.explain import (
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

BLOCKS = Features("blocks", side_mm=4.0)

ROWS: dict[str, Explainer] = {
    "occlusion": Occlusion(box=4, baseline="zero"),
    "feature_ablation": FeatureAblation(BLOCKS, baseline="zero"),
    "exact_shapley": ExactShapley(Features("blocks", side_mm=5.0), baseline="zero"),
    "shapley_value_sampling": ShapleyValueSampling(BLOCKS, baseline="zero", samples=2),
    "kernel_shap": KernelShap(BLOCKS, baseline="zero", samples=40),
    "lime": Lime(BLOCKS, baseline="zero", samples=30),
    "rise": Rise(baseline="zero", samples=8, cell_mm=3.0),
    "meaningful_perturbation": MeaningfulPerturbation(steps=4, l1=0.1, cell=2, baseline="zero"),
    "misure": MiSuRe(tau=0.8, steps=8, rate=0.1, cell=2, baseline="minimum"),
}

ACROSS_SLICES: set[str] = set(ROWS)
"""Methods whose map of one slice depends on others, even where the network's does not: boxes, and
features and masks likewise, reach over slices."""

CHANNELS_TOGETHER: set[str] = {"exact_shapley"}
"""Methods that tell channels apart by default, and not in their row."""

ABOUT_LABELS: set[str] = {"misure"}
"""Methods that ask for the segmentation of a label, which a unit has not."""
