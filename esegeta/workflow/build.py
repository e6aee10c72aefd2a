"""From a config to an experiment: everything built and checked before anything is run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from esegeta.axes import Shape
from esegeta.config import RunConfig, as_path, blamed_on, list_cases
from esegeta.errors import ConfigError
from esegeta.explain import NULL, EdgeMap, Explainer, RandomMap
from esegeta.model import Capability, LoadedWeights, resolve_device
from esegeta.predict import Predictor
from esegeta.score import RandomMapBaseline, Score
from esegeta.volume import Case, Grid, Preprocess, Reading, Route, Volume, read_case
from esegeta.workflow.atlases import AtlasPlan, plan_atlases
from esegeta.workflow.case_checks import (
    check_case_fits,
    check_expected,
    check_truths,
    require_some_whole,
)
from esegeta.workflow.checks import (
    check_layers,
    check_methods,
    check_scores,
    check_served,
    check_targets,
    check_unit_targets,
)
from esegeta.workflow.kinds import capability_in
from esegeta.workflow.networks import code_sha256, weights_sha256
from esegeta.workflow.outputs import check_file_names, check_writable, check_written
from esegeta.workflow.pipeline import build_pipeline
from esegeta.workflow.plans import TargetPlan, plan_targets
from esegeta.workflow.preprocess import (
    blamed_on_steps,
    check_size_for_network,
    check_steps_fit,
    network_route,
)
from esegeta.workflow.room import fitted
from esegeta.workflow.serves import check_capability, check_captum

COMMANDS_OF_BLOCKS = {"dissection": "dissect"}
"""Commands that do the work of a block, where they are not called as the block is."""


def join_null_competitors(config: RunConfig) -> tuple[Mapping[str, Explainer], tuple[str, ...]]:
    """Return a run's methods, null competitors among them where a score asks, and notes on it.

    Where `random_map_baseline` is among the scores, `random_map` and `edge_map` are methods too,
    unless they are listed: every leaderboard then has a line that all others must beat.

    Raises:
        ConfigError: another method has the id of a null competitor that is to join.
    """
    asked = any(isinstance(score, RandomMapBaseline) for score in config.scores.values())
    listed = {method.name for method in config.methods.values()}
    missing = [name for name in NULL if name not in listed]
    if not asked or not missing:
        return config.methods, ()
    for index, identity in enumerate(config.methods):
        if identity in missing:
            raise ConfigError(
                f"{config.document.place(('methods', index))}: methods[{index}]: the id "
                f'"{identity}" is that of a null competitor, which {RandomMapBaseline.name} adds',
                hint="give it another id",
            )
    nulls: dict[str, Explainer] = {
        RandomMap.name: RandomMap(seed=config.keys.seed),
        EdgeMap.name: EdgeMap(),
    }
    joining = {name: nulls[name] for name in missing}
    note = (
        f"{RandomMapBaseline.name}: {' and '.join(joining)} added to the methods, as maps to beat"
    )
    return {**config.methods, **joining}, (note,)


@dataclass(frozen=True, eq=False, kw_only=True)
class Basis:
    """A network and the cases that it is run on, built and checked.

    Args:
        config: config that it came from.
        predictor: the network over windows, on its device.
        reading: how image files are read.
        preprocess: steps that images go through.
        cases: files of each case.
        grids: grid of each case's image, by the name of the case.
        root: output folder.
        loaded: what was loaded from each file of weights.
        weights_sha256: SHA-256 of the weights file, or of each of an ensemble; of all parameters
            where there is none.
        code_sha256: SHA-256 of the file that holds a `module` network's class, or None.
        notes: what the user should know before it starts.
        known_logits: logits `1 L *S` of cases that have been predicted already, by name.
    """

    config: RunConfig
    predictor: Predictor
    reading: Reading
    preprocess: Preprocess
    cases: list[Case]
    grids: Mapping[str, Grid]
    root: Path
    loaded: tuple[LoadedWeights, ...]
    weights_sha256: str | list[str]
    code_sha256: str | None
    notes: tuple[str, ...]
    known_logits: Mapping[str, Tensor] = field(default_factory=dict, repr=False)

    @property
    def capability(self) -> Capability:
        """What can be done with the network."""
        found = capability_in(self.config, self.predictor.network)
        return replace(found, gradients=self.predictor.gradients)

    @property
    def device(self) -> torch.device:
        """Where volumes and network are."""
        return resolve_device(self.config.keys.device)

    def read(self, case: Case) -> tuple[Volume, Tensor | None]:
        """Read a case: image and label map as the network takes them, on the host.

        Raises:
            DataError: a file cannot be read, or a step cannot take the image; says which step.
        """
        with blamed_on_steps(self.config):
            return read_case(case, self.preprocess, self.reading)

    def network_routes(self) -> dict[str, Route]:
        """Return the way of each case to the network's grid; see `network_route`."""
        return {
            case.name: network_route(
                self.config, case, self.grids[case.name], self.preprocess, self.reading
            )
            for case in self.cases
        }

    def network_grids(self) -> dict[str, Grid]:
        """Return the grid of each case as the network sees it."""
        return {name: way.onto(self.grids[name]) for name, way in self.network_routes().items()}


@dataclass(frozen=True, eq=False, kw_only=True)
class Experiment(Basis):
    """Everything that a run needs, built and checked.

    Args:
        targets: targets to explain.
        methods: explainers by id; null competitors among them where a score asks for them.
        scores: scores by id.
        atlases: atlases by whose regions maps are summed up; None where they are not.
    """

    targets: list[TargetPlan]
    methods: Mapping[str, Explainer]
    scores: Mapping[str, Score]
    atlases: tuple[AtlasPlan, ...] | None


