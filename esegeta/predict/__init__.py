"""The differentiable sliding-window predictor and the geometry of its windows."""

from esegeta.predict.agreement import Agreement, agreement, require_own_integers
from esegeta.predict.apart import ApartCotangent, ApartShares, Moment, PassesApart, RunPass
from esegeta.predict.average import average_probabilities, require_graph
from esegeta.predict.blend import Pieces, WindowBlend, WindowSum
from esegeta.predict.copies import Copies
from esegeta.predict.cotangent import Cotangent, LinearForm, Term, active_windows, add_forms
from esegeta.predict.coverage import Coverage
from esegeta.predict.forward import MemoryFormat, Precision
from esegeta.predict.layer_grid import LayerGrid, PositionValues, spread, upsample
from esegeta.predict.layer_outputs import (
    OUTPUT,
    UnitMaps,
    Units,
    VoxelBox,
    blend_units,
    read_layers,
    read_windows,
)
from esegeta.predict.locality import box_around
from esegeta.predict.members import require_same_function
from esegeta.predict.notes import notes_on
from esegeta.predict.padding import Padding
from esegeta.predict.passes import Average, Pass, list_passes
from esegeta.predict.prediction import Prediction, mean_over
from esegeta.predict.predictor import Predictor
from esegeta.predict.probe import Probe, count_outputs, empty_window, probe_output
from esegeta.predict.pull_back import Pullback
from esegeta.predict.quadrature import line_nodes
from esegeta.predict.region_means import LayerRegions, pool_regions
from esegeta.predict.regions import Averaging, Regions, VoxelLists, cut_by_masks
from esegeta.predict.rolling import Curved, pull_back_rolling
from esegeta.predict.shares import CotangentShares, inner
from esegeta.predict.slabs import Slab
from esegeta.predict.source_grid import GridRule, SourceGrid
from esegeta.predict.tiling import Blend, Box, Placing, spot
from esegeta.predict.trial import gradients_flow
from esegeta.predict.window_plan import WindowPlan
from esegeta.predict.windows import Central, Windows

__all__ = [
    "OUTPUT",
    "Agreement",
    "ApartCotangent",
    "ApartShares",
    "Average",
    "Averaging",
    "Blend",
    "Box",
    "Central",
    "Copies",
    "Cotangent",
    "CotangentShares",
    "Coverage",
    "Curved",
    "GridRule",
    "LayerGrid",
    "LayerRegions",
    "LinearForm",
    "MemoryFormat",
    "Moment",
    "Padding",
    "Pass",
    "PassesApart",
    "Pieces",
    "Placing",
    "PositionValues",
    "Precision",
    "Prediction",
    "Predictor",
    "Probe",
    "Pullback",
    "Regions",
    "RunPass",
    "Slab",
    "SourceGrid",
    "Term",
    "UnitMaps",
    "Units",
    "VoxelBox",
    "VoxelLists",
    "WindowBlend",
    "WindowPlan",
    "WindowSum",
    "Windows",
    "active_windows",
    "add_forms",
    "agreement",
    "average_probabilities",
    "blend_units",
    "box_around",
    "count_outputs",
    "cut_by_masks",
    "empty_window",
    "gradients_flow",
    "inner",
    "line_nodes",
    "list_passes",
    "mean_over",
    "notes_on",
    "pool_regions",
    "probe_output",
    "pull_back_rolling",
    "read_layers",
    "read_windows",
    "require_graph",
    "require_own_integers",
    "require_same_function",
    "spot",
    "spread",
    "upsample",
]
