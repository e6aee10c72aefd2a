"""The items of a case: where they are, what the layer sees of them, and a small picture of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from esegeta.axes import LabelMap, Mask
from esegeta.examples import ItemKind, Numbering, regions_of, thumbnails
from esegeta.explain import Features
from esegeta.model import UnitLayer
from esegeta.predict import pool_regions
from esegeta.report import canonical, grey_range, spans_shown
from esegeta.targets import Scene
from esegeta.targets.scene import measure_components
from esegeta.volume import Volume
from esegeta.workflow.cache import keep_tensors, read_tensors
from esegeta.workflow.examples.build import ALL, ERRORS, ExampleStudy
from esegeta.workflow.examples.open import listening, open_scene
from esegeta.workflow.task import Content, Desk, Task


@dataclass(frozen=True, eq=False)
class Items:
    """Items of one or several cases.

    Args:
        embedding: mean activation of each unit of the layer over each item, `N K`, float64.
        group: which of the study's groups each is in.
        case: of which case it is.
        number: of its slice, component or supervoxel, from 1.
        voxels: how many it has.
        centre_mm: RAS position of its mean index, `N 3`.
        pictures: a small picture of each, `H W`, uint8.
        masks: where it lies in its picture.
    """

    embedding: Tensor
    group: Tensor
    case: Tensor
    number: Tensor
    voxels: Tensor
    centre_mm: Tensor
    pictures: list[Tensor]
    masks: list[Tensor]


def embed_case(task: Task, desk: Desk) -> Content:
    """Find the items of a case and write what the layer sees of them.

    Raises:
        EsegetaError: the case cannot be read or predicted.
    """
    study: ExampleStudy = desk.job
    scene = open_scene(desk, task.data["case"])
    desk.begin(task.name, [task], 2 * len(scene.predictor.windows(scene.volume.batch)))
    assert study.layer is not None  # else there is no such task
    maps = item_maps(study, scene, study.keys.of)
    tensors = _embedded(study, study.layer, scene, maps, desk)
    assert task.record is not None and task.key is not None
    keep_tensors(task.record, task.key, tensors)
    return {}


def item_maps(study: ExampleStudy, scene: Scene, kind: ItemKind) -> dict[str, LabelMap]:
    """Return the items of each group on a case, numbered from 1."""
    numbering = numbering_of(study, scene, kind)
    found = {}
    for name in study.groups:
        mask = mask_of(name, scene)
        if mask is not None:
            found[name] = numbering.of(mask)
    return found


def numbering_of(study: ExampleStudy, scene: Scene, kind: ItemKind) -> Numbering:
    """Return how a case is cut into items."""
    volume = scene.volume
    axis = study.basis.predictor.plan.lay(volume.grid.shape).slice_axis
    supervoxels = None
    if kind == "supervoxel":
        features = Features(count=study.keys.supervoxels)
        supervoxels = features.of(volume).labels.to(volume.data.device)
    return Numbering(kind, volume.ndim - 1 if axis is None else axis, supervoxels)


def mask_of(group: str, scene: Scene) -> Mask | None:
    """Return the voxels of a group; None where only a ground truth would tell."""
    if group == ALL:
        inside = scene.volume.inside
        whole = torch.ones(scene.volume.grid.shape, dtype=torch.bool)
        return whole.to(scene.volume.data.device) if inside is None else inside
    if group != ERRORS:
        return scene.predicted(group)
    if scene.truth is None:
        return None
    wrong = [
        scene.predicted(label) ^ scene.truth_of(label, "an error")
        for label in scene.labels.foreground
    ]
    return torch.stack(wrong).any(dim=0) & scene.valid("an error")


def _embedded(
    study: ExampleStudy,
    layer: UnitLayer,
    scene: Scene,
    maps: Mapping[str, LabelMap],
    desk: Desk,
) -> dict[str, Tensor]:
    names = list(maps)
    regions, numbers = regions_of([maps[name] for name in names])
    watched = listening(study.watched, desk)
    pooled = pool_regions(watched, scene.volume.batch, [layer], regions)[layer.name].means
    places = [study.groups.index(name) for name in names]
    group = torch.cat(
        [torch.full_like(own, place) for own, place in zip(numbers, places, strict=True)]
    )
    number = torch.cat(numbers)
    kept = regions.sizes >= study.keys.min_voxels
    centres = [
        _centres_mm(scene.volume, maps[name], own) for name, own in zip(names, numbers, strict=True)
    ]
    tensors = {
        "embedding": pooled[kept],
        "group": group[kept],
        "number": number[kept],
        "voxels": regions.sizes[kept],
        "centre_mm": torch.cat(centres).to(kept.device)[kept],
    }
    kept_host = kept.cpu()
    first = 0
    pictures, masks = [], []
    for name, own in zip(names, numbers, strict=True):
        chosen = own.cpu()[kept_host[first : first + len(own)]]
        first += len(own)
        seen = pictures_of(scene.volume, maps[name], chosen, study_axis(study, scene))
        pictures.append(seen[0])
        masks.append(seen[1])
    return {**tensors, "pictures": torch.cat(pictures), "masks": torch.cat(masks)}


def study_axis(study: ExampleStudy, scene: Scene) -> int:
    """Return the axis, turned to right, anterior, superior, that small pictures lie along."""
    volume = scene.volume
    if volume.ndim == 2:
        return 0
    axis = numbering_of(study, scene, "slice").axis
    thin = [place for place, length in enumerate(volume.grid.shape) if length == 1]
    if study.basis.predictor.plan.lay(volume.grid.shape).slice_axis is None and len(thin) == 1:
        axis = thin[0]  # along any other, the only slice would be a line of voxels
    return int(np.abs(volume.affine[:3, axis]).argmax())


def pictures_of(
    volume: Volume, numbers: LabelMap, chosen: Tensor, axis: int
) -> tuple[Tensor, Tensor]:
    """Return small pictures of items, turned as slices are drawn; of several channels the first."""
    image, grid = canonical(volume.data[0], volume)
    turned, _ = canonical(numbers, volume)
    low, high = grey_range(image, spans_shown(volume, 0))
    shown = (torch.from_numpy(np.ascontiguousarray(image)) - low) / (high - low)
    places = torch.from_numpy(np.ascontiguousarray(turned)).round().long()
    return thumbnails(shown, places, chosen, axis, spacing_mm=grid.spacing_mm)


def _centres_mm(volume: Volume, numbers: LabelMap, chosen: Tensor) -> Tensor:
    if not len(chosen):
        return torch.zeros((0, 3), dtype=torch.float64)
    _, centres = measure_components(numbers)
    indices = centres.cpu().numpy()[chosen.cpu().numpy() - 1]
    affine = volume.affine
    positions = indices @ affine[:3, : volume.ndim].T + affine[:3, 3]
    return torch.from_numpy(positions)


def read_items(study: ExampleStudy, records: Mapping[int, tuple[Path, str]]) -> Items:
    """Return the items of all cases, from their records."""
    parts = []
    for case, (path, key) in records.items():
        found = read_tensors(path, key)
        assert found is not None  # tasks that need it come after it
        found["case"] = torch.full_like(found["group"], case)
        parts.append(found)
    names = ("embedding", "group", "case", "number", "voxels", "centre_mm")
    whole = {name: torch.cat([part[name] for part in parts]) for name in names}
    return Items(
        **whole,
        pictures=[one for part in parts for one in part["pictures"]],
        masks=[one for part in parts for one in part["masks"]],
    )
