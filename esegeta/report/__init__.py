"""Files that people open: maps, sidecars, pictures, tables."""

from esegeta.report.boxes import BoxPage, BoxPanel, draw_boxes
from esegeta.report.concept_figures import draw_concepts, draw_effects
from esegeta.report.csv_tables import (
    PREDICTIONS,
    CurveRow,
    PredictionRow,
    ScoreRow,
    read_scores,
    region_row,
    remove_regions,
    write_csv,
    write_curves,
    write_predictions,
    write_regions,
    write_scores,
)
from esegeta.report.map_figures import draw_curves, draw_overlay, draw_regions
from esegeta.report.names import PredictionFiles, TaskFiles
from esegeta.report.rank_figures import HeatMap, RankDiagram, draw_heat_map, draw_rank_diagram
from esegeta.report.record import read_record, read_sidecar, write_dataset_files, write_record
from esegeta.report.retraining import (
    draw_retraining,
    remove_retraining,
    write_dice,
    write_dice_points,
)
from esegeta.report.save import (
    remove_attribution,
    remove_other_components,
    save_attribution,
    save_prediction,
)
from esegeta.report.text_tables import (
    PREAMBLE,
    Cell,
    Table,
    escape,
    number_text,
    p_text,
    to_latex,
    to_markdown,
)
from esegeta.report.trails import draw_trails, write_graphml
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
    "PREDICTIONS",
    "BoxPage",
    "BoxPanel",
    "Cell",
    "CurveRow",
    "DicePoint",
    "DiceRow",
    "HeatMap",
    "Panel",
    "PredictionFiles",
    "PredictionRow",
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
    "write_predictions",
    "write_record",
    "write_regions",
    "write_rows",
    "write_scores",
    "write_units",
]
