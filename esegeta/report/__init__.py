"""Files that people open: maps, sidecars, pictures, tables."""

from esegeta.report.boxes import BoxPage, BoxPanel, draw_boxes
from esegeta.report.concept_figures import draw_concepts, draw_effects
from esegeta.report.critical_difference import RankDiagram, draw_rank_diagram
from esegeta.report.curves import CurveRow, draw_curves, write_curves
from esegeta.report.heat_map import HeatMap, draw_heat_map
from esegeta.report.latex import PREAMBLE, to_latex
from esegeta.report.markdown import escape, to_markdown
from esegeta.report.names import PredictionFiles, TaskFiles
from esegeta.report.overlay import draw_overlay
from esegeta.report.record import (
    ScoreRow,
    read_record,
    read_scores,
    read_sidecar,
    region_row,
    remove_regions,
    write_dataset_files,
    write_record,
    write_regions,
    write_scores,
)
from esegeta.report.regions import draw_regions
from esegeta.report.retraining import remove_retraining, write_dice, write_dice_points
from esegeta.report.retraining_figure import draw_retraining
from esegeta.report.save import (
    remove_attribution,
    remove_other_components,
    save_attribution,
    save_prediction,
)
from esegeta.report.table import Cell, Table, number_text, p_text
from esegeta.report.tidy import write_csv
from esegeta.report.trail_figure import draw_trails
from esegeta.report.trail_graph import write_graphml
from esegeta.report.unit_figures import Panel, draw_unit, panels_of, telling_channel
from esegeta.report.unit_tables import (
    ABLATION_COLUMNS,
    IMAGE_COLUMNS,
    write_concepts,
    write_pairs,
    write_rows,
    write_units,
)
from esegeta.retraining import DicePoint, DiceRow

__all__ = [
    "ABLATION_COLUMNS",
    "IMAGE_COLUMNS",
    "PREAMBLE",
    "BoxPage",
    "BoxPanel",
    "Cell",
    "CurveRow",
    "DicePoint",
    "DiceRow",
    "HeatMap",
    "Panel",
    "PredictionFiles",
    "RankDiagram",
    "ScoreRow",
    "Table",
    "TaskFiles",
    "draw_boxes",
    "draw_concepts",
    "draw_curves",
    "draw_effects",
    "draw_heat_map",
    "draw_overlay",
    "draw_rank_diagram",
    "draw_regions",
    "draw_retraining",
    "draw_trails",
    "draw_unit",
    "escape",
    "number_text",
    "p_text",
    "panels_of",
    "read_record",
    "read_scores",
    "read_sidecar",
    "region_row",
    "remove_attribution",
    "remove_other_components",
    "remove_regions",
    "remove_retraining",
    "save_attribution",
    "save_prediction",
    "telling_channel",
    "to_latex",
    "to_markdown",
    "write_concepts",
    "write_csv",
    "write_curves",
    "write_dataset_files",
    "write_dice",
    "write_dice_points",
    "write_graphml",
    "write_pairs",
    "write_record",
    "write_regions",
    "write_rows",
    "write_scores",
    "write_units",
]
