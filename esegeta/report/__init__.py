"""Files that people open: maps, sidecars, pictures, tables."""

from esegeta.report.curves import CurveRow, draw_curves, write_curves
from esegeta.report.names import PredictionFiles, UnitFiles
from esegeta.report.overlay import draw_overlay
from esegeta.report.record import (
    ScoreRow,
    read_sidecar,
    region_row,
    remove_regions,
    write_dataset_files,
    write_record,
    write_regions,
    write_scores,
)
from esegeta.report.regions import draw_regions
from esegeta.report.save import (
    remove_attribution,
    remove_other_components,
    save_attribution,
    save_prediction,
)

__all__ = [
    "CurveRow",
    "PredictionFiles",
    "ScoreRow",
    "UnitFiles",
    "draw_curves",
    "draw_overlay",
    "draw_regions",
    "read_sidecar",
    "region_row",
    "remove_attribution",
    "remove_other_components",
    "remove_regions",
    "save_attribution",
    "save_prediction",
    "write_curves",
    "write_dataset_files",
    "write_record",
    "write_regions",
    "write_scores",
]
