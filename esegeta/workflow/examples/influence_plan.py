"""Which checkpoints, training examples and targets influence is asked of, found and checked."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from esegeta.config import RunConfig, blamed_on, list_cases
from esegeta.config.examples import InfluenceKeys
from esegeta.config.globbing import natural_order
from esegeta.config.lines import Document
from esegeta.config.schema import RetrainKeys
from esegeta.errors import (
    ConfigError,
    EsegetaError,
    WeightsError,
    name_differently,
    suggest,
)
from esegeta.examples import is_within, last_module
from esegeta.model import load_weights, seeded
from esegeta.retraining.recipe import TrainingRecipe
from esegeta.volume import Case, Grid
from esegeta.workflow import Basis, construct_network
from esegeta.workflow.case_checks import check_case_fits, check_truths
from esegeta.workflow.checks import check_targets
from esegeta.workflow.plans import TargetPlan, plan_targets
from esegeta.workflow.preprocess import check_steps_fit
from esegeta.workflow.retrain.plan import plan_recipe, rehearse

PlacePath = tuple[str | int, ...]
"""Keys and indices that lead to a value of a config."""
Value = TypeVar("Value")

BLOCK = ("examples", "influence")
CASES = (*BLOCK, "training", "cases")
FEWEST_LEFT = 3
"""Examples that leave-one-out retraining needs."""


@dataclass(frozen=True, eq=False)
class InfluencePlan:
    """What is asked of training examples.

    Args:
        keys: the config's `examples.influence`.
        checkpoints: files of weights, in the order of the training.
        rates: the learning rate at each.
        targets: of the test cases, which are the config's.
        training: network and training cases.
        layers: whose curvature is looked at.
        recipe: how the network is trained again, and its loss.
    """

    keys: InfluenceKeys
    checkpoints: tuple[Path, ...]
    rates: tuple[float, ...]
    targets: tuple[TargetPlan, ...]
    training: Basis
    layers: tuple[str, ...]
    recipe: TrainingRecipe

    @property
    def example_names(self) -> list[str]:
        """Names of the training examples: cases, or slabs of them."""
        count = self.keys.training.slabs
        names = [case.name for case in self.training.cases]
        if count == 1:
            return names
        return [f"{name}, slab {slab}" for name in names for slab in range(count)]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know before it starts."""
        found = []
        if len(self.checkpoints) == 1:
            found.append(
                "examples.influence: a single checkpoint shows what one more step would do, not "
                "what the training did; TracIn adds up several"
            )
        if self.keys.learning_rates is None and len(self.checkpoints) > 1:
            found.append(
                "examples.influence: all checkpoints have the same weight; give `learning_rates` "
                "where the rate changed"
            )
        if self.training.config.keys.retrain is None:
            found.append(
                f"examples.influence: the loss is {self.recipe.loss}, the default of `retrain`; "
                "give the `retrain` block the loss that the network was trained with"
            )
        return tuple(found)


def plan_influence(basis: Basis, keys: InfluenceKeys) -> InfluencePlan:
    """Find and check all that influence is asked of.

    Raises:
        EsegetaError: the first thing that is wrong with it.
    """
    config = basis.config
    with blamed_on(config, *BLOCK):
        basis.capability.require_retrainable("examples.influence")
    checkpoints = _find_checkpoints(config, keys)
    rates = _rates(config, keys, len(checkpoints))
    targets = _targets(basis, keys)
    training = _training_basis(basis, keys)
    _check_checkpoints(config, checkpoints)
    retrain = config.keys.retrain or RetrainKeys()
    recipe = plan_recipe(config, retrain, basis.predictor.labels)
    layers = _layers(basis, keys)
    plan = InfluencePlan(keys, checkpoints, rates, targets, training, layers, recipe)
    _check_slabs(plan)
    _check_training(plan)
    return plan


def _find_checkpoints(config: RunConfig, keys: InfluenceKeys) -> tuple[Path, ...]:
    found: list[Path] = []
    for index, pattern in enumerate(keys.checkpoints):
        names = glob.glob(pattern, root_dir=config.folder, recursive=True)
        paths = [config.folder / name for name in names]
        if not paths:
            paths = [Path(name) for name in glob.glob(pattern, recursive=True)]
        if not paths:
            place = config.document.place((*BLOCK, "checkpoints", index))
            raise ConfigError(
                f"{place}: examples.influence.checkpoints[{index}]: {pattern!r} matches no file",
                hint="give files of weights, or a pattern such as ckpt/*.safetensors, relative to "
                "the config",
            )
        for folder in filter(Path.is_dir, paths):
            place = config.document.place((*BLOCK, "checkpoints", index))
            raise ConfigError(
                f"{place}: examples.influence.checkpoints[{index}]: {folder} is a folder",
                hint=f"name the files in it: {pattern.rstrip('/')}/*.safetensors",
            )
        found += sorted(paths, key=lambda path: natural_order(str(path)))
    for path in found:
        if found.count(path) > 1:
            place = config.document.place((*BLOCK, "checkpoints"))
            raise ConfigError(f"{place}: examples.influence.checkpoints: {path} is listed twice")
    return tuple(found)


def _rates(config: RunConfig, keys: InfluenceKeys, count: int) -> tuple[float, ...]:
    if keys.learning_rates is None:
        return (1.0,) * count
    if len(keys.learning_rates) != count:
        place = config.document.place((*BLOCK, "learning_rates"))
        raise ConfigError(
            f"{place}: examples.influence.learning_rates: {len(keys.learning_rates)} rates for "
            f"{count} checkpoints",
            hint="give one for each, in the order of their names",
        )
    return tuple(keys.learning_rates)


