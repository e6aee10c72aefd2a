"""Concepts built from their config and checked: layers, targets, masks, groups of examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import torch

from esegeta.axes import Mask, Shape
from esegeta.config import RunConfig, TargetKeys, blamed_on, required_block
from esegeta.config.concepts import ConceptsKeys
from esegeta.config.keys import fault_of_part
from esegeta.errors import ConfigError, suggest
from esegeta.model import UnitLayer, find_unit_layers, held_still
from esegeta.predict import PassesApart, Predictor
from esegeta.volume import Case, Grid
from esegeta.workflow import Basis, build_basis
from esegeta.workflow.atlases import AtlasPlan, plan_atlases
from esegeta.workflow.build import Experiment
from esegeta.workflow.checks import check_scores
from esegeta.workflow.concepts.shown import find_shown
from esegeta.workflow.dissect.concept_plan import ConceptPlan, plan_concepts
from esegeta.workflow.dissect.layers import window_of_zeros
from esegeta.workflow.members import of_member
from esegeta.workflow.outputs import check_writable, check_written
from esegeta.workflow.plans import TargetPlan, plan_targets
from esegeta.workflow.serves import check_concepts

BLOCK: Final = "concepts"


@dataclass(frozen=True, eq=False)
class ConceptRun:
    """Everything that is needed to test concepts, built and checked.

    Args:
        basis: network and cases.
        keys: the config's `concepts`.
        layers: that are looked at, in the config's order.
        concepts: that are named.
        targets: that may depend on them.
        grids: of each case as the network sees it, by its name.
        shown: images that show a concept, by its name.
        atlases: atlases by whose regions maps are summed up; None where they are not.
    """

    basis: Basis
    keys: ConceptsKeys
    layers: tuple[UnitLayer, ...]
    concepts: ConceptPlan
    targets: tuple[TargetPlan, ...]
    grids: Mapping[str, Grid]
    shown: Mapping[str, tuple[Case, ...]] = field(default_factory=dict)
    atlases: tuple[AtlasPlan, ...] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the concepts, in the config's order."""
        return tuple(self.keys.concepts)

    @property
    def folder(self) -> Path:
        """Where the results lie."""
        return self.basis.root / BLOCK

    @property
    def watched(self) -> Predictor:
        """Whose layers are read: each mirrored pass is a run of the network by itself."""
        predictor = self.basis.predictor
        return PassesApart(predictor).single if predictor.averages_inside else predictor

    @property
    def experiment(self) -> Experiment:
        """The same as an experiment without methods, which opens cases and scores maps."""
        return Experiment(
            **vars(self.basis),
            targets=list(self.targets),
            methods={},
            scores=self.basis.config.scores,
            atlases=self.atlases,
        )

    @property
    def slabs(self) -> int:
        """Parts of each case whose examples count as a case's; 1 for all of it."""
        return self.keys.slabs or 1

    @property
    def num_groups(self) -> int:
        """Cases, or slabs of cases, that results are tested over."""
        return len(self.basis.cases) * self.slabs

    def num_groups_of(self, concept: str) -> int:
        """Return what a concept must hold in others of: cases, slabs, or images that show it."""
        return len(self.shown[concept]) if concept in self.shown else self.num_groups

    def slab_axis(self, shape: Shape) -> int:
        """Return the axis along which a case is cut: across the slices, else the last."""
        inference = self.basis.config.keys.inference
        by_slice = len(inference.window) < len(shape)
        return inference.slice_axis if by_slice else len(shape) - 1

    def slab(self, shape: Shape, number: int) -> Mask:
        """Return the voxels `*S` of a slab, on the host."""
        axis = self.slab_axis(shape)
        bounds = torch.linspace(0, shape[axis], self.slabs + 1).round().long().tolist()
        result = torch.zeros(shape, dtype=torch.bool)
        result.narrow(axis, bounds[number], bounds[number + 1] - bounds[number]).fill_(True)
        return result

    def group_name(self, number: int) -> str:
        """Return what a group is called: its case, and the number of its slab where it is one."""
        case = self.basis.cases[number // self.slabs].name
        return case if self.slabs == 1 else f"{case} slab {number % self.slabs + 1}"


def build_concepts(
    config: RunConfig, *, output: Path | None = None, device: str | None = None
) -> ConceptRun:
    """Build and check what is needed without computing anything but one window of zeros.

    Args:
        config: the checked config.
        output: replaces the config's `output`.
        device: replaces the config's `device`.

    Raises:
        EsegetaError: the first thing found wrong with files, network, layers, concepts or targets.
    """
    keys = required_block(
        config,
        "concepts",
        config.keys.concepts,
        hint="give it layers, concepts and targets: concepts: {layers: [model.1], "
        "concepts: {bone: 4}, targets: [liver]}",
    )
    config = _with_targets(config, keys)
    basis = of_member(build_basis(config, output=output, device=device), keys.member, BLOCK)
    check_concepts(config, basis.capability)
    with blamed_on(config, BLOCK, "layers"), held_still(basis.predictor.network):
        layers = find_unit_layers(basis.predictor.network, keys.layers, window_of_zeros(basis))
    _require_cases(basis, keys)
    concepts = plan_concepts(keys, basis, block=BLOCK)
    targets = _targets(config, keys, basis)
    if keys.errors is not None:
        _require_truth(basis, "errors")
    check_writable(basis.root)
    shown = find_shown(keys, basis)
    run = ConceptRun(basis, keys, layers, concepts, targets, basis.network_grids(), shown)
    _check_slabs(run)
    return run if keys.maps == "none" else _with_maps(run)


def _with_maps(run: ConceptRun) -> ConceptRun:
    """Check what maps are judged by and how they are written, and plan their regions.

    Raises:
        EsegetaError: a file of a score or an atlas is missing, or DICOM cannot be written.
    """
    basis, config = run.basis, run.basis.config
    check_scores(config, basis.cases, basis.reading, basis.grids)
    check_written(config, basis.cases, basis.reading)
    atlases = plan_atlases(config, basis.predictor.labels, basis.cases, basis.reading)
    if config.keys.inference.spread is not None and len(basis.predictor.members()) == 1:
        note = (
            f"inference.spread: {BLOCK}.member: {run.keys.member} has no mirrored passes, so that "
            "its maps have no spread"
        )
        basis = replace(basis, notes=(*basis.notes, note))
    return replace(run, basis=basis, atlases=atlases)


def _with_targets(config: RunConfig, keys: ConceptsKeys) -> RunConfig:
    """Return a config whose targets hold those that `concepts.targets` makes up itself.

    Raises:
        ConfigError: a label cannot name a target, for it cannot be part of a file name.
    """
    known = {target.shown_name for target in config.keys.targets}
    more = []
    for index, target in enumerate(keys.targets):
        if isinstance(target, TargetKeys):
            more.append(target)
        elif target not in known:
            if fault := fault_of_part(target, "target"):
                raise ConfigError(
                    f"{config.document.place((BLOCK, 'targets', index))}: {BLOCK}.targets[{index}]:"
                    f" {fault}",
                    hint="give the target a `name` in addition to its `label`",
                )
            more.append(TargetKeys(name=target, label=target))
    return replace(
        config, keys=config.keys.model_copy(update={"targets": [*config.keys.targets, *more]})
    )


def _targets(config: RunConfig, keys: ConceptsKeys, basis: Basis) -> tuple[TargetPlan, ...]:
    labels = basis.predictor.labels
    names = [one if isinstance(one, str) else one.shown_name for one in keys.targets]
    given = config.document.content.get("targets") or []
    named = {plan.shown_name for plan in config.keys.targets[: len(given)]}
    for number, name in enumerate(names):
        place = config.document.place((BLOCK, "targets", number))
        own = keys.targets[number]
        label = name if isinstance(own, str) else own.label
        if (not isinstance(own, str) or name not in named) and label is not None:
            known = [*labels.all_names, *(str(one) for one in labels.known_integers)]
            if str(label) not in known:
                raise ConfigError(
                    f'{place}: concepts.targets[{number}]: no target or label "{label}"',
                    hint=suggest(str(label), [*named, *labels.all_names]),
                )
    plans = {plan.name: plan for plan in plan_targets(config, labels, basis.cases)}
    for number, name in enumerate(names):
        if plans[name].layer is not None:
            raise ConfigError(
                f"{config.document.place((BLOCK, 'targets', number))}: concepts.targets[{number}]: "
                f'"{name}" is a unit inside the network',
                hint="name a target of the output, or a label",
            )
    return tuple(plans[name] for name in names)


def _require_cases(basis: Basis, keys: ConceptsKeys) -> None:
    if len(basis.cases) * (keys.slabs or 1) > 1:
        return
    config = basis.config
    raise ConfigError(
        f"{config.document.place((BLOCK,))}: concepts: one case only, {basis.cases[0].name}: a "
        "test needs other cases to be checked on",
        hint="give two or more cases, six for a useful test, or cut the one into parts that count "
        "as cases: concepts: {slabs: 6}",
    )


def _require_truth(basis: Basis, key: str) -> None:
    for case in basis.cases:
        if case.label is None:
            raise ConfigError(
                f"{basis.config.document.place((BLOCK, key))}: concepts.{key}: false positives can "
                f"only be found with a ground truth, and case {case.name} has none",
                hint=f"give every case a `label:` file, or leave `{key}` out",
            )


def _check_slabs(run: ConceptRun) -> None:
    for name, grid in run.grids.items():
        axis = run.slab_axis(grid.shape)
        if grid.shape[axis] < run.slabs:
            raise ConfigError(
                f"{run.basis.config.document.place((BLOCK, 'slabs'))}: concepts.slabs: {run.slabs} "
                f"slabs of {grid.shape[axis]} slices in case {name}",
                hint="give fewer slabs",
            )
