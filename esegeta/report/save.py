"""Maps and segmentations as files that open in place, each with a sidecar that explains it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from esegeta.explain import Attribution, MemberMaps, RegionRow
from esegeta.model import Labels
from esegeta.predict import Rule, SourceGrid
from esegeta.report.csv_tables import CurveRow
from esegeta.report.dicom import colours_of, write_object_of_labels, write_object_of_map
from esegeta.report.files import PredictionFiles, TaskFiles, dicom_beside, read_sidecar
from esegeta.report.map_figures import draw_curves, draw_overlay, draw_regions
from esegeta.volume import (
    LINEAR_WAY_BACK,
    Volume,
    WrittenFormat,
    atomic_path,
    describe_way_back,
    write_json,
    write_map,
    write_map_on_grid,
    write_source_labels,
    write_source_map,
    write_text,
)

NIFTI_ALONE: tuple[WrittenFormat, ...] = ("nifti",)

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
    curves: Sequence[CurveRow] = (),
    members: MemberMaps | None = None,
    write: Collection[WrittenFormat] = NIFTI_ALONE,
) -> None:
    """Write sidecar, picture, maps of channels, errors and layers and, last of all, the map.

    The files of an earlier run are removed first: a map that is there always belongs to its
    sidecar.

    Args:
        files: where to.
        attribution: what to write.
        provenance: joins the sidecar: scores, versions, hashes of inputs.
        regions: the map by channel and region, to be drawn; none without rows.
        curves: behind its scores, to be drawn; none without rows.
        members: the same map of each member, where they are asked for.
        write: formats of the maps on the image's grid.
    """
    remove_attribution(files)
    volume = attribution.volume
    pictures = [files.overlay]
    pictures += [files.regions] if regions else []
    pictures += [files.curves] if curves else []
    maps = {
        **_channel_maps(files, attribution),
        **_error_maps(files, attribution),
        **_member_maps(files, members),
    }
    layers = {files.layer_map(item.layer): item for item in attribution.layer_maps}
    as_dicom = {**maps, files.map: attribution.total} if "dicom" in write else {}
    objects = [dicom_beside(path) for path in as_dicom]
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
            **({} if members is None else {"spread": _spread_note(files, members)}),
            "files": [path.name for path in (*pictures, *maps, *layers, *objects, files.map)],
            **provenance,
        },
    )
    _draw(files, attribution, regions, curves)
    for path, data in maps.items():
        write_map(path, data, volume)
    for path, item in layers.items():
        write_map_on_grid(path, item.data[0], item.grid, volume)
    for path, data in as_dicom.items():
        write_object_of_map(dicom_beside(path), data, attribution)
    write_map(files.map, attribution.total, volume)


def _draw(
    files: TaskFiles,
    attribution: Attribution,
    regions: Sequence[RegionRow],
    curves: Sequence[CurveRow],
) -> None:
    title = f"{files.case}: {files.target}, {files.method}"
    described = f"{title}\n{attribution.target.description}"
    with atomic_path(files.overlay) as temporary:
        draw_overlay(temporary, attribution, title)
    if regions:
        with atomic_path(files.regions) as temporary:
            draw_regions(temporary, regions, described, attribution)
    if curves:
        with atomic_path(files.curves) as temporary:
            draw_curves(temporary, curves, described)


def _channel_maps(files: TaskFiles, attribution: Attribution) -> dict[Path, Tensor]:
    if not attribution.has_channels:
        return {}
    split = zip(attribution.volume.channels, attribution.data, strict=True)
    return {files.channel_map(name): data for name, data in split}


def _error_maps(files: TaskFiles, attribution: Attribution) -> dict[Path, Tensor]:
    """Return the standard errors that are known: of the map, or of each channel's.

    The draws of a method move all channels at once, so that the error of their sum does not
    follow from the channels' errors, and is not written.
    """
    errors = attribution.standard_error
    if errors is None:
        return {}
    if not attribution.has_channels:
        return {files.standard_error: errors[0]}
    split = zip(attribution.volume.channels, errors, strict=True)
    return {files.channel_standard_error(name): data for name, data in split}


def _member_maps(files: TaskFiles, members: MemberMaps | None) -> dict[Path, Tensor]:
    """Return the map of each member, and their standard deviation."""
    if members is None:
        return {}
    maps = {files.member_map(number): data for number, data in enumerate(members.maps, start=1)}
    return {**maps, files.spread: members.spread[0]}


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
        name = rest.partition("_desc-")[0].partition("_chan-")[0]
        if rest != path.name and name.startswith(f"{target}#") and name not in names:
            path.unlink(missing_ok=True)


def save_prediction(
    files: PredictionFiles,
    source: SourceGrid,
    provenance: Mapping[str, Any],
    *,
    probabilities: Sequence[str] = (),
    write: Collection[WrittenFormat] = NIFTI_ALONE,
) -> None:
    """Write the predicted segmentation with its table of labels and its sidecar.

    Where labels may overlap, each has a mask of its own beside the label map; volumes are those
    of the masks.

    Args:
        files: where to.
        source: the prediction, on the grid of the image's file.
        provenance: joins the sidecar.
        probabilities: labels whose probabilities are written too.
        write: formats of the segmentation.
    """
    remove_prediction(files)
    labels, volume = source.labels, source.volume
    _write_label_table(files.table, labels)
    masks, counts = {}, {}
    for name, mask in source.masks():
        counts[name] = int(mask.sum())
        if labels.may_overlap:
            masks[name] = files.mask(name)
            write_source_labels(masks[name], mask.long(), volume.source)
    for name, values in source.probabilities(probabilities):
        write_source_map(files.probability(name), values, volume.source)
    if "dicom" in write:
        write_object_of_labels(files.dicom, source)
    beside = [*masks.values(), *(files.probability(name) for name in probabilities)]
    beside += [files.dicom] if "dicom" in write else []
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


def _write_label_table(path: Path, labels: Labels) -> None:
    rows = [("index", "name", "color"), ("0", labels.names.get(0, "background"), "#000000")]
    integers = [integer for integer in sorted(labels.names) if integer != 0]
    colours = colours_of(labels)
    rows += [(str(integer), labels.names[integer], colours[integer]) for integer in integers]
    write_text(path, "".join("\t".join(row) + "\n" for row in rows))


def remove_prediction(files: PredictionFiles) -> None:
    """Remove the segmentation of an earlier run, and the masks and probabilities beside it."""
    for path in (files.segmentation, files.dicom, *files.beside):
        path.unlink(missing_ok=True)


def _grid_note(volume: Volume, interpolation: str = LINEAR_WAY_BACK) -> dict[str, Any]:
    return {
        "network": volume.source.describe(volume.grid),
        "source": volume.source.describe(volume.source.grid),
        "resampling": describe_way_back(volume, interpolation),
        "targets": "formed and explained on the network's grid",
    }
