"""What the listing commands print."""

from __future__ import annotations

import inspect
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from esegeta.axes import shape_text
from esegeta.config import RunConfig
from esegeta.model import Layer
from esegeta.retrain import Study
from esegeta.run import Experiment, build_network, probe_network
from esegeta.run.checks import probe_layers
from esegeta.score import SCORES


def show_scores() -> None:
    """Print every score with its qualities."""
    table = Table("score", "value", "range", "better", "what it is", box=None)
    for name, kind in SCORES.items():
        for place, quality in enumerate(kind.qualities):
            text = _first_line(kind) if place == 0 else ""
            bounds = f"{quality.low:g} .. {quality.high:g}"
            table.add_row(name if place == 0 else "", quality.name, bounds, quality.better, text)
    _console().print(table)


def show_layers(config: RunConfig) -> None:
    """Print a config's network as a tree, with the output shapes for one window."""
    network, _ = build_network(config)
    reading, plan, _ = probe_network(config, network)
    word = "channel" if reading.num_channels == 1 else "channels"
    taken = f"{shape_text(plan.size)}, {reading.num_channels} {word}"
    print(f"one window of {taken}; shapes are C x spatial")
    for layer in probe_layers(network, plan, reading):
        print(_layer_line(layer))


def show_experiment(experiment: Experiment) -> None:
    """Print what a run would do."""
    keys = experiment.config.keys
    units = len(experiment.cases) * len(experiment.targets) * len(experiment.methods)
    print(f"{experiment.config.document.path}: valid")
    print(f"  cases: {', '.join(case.name for case in experiment.cases)}")
    print(f"  targets: {', '.join(plan.name for plan in experiment.targets)}")
    print(f"  methods: {', '.join(experiment.methods)}")
    print(f"  scores: {', '.join(experiment.scores) or 'none'}")
    print(f"  windows of {shape_text(keys.inference.window)} on {experiment.device}")
    print(f"  {units} units of work into {experiment.root}")
    for note in experiment.notes:
        print(f"  note: {note}")


def show_study(study: Study) -> None:
    """Print what retraining would do."""
    keys, recipe = study.keys, study.recipe
    print(f"  retrain: {', '.join(keys.modes)} by {', '.join(study.methods)}")
    print(
        f"  {len(study.trainings())} networks of {recipe.iterations} iterations of "
        f"{recipe.batch_size} patches of {shape_text(recipe.patch)} into {study.root}"
    )


def _layer_line(layer: Layer) -> str:
    depth = layer.name.count(".") + 1 if layer.name else 0
    shape = "not run" if layer.output_shape is None else shape_text(layer.output_shape[1:])
    name = layer.name or "(network)"
    return f"{'  ' * depth}{name}  {layer.kind}  {shape}  {layer.num_parameters} parameters"


def _first_line(kind: type[Any]) -> str:
    return escape((inspect.getdoc(kind) or "").split("\n", 1)[0])


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=140)
