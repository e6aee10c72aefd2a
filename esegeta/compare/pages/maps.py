"""The maps of a run as the page shows them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from esegeta.compare.pages.runs import ReportRun, TaskKey
from esegeta.compare.pages.scans import Underlay
from esegeta.errors import EsegetaError
from esegeta.report import PredictionFiles, TaskFiles
from esegeta.report.page import Bar, MapEntry, MapVolume, Sink
from esegeta.volume import Grid, display_of, map_copy, read_written

DUST = 0.02
"""Share of the colours' end below which values are not shown at first."""

KINDS = (
    (re.compile(r"_chan-(?P<name>.+)_desc-.*_attrmap$"), "channel {name}"),
    (re.compile(r"_layer-(?P<name>.+)_layermap$"), "layer {name}, on its own grid"),
    (re.compile(r"_stat-stderr_attrmap$"), "standard error"),
    (re.compile(r"_stat-spread_attrmap$"), "spread over members"),
    (re.compile(r"_member-(?P<name>\d+)_attrmap$"), "member {name}"),
)


@dataclass(eq=False)
class Focus:
    """Where the cross-hair begins for each target: the same for all methods.

    Args:
        run: the run.
        ground: the case.
    """

    run: ReportRun
    ground: Underlay
    _known: dict[str, tuple[float, ...]] = field(default_factory=dict)
    _outlines: dict[int, str] = field(default_factory=dict)

    def of(self, target: str) -> tuple[float, ...]:
        """Return a place within the target's label in mm; empty where it has none."""
        if target not in self._known:
            _, _, number = target.partition("#")
            part = int(number) if number.isdigit() else 1
            self._known[target] = self.ground.centre_mm(self.label(target), part) or ()
        return self._known[target]

    def outline(self, value: int, sink: Sink) -> str:
        """Return the id of a segmentation that shows a label whole, where others cover it.

        Labels that overlap have masks beside the label map, in which later ones win.
        """
        if not value:
            return ""
        if value not in self._outlines:
            name = next(one.name for one in self.ground.entry.labels if one.value == value)
            path = PredictionFiles(self.run.root, self.ground.entry.name).mask(name)
            self._outlines[value] = ""
            if path.is_file():
                mask, grid = read_written(path)
                if grid.shape == self.ground.grid.shape:
                    copy = self.ground.outline(value, mask != 0)
                    self._outlines[value] = sink.add_volume(copy)
        return self._outlines[value]

    def label(self, target: str) -> int:
        """Return the integer of a target's label; 0 where the segmentation does not have it."""
        entries: Sequence[Mapping[str, Any]] = self.run.config_of("targets") or ()
        name = target.partition("#")[0]
        entry = next((one for one in entries if one.get("name") == name), {})
        return self.value(entry.get("label"))

    def value(self, label: object) -> int:
        """Return the integer of a label, given by name or integer; 0 where there is none."""
        entries = self.ground.entry.labels
        labels = {str(one.value): one.value for one in entries}
        labels |= {one.name: one.value for one in entries}
        return labels.get(str(label), 0)


def show_map(run: ReportRun, key: TaskKey, ground: Underlay, focus: Focus, sink: Sink) -> MapEntry:
    """Put a map on the page, or the reason why there is none."""
    _, target, method = key
    known: dict[str, Any] = {
        "id": run.map_id(key),
        "case": ground.entry.id,
        "target": target,
        "method": method,
        "null": run.is_null(method),
    }
    sidecar = run.sidecars.get(key)
    if sidecar is None:
        message = str(run.tasks[key].get("message") or "")
        message = message or run.foreign.get(key) or "its files are missing"
        return MapEntry(**known, failure=message)
    files = run.files(key)
    layers, faults = _layers_of(files, sidecar, ground, sink)
    above, below = readings(sidecar)
    doubts = [*_texts(sidecar, "warnings"), *_texts(sidecar, "doubts")]
    unit = str(sidecar.get("unit", ""))
    # The config lists no target of a map that was kept one by one: its sidecar says what it is.
    label = focus.label(target) or focus.value(sidecar.get("label"))
    return MapEntry(
        **known,
        layers=tuple(layers),
        label=label,
        focus=_place_of(sidecar) or focus.of(target),
        outline=focus.outline(label, sink),
        about=str(sidecar.get("target", target)),
        positive=above,
        negative=below,
        picture=sink.add_picture(files.overlay),
        warnings=tuple(dict.fromkeys([*doubts, *faults])),
        facts=tuple(_facts_of(sidecar)),
        bars=tuple(_bars_of(sidecar)),
        bar_unit=f"{unit} / ml" if _has_size(sidecar) else unit,
    )


