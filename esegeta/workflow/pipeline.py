"""A config's network over windows, and how its images are read and prepared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from esegeta.config import RunConfig, blamed_on
from esegeta.config.keys import looks
from esegeta.errors import ConfigError
from esegeta.model import (
    Labels,
    LoadedWeights,
    require_finite_parameters,
    resolve_devices,
)
from esegeta.predict import Copies, Predictor, list_passes, notes_on
from esegeta.report import PredictionFiles
from esegeta.volume import Preprocess, Reading
from esegeta.workflow.networks import (
    build_network,
    check_spread,
    chosen_output,
    has_gradients,
    load_ensemble,
    probe_network,
)
from esegeta.workflow.preprocess import build_preprocess

SPREAD_NOTE = "inference.spread: each map is also made for every member"


@dataclass(frozen=True, eq=False)
class Pipeline:
    """The part of a config that turns any image into a prediction.

    Args:
        predictor: the network over windows, on its device.
        reading: how image files are read.
        preprocess: steps that images go through.
        loaded: what was loaded from each file of weights.
        notes: what the user should know before it starts.
    """

    predictor: Predictor
    reading: Reading
    preprocess: Preprocess
    loaded: tuple[LoadedWeights, ...]
    notes: tuple[str, ...]


def build_pipeline(config: RunConfig) -> Pipeline:
    """Build a config's network and what belongs to it; its cases are not looked at.

    Raises:
        EsegetaError: the first thing found wrong with device, weights, labels, window or steps.
    """
    keys = config.keys
    with blamed_on(config, "device"):
        place, *further = resolve_devices(keys.device)
    built = build_network(config)
    if built.loaded is None:  # else looked at when they were loaded
        with blamed_on(config, "model"):
            require_finite_parameters(built.network)
    network = built.network.to(place)
    members = load_ensemble(config, network)
    states = () if members is None else members.states
    loaded = () if built.loaded is None else (built.loaded,)
    reading, plan, probe = probe_network(config, network)
    with blamed_on(config, "labels"):
        labels = keys.labels_over(probe.num_outputs)
        _check_mask_files(labels)
    preprocess = build_preprocess(config, reading)
    plan = replace(plan, passes=list_passes(keys.inference.mirror, max(1, len(states))))
    check_spread(config, plan)
    predictor = Predictor(
        network,
        plan,
        labels,
        # What `auto` comes to depends on the cases, which are not looked at here.
        1 if keys.inference.batch_size == "auto" else keys.inference.batch_size,
        keys.inference.precision,
        output=chosen_output(config),
        states=states,
        gradients=has_gradients(config, network, plan, reading),
        copies=Copies.on(further, network),
        memory_format=keys.inference.memory_format,
    )
    return Pipeline(
        predictor,
        reading,
        preprocess,
        loaded if members is None else members.files,
        (
            *built.notes,
            *(f"model.weights: {note}" for note in (members.notes if members else ())),
            *notes_on(predictor, probe, reading.num_channels),
            *([SPREAD_NOTE] if keys.inference.spread is not None else ()),
        ),
    )


def _check_mask_files(labels: Labels) -> None:
    """Refuse two labels whose masks would be written to one file."""
    files: dict[str, str] = {}
    for name in labels.foreground if labels.may_overlap else ():
        file = looks(PredictionFiles(Path(), "").mask(name).name)
        if file in files:
            raise ConfigError(
                f'labels: the masks of "{files[file]}" and "{name}" would have the same file',
                hint="give one of them another name",
            )
        files[file] = name
