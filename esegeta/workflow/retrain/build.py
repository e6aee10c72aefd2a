"""All that retraining needs, built from an experiment and checked before any of it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from esegeta.config import blamed_on, required_block
from esegeta.config.schema import RetrainKeys
from esegeta.errors import ConfigError, ModelError, suggest
from esegeta.explain import Baseline, Explainer, RandomMap
from esegeta.model import seeded
from esegeta.predict import WindowPlan, count_outputs
from esegeta.retraining import Training
from esegeta.retraining.recipe import TrainingRecipe
from esegeta.retraining.samples import EMPTY, REFERENCE, UNTOUCHED, Removal
from esegeta.retraining.summary import MEAN
from esegeta.volume import require_size
from esegeta.workflow import Experiment, construct_network
from esegeta.workflow.plans import TargetPlan
from esegeta.workflow.retrain.leaks import leak_of_target, leaks_of_methods
from esegeta.workflow.retrain.plan import plan_recipe, rehearse
from esegeta.workflow.serves import check_retrained

RANDOM = "random"
"""Id of the random ranking, where the config has none of its own."""


@dataclass(frozen=True, eq=False)
class Retraining:
    """Everything that retraining needs.

    Args:
        experiment: the experiment, with trained network, cases and methods.
        keys: block `retrain` of its config.
        target: target that the maps explain.
        methods: explainers by id, the random ranking among them.
        random: id of the random ranking.
        recipe: recipe by which networks are trained.
    """

    experiment: Experiment
    keys: RetrainKeys
    target: TargetPlan
    methods: Mapping[str, Explainer]
    random: str
    recipe: TrainingRecipe

    @property
    def root(self) -> Path:
        """Where everything is written."""
        return self.experiment.root / "retrain"

    @property
    def baseline(self) -> Baseline:
        """What takes the place of removed voxels."""
        return Baseline(self.keys.baseline.kind, self.keys.baseline.sigma_mm)

    @property
    def patch_plan(self) -> WindowPlan:
        """How a patch lies in a volume: a 2D network's along the slices."""
        return WindowPlan(self.recipe.patch, slice_axis=self.experiment.predictor.plan.slice_axis)

    @property
    def label(self) -> str:
        """The label that the target is about, or that stands for the mean over labels."""
        labels = self.experiment.predictor.labels
        named = self.target.keys.label
        if named is None or labels.is_background(named):
            return MEAN
        return labels.name(named)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know before it starts."""
        told = (
            leak_of_target(self.target, self.experiment),
            *leaks_of_methods(self.methods, self.experiment),
        )
        return (*self.experiment.notes, *filter(None, told))

    def trainings(self) -> list[Training]:
        """Return every network to train: references, then method by method."""
        pairs = [(seed, fold) for seed in self.keys.seeds for fold in range(self.keys.folds)]
        ends = [Training(end, *pair) for pair in pairs for end in (UNTOUCHED, EMPTY)]
        inner = sorted(fraction for fraction in self.keys.fractions if 0 < fraction < 1)
        return ends + [
            Training(Removal(mode, method, fraction), *pair)
            for method in self.methods
            for pair in pairs
            for mode in self.keys.modes
            for fraction in inner
        ]


def build_retraining(experiment: Experiment) -> Retraining:
    """Build and check a retraining; one training step on noise is all that is computed.

    Raises:
        EsegetaError: the config has no `retrain` block, or the first thing that is wrong with it:
            target, ground truths, folds, patch, loss, optimizer, or a network that is not new
            under a new seed.
    """
    config = experiment.config
    keys = required_block(
        config,
        "retrain",
        config.keys.retrain,
        hint="write `retrain: {}` for the defaults; docs/experiments.md has the keys",
    )
    check_retrained(config, experiment.capability)
    target = _target(experiment, keys)
    _check_cases(experiment, keys)
    methods, random = _with_random(experiment)
    labels = experiment.predictor.labels
    if MEAN in labels.foreground:
        raise ConfigError(
            f'{config.document.place(("labels",))}: labels: "{MEAN}" stands for the mean over '
            "labels in the tables of retraining",
            hint="give the label another name",
        )
    recipe = plan_recipe(config, keys, labels)
    _try_out(experiment, recipe)
    return Retraining(experiment, keys, target, methods, random, recipe)


def _target(experiment: Experiment, keys: RetrainKeys) -> TargetPlan:
    config, plans = experiment.config, {plan.name: plan for plan in experiment.targets}
    name = keys.target if keys.target is not None else experiment.targets[0].name
    place = config.document.place(("retrain", "target"))
    if name not in plans:
        raise ConfigError(f'{place}: retrain.target: no target "{name}"', hint=suggest(name, plans))
    if plans[name].splits:
        raise ConfigError(
            f'{place}: retrain.target: "{name}" is split into components, each with a map',
            hint="retraining ranks voxels by one map per case; use `component: largest`",
        )
    return plans[name]


def _check_cases(experiment: Experiment, keys: RetrainKeys) -> None:
    config, cases = experiment.config, experiment.cases
    for case in cases:
        if case.label is None:
            raise ConfigError(
                f"{config.document.place(('data', 'cases'))}: retrain: case {case.name} has no "
                "ground truth to train on",
                hint="give every case a `label:` file",
            )
    if 1 < len(cases) < keys.folds:
        raise ConfigError(
            f"{config.document.place(('retrain', 'folds'))}: retrain.folds: {keys.folds} folds for "
            f"{len(cases)} cases",
            hint=f"give at most {len(cases)}",
        )


def _with_random(experiment: Experiment) -> tuple[dict[str, Explainer], str]:
    """Return the methods with a random ranking among them, and its id."""
    methods = dict(experiment.methods)
    known = [
        identity
        for identity, method in methods.items()
        if isinstance(method, RandomMap) and method.sigma_mm == 0
    ]
    for name in (REFERENCE,) if known else (REFERENCE, RANDOM):
        if name in methods:
            index = list(methods).index(name)
            raise ConfigError(
                f"{experiment.config.document.place(('methods', index))}: methods[{index}]: the id "
                f'"{name}" is reserved in the tables of retraining',
                hint="give the method another `id`",
            )
    if known:
        return methods, known[0]
    return {**methods, RANDOM: RandomMap(seed=experiment.config.keys.seed)}, RANDOM


def _try_out(experiment: Experiment, recipe: TrainingRecipe) -> None:
    config, num_channels = experiment.config, experiment.reading.num_channels
    network, other = (construct_network(config, seed=seed) for seed in (0, 1))
    output = experiment.predictor.output
    with blamed_on(config, "retrain", "patch"):
        most = experiment.reading.max_voxels
        require_size(recipe.patch, "retrain.patch", most)
        require_size((recipe.batch_size, *recipe.patch), "a batch of retrain.patch", most)
        count_outputs(network, recipe.patch, num_channels, output=output, key="retrain.patch")
    weights = zip(network.parameters(), other.parameters(), strict=True)
    if all(bool(torch.equal(one, two)) for one, two in weights):
        raise ModelError(
            f"{config.document.place(('model',))}: the network is the same with two seeds, so "
            "it cannot be trained from scratch",
            hint="its class must draw its weights from torch's random state, and load none",
        )
    with seeded(0, experiment.device):  # dropout draws
        rehearse(recipe, network.to(experiment.device), num_channels, config, output=output)
