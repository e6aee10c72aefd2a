"""Images with their geometry: read, preprocessed, and put back."""

from esegeta.volume.atomic import (
    atomic_path,
    is_alive,
    plain_values,
    sweep,
    write_json,
    write_text,
)
from esegeta.volume.cropping import Crop, CropOrPad, crop_of, crop_or_pad_of
from esegeta.volume.grid import Grid, grid_of_spacing
from esegeta.volume.intensity import Intensity, IntensityStep, intensity_of, step_of
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
from esegeta.volume.maps import map_on_source, write_label_map, write_map, write_map_on_grid
from esegeta.volume.picture import is_picture
from esegeta.volume.preprocess import Preprocess
from esegeta.volume.space import Orient, Respace, Route
from esegeta.volume.volume import Source, Volume, volume_from_tensor
from esegeta.volume.way_back import (
    describe_way_back,
    on_source,
    reorient_like,
    resample,
    seen_on_source,
)

__all__ = [
    "Case",
    "Crop",
    "CropOrPad",
    "Grid",
    "Intensity",
    "IntensityStep",
    "Orient",
    "Preprocess",
    "Reading",
    "Respace",
    "Route",
    "Source",
    "Volume",
    "atomic_path",
    "check_case",
    "crop_of",
    "crop_or_pad_of",
    "describe_way_back",
    "grid_of_spacing",
    "intensity_of",
    "is_alive",
    "is_picture",
    "load_volume",
    "map_on_source",
    "on_source",
    "plain_values",
    "read_case",
    "read_label_map",
    "read_volume",
    "reorient_like",
    "require_same_grid",
    "resample",
    "seen_on_source",
    "step_of",
    "sweep",
    "volume_from_tensor",
    "write_json",
    "write_label_map",
    "write_map",
    "write_map_on_grid",
    "write_text",
]
