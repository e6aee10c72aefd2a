"""Methods of the gradient of the whole prediction by its input, at one point or at many."""

from esegeta.explain.explainer import Explainer
from esegeta.explain.gradient.gradient_shap import GradientShap
from esegeta.explain.gradient.integrated_gradients import (
    IntegratedGradients,
    InteriorGradient,
    NeuronConductance,
)
from esegeta.explain.gradient.noise import NoiseTunnel, SmoothGrad, SmoothGradSquared, VarGrad
from esegeta.explain.gradient.saliency import InputXGradient, Saliency

GRADIENT: dict[str, type[Explainer]] = {
    "saliency": Saliency,
    "input_x_gradient": InputXGradient,
    "integrated_gradients": IntegratedGradients,
    "interior_gradient": InteriorGradient,
    "gradient_shap": GradientShap,
    "neuron_conductance": NeuronConductance,
    "noise_tunnel": NoiseTunnel,
    "smoothgrad": SmoothGrad,
    "smoothgrad_sq": SmoothGradSquared,
    "vargrad": VarGrad,
}
"""The family's methods by the names that configs use."""

__all__ = [
    "GRADIENT",
    "GradientShap",
    "InputXGradient",
    "IntegratedGradients",
    "InteriorGradient",
    "NeuronConductance",
    "NoiseTunnel",
    "Saliency",
    "SmoothGrad",
    "SmoothGradSquared",
    "VarGrad",
]
