"""The task of a case: its positions, the activations of all layers there, and their sums."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from esegeta.axes import along_axes
from esegeta.errors import DataError
from esegeta.model import UnitLayer
from esegeta.predict import LayerGrid, Predictor, Units, Windows, blend_units
from esegeta.similarity import FIELDS, Moments, UnitLayout, draw_positions, thin_out, values_at
from esegeta.volume import Volume
from esegeta.workflow import Basis
from esegeta.workflow.cache import keep_tensors, kept_tensors
from esegeta.workflow.similarity.networks import ComparedNetwork
from esegeta.workflow.similarity.session import SimilaritySession
from esegeta.workflow.similarity.strata import image_of, points_on, strata_of
from esegeta.workflow.task import Content, Desk, Task

ROOM_MB = 512
"""Maps of units that are made in one pass over the windows; more take another pass."""
BYTES, MB = 4, 2**20


@dataclass(frozen=True, eq=False)
class CaseSample:
    """What is kept of a case.

    Args:
        voxels: matched positions in the flattened image.
        strata: number of the label of each of them.
        slabs: number of the slab of each of them.
        data: activations of all layers at each of them.
    """

    voxels: Tensor
    strata: Tensor
    slabs: Tensor
    data: Tensor


def sample_case(task: Task, desk: Desk) -> Content:
    """Sample the layers of all networks in a case, and keep its sums.

    Raises:
        EsegetaError: the case cannot be read, or there is nothing of it to sample.
    """
    assert task.record is not None and task.key is not None
    session: SimilaritySession = desk.job
    comparison, number = session.comparison, task.data["case"]
    case = comparison.cases[number]
    desk.begin(task.name, [task], sum(_num_windows(one, case.name) for one in comparison.networks))
    first = image_of(comparison.basis, case)
    strata = strata_of(comparison, case, first)
    generator = torch.Generator().manual_seed(comparison.basis.config.keys.seed * 1009 + number)
    chosen = draw_positions(strata, comparison.quota(number), generator)
    if len(chosen) == 0:
        raise DataError(
            f"{case.name}: there is no position to compare layers at: no voxel of the body is "
            "seen by every network",
            hint="check orientation, crop and intensities of each config's preprocessing",
        )
    where = torch.stack(along_axes(chosen, comparison.basis.grids[case.name].shape), dim=1)
    columns = []
    for network in comparison.networks:
        volume = first if _sees_alike(network, comparison.basis) else image_of(network.basis, case)
        points = points_on(volume.grid, comparison.basis.grids[case.name], where)
        columns.append(_sampled(session.watched(network), network.layers, volume, points))
    data, label, slab = torch.cat(columns, dim=1), strata[chosen], comparison.slabs_of(case, where)
    thin = thin_out(label, comparison.matched(number))
    kept = {"voxels": chosen[thin], "strata": label[thin], "slabs": slab[thin], "data": data[thin]}
    for part, stratum in torch.unique(torch.stack([slab, label]), dim=1).T.tolist():
        sums = Moments.of(data[(slab == part) & (label == stratum)], comparison.layout)
        kept |= {f"{part}.{stratum}.{name}": tensor for name, tensor in sums.tensors().items()}
    keep_tensors(task.record, task.key, kept)
    return {}


def _sees_alike(network: ComparedNetwork, basis: Basis) -> bool:
    own = network.basis
    return own.preprocess == basis.preprocess and own.reading == basis.reading


def _sampled(
    predictor: Predictor, layers: Sequence[UnitLayer], volume: Volume, points: Tensor
) -> Tensor:
    """Return the activations of layers at points of a volume, positions by units, on the host."""
    found: dict[Units, Tensor] = {}
    windows = predictor.windows(volume.batch)
    wanted: list[Units] = []
    for load in loads(layers, [_num_positions(windows, layer) for layer in layers]):
        wanted += load
        for maps in blend_units(predictor, volume.batch, load):
            place = points.to(maps.data.device)
            found[maps.units] = values_at(maps.data, maps.grid, place).cpu()
    return torch.cat([found[units] for units in wanted], dim=1)


def loads(
    layers: Sequence[UnitLayer], positions: Sequence[int], *, room_mb: float = ROOM_MB
) -> Iterator[list[Units]]:
    """Yield which units of one or more layers go through the network together: as many as fit."""
    load: list[Units] = []
    left = room_mb * MB
    for layer, count in zip(layers, positions, strict=True):
        first = 0
        while first < layer.num_units:
            fitting = int(left // (BYTES * count))
            if fitting < 1 and load:  # less than nothing is left after a map larger than the room
                yield load
                load, left = [], room_mb * MB
                continue
            stop = min(first + max(fitting, 1), layer.num_units)
            load.append(Units(layer.name, first, stop))
            left -= (stop - first) * BYTES * count
            first = stop
    yield load


def kept_moments(
    session: SimilaritySession, group: int, strata: Sequence[int]
) -> Iterator[Moments]:
    """Yield the sums of a case, or of a slab, over each of some labels that it holds."""
    layout: UnitLayout = session.comparison.layout
    number, slab = divmod(group, session.comparison.slabs)
    for stratum in strata:
        names = [f"{slab}.{stratum}.{name}" for name in FIELDS]
        found = _kept(session, number, names)
        if found:
            yield Moments(layout, **{name: found[f"{slab}.{stratum}.{name}"] for name in FIELDS})


def held_strata(session: SimilaritySession, group: int) -> list[int]:
    """Return the numbers of the labels of which a case, or a slab, has positions."""
    number, slab = divmod(group, session.comparison.slabs)
    strata = range(len(session.comparison.strata))
    names = {f"{slab}.{stratum}.count": stratum for stratum in strata}
    return sorted(names[name] for name in _kept(session, number, list(names)))


def kept_sample(session: SimilaritySession, number: int) -> CaseSample:
    """Return the matched positions of a case."""
    return CaseSample(**_kept(session, number, ("voxels", "strata", "slabs", "data")))


def _kept(session: SimilaritySession, number: int, names: Sequence[str]) -> dict[str, Tensor]:
    return kept_tensors(session.sample_file(number), session.sample_prints[number], only=names)


def _num_windows(network: ComparedNetwork, case: str) -> int:
    return len(network.basis.predictor.plan.lay(network.grids[case].shape))


def _num_positions(windows: Windows, layer: UnitLayer) -> int:
    empty = torch.zeros((1, 1, *layer.patch))
    return math.prod(LayerGrid.of(windows, empty, layer.name).shape)
