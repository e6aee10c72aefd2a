"""The case as the page shows it: its scan and the prediction, from what is in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from esegeta.compare.pages.scans import scans_of
from esegeta.config import RunConfig
from esegeta.predict import SourceGrid
from esegeta.report.label_tables import label_rows
from esegeta.report.page import CaseEntry, ShownLabel
from esegeta.volume import (
    Excerpt,
    Grid,
    Volume,
    excerpt_of,
    label_copy,
)


@dataclass(frozen=True, eq=False)
class Ground:
    """What the maps of the case lie on.

    Args:
        entry: the case on the page.
        view: part of the image's file that is shown.
        outlines: ids of segmentations that show whole a label that others cover, by label.
        focus_mm: where the cross-hair starts.
        volumes: gzipped NIfTI by id.
    """

    entry: CaseEntry
    view: Excerpt
    outlines: Mapping[str, str]
    focus_mm: tuple[float, float, float]
    volumes: dict[str, bytes] = field(repr=False)


def lay_ground(scan: Volume, source: SourceGrid, config: RunConfig) -> Ground:
    """Return the case's copies for the page.

    Args:
        scan: the image, as its file holds it.
        source: the prediction on the file's grid.
        config: config that names the window and the colours.
    """
    grid, labels = scan.grid, source.labels
    label_map = source.label_map.cpu().numpy().astype(np.int64)
    view = excerpt_of(grid, label_map != 0)
    shown = view.grid(grid)
    volumes: dict[str, bytes] = {}

    def add(copy: bytes) -> str:
        identity = f"scan{len(volumes)}"
        volumes[identity] = copy
        return identity

    intensity = config.resolved()["data"]["preprocess"].get("intensity")
    scans = scans_of(scan, view, shown, intensity, add)
    volumes["labels"] = label_copy(view.nearest(label_map), shown)
    outlines: dict[str, str] = {}
    for name, mask in source.masks() if labels.may_overlap else ():
        integer = next((one for one, other in labels.names.items() if other == name), None)
        if integer is not None and bool(mask.any()):
            outlines[name] = f"outline{len(outlines)}"
            whole = np.where(mask.cpu().numpy(), integer, label_map)
            volumes[outlines[name]] = label_copy(view.nearest(whole), shown)
    present = set(np.unique(label_map).tolist())
    rows = [row for row in label_rows(labels, config.keys.colors) if row.index in present - {0}]
    entry = CaseEntry(
        id="c0",
        run="",
        name=scan.name,
        scans=scans,
        segmentation="labels",
        labels=tuple(ShownLabel(row.index, row.name, row.colour) for row in rows),
        flat=grid.ndim == 2 or grid.shape[2] == 1,
        has_sides=not scan.source.is_picture,
        notes=(view.note,) if view.note else (),
    )
    return Ground(entry, view, outlines, _focus(label_map, grid), volumes)


def _focus(label_map: np.ndarray, grid: Grid) -> tuple[float, float, float]:
    """Return the middle of the slice across the last axis that holds most of what is predicted."""
    if not label_map.any():
        return grid.to_mm([(length - 1) // 2 for length in grid.shape])
    filled = label_map != 0
    line = filled.sum(axis=tuple(range(filled.ndim - 1)))
    plane = int(line.argmax())
    voxels = np.argwhere(filled[..., plane])
    nearest = voxels[int(((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1).argmin())]
    return grid.to_mm([*nearest.tolist(), plane])
