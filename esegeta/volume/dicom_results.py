"""Maps as DICOM Parametric Maps and predictions as DICOM Segmentations, through highdicom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from esegeta.volume.dicom_object import dicom_faults, identity, one_line, save_object
from esegeta.volume.dicom_reference import Referenced, referenced
from esegeta.volume.segmentation import INTEGER_SCHEME
from esegeta.volume.volume import Source

MAP_SERIES, SEGMENTATION_SERIES = 9002, 9001
SHORTEST, SHORT = 1e-30, 16
"""Of a display range that is not empty; and characters of a DICOM code."""


@dataclass(frozen=True)
class MapNote:
    """What a parametric map says of its values.

    Args:
        unit: unit of a voxel, in words.
        legend: what the values mean.
        label: label of the map, for a list of maps.
    """

    unit: str
    legend: str
    label: str


@dataclass(frozen=True)
class DicomSegment:
    """A label as a segment; segments are numbered from 1 in their order.

    Args:
        name: name of the label.
        integer: the integer that label maps hold for it; None for a region that has none.
        colour: `#rrggbb`.
    """

    name: str
    integer: int | None
    colour: str


def write_dicom_map(path: Path, array: np.ndarray, source: Source, note: MapNote) -> None:
    """Write a map as a DICOM Parametric Map of float32 on the slices of its source's series.

    Values are stored as they are (slope 1, intercept 0), one frame a slice, in order of position.

    Args:
        path: path of the file, `.dcm`.
        array: float32 `X Y Z` on the source's grid.
        source: source of the map, a DICOM series.
        note: what the values are.

    Raises:
        DataError: the series cannot be referred to.
    """
    with dicom_faults(path):
        import highdicom

        made_from = _made_from(array, source)
        low, high = float(array.min()), float(array.max())
        peak = max(abs(low), abs(high), SHORTEST)
        content = highdicom.pm.ParametricMap(
            made_from.images,
            made_from.frames(array.astype(np.float32)),
            series_number=MAP_SERIES,
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[_mapping(note, (low, high))],
            voi_lut_transformations=[
                highdicom.VOILUTTransformation(window_center=0.0, window_width=2 * peak)
            ],
            content_description=one_line(note.legend),
            **identity(path.name.removesuffix(".dcm"), array, made_from),
        )
    save_object(path, content)


def write_dicom_segmentation(
    path: Path, segments: Sequence[DicomSegment], array: np.ndarray, source: Source
) -> None:
    """Write labels as the segments of a binary DICOM Segmentation on their source's series.

    Slices without a voxel of a segment have no frame of it, as is usual; a prediction without
    any voxel has them all.

    Args:
        path: path of the file, `.dcm`.
        segments: one per label.
        array: `X Y Z` with the numbers of segments and 0; or masks, `X Y Z K`, one a segment.
        source: source of the labels, a DICOM series.

    Raises:
        DataError: the series cannot be referred to.
    """
    with dicom_faults(path):
        import highdicom

        made_from = _made_from(array, source)
        kind = np.uint16 if array.ndim == 3 and len(segments) > 255 else np.uint8
        content = highdicom.seg.Segmentation(
            made_from.images,
            made_from.frames(array.astype(kind)),
            segmentation_type="BINARY",
            segment_descriptions=[_described(*item) for item in enumerate(segments, start=1)],
            series_number=SEGMENTATION_SERIES,
            content_description="predicted labels",
            **identity(path.name.removesuffix(".dcm"), array, made_from),
        )
    save_object(path, content)


def _made_from(array: np.ndarray, source: Source) -> Referenced:
    if tuple(array.shape[:3]) != source.grid.shape:
        raise ValueError(f"a result of shape {array.shape} for a grid of {source.grid.shape}")
    return referenced(source.paths[0], source.series)


def _mapping(note: MapNote, extent: tuple[float, float]) -> Any:
    import highdicom

    # UCUM holds what is no unit of measurement in braces, without blanks.
    code = f"{{{'_'.join(note.unit.split())}}}"
    return highdicom.pm.RealWorldValueMapping(
        one_line(note.label, SHORT),
        one_line(note.legend),
        highdicom.sr.CodedConcept(code, "UCUM", one_line(note.unit)),
        value_range=extent,
        slope=1.0,
        intercept=0.0,
    )


def _described(number: int, segment: DicomSegment) -> Any:
    import highdicom

    from esegeta import __version__

    made_by = highdicom.sr.CodedConcept("123110", "DCM", "Artificial Intelligence")
    red, green, blue = bytes.fromhex(segment.colour.removeprefix("#"))
    code = segment.name if segment.integer is None else str(segment.integer)
    return highdicom.seg.SegmentDescription(
        number,
        one_line(segment.name),
        highdicom.sr.CodedConcept("309825002", "SCT", "Spatial and Relational Concept"),
        highdicom.sr.CodedConcept(code, INTEGER_SCHEME, one_line(segment.name)),
        "AUTOMATIC",
        highdicom.AlgorithmIdentificationSequence("esegeta", made_by, __version__),
        display_color=highdicom.color.CIELabColor.from_rgb(red, green, blue),
    )
