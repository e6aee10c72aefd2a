"""What the listing commands print."""

from __future__ import annotations

from esegeta.axes import shape_text
from esegeta.config import RunConfig
from esegeta.model import Layer
from esegeta.workflow import Experiment, build_network, probe_network
from esegeta.workflow.checks import probe_layers
from esegeta.workflow.retrain import Retraining


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


def show_retraining(retraining: Retraining) -> None:
    """Print what retraining would do."""
    keys, recipe = retraining.keys, retraining.recipe
    print(f"  retrain: {', '.join(keys.modes)} by {', '.join(retraining.methods)}")
    print(
        f"  {len(retraining.trainings())} networks of {recipe.iterations} iterations of "
        f"{recipe.batch_size} patches of {shape_text(recipe.patch)} into {retraining.root}"
    )


def _layer_line(layer: Layer) -> str:
    depth = layer.name.count(".") + 1 if layer.name else 0
    shape = "not run" if layer.output_shape is None else shape_text(layer.output_shape[1:])
    name = layer.name or "(network)"
    return f"{'  ' * depth}{name}  {layer.kind}  {shape}  {layer.num_parameters} parameters"
