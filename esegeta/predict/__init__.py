"""The differentiable sliding-window predictor and the geometry of its windows."""

from esegeta.predict.average import average_probabilities, require_graph
from esegeta.predict.blend import CotangentShares, Pieces, WindowBlend, WindowSum, inner
from esegeta.predict.cotangent import Cotangent, LinearForm, Term, active_windows, add_forms
from esegeta.predict.coverage import Coverage
from esegeta.predict.layer_grid import LayerGrid, Positions, spread, upsample
from esegeta.predict.members import require_same_function
from esegeta.predict.padding import Padding
from esegeta.predict.predictor import Precision, Predictor
from esegeta.predict.probe import WindowProbe, count_outputs, empty_window, probe_window
from esegeta.predict.pull_back import Pullback
from esegeta.predict.readings import OUTPUT, read_windows
from esegeta.predict.unit_maps import UnitMaps, Units, blend_units, read_layers
from esegeta.predict.windows import (
    Average,
    Blend,
    Box,
    Central,
    Pass,
    WindowPlan,
    Windows,
    list_passes,
    spot,
)

__all__ = [
    "OUTPUT",
    "Average",
    "Blend",
    "Box",
    "Central",
    "Cotangent",
    "CotangentShares",
    "Coverage",
    "LayerGrid",
    "LinearForm",
    "Padding",
    "Pass",
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
    "average_probabilities",
    "blend_units",
    "count_outputs",
    "empty_window",
    "inner",
    "list_passes",
    "probe_window",
    "read_layers",
    "read_windows",
    "require_graph",
    "require_same_function",
    "spot",
    "spread",
    "upsample",
]
