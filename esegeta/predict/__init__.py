"""The differentiable sliding-window predictor and the geometry of its windows."""

from esegeta.predict.form import LinearForm, Term, add_forms
from esegeta.predict.layer_grid import LayerGrid, Positions
from esegeta.predict.predictor import Precision, Predictor, require_graph
from esegeta.predict.probe import count_outputs, empty_window
from esegeta.predict.readings import OUTPUT, read_windows
from esegeta.predict.resample import spread, upsample, with_thin_axis
from esegeta.predict.shares import Cotangent, CotangentShares, Pieces, Pullback, active_windows
from esegeta.predict.unit_maps import UnitMaps, Units, blend_units, read_layers
from esegeta.predict.windows import Blend, Box, WindowPlan, Windows, spot

__all__ = [
    "OUTPUT",
    "Blend",
    "Box",
    "Cotangent",
    "CotangentShares",
    "LayerGrid",
    "LinearForm",
    "Pieces",
    "Positions",
    "Precision",
    "Predictor",
    "Pullback",
    "Term",
    "UnitMaps",
    "Units",
    "WindowPlan",
    "Windows",
    "active_windows",
    "add_forms",
    "blend_units",
    "count_outputs",
    "empty_window",
    "read_layers",
    "read_windows",
    "require_graph",
    "spot",
    "spread",
    "upsample",
    "with_thin_axis",
]
