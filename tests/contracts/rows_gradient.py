"""The gradient methods as the contract tests run them; baselines are zero, the same everywhere."""

from __future__ import annotations

from esegeta.explain import (
    Explainer,
    InputXGradient,
    IntegratedGradients,
    Saliency,
    SmoothGrad,
    SmoothGradSquared,
    VarGrad,
)

ROWS: dict[str, Explainer] = {
    "saliency": Saliency(),
    "input_x_gradient": InputXGradient(),
    "integrated_gradients": IntegratedGradients(steps=8, baseline="zero"),
    "smoothgrad": SmoothGrad(samples=2),
    "smoothgrad_sq": SmoothGradSquared(samples=2),
    "vargrad": VarGrad(samples=2),
}

ACROSS_SLICES: set[str] = set()
"""Methods whose map of one slice depends on the others, even where the network's does not."""
