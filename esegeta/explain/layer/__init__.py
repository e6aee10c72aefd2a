"""Methods that explain the target by the activations of a layer."""

from esegeta.explain.explainer import Explainer
from esegeta.explain.layer.grad_cam import GradCam
from esegeta.explain.layer.hires_cam import HiResCam

LAYER: dict[str, type[Explainer]] = {
    "grad_cam": GradCam,
    "hires_cam": HiResCam,
}
"""The family's methods by the names that configs use."""

__all__ = ["LAYER", "GradCam", "HiResCam"]
