"""Files that people open: maps, sidecars, pictures, tables."""

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
from esegeta.report.trail_figure import draw_trails
from esegeta.report.trail_graph import write_graphml
from esegeta.report.unit_figures import Panel, draw_concepts, draw_effects, draw_unit, panels_of
from esegeta.report.unit_tables import (
    ABLATION_COLUMNS,
    IMAGE_COLUMNS,
    write_concepts,
    write_pairs,
    write_rows,
    write_units,
)

__all__ = [
    "ABLATION_COLUMNS",
    "IMAGE_COLUMNS",
    "Panel",
    "PredictionFiles",
    "ScoreRow",
    "UnitFiles",
    "draw_concepts",
    "draw_effects",
    "draw_overlay",
    "draw_regions",
    "draw_trails",
    "draw_unit",
    "panels_of",
    "read_sidecar",
    "region_row",
    "remove_attribution",
    "remove_other_components",
    "remove_regions",
    "save_attribution",
    "save_prediction",
    "write_concepts",
    "write_dataset_files",
    "write_graphml",
    "write_pairs",
    "write_record",
    "write_regions",
    "write_rows",
    "write_scores",
    "write_units",
]
