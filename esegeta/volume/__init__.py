"""Images with their geometry: read, preprocessed, and put back."""

from esegeta.volume.alignment import require_same_grid
from esegeta.volume.atomic import (
    atomic_path,
    is_alive,
    json_before_list,
    noting_written,
    output_faults,
    plain_values,
    refusal_to_write,
    sweep,
    temporary_name,
    write_json,
    write_text,
    written_so_far,
)
from esegeta.volume.carried import (
    carry_path,
    carry_shares,
    carry_slope_bounds,
    carry_slopes,
    padding_sum,
)
from esegeta.volume.case import Case, check_case, check_whole
from esegeta.volume.cropping import Crop, CropOrPad, crop_of, crop_or_pad_of
from esegeta.volume.dicom import dicom_volumes
from esegeta.volume.dicom_reference import require_dicom_output
from esegeta.volume.dicom_results import (
    DicomSegment,
    MapNote,
    write_dicom_map,
    write_dicom_segmentation,
)
from esegeta.volume.display import (
    Excerpt,
    colour_copy,
    excerpt_of,
    label_copy,
    map_copy,
    read_written,
    scan_copy,
)
from esegeta.volume.formats import (
    foreign_suffix,
    how_to_convert,
    image_stem,
    is_dicom_name,
    is_image,
    names_image,
    not_supported,
)
from esegeta.volume.grid import Grid, grid_of_spacing
from esegeta.volume.intensity import Intensity, IntensityStep, intensity_of, step_of
from esegeta.volume.intensity_rules import Span
from esegeta.volume.kinds import holds_dicom, is_picture
from esegeta.volume.label_maps import (
    read_label_map,
    read_labels_of_case,
    read_source_labels,
    write_label_map,
    write_source_labels,
)
from esegeta.volume.limits import require_size, usual_max_voxels
from esegeta.volume.load import load_volume, read_beside, read_case, read_volume
from esegeta.volume.map_header import Display, MapHeader, MapType, display_of, store
from esegeta.volume.maps import (
    WrittenFormat,
    map_on_source,
    write_map,
    write_map_on_grid,
    write_map_on_source,
    write_source_map,
)
from esegeta.volume.members import members
from esegeta.volume.picture import PictureAxes
from esegeta.volume.preprocess import Preprocess
from esegeta.volume.reading import Layout, Reading, ReadingWarning
from esegeta.volume.resampling import coarse_axis
from esegeta.volume.route import Route
from esegeta.volume.segments import Segment, write_segments
from esegeta.volume.space import Orient, Respace
from esegeta.volume.volume import Source, Volume, volume_from_tensor, without_size
from esegeta.volume.way_back import (
    LINEAR_WAY_BACK,
    describe_way_back,
    is_interpolated,
    on_source,
    reorient_like,
    resample,
    seen_on_source,
)

__all__ = [
    "LINEAR_WAY_BACK",
    "Case",
    "Crop",
    "CropOrPad",
    "DicomSegment",
    "Display",
    "Excerpt",
    "Grid",
    "Intensity",
    "IntensityStep",
    "Layout",
    "MapHeader",
    "MapNote",
    "MapType",
    "Orient",
    "PictureAxes",
    "Preprocess",
    "Reading",
    "ReadingWarning",
    "Respace",
    "Route",
    "Segment",
    "Source",
    "Span",
    "Volume",
    "WrittenFormat",
    "atomic_path",
    "carry_path",
    "carry_shares",
    "carry_slope_bounds",
    "carry_slopes",
    "check_case",
    "check_whole",
    "coarse_axis",
    "colour_copy",
    "crop_of",
    "crop_or_pad_of",
    "describe_way_back",
    "dicom_volumes",
    "display_of",
    "excerpt_of",
    "foreign_suffix",
    "grid_of_spacing",
    "holds_dicom",
    "how_to_convert",
    "image_stem",
    "intensity_of",
    "is_alive",
    "is_dicom_name",
    "is_image",
    "is_interpolated",
    "is_picture",
    "json_before_list",
    "label_copy",
    "load_volume",
    "map_copy",
    "map_on_source",
    "members",
    "names_image",
    "not_supported",
    "noting_written",
    "on_source",
    "output_faults",
    "padding_sum",
    "plain_values",
    "read_beside",
    "read_case",
    "read_label_map",
    "read_labels_of_case",
    "read_source_labels",
    "read_volume",
    "read_written",
    "refusal_to_write",
    "reorient_like",
    "require_dicom_output",
    "require_same_grid",
    "require_size",
    "resample",
    "scan_copy",
    "seen_on_source",
    "step_of",
    "store",
    "sweep",
    "temporary_name",
    "usual_max_voxels",
    "volume_from_tensor",
    "without_size",
    "write_dicom_map",
    "write_dicom_segmentation",
    "write_json",
    "write_label_map",
    "write_map",
    "write_map_on_grid",
    "write_map_on_source",
    "write_segments",
    "write_source_labels",
    "write_source_map",
    "write_text",
    "written_so_far",
]
