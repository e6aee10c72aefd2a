"""What layers do: counted case by case, then drawn and written for a few channels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from esegeta.features import UnitTotals
from esegeta.model import UnitLayer
from esegeta.predict import UnitMaps, Units, blend_units
from esegeta.report import write_rows
from esegeta.report.file_names import hyphenated
from esegeta.report.inside_figures import UnitTile, draw_units
from esegeta.volume import Case, MapHeader, Volume, atomic_path, write_map
from esegeta.workflow.cache import FILES, keep_json, keep_tensors, read_tensors
from esegeta.workflow.inside.build import Inspection, NamedUnit, named_units
from esegeta.workflow.task import Content, Desk, Task

ROOM_MB = 512
"""Memory that maps of units may take up at a time."""
WHOLE = 0
LAYER_COLUMNS = (
    "layer",
    "units",
    "dead",
    "sparsity",
    "concentration",
    "minimum",
    "maximum",
    "mean",
    "std",
    "positions",
)
UNIT_COLUMNS = (
    "layer",
    "unit",
    "dead",
    "sparsity",
    "concentration",
    "minimum",
    "maximum",
    "mean",
    "std",
    "shown",
)


def count_case(task: Task, desk: Desk) -> Content:
    """Count what every unit does in a case.

    Raises:
        EsegetaError: the case cannot be read, or an activation is not finite.
    """
    job: Inspection = desk.job
    assert task.record is not None and task.key is not None
    volume = read(desk, job.basis.cases[task.data["case"]])
    every = [Units(layer.name, 0, layer.num_units) for layer in job.layers]
    parts = list(in_parts(job, volume, every))
    num_windows = len(job.watched.plan.lay(volume.grid.shape))
    desk.begin(task.name, [task], num_windows * len(parts))
    tensors: dict[str, list[UnitTotals]] = {}
    for wanted in parts:
        for maps in _maps(desk, volume, wanted):
            tensors.setdefault(maps.units.layer, []).append(UnitTotals.of(_within(maps)))
    flat = {
        f"{layer}|{name}": _joined(totals, name)
        for layer, totals in tensors.items()
        for name in UnitTotals.__dataclass_fields__
    }
    keep_tensors(task.record, task.key, flat)
    return {}


def sum_up(task: Task, desk: Desk) -> Content:
    """Write what every layer and unit does over all cases."""
    job: Inspection = desk.job
    assert task.record is not None and task.key is not None
    totals, chosen = totals_of(desk, task.data["records"]), chosen_of(desk, task.data["records"])
    layers, units = [], []
    for layer in job.layers:
        own = totals[layer.name]
        layers.append({"layer": layer.name, **_of_layer(own)})
        units += [
            {"layer": layer.name, **row, "shown": row["unit"] in chosen[layer.name]}
            for row in _of_units(own)
        ]
    folder = job.folder
    write_rows(folder / "layers.csv", LAYER_COLUMNS, layers)
    write_rows(folder / "units.csv", UNIT_COLUMNS, units)
    content = {"layers": layers, "shown": chosen, FILES: ["layers.csv", "units.csv"]}
    keep_json(task.record, task.key, content)
    desk.note(*_notes(layers))
    return content


def show_case(task: Task, desk: Desk) -> Content:
    """Draw the chosen channels of each layer in a case, and write them on the grid of its image.

    Raises:
        EsegetaError: the case cannot be read.
    """
    job: Inspection = desk.job
    assert task.record is not None and task.key is not None
    chosen = chosen_of(desk, task.data["records"])
    volume = read(desk, job.basis.cases[task.data["case"]])
    wanted = [Units(name, unit, unit + 1) for name, units in chosen.items() for unit in units]
    folder, files = task.record.parent, []
    tiles: dict[str, list[UnitTile]] = {layer.name: [] for layer in job.layers}
    desk.begin(task.name, [task], len(job.watched.plan.lay(volume.grid.shape)))
    names = {(one.layer, one.unit): one for one in _names(job)}
    for part in in_parts(job, volume, wanted):
        for maps in _maps(desk, volume, part):
            layer, unit = maps.units.layer, maps.units.first
            voxels = maps.grid.to_voxels(maps.data)[0]
            path = folder / f"{volume.name}_layer-{hyphenated(layer)}_unit-{unit}_activation.nii.gz"
            header = MapHeader("activation", f"{layer}, unit {unit}", "activation", True)
            write_map(path, voxels, volume, header)
            files.append(path)
            named = names.get((layer, unit))
            words = f"unit {unit}" + (f": {named.concept}" if named else "")
            tiles[layer].append(UnitTile(words, voxels.cpu()))
    for layer, own in tiles.items():
        if own:
            path = folder / f"{volume.name}_layer-{hyphenated(layer)}_activations.png"
            with atomic_path(path) as temporary:
                draw_units(temporary, volume, own, f"{volume.name}: {layer}")
            files.append(path)
    content = {FILES: [str(path.relative_to(folder)) for path in files]}
    keep_json(task.record, task.key, content)
    return content


def read(desk: Desk, case: Case) -> Volume:
    """Return the image of a case on the device."""
    job: Inspection = desk.job
    volume, _ = job.basis.read(replace(case, label=None))
    return volume.to(job.basis.device)


def totals_of(desk: Desk, records: Mapping[str, str]) -> dict[str, UnitTotals]:
    """Return the totals of each layer over all cases, whose records are kept by path and key."""
    job: Inspection = desk.job

    def add_up() -> dict[str, UnitTotals]:
        found: dict[str, UnitTotals] = {}
        for path, key in records.items():
            tensors = read_tensors(Path(path), key)
            assert tensors is not None  # the task is needed by those that read it
            for layer in job.layers:
                names = UnitTotals.__dataclass_fields__
                own = UnitTotals(*(tensors[f"{layer.name}|{name}"] for name in names))
                found[layer.name] = found[layer.name] + own if layer.name in found else own
        return found

    return desk.once("totals", add_up, depth=WHOLE)


def chosen_of(desk: Desk, records: Mapping[str, str]) -> dict[str, list[int]]:
    """Return the channels that are shown of each layer."""
    job: Inspection = desk.job
    channels = job.keys.channels
    if not isinstance(channels, int):
        return {layer.name: list(channels) for layer in job.layers}
    if job.keys.by == "dissection":
        names = _names(job)
        return {
            layer.name: [one.unit for one in names if one.layer == layer.name][:channels]
            for layer in job.layers
        }
    totals = totals_of(desk, records)
    return {layer.name: totals[layer.name].by_variance(channels) for layer in job.layers}


def in_parts(job: Inspection, volume: Volume, wanted: Sequence[Units]) -> Iterator[list[Units]]:
    """Yield units whose maps fit into memory together; ranges that do not are divided."""
    layers = {layer.name: layer for layer in job.layers}
    part: list[Units] = []
    used = 0.0
    for units in wanted:
        each = _map_mb(job, layers[units.layer], volume)
        first = units.first
        while first < units.stop:
            count = max(1, min(units.stop - first, int((ROOM_MB - used) // each)))
            if part and used + count * each > ROOM_MB:
                yield part
                part, used = [], 0.0
                continue
            part.append(Units(units.layer, first, first + count))
            used += count * each
            first += count
    if part:
        yield part


def _map_mb(job: Inspection, layer: UnitLayer, volume: Volume) -> float:
    window, thin = job.watched.plan.size, job.watched.plan.slice_axis
    sides = list(layer.patch)
    lengths = list(window)
    if volume.grid.ndim > len(window):
        sides.insert(thin, 1)
        lengths.insert(thin, 1)
    voxels = math.prod(
        math.ceil(n * side / length)
        for n, side, length in zip(volume.grid.shape, sides, lengths, strict=True)
    )
    return max(voxels * 4 / 2**20, 1e-6)


def _maps(desk: Desk, volume: Volume, wanted: Sequence[Units]) -> list[UnitMaps]:
    job: Inspection = desk.job
    predictor = replace(job.watched, on_windows=desk.listener.advance)
    return blend_units(predictor, volume.batch, wanted)


def _within(maps: UnitMaps) -> Tensor:
    """Return maps `K *G` without the positions that stand for padding alone."""
    data = maps.data
    for axis in range(data.ndim - 1):
        places = maps.grid.places(axis)
        low, high = math.floor(float(places[0])), math.ceil(float(places[-1]))
        data = data.narrow(axis + 1, low, high - low + 1)
    return data


def _joined(totals: Sequence[UnitTotals], name: str) -> Tensor:
    return torch.cat([one.tensors()[name] for one in totals])


def _of_layer(own: UnitTotals) -> dict[str, float | int]:
    living = ~own.dead
    sparsity, concentration = own.sparsity[living], own.concentration[living]
    return {
        "units": len(own.count),
        "dead": int(own.dead.sum()),
        "sparsity": float(sparsity.mean()) if len(sparsity) else 1.0,
        "concentration": float(concentration.mean()) if len(concentration) else 0.0,
        "minimum": float(own.low.min()),
        "maximum": float(own.high.max()),
        "mean": float(own.mean.mean()),
        "std": float((own.variance + own.mean.square()).mean().sub(own.mean.mean() ** 2).sqrt()),
        "positions": int(own.count[0]),
    }


def _of_units(own: UnitTotals) -> list[dict[str, float | int | bool]]:
    columns = {
        "dead": own.dead,
        "sparsity": own.sparsity,
        "concentration": own.concentration,
        "minimum": own.low,
        "maximum": own.high,
        "mean": own.mean,
        "std": own.variance.sqrt(),
    }
    lists = {name: values.tolist() for name, values in columns.items()}
    return [
        {"unit": unit, **{name: values[unit] for name, values in lists.items()}}
        for unit in range(len(own.count))
    ]


def _notes(layers: Sequence[Mapping[str, object]]) -> list[str]:
    return [
        f"{row['layer']}: {row['dead']} of {row['units']} units are dead: their activation is "
        "the same everywhere in all cases"
        for row in layers
        if row["dead"]
    ]


def _names(job: Inspection) -> list[NamedUnit]:
    return named_units(job.units_table) if job.units_table.is_file() else []
