"""Maps and segmentations as files that open in place, each with a sidecar that explains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from esegeta.explain import Attribution, MemberMaps, RegionRow
from esegeta.predict import Rule, SourceGrid
from esegeta.report.files import PredictionFiles, TaskFiles, read_sidecar
from esegeta.report.label_tables import label_rows, write_label_tables
from esegeta.report.overlay import draw_overlay, sentences
from esegeta.report.region_figures import draw_regions
from esegeta.report.view import view_of
from esegeta.volume import (
    LINEAR_WAY_BACK,
    MapHeader,
    MapType,
    Volume,
    atomic_path,
    describe_way_back,
    display_of,
    map_on_source,
    store,
    write_json,
    write_map,
    write_map_on_grid,
    write_map_on_source,
    write_source_labels,
    write_source_map,
)

RESAMPLINGS: Mapping[Rule, str] = {
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
) -> None:
    """Write sidecar, picture, maps of channels, errors and layers and, last of all, the map.

    The files of an earlier run are removed first: a map that is there always belongs to its
    sidecar.

    Args:
        files: where to.
        attribution: what to write.
        provenance: joins the sidecar: scores, versions, hashes of inputs.
        regions: the map by channel and region, to be drawn; none without rows.
        doubts: what scores say against the map, for its picture and its sidecar.
        dtype: of the voxels of maps in their files.
        members: the same map of each member, where they are asked for.
    """
    remove_attribution(files)
    volume, view = attribution.volume, view_of(attribution)
    array = map_on_source(attribution.total, volume)
    header = MapHeader(
        files.method, files.target, attribution.unit, attribution.meaning.is_signed, dtype
    )
    pictures = [files.overlay]
    pictures += [files.regions] if regions else []
    maps = {
        **_channel_maps(files, attribution, header),
        **_error_maps(files, attribution, header),
        **_member_maps(files, members, header),
    }
    layers = {files.layer_map(item.layer): item for item in attribution.layer_maps}
    write_json(
        files.sidecar,
        {
            **attribution.describe(),
            "target_name": files.target,
            "method_id": files.method,
            "case": files.case,
            "grid": _grid_note(volume),
            "channels": list(volume.channels),
            **_notes_beside_the_map(files, attribution),
            "display": {
                **display_of(array, is_signed=header.is_signed).describe(),
                "position_mm": list(view.position_mm),
            },
            "colours": sentences(attribution),
            "storage": store(array, dtype).describe(),
            "doubts": list(doubts),
            **({} if members is None else {"spread": _spread_note(files, members)}),
            "files": [path.name for path in (*pictures, *maps, *layers, files.map)],
            **provenance,
        },
    )
    title = f"{files.case}: {files.target}, {files.method}"
    with atomic_path(files.overlay) as temporary:
        draw_overlay(temporary, attribution, title, doubts, view)
    if regions:
        with atomic_path(files.regions) as temporary:
            named = f"{title}\n{attribution.target.description}"
            draw_regions(temporary, regions, named, attribution)
    for path, (data, words) in maps.items():
        write_map(path, data, volume, words)
    for path, item in layers.items():
        words = replace(header, method=f"{files.method}, layer {item.layer}", unit=item.unit)
        write_map_on_grid(path, item.data[0], item.grid, volume, words)
    write_map_on_source(files.map, array, volume.source, header)


HeadedMap = tuple[Tensor, MapHeader]


def _channel_maps(
    files: TaskFiles, attribution: Attribution, header: MapHeader
) -> dict[Path, HeadedMap]:
    if not attribution.has_channels:
        return {}
    split = zip(attribution.volume.channels, attribution.data, strict=True)
    return {
        files.channel_map(name): (data, replace(header, method=f"{files.method}, {name}"))
        for name, data in split
    }


def _error_maps(
    files: TaskFiles, attribution: Attribution, header: MapHeader
) -> dict[Path, HeadedMap]:
    """Return the standard errors that are known: of the map, or of each channel's.

    The draws of a method move all channels at once, so that the error of their sum does not
    follow from the channels' errors, and is not written.
    """
    errors = attribution.standard_error
    if errors is None:
        return {}
    words = replace(header, method=f"standard error of {files.method}", is_signed=False)
    if not attribution.has_channels:
        return {files.standard_error: (errors[0], words)}
    split = zip(attribution.volume.channels, errors, strict=True)
    return {
        files.channel_standard_error(name): (data, replace(words, method=f"{words.method}, {name}"))
        for name, data in split
    }


def _member_maps(
    files: TaskFiles, members: MemberMaps | None, header: MapHeader
) -> dict[Path, HeadedMap]:
    """Return the map of each member, and their standard deviation."""
    if members is None:
        return {}
    maps = {
        files.member_map(number): (data, replace(header, method=f"{files.method}, {name}"))
        for number, (name, data) in enumerate(zip(members.names, members.maps, strict=True), 1)
    }
    words = replace(header, method=f"spread of {files.method}", is_signed=False)
    return {**maps, files.spread: (members.spread[0], words)}


def _spread_note(files: TaskFiles, members: MemberMaps) -> dict[str, Any]:
    note = members.describe()
    for row in note["members"]:
        row["file"] = files.member_map(row["member"]).name
    return {**note, "file": files.spread.name}


def _notes_beside_the_map(files: TaskFiles, attribution: Attribution) -> dict[str, Any]:
    notes: dict[str, Any] = {}
    if attribution.standard_error is not None:
        of = (
            "each channel's map; that of their sum is unknown"
            if attribution.has_channels
            else ("the map")
        )
        notes["standard_error"] = f"one standard error of the mean of the draws, of {of}"
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
    """Remove the files of a unit, the map first."""
    listed = (read_sidecar(files.sidecar) or {}).get("files", [])
    folder = files.map.parent
    others = [folder / str(name) for name in listed if files.owns(str(name))]
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
) -> None:
    """Write the predicted segmentation with its table of labels and its sidecar.

    Where labels may overlap, each has a mask of its own beside the label map; volumes are those
    of the masks.

    Args:
        files: where to.
        source: the prediction, on the grid of the image's file.
        provenance: joins the sidecar.
        probabilities: labels whose probabilities are written too.
        colours: of labels by name, `#rrggbb`; those of others can be told apart.
    """
    remove_prediction(files)
    labels, volume = source.labels, source.volume
    write_label_tables(files, label_rows(labels, colours or {}))
    masks, counts = {}, {}
    for name, mask in source.masks():
        counts[name] = int(mask.sum())
        if labels.may_overlap:
            masks[name] = files.mask(name)
            write_source_labels(masks[name], mask.long(), volume.source)
    for name, values in source.probabilities(probabilities):
        write_source_map(files.probability(name), values, volume.source)
    beside = [*masks.values(), *(files.probability(name) for name in probabilities)]
    volumes = {name: count * volume.source.voxel_volume_ml for name, count in counts.items()}
    write_json(
        files.sidecar,
        {
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
        },
    )
    write_source_labels(files.segmentation, source.label_map, volume.source)


def remove_prediction(files: PredictionFiles) -> None:
    """Remove the segmentation of an earlier run, and the masks and probabilities beside it."""
    for path in (files.segmentation, *files.beside):
        path.unlink(missing_ok=True)


def _grid_note(volume: Volume, interpolation: str = LINEAR_WAY_BACK) -> dict[str, Any]:
    return {
        "network": volume.source.describe(volume.grid),
        "source": volume.source.describe(volume.source.grid),
        "resampling": describe_way_back(volume, interpolation),
        "targets": "formed and explained on the network's grid",
    }
