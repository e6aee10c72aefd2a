"""The Python face: from any module to a saved map in five lines."""

from esegeta.api.analyses import (
    concepts,
    dissect,
    examples,
    features,
    inspect,
    retrain,
    similarity,
)
from esegeta.api.commands import compare, explain, predict, report, run
from esegeta.api.folders import load_bundle, load_nnunet
from esegeta.api.label_maps import load_label_map, save_label_map
from esegeta.api.load import load_model
from esegeta.api.model import SegmentationModel
from esegeta.api.results import Results

__all__ = [
    "Results",
    "SegmentationModel",
    "compare",
    "concepts",
    "dissect",
    "examples",
    "explain",
    "features",
    "inspect",
    "load_bundle",
    "load_label_map",
    "load_model",
    "load_nnunet",
    "predict",
    "report",
    "retrain",
    "run",
    "save_label_map",
    "similarity",
]
