"""The gradient methods as the contract tests run them; baselines are zero, the same everywhere."""

from __future__ import annotations

from esegeta.explain import (
    Explainer,
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    InteriorGradient,
    NeuronConductance,
    NoiseTunnel,
    Saliency,
    SmoothGrad,
    SmoothGradSquared,
    VarGrad,
)

ROWS: dict[str, Explainer] = {
    "saliency": Saliency(),
    "input_x_gradient": InputXGradient(),
    "integrated_gradients": IntegratedGradients(steps=8, baseline="zero"),
    "interior_gradient": InteriorGradient(alphas=(0.3, 1.0)),
    "gradient_shap": GradientShap(baselines=("zero",), samples=3, noise=0.1),
    "neuron_conductance": NeuronConductance(steps=3, baseline="zero"),
    "noise_tunnel": NoiseTunnel(base=InputXGradient(), samples=2),
    "smoothgrad": SmoothGrad(samples=2),
    "smoothgrad_sq": SmoothGradSquared(samples=2),
    "vargrad": VarGrad(samples=2),
}

ACROSS_SLICES: set[str] = set()
"""Methods whose map of one slice depends on the others, even where the network's does not."""
