"""Files that people open: maps, sidecars, pictures, tables."""

from esegeta.report.boxes import BoxPage, BoxPanel, draw_boxes
from esegeta.report.cells import name_in_cell
from esegeta.report.concept_figures import draw_concepts, draw_effects
from esegeta.report.csv_tables import (
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
    write_rows,
    write_scores,
)
from esegeta.report.curve_figures import draw_curves, shows_curves
from esegeta.report.example_tables import EXAMPLE_COLUMNS, write_examples_table
from esegeta.report.example_tiles import Tile, draw_neighbours, draw_prototypes
from esegeta.report.files import (
    PREDICT,
    CurveFiles,
    PredictionFiles,
    TaskFiles,
    read_record,
    read_sidecar,
    scene_file,
    write_dataset_files,
    write_record,
)
from esegeta.report.grey import grey_range
from esegeta.report.influence_figures import (
    InfluencePanel,
    LeftOutPanel,
    draw_influence,
    draw_left_out,
    draw_self_influence,
    remove_influence,
)
from esegeta.report.label_tables import shown_colours
from esegeta.report.overlay import draw_overlay
from esegeta.report.planes import canonical, spans_shown
from esegeta.report.rank_figures import HeatMap, RankDiagram, draw_heat_map, draw_rank_diagram
from esegeta.report.region_figures import draw_regions
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
    save_scores,
)
from esegeta.report.slicer_scene import SceneImage, SceneMap, SlicerScene, scene_key, write_scene
from esegeta.report.style import LABEL_COLOURS
from esegeta.report.surrogate_figures import draw_surrogate
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
    write_units,
)
from esegeta.report.warning_strip import replace_strip
from esegeta.retraining import DicePoint, DiceRow

__all__ = [
    "ABLATION_COLUMNS",
    "EXAMPLE_COLUMNS",
    "IMAGE_COLUMNS",
    "LABEL_COLOURS",
    "PREAMBLE",
    "PREDICT",
    "BoxPage",
    "BoxPanel",
    "Cell",
    "CurveFiles",
    "CurveRow",
    "DicePoint",
    "DiceRow",
    "HeatMap",
    "InfluencePanel",
    "LeftOutPanel",
    "Panel",
    "PredictionFiles",
    "PredictionRow",
    "RankDiagram",
    "SceneImage",
    "SceneMap",
    "ScoreRow",
    "SlicerScene",
    "Table",
    "TaskFiles",
    "Tile",
    "canonical",
    "draw_boxes",
    "draw_concepts",
    "draw_curves",
    "draw_effects",
    "draw_heat_map",
    "draw_influence",
    "draw_left_out",
    "draw_neighbours",
    "draw_overlay",
    "draw_prototypes",
    "draw_rank_diagram",
    "draw_regions",
    "draw_retraining",
    "draw_self_influence",
    "draw_surrogate",
    "draw_trails",
    "draw_unit",
    "escape",
    "grey_range",
    "name_in_cell",
    "number_text",
    "p_text",
    "panels_of",
    "read_record",
    "read_scores",
    "read_sidecar",
    "region_row",
    "remove_attribution",
    "remove_influence",
    "remove_other_components",
    "remove_regions",
    "remove_retraining",
    "replace_strip",
    "save_attribution",
    "save_prediction",
    "save_scores",
    "scene_file",
    "scene_key",
    "shown_colours",
    "shows_curves",
    "spans_shown",
    "telling_channel",
    "to_latex",
    "to_markdown",
    "write_concepts",
    "write_csv",
    "write_curves",
    "write_dataset_files",
    "write_dice",
    "write_dice_points",
    "write_examples_table",
    "write_graphml",
    "write_pairs",
    "write_predictions",
    "write_record",
    "write_regions",
    "write_rows",
    "write_scene",
    "write_scores",
    "write_units",
]
