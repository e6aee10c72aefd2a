"""The Python face: from any module to a saved map in five lines."""

from esegeta.api.folders import load_bundle, load_nnunet
from esegeta.api.label_maps import load_label_map, save_label_map
from esegeta.api.load import load_model
from esegeta.api.model import SegmentationModel
from esegeta.api.picture import Picture, plot

__all__ = [
    "Picture",
    "SegmentationModel",
    "load_bundle",
    "load_label_map",
    "load_model",
    "load_nnunet",
    "plot",
    "save_label_map",
]
