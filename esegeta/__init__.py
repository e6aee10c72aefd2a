"""Explains medical segmentation models: the whole sliding-window prediction, exactly.

Names are imported when they are first used, so that `import esegeta` and the command line's help
do not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Atlas": "esegeta.explain",
    "Attribution": "esegeta.explain",
    "EsegetaError": "esegeta.errors",
    "GradCam": "esegeta.explain",
    "GradientShap": "esegeta.explain",
    "HiResCam": "esegeta.explain",
    "Infidelity": "esegeta.score",
    "InputXGradient": "esegeta.explain",
    "IntegratedGradients": "esegeta.explain",
    "InteriorGradient": "esegeta.explain",
    "NeuronConductance": "esegeta.explain",
    "NoiseTunnel": "esegeta.explain",
    "Occlusion": "esegeta.explain",
    "Saliency": "esegeta.explain",
    "SegmentationModel": "esegeta.api",
    "SensitivityMax": "esegeta.score",
    "SmoothGrad": "esegeta.explain",
    "SmoothGradSquared": "esegeta.explain",
    "VarGrad": "esegeta.explain",
    "Volume": "esegeta.volume",
    "aggregate": "esegeta.explain",
    "load_label_map": "esegeta.api",
    "load_model": "esegeta.api",
    "load_volume": "esegeta.volume",
    "volume_from_tensor": "esegeta.volume",
}

if TYPE_CHECKING:
    from esegeta.api import SegmentationModel, load_label_map, load_model
    from esegeta.errors import EsegetaError
    from esegeta.explain import (
        Atlas,
        Attribution,
        GradCam,
        GradientShap,
        HiResCam,
        InputXGradient,
        IntegratedGradients,
        InteriorGradient,
        NeuronConductance,
        NoiseTunnel,
        Occlusion,
        Saliency,
        SmoothGrad,
        SmoothGradSquared,
        VarGrad,
        aggregate,
    )
    from esegeta.score import Infidelity, SensitivityMax
    from esegeta.volume import Volume, load_volume, volume_from_tensor

__all__ = [
    "Atlas",
    "Attribution",
    "EsegetaError",
    "GradCam",
    "GradientShap",
    "HiResCam",
    "Infidelity",
    "InputXGradient",
    "IntegratedGradients",
    "InteriorGradient",
    "NeuronConductance",
    "NoiseTunnel",
    "Occlusion",
    "Saliency",
    "SegmentationModel",
    "SensitivityMax",
    "SmoothGrad",
    "SmoothGradSquared",
    "VarGrad",
    "Volume",
    "aggregate",
    "load_label_map",
    "load_model",
    "load_volume",
    "volume_from_tensor",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'esegeta' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
