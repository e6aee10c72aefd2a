"""What targets of a case make of layers: slopes summed over positions, by case and component."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from esegeta.axes import Mask
from esegeta.errors import ConfigError, EmptyTargetError
from esegeta.explain import Objective, layer_slopes
from esegeta.targets import (
    Component,
    FrozenTarget,
    Roi,
    Target,
    VoxelTarget,
)
from esegeta.workflow.cache import keep_tensors
from esegeta.workflow.concepts.gather import slabs_of
from esegeta.workflow.concepts.session import ConceptSession, OpenConcepts, open_concepts
from esegeta.workflow.concepts.slopes import ERRORS_OF, UNITS, WHOLE_OF, CaseSlopes
from esegeta.workflow.plans import TargetPlan
from esegeta.workflow.task import Content, Desk, Task

TOGETHER = 4
"""Targets that share forward passes."""


@dataclass(frozen=True, eq=False)
class SlopeTarget:
    """A target whose slopes are taken: of a case, of a slab or of a component.

    Args:
        of: whether it is a target itself or a component of its label.
        name: name of the target.
        group: the number of its case or slab.
        target: frozen.
        is_false: whether it is a component that no ground truth meets.
    """

    of: str
    name: str
    group: int
    target: FrozenTarget
    is_false: bool = False


def derive(task: Task, desk: Desk) -> Content:
    """Take the slopes of all targets of a case by all layers, and keep them.

    Raises:
        EsegetaError: the case cannot be read, or a layer has no part in the output.
    """
    assert task.record is not None and task.key is not None
    session: ConceptSession = desk.job
    number = task.data["case"]
    opened = open_concepts(desk, number)
    run = session.run
    predictor = run.basis.predictor
    desk.begin(task.name, [task], 2 * len(predictor.windows(opened.volume.batch)))
    frozen = list(_slope_targets(session, desk, opened, number))
    layers = [layer.name for layer in run.layers]
    found = CaseSlopes()
    for first in range(0, len(frozen), TOGETHER):
        some = frozen[first : first + TOGETHER]
        objectives = [Objective.of(predictor, one.target, opened.volume) for one in some]
        for one, slopes in zip(some, layer_slopes(objectives, layers), strict=True):
            found.add(one.of, one.name, one.group, {name: slopes[name] for name in layers})
            if one.of == ERRORS_OF:
                found.tell_false(one.name, one.is_false)
            else:
                found.units[one.name] = one.target.unit
    # A case without any target still leaves a record.
    kept = found.stacked() or {"nothing": torch.zeros(1)}
    keep_tensors(task.record, task.key, kept, facts={UNITS: found.units})
    return {}


def _slope_targets(
    session: ConceptSession, desk: Desk, opened: OpenConcepts, number: int
) -> Iterator[SlopeTarget]:
    run = session.run
    for plan in run.targets:
        try:
            targets = plan.targets(opened.scene, opened.case, run.basis.preprocess)
        except EmptyTargetError as error:
            desk.note(f"left out: {error.message}")
            continue
        missing = ""
        own = []
        for target in targets.values():
            for group, part in _parts(session, opened, number, plan, target):
                try:
                    own.append(SlopeTarget(WHOLE_OF, plan.name, group, part.freeze(opened.scene)))
                except EmptyTargetError as error:
                    missing = error.message
        if not own and missing:
            desk.note(f"left out: {missing}")
        yield from own
        if run.keys.errors is not None and plan.keys.label is not None:
            yield from _error_targets(session, opened, number, plan, plan.keys.label)


def _parts(
    session: ConceptSession, opened: OpenConcepts, number: int, plan: TargetPlan, target: Target
) -> Iterator[tuple[int, Target]]:
    """Yield a target as it is, or its part in each slab; a component is of its centre's slab."""
    slabs = slabs_of(session, opened, number)
    if len(slabs) == 1:
        yield slabs[0][0], target
        return
    if not isinstance(target, VoxelTarget):
        raise ConfigError(
            f'concepts.slabs: the target "{plan.name}" cannot be cut into slabs',
            hint="name a label, or a target over the voxels of one",
        )
    mask = target.over.mask(opened.scene, None, target.label)
    for group, slab in slabs:
        if plan.splits:
            if bool(slab.flatten()[_centre(mask)]):
                yield group, target
            continue
        part = mask & slab
        if bool(part.any()):
            name = f"{target.over.describe()} in {session.run.group_name(group)}"
            yield group, replace(target, over=Roi(part, name), live=False)


def _error_targets(
    session: ConceptSession, opened: OpenConcepts, number: int, plan: TargetPlan, label: str | int
) -> Iterator[SlopeTarget]:
    """Yield the largest components of a predicted label, each by its mean logit."""
    errors = session.run.keys.errors
    assert errors is not None
    scene = opened.scene
    components = scene.components(label)
    truth = scene.truth_of(label, "concepts.errors")
    slabs = slabs_of(session, opened, number)
    for rank in range(1, min(int(components.max()), errors.components) + 1):
        mask = components == rank
        target = VoxelTarget(label, over=Component(rank), reduce="mean").freeze(scene)
        centre = _centre(mask)
        group = next(group for group, slab in slabs if bool(slab.flatten()[centre]))
        yield SlopeTarget(
            ERRORS_OF, plan.name, group, target, is_false=not bool((mask & truth).any())
        )


def _centre(mask: Mask) -> int:
    """Return a voxel of a mask, the middle one in their order."""
    voxels = mask.flatten().nonzero()[:, 0]
    return int(voxels[len(voxels) // 2])
