"""Maps and predictions as DICOM objects that belong to the series that they were made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from esegeta.explain import Attribution
from esegeta.model import Labels
from esegeta.predict import SourceGrid
from esegeta.report.style import LABEL_COLOURS
from esegeta.volume import (
    MapNote,
    Segment,
    map_on_source,
    write_dicom_map,
    write_dicom_segmentation,
)


def write_object_of_map(path: Path, data: Tensor, attribution: Attribution) -> None:
    """Write a map `*S`, or what is measured as one is, as a parametric map."""
    note = MapNote(attribution.unit, attribution.meaning.legend, attribution.method)
    volume = attribution.volume
    write_dicom_map(path, map_on_source(data, volume), volume.source, note)


def write_object_of_labels(path: Path, source: SourceGrid) -> None:
    """Write the predicted labels as segments; those that may overlap as they are, each whole."""
    labels = source.labels
    shown = list(labels.foreground)
    segments = _segments(labels)
    if labels.may_overlap:
        masks = dict(source.masks())
        array = np.stack([masks[name].cpu().numpy() for name in shown], axis=-1)
    else:
        array = np.zeros(source.volume.source.grid.shape, dtype=np.uint16)
        for number, name in enumerate(shown, start=1):
            array[labels.shown(source.label_map, name).cpu().numpy()] = number
    write_dicom_segmentation(path, segments, array, source.volume.source)


def _segments(labels: Labels) -> list[Segment]:
    integers = {name: integer for integer, name in labels.names.items()}
    colours = colours_of(labels)
    segments = []
    for place, name in enumerate(labels.foreground):
        integer = integers.get(name)
        other = LABEL_COLOURS[(len(colours) + place) % len(LABEL_COLOURS)]
        colour = other if integer is None else colours[integer]
        segments.append(Segment(name, integer, colour))
    return segments


def colours_of(labels: Labels) -> dict[int, str]:
    """Return the colour of each integer but 0 that label maps are painted with."""
    integers = [integer for integer in sorted(labels.names) if integer != 0]
    return {
        integer: LABEL_COLOURS[place % len(LABEL_COLOURS)] for place, integer in enumerate(integers)
    }
