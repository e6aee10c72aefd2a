"""Maps and segmentations as files that open in place, each with a sidecar that explains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from esegeta.explain import Attribution
from esegeta.model import Labels
from esegeta.report.names import PredictionFiles, UnitFiles
from esegeta.report.overlay import draw_overlay
from esegeta.report.record import read_sidecar
from esegeta.volume import (
    Volume,
    atomic_path,
    reorient_like,
    write_json,
    write_label_map,
    write_map,
    write_text,
)

LABEL_COLOURS = (
    "#e69f00",
    "#56b4e9",
    "#009e73",
    "#f0e442",
    "#0072b2",
    "#d55e00",
    "#cc79a7",
    "#999999",
)
"""Okabe and Ito's palette: tells labels apart for colour-blind readers too."""


def save_attribution(
    files: UnitFiles, attribution: Attribution, provenance: Mapping[str, Any]
) -> None:
    """Write sidecar, picture, channel maps and, last of all, the map.

    The map of an earlier run is removed first: a map that is there always belongs to its sidecar.

    Args:
        files: where to.
        attribution: what to write.
        provenance: joins the sidecar: scores, versions, hashes of inputs.
    """
    files.map.unlink(missing_ok=True)
    volume = attribution.volume
    split = zip(volume.channels, attribution.data, strict=True) if attribution.has_channels else ()
    channel_maps = {files.channel_map(name): data for name, data in split}
    write_json(
        files.sidecar,
        {
            **attribution.describe(),
            "target_name": files.target,
            "method_id": files.method,
            "case": files.case,
            "grid": _grid_note(volume),
            "channels": list(volume.channels),
            "files": [path.name for path in (files.overlay, *channel_maps, files.map)],
            **provenance,
        },
    )
    with atomic_path(files.overlay) as temporary:
        draw_overlay(temporary, attribution, f"{files.case}: {files.target}, {files.method}")
    for path, data in channel_maps.items():
        write_map(path, data, volume)
    write_map(files.map, attribution.total, volume)


def remove_attribution(files: UnitFiles) -> None:
    """Remove the files of a unit, the map first."""
    others = (read_sidecar(files.sidecar) or {}).get("files", [])
    folder = files.map.parent
    for path in (files.map, *(folder / str(name) for name in others), files.sidecar):
        path.unlink(missing_ok=True)


def remove_other_components(root: Path, case: str, target: str, names: Sequence[str]) -> None:
    """Remove maps of components that an earlier prediction had and this one has not."""
    for path in (root / case).glob("*"):
        rest = path.name.removeprefix(f"{case}_label-")
        name = rest.partition("_desc-")[0].partition("_chan-")[0]
        if rest != path.name and name.startswith(f"{target}#") and name not in names:
            path.unlink(missing_ok=True)


def save_prediction(
    files: PredictionFiles,
    label_map: Tensor,
    volume: Volume,
    labels: Labels,
    provenance: Mapping[str, Any],
) -> None:
    """Write the predicted segmentation with its table of labels and its sidecar."""
    files.segmentation.unlink(missing_ok=True)
    rows = [("index", "name", "color"), ("0", labels.names.get(0, "background"), "#000000")]
    integers = [integer for integer in sorted(labels.names) if integer != 0]
    for place, integer in enumerate(integers):
        colour = LABEL_COLOURS[place % len(LABEL_COLOURS)]
        rows.append((str(integer), labels.names[integer], colour))
    write_text(files.table, "".join("\t".join(row) + "\n" for row in rows))
    grid = volume.grid
    counts = {
        labels.names[integer]: int((label_map == integer).sum()) * grid.voxel_volume_ml
        for integer in integers
    }
    write_json(
        files.sidecar,
        {
            "description": "labels predicted by the network over all windows, blended",
            "volume_ml": counts,
            "grid": _grid_note(volume),
            **provenance,
        },
    )
    write_label_map(files.segmentation, label_map, volume)


def _grid_note(volume: Volume) -> dict[str, Any]:
    source = volume.source.grid
    # The axes of no channel at all are turned: only where they end up matters.
    _, turned = reorient_like(volume.data[:0], volume.grid, source)
    resampled = not turned.same_as(source)
    return {
        "network": volume.grid.describe(),
        "source": source.describe(),
        "resampling": (
            "linear from the network's grid: heights are kept, sums over voxels are not"
            if resampled
            else "none: axes are permuted and flipped at most"
        ),
    }