def _place_of(sidecar: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the voxel that was asked about, or where the pictures of the target are cut."""
    display = sidecar.get("display")
    cut = display.get("position_mm") if isinstance(display, dict) else None
    place = sidecar.get("place_mm") or cut
    return tuple(map(float, place)) if isinstance(place, list) and len(place) == 3 else ()


def readings(sidecar: Mapping[str, Any]) -> tuple[str, str]:
    """Return what values above and below zero say, in the sidecar's words for readers.

    Sidecars without these have one sentence about signs, which stands for both.
    """
    told = [text.partition(": ") for text in _texts(sidecar, "colours")]
    above = next((text for colour, _, text in told if colour == "red"), "")
    below = next((text for colour, _, text in told if colour == "blue"), "")
    if above:
        return above, below
    sentence = next(iter(_texts(sidecar, "colours")), str(sidecar.get("sign", "")))
    return sentence, sentence


def _texts(sidecar: Mapping[str, Any], key: str) -> list[str]:
    found = sidecar.get(key)
    return [str(text) for text in found] if isinstance(found, list) else []


def _layers_of(
    files: TaskFiles, sidecar: Mapping[str, Any], ground: Underlay, sink: Sink
) -> tuple[list[MapVolume], list[str]]:
    """Return the sum over channels first, then what else lies beside it."""
    named = [files.map, *(files.map.parent / str(name) for name in sidecar.get("files") or ())]
    layers, faults = [], []
    for path in dict.fromkeys(named):
        if not path.name.endswith(".nii.gz") or (path != files.map and not files.owns(path.name)):
            continue
        try:
            layers.append(_layer_of(path, sidecar, ground, sink, is_map=path == files.map))
        except EsegetaError as error:
            faults.append(f"{path.name} cannot be shown: {error}")
    return layers, faults


def _layer_of(
    path: Path, sidecar: Mapping[str, Any], ground: Underlay, sink: Sink, *, is_map: bool
) -> MapVolume:
    array, grid = read_written(path)
    low, high = display_range(array)
    display = sidecar.get("display")
    if is_map and isinstance(display, Mapping) and _positive(display.get("high")):
        high = float(display["high"])
        low = float(display["low"]) if _positive(display.get("low")) else DUST * high
    copy = map_copy(*_shown(array, grid, ground), high)
    notes = (sidecar.get("layer_maps") or {}).get(path.name, {})
    return MapVolume(
        name=_name_of(path, sidecar),
        volume=sink.add_volume(copy),
        unit=str(notes.get("unit") or sidecar.get("unit", "")),
        low=low,
        high=high,
        peak=float(np.abs(array).max(initial=0.0)),
        signed=bool((array < 0).any()),
    )


def display_range(array: np.ndarray) -> tuple[float, float]:
    """Return where colours begin and end: 2 % of, and the 99.5th percentile of non-zero values."""
    high = display_of(array, is_signed=True).high or 1.0
    return DUST * high, high


def _shown(array: np.ndarray, grid: Grid, ground: Underlay) -> tuple[np.ndarray, Grid]:
    """Return the part of a map that is shown; a layer on a grid of its own is shown whole."""
    if grid.shape != ground.grid.shape:
        return array, grid
    return ground.view.strongest(array), ground.view.grid(grid)


def _name_of(path: Path, sidecar: Mapping[str, Any]) -> str:
    stem = path.name.removesuffix(".nii.gz")
    layer = (sidecar.get("layer_maps") or {}).get(path.name, {}).get("layer")
    if layer is not None:
        return f"layer {layer or 'network'}, on its own grid"
    found = ((pattern.search(stem), text) for pattern, text in KINDS)
    names = [text.format(**match.groupdict()) for match, text in found if match]
    if names:
        return ": ".join(dict.fromkeys(names))
    return "all channels" if len(sidecar.get("channels") or ()) > 1 else "the map"


def _positive(value: object) -> bool:
    return isinstance(value, (int, float)) and value > 0


def _has_size(sidecar: Mapping[str, Any]) -> bool:
    rows = sidecar.get("regions") or ()
    return any(row.get("volume_ml") is not None for row in rows)


def _bars_of(sidecar: Mapping[str, Any]) -> Iterator[Bar]:
    quantity = "per_ml" if _has_size(sidecar) else "signed_sum"
    for row in sidecar.get("regions") or ():
        share = row.get("share")
        yield Bar(
            str(row.get("atlas", "")),
            str(row.get("region", "")),
            str(row.get("channel", "")),
            float(share) if share is not None else 0.0,
            row.get(quantity),
        )


def _facts_of(sidecar: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    facts = sidecar.get("facts") or {}
    yield "method", str(sidecar.get("method", ""))
    for key, value in (sidecar.get("parameters") or {}).items():
        yield key, _plain(value)
    for key, value in (sidecar.get("target_facts") or {}).items():
        yield f"target: {key}", _plain(value)
    yield "values", str(sidecar.get("sign", ""))
    if facts.get("num_windows"):
        yield "windows", f"{facts.get('active_windows')} of {facts['num_windows']} touch the target"
    if facts.get("completeness_relative") is not None:
        yield "completeness error", f"{100 * float(facts['completeness_relative']):.2g} %"
    if facts.get("seconds"):
        yield "time", f"{float(facts['seconds']):.3g} s"
    yield "grid", str((sidecar.get("grid") or {}).get("resampling", ""))


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        inner = (f"{key} {_plain(item)}" for key, item in value.items() if item is not None)
        return ", ".join(inner)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
