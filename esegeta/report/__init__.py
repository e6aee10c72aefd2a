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
from esegeta.report.retraining import (
    DiceRow,
    SummaryRow,
    remove_retraining,
    write_dice,
    write_summary,
)
from esegeta.report.retraining_figure import draw_retraining
from esegeta.report.save import (
    remove_attribution,
    remove_other_components,
    save_attribution,
    save_prediction,
)

__all__ = [
    "CurveRow",
    "DiceRow",
    "PredictionFiles",
    "ScoreRow",
    "SummaryRow",
    "UnitFiles",
    "draw_curves",
    "draw_overlay",
    "draw_regions",
    "draw_retraining",
    "read_sidecar",
    "region_row",
    "remove_attribution",
    "remove_other_components",
    "remove_regions",
    "remove_retraining",
    "save_attribution",
    "save_prediction",
    "write_curves",
    "write_dataset_files",
    "write_dice",
    "write_record",
    "write_regions",
    "write_scores",
    "write_summary",
]
