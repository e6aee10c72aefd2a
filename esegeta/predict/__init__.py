"""The differentiable sliding-window predictor and the geometry of its windows."""

from esegeta.predict.blend import CotangentShares, Pieces, WindowBlend, WindowSum, inner
from esegeta.predict.cotangent import Cotangent, LinearForm, Term, active_windows, add_forms
from esegeta.predict.coverage import Coverage
from esegeta.predict.layer_grid import LayerGrid, Positions, spread, upsample
from esegeta.predict.padding import Padding
from esegeta.predict.predictor import Precision, Predictor, require_graph
from esegeta.predict.probe import WindowProbe, count_outputs, empty_window, probe_window
from esegeta.predict.pull_back import Pullback
from esegeta.predict.readings import OUTPUT, read_windows
from esegeta.predict.unit_maps import UnitMaps, Units, blend_units, read_layers
from esegeta.predict.windows import Blend, Box, Central, WindowPlan, Windows, spot

__all__ = [
    "OUTPUT",
    "Blend",
    "Box",
    "Central",
    "Cotangent",
    "CotangentShares",
    "Coverage",
    "LayerGrid",
    "LinearForm",
    "Padding",
    "Pieces",
    "Positions",
    "Precision",
    "Predictor",
    "Pullback",
    "Term",
    "UnitMaps",
    "Units",
    "WindowBlend",
    "WindowPlan",
    "WindowProbe",
    "WindowSum",
    "Windows",
    "active_windows",
    "add_forms",
    "blend_units",
    "count_outputs",
    "empty_window",
    "inner",
    "probe_window",
    "read_layers",
    "read_windows",
    "require_graph",
    "spot",
    "spread",
    "upsample",
]
