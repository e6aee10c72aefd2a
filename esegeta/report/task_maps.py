"""The maps of a task on the grid of the file, each with what its file says of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from numpy import ndarray

from esegeta.explain import (
    Attribution,
    By,
    MemberMaps,
    SourceMap,
    errors_on_file,
    map_on_file,
    spread_of,
)
from esegeta.report.files import TaskFiles
from esegeta.volume import MapHeader, MapType


@dataclass(frozen=True, eq=False)
class TaskMap:
    """A map, or another volume in the same unit.

    Args:
        array: float32 `*T`, on the grid of the file.
        header: content of the header of its NIfTI file, and how it stores voxels.
        legend: meaning of the values, in a few words.
    """

    array: Float[ndarray, "*T"]
    header: MapHeader
    legend: str


def task_maps(
    files: TaskFiles,
    attribution: Attribution,
    on_file: SourceMap,
    *,
    dtype: MapType,
    members: MemberMaps | None,
) -> dict[Path, TaskMap]:
    """Return what is written of a map, by NIfTI file, the map itself last.

    Args:
        files: paths of the files to write.
        attribution: the map on the network's grid.
        on_file: the same on the grid of the file; its errors and members come the same way.
        dtype: data type of voxels in NIfTI files.
        members: the same map of each member, where requested.
    """
    meaning = attribution.meaning
    header = MapHeader(files.method, files.target, on_file.unit, meaning.is_signed, dtype)
    whole = TaskMap(on_file.array, header, meaning.legend)
    return {
        **_channel_maps(files, attribution, on_file, whole),
        **_error_maps(files, attribution, on_file.by, header),
        **_member_maps(files, members, on_file.by, whole),
        files.map: whole,
    }


def _channel_maps(
    files: TaskFiles, attribution: Attribution, on_file: SourceMap, whole: TaskMap
) -> dict[Path, TaskMap]:
    if not attribution.has_channels:
        return {}
    split = zip(attribution.volume.channels, on_file.data, strict=True)
    return {
        files.channel_map(name): _part(whole, f"{files.method}, {name}", data.numpy())
        for name, data in split
    }


def _error_maps(
    files: TaskFiles, attribution: Attribution, by: By, header: MapHeader
) -> dict[Path, TaskMap]:
    """Return the standard errors that are known: of the map, or of each channel's.

    The draws of a method move all channels at once, so that the error of their sum does not
    follow from the channels' errors, and is not written.
    """
    if attribution.standard_error is None:
        return {}
    errors = errors_on_file(attribution, by).numpy()
    words = replace(header, method=f"standard error of {files.method}", is_signed=False)
    first = TaskMap(errors[0], words, "one standard error of the mean of the draws")
    if not attribution.has_channels:
        return {files.standard_error: first}
    split = zip(attribution.volume.channels, errors, strict=True)
    return {
        files.channel_standard_error(name): _part(first, f"{words.method}, {name}", data)
        for name, data in split
    }


def _member_maps(
    files: TaskFiles, members: MemberMaps | None, by: By, whole: TaskMap
) -> dict[Path, TaskMap]:
    """Return the map of each member on the grid of the file, and their standard deviation there."""
    if members is None:
        return {}
    moved = [map_on_file(member, by).total for member in members.attributions]
    maps = {
        files.member_map(number): _part(whole, f"{files.method}, {name}", data.numpy())
        for number, (name, data) in enumerate(zip(members.names, moved, strict=True), 1)
    }
    words = replace(whole.header, method=f"spread of {files.method}", is_signed=False)
    spread = spread_of(torch.stack(moved))[0].numpy()
    return {**maps, files.spread: TaskMap(spread, words, "standard deviation over members")}


def _part(whole: TaskMap, method: str, array: Float[ndarray, "*T"]) -> TaskMap:
    return replace(whole, array=array, header=replace(whole.header, method=method))
