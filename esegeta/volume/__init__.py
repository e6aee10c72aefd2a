"""Images with their geometry: read, preprocessed, and put back."""

from esegeta.volume.atomic import (
    atomic_path,
    is_alive,
    plain_values,
    sweep,
    write_json,
    write_text,
)
from esegeta.volume.grid import Grid, grid_of_spacing
from esegeta.volume.load import (
    Case,
    Reading,
    check_case,
    load_volume,
    read_case,
    read_label_map,
    read_volume,
    require_same_grid,
)
from esegeta.volume.maps import (
    map_on_source,
    reorient_like,
    resample,
    write_label_map,
    write_map,
    write_map_on_grid,
    write_source_labels,
    write_source_map,
)
from esegeta.volume.picture import is_picture
from esegeta.volume.preprocess import Intensity, Preprocess
from esegeta.volume.volume import Source, Volume, volume_from_tensor

__all__ = [
    "Case",
    "Grid",
    "Intensity",
    "Preprocess",
    "Reading",
    "Source",
    "Volume",
    "atomic_path",
    "check_case",
    "grid_of_spacing",
    "is_alive",
    "is_picture",
    "load_volume",
    "map_on_source",
    "plain_values",
    "read_case",
    "read_label_map",
    "read_volume",
    "reorient_like",
    "require_same_grid",
    "resample",
    "sweep",
    "volume_from_tensor",
    "write_json",
    "write_label_map",
    "write_map",
    "write_map_on_grid",
    "write_source_labels",
    "write_source_map",
    "write_text",
]
