"""Methods that explain the target by the activations of a layer."""

from esegeta.explain.explainer import Explainer
from esegeta.explain.layer.grad_cam import GradCam
from esegeta.explain.layer.guided_grad_cam import GuidedGradCam
from esegeta.explain.layer.hires_cam import HiResCam

LAYER: dict[str, type[Explainer]] = {
    "grad_cam": GradCam,
    "hires_cam": HiResCam,
    "guided_grad_cam": GuidedGradCam,
}
"""The family's methods by the names that configs use."""

__all__ = [
    "LAYER",
    "GradCam",
    "GuidedGradCam",
    "HiResCam",
]