def build_experiment(
    config: RunConfig,
    *,
    output: Path | None = None,
    device: str | None = None,
    only: Collection[str] | None = None,
) -> Experiment:
    """Build and check an experiment without computing anything but one window of zeros.

    Args:
        config: the checked config.
        output: replaces the config's `output`.
        device: replaces the config's `device`.
        only: cases whose files are looked at; all without it. Others keep their number and place.

    Raises:
        EsegetaError: the first thing found wrong with files, headers, weights, layers, labels,
            window or device.
    """
    missing = config.keys.missing_of_run
    alone = config.keys.stands_alone
    if missing and not alone:
        place = config.document.place(())
        raise ConfigError("\n".join(f"{place}: {key}: missing" for key in missing))
    if missing:
        place = config.document.place((alone[0],))
        command = COMMANDS_OF_BLOCKS.get(alone[0], alone[0])
        raise ConfigError(
            f"{place}: there are no {' and no '.join(missing)} to run, only `{alone[0]}`",
            hint=f"`esegeta {command} CONFIG` does that; give `targets` and `methods` for a run",
        )
    return experiment_on(build_basis(config, output=output, device=device, only=only))


def experiment_on(basis: Basis) -> Experiment:
    """Check targets, methods and scores on a network and cases that were built; see above.

    Raises:
        EsegetaError: the first thing found wrong with them.
    """
    config, reading = basis.config, basis.reading
    cases = [case for case in basis.cases if case.name in basis.grids]
    network, plan, labels = basis.predictor.network, basis.predictor.plan, basis.predictor.labels
    check_capability(config, basis.predictor)
    check_expected(config, labels, basis.cases, reading, basis.grids)
    check_truths(config, labels, basis.cases, reading, basis.grids)
    check_layers(config, network, plan, reading)
    check_unit_targets(config, network, plan, reading)
    check_methods(config, cases, reading, basis.grids)
    check_served(config, basis.predictor)
    if cases:
        check_captum(config, reading.num_channels, lambda: _shape_of_first(basis, cases))
    check_scores(config, cases, reading, basis.grids)
    check_written(config, cases, reading)
    targets = plan_targets(config, labels, basis.cases)
    check_targets(config, targets, cases, reading, basis.grids)
    atlases = plan_atlases(config, labels, cases, reading)
    methods, nulls = join_null_competitors(config)
    check_file_names(config, cases, targets, methods, labels)
    check_writable(basis.root)
    return Experiment(
        **{**vars(basis), "notes": (*basis.notes, *nulls)},
        targets=targets,
        methods=methods,
        scores=config.scores,
        atlases=atlases,
    )


def _shape_of_first(basis: Basis, cases: Sequence[Case]) -> Shape:
    """Return the voxels along each axis of the first case's image as the network sees it."""
    case = cases[0]
    way = network_route(basis.config, case, basis.grids[case.name], basis.preprocess, basis.reading)
    return way.onto(basis.grids[case.name]).shape


def build_predictions(
    config: RunConfig,
    *,
    output: Path | None = None,
    device: str | None = None,
    only: Collection[str] | None = None,
) -> Experiment:
    """Build and check an experiment that only predicts: its targets and methods are left out.

    Raises:
        EsegetaError: as for `build_experiment`, but only for what a prediction needs.
    """
    basis = build_basis(config, output=output, device=device, only=only)
    labels, cases, grids = basis.predictor.labels, basis.cases, basis.grids
    check_expected(basis.config, labels, cases, basis.reading, grids)
    check_truths(basis.config, labels, cases, basis.reading, grids)
    own = [case for case in cases if case.name in grids]
    check_written(basis.config, own, basis.reading)
    check_writable(basis.root)
    nothing: dict[str, Any] = {"targets": [], "methods": {}, "scores": {}, "atlases": None}
    return Experiment(**vars(basis), **nothing)


def _root_of(config: RunConfig) -> Path:
    with blamed_on(config, "output"):
        return as_path(config.keys.output) / config.keys.name


def build_basis(
    config: RunConfig,
    *,
    output: Path | None = None,
    device: str | None = None,
    cases: Sequence[Case] | None = None,
    only: Collection[str] | None = None,
) -> Basis:
    """Build the network and check it against the cases; see `build_experiment`.

    Args:
        config: the checked config.
        output: replaces the config's `output`.
        device: replaces the config's `device`.
        cases: cases of another config, in place of its own.
        only: cases whose files are looked at; all without it.
    """
    given = {"device": device, "output": str(output) if output is not None else None}
    changes = {key: value for key, value in given.items() if value is not None}
    config = replace(config, keys=config.keys.model_copy(update=changes))
    built, keys = build_pipeline(config), config.keys
    network, plan, reading = built.predictor.network, built.predictor.plan, built.reading
    cases = list_cases(config) if cases is None else list(cases)
    grids: dict[str, Grid] = {}
    for index, case in enumerate(cases):
        if only is not None and case.name not in only:
            continue
        with blamed_on(config, "data", "cases", index):
            grids[case.name] = check_case_fits(case, reading, keys, plan)
        check_steps_fit(config, case.name, grids[case.name])
        if built.preprocess.crop is None:  # else voxels would be read
            route = network_route(config, case, grids[case.name], built.preprocess, reading)
            check_size_for_network(config, case.name, route.onto(grids[case.name]), reading)
    if only is None:
        require_some_whole(config, cases, reading)
    basis = Basis(
        config=config,
        predictor=built.predictor,
        reading=reading,
        preprocess=built.preprocess,
        cases=cases,
        grids=grids,
        root=_root_of(config),
        loaded=built.loaded,
        weights_sha256=weights_sha256(config, network),
        code_sha256=code_sha256(config, network),
        notes=built.notes,
    )
    return fitted(basis)
