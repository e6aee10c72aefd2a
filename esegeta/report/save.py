"""Maps and segmentations as files that open in place, each with a sidecar that explains it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from esegeta.explain import Attribution, By, LayerMap, MemberMaps, RegionRow, map_on_file
from esegeta.predict import GridRule, SourceGrid
from esegeta.report.contents import CONTENTS, contents_of, sealed
from esegeta.report.dicom import write_object_of_labels, write_object_of_map
from esegeta.report.files import PredictionFiles, TaskFiles, dicom_beside
from esegeta.report.label_tables import label_rows, shown_colours, write_label_tables
from esegeta.report.overlay import doubts_of_scale, draw_overlay, sentences
from esegeta.report.region_figures import draw_regions
from esegeta.report.task_maps import task_maps
from esegeta.report.view import View, view_of
from esegeta.volume import (
    MapHeader,
    MapType,
    Volume,
    WrittenFormat,
    atomic_path,
    describe_way_back,
    display_of,
    noting_written,
    store,
    write_json,
    write_map_on_grid,
    write_map_on_source,
    write_source_labels,
    write_source_map,
)

NIFTI_ALONE: tuple[WrittenFormat, ...] = ("nifti",)
CARRIED_ERRORS = (
    "; on the voxels of the file an upper bound, since the errors added up there depend on "
    "each other (statistics of the image held fixed)"
)
RESAMPLINGS: Mapping[GridRule, str] = {
    "logits": "logits, linear from the network's grid, then decided on the image's",
    "probabilities": "probabilities, linear from the network's grid, then decided on the image's",
    "labels": "decided on the network's grid, then the nearest voxel",
}


def save_attribution(
    files: TaskFiles,
    attribution: Attribution,
    provenance: Mapping[str, Any],
    *,
    regions: Sequence[RegionRow] = (),
    doubts: Sequence[str] = (),
    dtype: MapType = "float32",
    members: MemberMaps | None = None,
    by: By | None = None,
    write: Collection[WrittenFormat] = NIFTI_ALONE,
) -> None:
    """Write picture, maps of channels, errors and layers, then the sidecar and, last, the map.

    The files of an earlier run are removed first: a map that is there always belongs to its
    sidecar.

    Args:
        files: paths of the files to write.
        attribution: the map to write.
        provenance: further content of the sidecar: scores, versions, hashes of inputs.
        regions: rows of the map by channel and region, to draw; without rows, none is drawn.
        doubts: objections to the map from scores, for its picture and its sidecar.
        dtype: data type of voxels in the files of maps.
        members: the same map of each member, where requested.
        by: way in which the map comes to the grid of the file; see `map_on_file`.
        write: formats in which maps on the grid of the file are written.
    """
    remove_attribution(files)
    view, source = view_of(attribution), attribution.volume.source
    on_file = map_on_file(attribution, by)
    maps = task_maps(files, attribution, on_file, dtype=dtype, members=members)
    layers = {files.layer_map(layer.layer): layer for layer in attribution.layer_maps}
    objects = {dicom_beside(path): item for path, item in maps.items() if "dicom" in write}
    pictures = [files.overlay, *([files.regions] if regions else [])]
    last = maps.pop(files.map)
    doubts = [*doubts, *doubts_of_scale(attribution)]
    beside = [*pictures, *maps, *layers, *objects]
    notes = {
        **attribution.describe(),
        "target_name": files.target,
        "method_id": files.method,
        "case": files.case,
        "unit": on_file.unit,
        "grid": on_file.describe(attribution),
        "channels": list(attribution.volume.channels),
        **_notes_beside_the_map(files, attribution, on_file.by),
        "display": {
            **display_of(last.array, is_signed=last.header.is_signed).describe(),
            "position_mm": list(view.position_mm),
        },
        "colours": sentences(attribution),
        "storage": store(last.array, dtype).describe(),
        "doubts": list(doubts),
        **({} if members is None else {"spread": _spread_note(files, members)}),
        "files": [path.name for path in (*beside, files.map)],
        **provenance,
    }
    with noting_written() as written:
        _draw(files, attribution, regions, doubts, view)
        for path, item in maps.items():
            write_map_on_source(path, item.array, source, item.header)
        for path, layer in layers.items():
            _write_layer(path, layer, attribution.volume, last.header)
        for path, item in objects.items():
            write_object_of_map(path, item, source, attribution.method)
    with atomic_path(files.map) as staged:
        write_map_on_source(staged, last.array, source, last.header)
        contents = contents_of(written, files.sidecar, **{files.map.name: staged})
        write_json(files.sidecar, sealed({**notes, CONTENTS: contents}))


def save_scores(
    files: TaskFiles,
    attribution: Attribution,
    provenance: Mapping[str, Any],
    *,
    doubts: Sequence[str] = (),
) -> None:
    """Write the sidecar of a map that is judged and not kept: no voxel of it, and no picture.

    Args:
        files: where to; what an earlier run left of the map is removed.
        attribution: what was judged.
        provenance: joins the sidecar: scores, versions, hashes of inputs.
        doubts: what scores say against the map.
    """
    remove_attribution(files)
    notes = {
        **attribution.describe(),
        "target_name": files.target,
        "method_id": files.method,
        "case": files.case,
        "channels": list(attribution.volume.channels),
        "doubts": list(doubts),
        "map": "not written (write: scores)",
        "files": [],
        **provenance,
        CONTENTS: {},
    }
    write_json(files.sidecar, sealed(notes))


def _draw(
    files: TaskFiles,
    attribution: Attribution,
    regions: Sequence[RegionRow],
    doubts: Sequence[str],
    view: View,
) -> None:
    title = f"{files.case}: {files.target}, {files.method}"
    with atomic_path(files.overlay) as temporary:
        draw_overlay(temporary, attribution, title, doubts, view)
    if regions:
        with atomic_path(files.regions) as temporary:
            named = f"{title}\n{attribution.target.description}"
            draw_regions(temporary, regions, named, attribution)


def _write_layer(path: Path, layer: LayerMap, volume: Volume, header: MapHeader) -> None:
    words = replace(header, method=f"{header.method}, layer {layer.layer}", unit=layer.unit)
    write_map_on_grid(path, layer.data[0], layer.grid, volume, words)


def _spread_note(files: TaskFiles, members: MemberMaps) -> dict[str, Any]:
    note = members.describe()
    for row in note["members"]:
        row["file"] = files.member_map(row["member"]).name
    return {**note, "file": files.spread.name}


def _notes_beside_the_map(files: TaskFiles, attribution: Attribution, by: By) -> dict[str, Any]:
    notes: dict[str, Any] = {}
    if attribution.standard_error is not None:
        of = (
            "each channel's map; that of their sum is unknown"
            if attribution.has_channels
            else ("the map")
        )
        bound = CARRIED_ERRORS if by == "adjoint" else ""
        notes["standard_error"] = f"one standard error of the mean of the draws, of {of}{bound}"
        if "t_95" in attribution.facts.more:
            notes["standard_error"] += "; the value +- `t_95` of them is a 95 % interval"
    if attribution.layer_maps:
        notes["layer_maps"] = {
            files.layer_map(item.layer).name: {
                "layer": item.layer,
                "unit": item.unit,
                "grid": attribution.volume.source.describe(item.grid),
            }
            for item in attribution.layer_maps
        }
    return notes


def remove_attribution(files: TaskFiles) -> None:
    """Remove the files of a task, the map first."""
    others = [path for path in files.map.parent.glob("*") if files.owns(path.name)]
    for path in (files.map, *others, files.sidecar):
        path.unlink(missing_ok=True)


def remove_other_components(root: Path, case: str, target: str, names: Sequence[str]) -> None:
    """Remove maps of components that an earlier prediction had and this one has not."""
    for path in (root / case).glob("*"):
        rest = path.name.removeprefix(f"{case}_label-")
        name = rest.partition("_desc-")[0].partition("_chan-")[0].partition("_score-")[0]
        if rest != path.name and name.startswith(f"{target}#") and name not in names:
            path.unlink(missing_ok=True)
    for path in (root / case).glob("*.mrb"):
        name = path.stem.removeprefix(f"{case}_")
        if name.startswith(f"{target}#") and name not in names:
            path.unlink(missing_ok=True)


def save_prediction(
    files: PredictionFiles,
    source: SourceGrid,
    provenance: Mapping[str, Any],
    *,
    probabilities: Sequence[str] = (),
    colours: Mapping[str, str] | None = None,
    write: Collection[WrittenFormat] = NIFTI_ALONE,
) -> None:
    """Write the predicted segmentation with its table of labels and its sidecar.

    Where labels may overlap, each has a mask of its own beside the label map; volumes are those
    of the masks.

    Args:
        files: paths of the files to write.
        source: the prediction, on the grid of the image's file.
        provenance: further content of the sidecar.
        probabilities: labels whose probabilities are written too.
        colours: colours of labels by name, `#rrggbb`; the others get distinguishable ones.
        write: formats in which the segmentation is written.
    """
    remove_prediction(files)
    labels, volume = source.labels, source.volume
    colours = colours or {}
    masks, counts = {}, {}
    with noting_written() as written:
        write_label_tables(files, label_rows(labels, colours))
        for name, mask in source.masks():
            counts[name] = int(mask.sum())
            if labels.may_overlap:
                masks[name] = files.mask(name)
                write_source_labels(masks[name], mask.long(), volume.source)
        for name, values in source.probabilities(probabilities):
            write_source_map(files.probability(name), values, volume.source)
        if "dicom" in write:
            write_object_of_labels(files.dicom, source, shown_colours(labels, colours))
    beside = [*masks.values(), *(files.probability(name) for name in probabilities)]
    beside += [files.dicom] if "dicom" in write else []
    volumes = {name: count * volume.source.voxel_volume_ml for name, count in counts.items()}
    notes = {
        "description": "labels predicted by the network over all windows, blended",
        "volume_ml": volumes,
        "volumes": "of the voxels that are written, on the grid of the image",
        **({"num_pixels": counts} if volume.source.is_picture else {}),
        "labels": labels.describe(),
        "resample": source.rule,
        "grid": _grid_note(volume, RESAMPLINGS[source.rule]),
        "masks": {name: path.name for name, path in masks.items()},
        "files": [path.name for path in beside],
        **provenance,
    }
    with atomic_path(files.segmentation) as staged:
        write_source_labels(staged, source.label_map, volume.source)
        contents = contents_of(written, files.sidecar, **{files.segmentation.name: staged})
        write_json(files.sidecar, sealed({**notes, CONTENTS: contents}))


def remove_prediction(files: PredictionFiles) -> None:
    """Remove the segmentation of an earlier run, and the masks and probabilities beside it."""
    for path in (files.segmentation, files.dicom, *files.beside):
        path.unlink(missing_ok=True)


def _grid_note(volume: Volume, interpolation: str) -> dict[str, Any]:
    return {
        "network": volume.source.describe(volume.grid),
        "source": volume.source.describe(volume.source.grid),
        "resampling": describe_way_back(volume, interpolation),
        "targets": "formed and explained on the network's grid",
    }
