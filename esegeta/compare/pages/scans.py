"""A case as the page shows it: its scan, its segmentation, and how much of them."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from esegeta.compare.pages.runs import ReportRun
from esegeta.errors import EsegetaError
from esegeta.model import file_sha256
from esegeta.report import PredictionFiles, grey_range, name_in_cell
from esegeta.report.page import CaseEntry, Scan, ShownLabel, Sink
from esegeta.report.style import LABEL_COLOURS
from esegeta.volume import (
    Case,
    Excerpt,
    Grid,
    Reading,
    ReadingWarning,
    Volume,
    colour_copy,
    excerpt_of,
    label_copy,
    read_volume,
    read_written,
    scan_copy,
)


@dataclass(frozen=True, eq=False)
class Underlay:
    """What the maps of a case are shown on.

    Args:
        entry: the case on the page.
        grid: grid of the scan's file.
        view: part of it that is shown.
        labels: the segmentation; None where there is none.
    """

    entry: CaseEntry
    grid: Grid
    view: Excerpt
    labels: np.ndarray | None

    def outline(self, value: int, mask: np.ndarray) -> bytes:
        """Return a copy of the segmentation in which a label that overlaps others is whole."""
        assert self.labels is not None
        whole = np.where(mask, value, self.labels)
        return label_copy(self.view.nearest(whole), self.view.grid(self.grid))

    def centre_mm(self, value: int, number: int) -> tuple[float, float, float] | None:
        """Return a voxel well inside a label, in mm.

        It is that of the mask that is nearest to the centre of mass.

        Args:
            value: integer of the label; 0 for none.
            number: number of the connected part, 1 for the largest.
        """
        if not value or self.labels is None:
            return None
        parts, count = ndimage.label(self.labels == value)
        sizes = np.bincount(parts.ravel())[1:]
        chosen = int(np.argsort(-sizes, kind="stable")[min(number, count) - 1]) + 1
        voxels = np.argwhere(parts == chosen)
        away = ((voxels - voxels.mean(axis=0)) * np.asarray(self.grid.spacing_mm)) ** 2
        return self.grid.to_mm(voxels[int(away.sum(axis=1).argmin())].tolist())


def show_case(run: ReportRun, name: str, sink: Sink) -> Underlay | None:
    """Put a case's scan and segmentation on the page; None where there is nothing to show."""
    notes: list[str] = []
    sidecar = next((one for key, one in run.sidecars.items() if key[0] == name), None)
    segmentation = _read_segmentation(PredictionFiles(run.root, name).segmentation, notes)
    volume = None if sidecar is None else _read_scan(run, name, sidecar, notes)
    grid = _grid_of(run, name, volume, segmentation)
    if grid is None:
        return None
    labels = None
    if segmentation is not None and segmentation[1].shape == grid.shape:
        labels = segmentation[0]
    view = excerpt_of(grid, None if labels is None else labels != 0)
    if view.note:
        notes.append(view.note)
    shown = view.grid(grid)
    if volume is None:
        scans = _black(shown, sink)
    else:
        intensity = run.config_of("data", "preprocess", "intensity")
        scans = scans_of(volume, view, shown, intensity, sink.add_volume)
    entry = CaseEntry(
        id=run.case_id(name),
        run=run.shown_name,
        name=name,
        scans=scans,
        segmentation=(
            "" if labels is None else sink.add_volume(label_copy(view.nearest(labels), shown))
        ),
        labels=() if labels is None else _labels_of(run, name, labels),
        flat=grid.ndim == 2 or grid.shape[2] == 1,
        has_sides=volume is None or not volume.source.is_picture,
        notes=tuple(notes),
    )
    return Underlay(entry, grid, view, labels)


def _grid_of(
    run: ReportRun, name: str, volume: Volume | None, segmentation: tuple[np.ndarray, Grid] | None
) -> Grid | None:
    if volume is not None:
        return volume.grid
    if segmentation is not None:
        return segmentation[1]
    for key in run.sidecars:
        if key[0] == name:
            return read_written(run.files(key).map)[1]
    return None


def _read_segmentation(path: Path, notes: list[str]) -> tuple[np.ndarray, Grid] | None:
    if not path.is_file():
        return None
    try:
        array, grid = read_written(path)
    except EsegetaError as error:
        notes.append(f"the segmentation cannot be shown: {error}")
        return None
    return np.rint(array).astype(np.int64), grid


