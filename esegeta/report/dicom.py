"""Maps and predictions as DICOM objects that belong to the series that they were made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from esegeta.predict import SourceGrid
from esegeta.report.task_maps import TaskMap
from esegeta.volume import (
    DicomSegment,
    MapNote,
    Source,
    write_dicom_map,
    write_dicom_segmentation,
)


def write_object_of_map(path: Path, item: TaskMap, source: Source, method: str) -> None:
    """Write a map as a parametric map: its float32 values, however NIfTI stores them."""
    note = MapNote(item.header.unit, item.legend, method)
    write_dicom_map(path, item.array, source, note)


def write_object_of_labels(path: Path, source: SourceGrid, colours: Mapping[str, str]) -> None:
    """Write the predicted labels as segments; labels that may overlap are each written whole.

    Args:
        path: path of the file, `.dcm`.
        source: the prediction.
        colours: colour of each label by name, `#rrggbb`.
    """
    labels = source.labels
    shown = list(labels.foreground)
    integers = {name: integer for integer, name in labels.names.items()}
    segments = [DicomSegment(name, integers.get(name), colours[name]) for name in shown]
    if labels.may_overlap:
        masks = dict(source.masks())
        array = np.stack([masks[name].cpu().numpy() for name in shown], axis=-1)
    else:
        array = np.zeros(source.volume.source.grid.shape, dtype=np.uint16)
        for number, name in enumerate(shown, start=1):
            array[labels.shown(source.label_map, name).cpu().numpy()] = number
    write_dicom_segmentation(path, segments, array, source.volume.source)
