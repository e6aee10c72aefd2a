"""The differentiable sliding-window predictor and the geometry of its windows."""

from esegeta.predict.blend import CotangentShares, Pieces, WindowBlend, WindowSum, inner
from esegeta.predict.cotangent import Cotangent, LinearForm, Term, active_windows, add_forms
from esegeta.predict.layer_grid import LayerGrid, Positions, spread, upsample
from esegeta.predict.layer_outputs import (
    OUTPUT,
    UnitMaps,
    Units,
    blend_units,
    read_layers,
    read_windows,
)
from esegeta.predict.predictor import Precision, Predictor, require_graph
from esegeta.predict.probabilities import probabilities_in
from esegeta.predict.probe import Probe, count_outputs, empty_window, probe_output
from esegeta.predict.pull_back import Pullback
from esegeta.predict.trial import try_gradients
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
    "Probe",
    "Pullback",
    "Term",
    "UnitMaps",
    "Units",
    "WindowBlend",
    "WindowPlan",
    "WindowSum",
    "Windows",
    "active_windows",
    "add_forms",
    "blend_units",
    "count_outputs",
    "empty_window",
    "inner",
    "probabilities_in",
    "probe_output",
    "read_layers",
    "read_windows",
    "require_graph",
    "spot",
    "spread",
    "try_gradients",
    "upsample",
]