def _read_scan(
    run: ReportRun, name: str, sidecar: Mapping[str, Any], notes: list[str]
) -> Volume | None:
    """Read a case's image; where it is gone, maps are shown without it."""
    case = run.cases.get(name)
    missing = [] if case is None else [path for path in case.images if not path.exists()]
    if case is None or missing:
        what = "its file is not found" if case is None else f"{missing[0]} does not exist any more"
        notes.append(f"The scan is not shown: {what}. Make the report where the run was made.")
        return None
    changed = _changed(run, case)
    if changed:
        notes.append(f"{changed} has changed since the run: the maps belong to a different image.")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ReadingWarning)
            volume = read_volume(case, _reading_of(run, sidecar))
    except EsegetaError as error:
        notes.append(f"The scan is not shown: {error}")
        return None
    notes += [str(one.message) for one in caught]
    return volume


def _changed(run: ReportRun, case: Case) -> Path | None:
    """Return an image file whose content is not what the run read."""
    known = run.record.get("inputs_sha256")
    known = known if isinstance(known, dict) else {}
    for path in case.images:
        before = known.get(str(path))
        if before is not None and path.is_file() and file_sha256(path) != before:
            return path
    return None


def _reading_of(run: ReportRun, sidecar: Mapping[str, Any]) -> Reading:
    data = run.config_of("data") or {}
    channels = tuple(map(str, sidecar.get("channels") or ("0",)))
    keys = {key: data.get(key) for key in ("nan", "picture_axes", "channels_axis", "align")}
    plain = Reading(len(channels), len(run.config_of("inference", "window") or (0, 0, 0)))
    return Reading(
        plain.num_channels,
        plain.network_ndim,
        nan_to_zero=keys["nan"] == "zero",
        channels=channels,
        picture_axes=keys["picture_axes"] or plain.picture_axes,
        layout=type(plain.layout)(keys["channels_axis"]),
        align=keys["align"],
    )


def scans_of(
    volume: Volume, view: Excerpt, grid: Grid, intensity: object, add: Callable[[bytes], str]
) -> tuple[Scan, ...]:
    """Return the channels of an image as the page shows them, a picture as one.

    Args:
        volume: the image, as its file holds it.
        view: part of it that is shown.
        grid: grid of that part.
        intensity: intensity steps of the config, which may hold a window.
        add: takes a copy, and returns the id by which the page finds it.
    """
    arrays = volume.data.numpy()
    if volume.is_colour:
        shown = np.stack([view.mean(array) for array in arrays])
        return (Scan("picture", add(colour_copy(shown, grid)), 0, 255, True),)
    window = window_of(intensity)
    scans = []
    for name, array in zip(volume.channels, arrays, strict=True):
        low, high = grey_range(array, (window,))
        scans.append(Scan(name, add(scan_copy(view.mean(array), grid)), low, high))
    return tuple(scans)


def window_of(intensity: object) -> tuple[float, float] | None:
    """Return the two values between which a config's intensity steps keep an image."""
    steps = intensity if isinstance(intensity, Sequence) else [intensity]
    for step in steps:
        if not isinstance(step, Mapping):
            continue
        pair = step.get("window") or step.get("clip")
        ct = step.get("ct")
        if pair is None and isinstance(ct, Mapping):
            pair = ct.get("clip")
        if isinstance(pair, Sequence) and len(pair) == 2:
            low, high = pair
            if isinstance(low, (int, float)) and isinstance(high, (int, float)):
                return float(low), float(high)
    return None


def _black(grid: Grid, sink: Sink) -> tuple[Scan, ...]:
    nothing = np.zeros(grid.shape, np.float32)
    return (Scan("no scan", sink.add_volume(scan_copy(nothing, grid)), 0.0, 1.0),)


def _labels_of(run: ReportRun, name: str, labels: np.ndarray) -> tuple[ShownLabel, ...]:
    """Return the labels of a segmentation with the names and colours of its table."""
    known: dict[int, tuple[str, str]] = {}
    try:
        text = PredictionFiles(run.root, name).table.read_text(encoding="utf-8")
    except OSError:
        text = ""
    for row in csv.DictReader(io.StringIO(text), delimiter="\t"):
        index, colour = row.get("index") or "", row.get("color") or ""
        if index.lstrip("-").isdigit() and len(colour) == 7:
            known[int(index)] = (name_in_cell(row.get("name") or index), colour)
    found = [int(value) for value in np.unique(labels) if value != 0]
    return tuple(
        ShownLabel(
            value, *known.get(value, (str(value), LABEL_COLOURS[place % len(LABEL_COLOURS)]))
        )
        for place, value in enumerate(found)
    )