def _check_checkpoints(config: RunConfig, checkpoints: Sequence[Path]) -> None:
    network = construct_network(config, seed=config.keys.seed)
    for path in checkpoints:
        with blamed_on(config, *BLOCK, "checkpoints"):
            try:
                load_weights(network, path, key=config.keys.model.weights_key)
            except WeightsError as error:
                error.message = f"examples.influence.checkpoints: {error.message}"
                raise


def _targets(basis: Basis, keys: InfluenceKeys) -> tuple[TargetPlan, ...]:
    config = basis.config
    plans = plan_targets(config, basis.predictor.labels, basis.cases)
    check_targets(config, plans, basis.cases, basis.reading, basis.grids)
    known = {plan.name: plan for plan in plans}
    for index, name in enumerate(keys.test.targets):
        place = config.document.place((*BLOCK, "test", "targets", index))
        shown = f"{place}: examples.influence.test.targets[{index}]"
        if name not in known:
            hint = suggest(name, known) if known else "list it in `targets`"
            raise ConfigError(f'{shown}: no target "{name}"', hint=hint)
        if known[name].layer is not None:
            raise ConfigError(
                f'{shown}: "{name}" looks at a layer\'s unit',
                hint="ask for the influence on a target of the output",
            )
    return tuple(known[name] for name in keys.test.targets)


def _training_basis(basis: Basis, keys: InfluenceKeys) -> Basis:
    """Return network and training cases, whose faults are placed where the config names them."""
    config = basis.config
    data = config.keys.data.model_copy(update={"cases": keys.training.cases, "bids": None})
    changed = config.keys.model_copy(update={"data": data})
    config = replace(config, keys=changed, document=_moved(config.document))
    try:
        cases = list_cases(config)
        grids = _grids(basis, config, cases)
        labels = basis.predictor.labels
        check_truths(config, labels, cases, basis.reading, grids)
    except EsegetaError as error:
        name_differently(error, "data.cases", ".".join(CASES))
        raise
    return replace(basis, config=config, cases=cases, grids=grids, known_logits={})


def _grids(basis: Basis, config: RunConfig, cases: Sequence[Case]) -> dict[str, Grid]:
    grids: dict[str, Grid] = {}
    for index, case in enumerate(cases):
        with blamed_on(config, "data", "cases", index):
            grids[case.name] = check_case_fits(
                case, basis.reading, config.keys, basis.predictor.plan
            )
        check_steps_fit(config, case.name, grids[case.name])
        if case.label is None:
            raise ConfigError(
                f"{config.document.place(('data', 'cases', index))}: {'.'.join(CASES)}: "
                f"case {case.name} has no ground truth to train on",
                hint="give every training case a `label:` file",
            )
    return grids


def _moved(document: Document) -> Document:
    """Return a document in which the training cases stand where `data.cases` does."""
    size = len(CASES)

    def move(known: Mapping[PlacePath, Value]) -> dict[PlacePath, Value]:
        kept = {at: value for at, value in known.items() if at[:2] != ("data", "cases")}
        moved = {
            ("data", "cases", *at[size:]): value
            for at, value in known.items()
            if at[:size] == CASES
        }
        return {**kept, **moved}

    lines, options = move(document.lines), move(document.options)
    return Document(document.path, document.content, lines, options)


def _layers(basis: Basis, keys: InfluenceKeys) -> tuple[str, ...]:
    network = basis.predictor.network
    if keys.layers is None:
        return (last_module(network),)
    names = dict(network.named_modules())
    for index, layer in enumerate(keys.layers):
        place = basis.config.document.place((*BLOCK, "layers", index))
        shown = f"{place}: examples.influence.layers[{index}]"
        if layer not in names:
            raise ConfigError(f'{shown}: no layer "{layer}"', hint=suggest(layer, list(names)))
        if not any(is_within(name, [layer]) for name, _ in network.named_parameters()):
            raise ConfigError(f'{shown}: layer "{layer}" has no parameters')
    return tuple(keys.layers)


def _check_slabs(plan: InfluencePlan) -> None:
    from esegeta.retraining import slab_axis

    count, basis = plan.keys.training.slabs, plan.training
    for name, grid in basis.network_grids().items() if count > 1 else ():
        axis = slab_axis(grid.shape, basis.predictor.plan)
        if grid.shape[axis] < count:
            place = basis.config.document.place((*BLOCK, "training", "slabs"))
            raise ConfigError(
                f"{place}: examples.influence.training.slabs: {count} slabs of {name}, which has "
                f"{grid.shape[axis]} voxels along axis {axis}",
                hint=f"give at most {grid.shape[axis]}",
            )


def _check_training(plan: InfluencePlan) -> None:
    """Refuse leave-one-out retraining that cannot be done; a step of it is taken on noise."""
    if plan.keys.leave_one_out is None:
        return
    config, count = plan.training.config, len(plan.example_names)
    if count < FEWEST_LEFT:
        place = config.document.place((*BLOCK, "leave_one_out"))
        raise ConfigError(
            f"{place}: examples.influence.leave_one_out: {count} training examples are too few to "
            "be ranked",
            hint=f"give at least {FEWEST_LEFT} training cases, or cut them into `slabs`",
        )
    device = plan.training.device
    with seeded(0, device):
        network = construct_network(config, seed=0).to(device)
        num_channels = plan.training.reading.num_channels
        output = plan.training.predictor.output
        rehearse(plan.recipe, network, num_channels, config, output=output)
