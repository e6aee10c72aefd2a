"""What can be known about methods, scores, targets and layers before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import nn

from esegeta.config import RunConfig, blamed_on
from esegeta.config.targets import TargetKeys
from esegeta.errors import (
    ConfigError,
    EsegetaError,
    LayerError,
    ModelError,
    TargetError,
)
from esegeta.explain import Baseline, Explainer, PatternNet, baselines_of
from esegeta.model import (
    FIRST,
    Layer,
    OutputChoice,
    check_units,
    find_layer,
    find_listed,
    held_still,
    list_layers,
    require_map,
)
from esegeta.predict import Predictor, WindowPlan, empty_window
from esegeta.volume import (
    Case,
    Grid,
    Reading,
    check_case,
    is_picture,
    require_same_grid,
    without_size,
)
from esegeta.workflow.plans import TargetPlan, atlas_file, baseline_files, nested

LENGTHS = ("box", "box_mm", "stride", "stride_mm", "cell", "cell_mm")
"""Parameters of methods that are one length, or one per axis."""


def probe_layers(
    network: nn.Module, plan: WindowPlan, reading: Reading, *, output: OutputChoice = FIRST
) -> list[Layer]:
    """Return a network's layers with their output shapes for one window of zeros."""
    window = empty_window(network, plan.size, reading.num_channels)
    with held_still(network):
        return list_layers(network, lambda: network(window), output=output)


def check_layers(config: RunConfig, network: nn.Module, plan: WindowPlan, reading: Reading) -> None:
    """Refuse layers that the network does not have, or that have no map to explain with."""
    layers: list[Layer] = []
    for index, explainer in enumerate(config.methods.values()):
        with blamed_on(config, "methods", index):
            for part in nested(explainer):
                for name in layer_names(part):
                    find_layer(network, name)
                    layers = layers or probe_layers(network, plan, reading)
                    layer = find_listed(network, layers, name)
                    with prefixed(f"methods[{index}]"):
                        require_map(layer)
                        _require_channel(layer, getattr(part, "channel", None))


def layer_names(explainer: Explainer) -> tuple[str, ...]:
    """Return the layers that a method names, if any."""
    layer = getattr(explainer, "layer", None)
    if layer is None:
        return ()
    return (layer,) if isinstance(layer, str) else tuple(layer)


@contextmanager
def prefixed(place: str, kind: type[EsegetaError] = ModelError) -> Iterator[None]:
    """Begin the message of an error, by default of layers or network, with where it was named."""
    try:
        yield
    except kind as error:
        error.message = f"{place}: {error.message}"
        raise


def _require_channel(layer: Layer, channel: int | None) -> None:
    num_channels = (layer.output_shape or (1, 1))[1]
    if channel is not None and channel >= num_channels:
        raise LayerError(
            f'layer "{layer.name}" has no channel {channel}',
            hint=f"name a channel from 0 to {num_channels - 1}",
        )


def check_unit_targets(
    config: RunConfig, network: nn.Module, plan: WindowPlan, reading: Reading
) -> None:
    """Refuse units that the network does not have."""
    window = empty_window(network, plan.size, reading.num_channels)
    for index, keys in enumerate(config.keys.targets):
        if keys.layer is None or keys.channel is None:
            continue
        with (
            blamed_on(config, "targets", index),
            prefixed(f"targets[{index}]"),
            held_still(network),
        ):
            check_units(network, keys.layer, (keys.channel,), window)


def check_methods(
    config: RunConfig,
    cases: list[Case],
    reading: Reading,
    grids: Mapping[str, Grid],
) -> None:
    """Check lengths, baseline files and atlases of all methods against the image of every case."""
    for index, explainer in enumerate(config.methods.values()):
        with blamed_on(config, "methods", index):
            for part in nested(explainer):
                if isinstance(part, PatternNet):
                    _check_patterns(part, config)
                for case in cases:
                    _check_lengths(part, case, grids[case.name], f"methods[{index}]")
                    _check_files(part, case, config, reading, grids[case.name])


def check_served(config: RunConfig, predictor: Predictor) -> None:
    """Refuse methods that need layers or gradients which the network does not give."""
    for index, explainer in enumerate(config.methods.values()):
        with blamed_on(config, "methods", index):
            explainer.require_served(predictor)


def check_scores(
    config: RunConfig, cases: list[Case], reading: Reading, grids: Mapping[str, Grid]
) -> None:
    """Check baseline files and atlases of all scores against the image of every case."""
    for index, score in enumerate(config.scores.values()):
        with blamed_on(config, "scores", index):
            for part in nested(score):
                for case in cases:
                    _check_files(part, case, config, reading, grids[case.name])


def _check_files(part: Any, case: Case, config: RunConfig, reading: Reading, grid: Grid) -> None:
    for *_, baseline in baselines_of(part):
        _check_baseline(baseline, case, config, reading, grid)
    atlas = atlas_file(part, case, config)
    if atlas is not None:
        check_case(replace(case, label=atlas), reading)


def _check_baseline(
    baseline: Baseline, case: Case, config: RunConfig, reading: Reading, grid: Grid
) -> None:
    paths = baseline_files(baseline, case, config)
    if paths:
        found = check_case(Case(case.name, paths, spacing_mm=case.spacing_mm), reading)
        require_same_grid(case.name, case.images[0], grid, paths[0], found)


def _check_patterns(explainer: PatternNet, config: RunConfig) -> None:
    if explainer.patterns is not None and not config.find_file(explainer.patterns).is_file():
        raise ConfigError(
            f"{explainer.name}: patterns: {explainer.patterns}: no such file",
            hint="leave `patterns` out to have them learned from the cases and kept in the "
            "run's folder",
        )


def _check_lengths(explainer: Explainer, case: Case, grid: Grid, place: str) -> None:
    for key in LENGTHS:
        value = getattr(explainer, key, None)
        if isinstance(value, tuple) and len(value) != grid.ndim:
            shown = ", ".join(f"{length:g}" for length in value)
            name = f"{place}: {explainer.name}: {key}"
            raise ConfigError(
                f"{name}: [{shown}] for the {grid.ndim}D image {case.name}",
                hint=f"give one length, or {grid.ndim}",
            )


def check_targets(
    config: RunConfig,
    plans: list[TargetPlan],
    cases: list[Case],
    reading: Reading,
    grids: Mapping[str, Grid],
) -> None:
    """Check boxes, points and roi files of all targets against the image of every case."""
    for index, plan in enumerate(plans):
        corners = [*(plan.keys.box or ()), *([plan.keys.point] if plan.keys.point else [])]
        for case in cases:
            with blamed_on(config, "targets", index):
                for corner in corners:
                    if len(corner) != grids[case.name].ndim:
                        raise TargetError(
                            f"targets[{index}]: {list(corner)} has {len(corner)} indices, "
                            f"{case.name} is {grids[case.name].ndim}D"
                        )
                _check_inside(plan.keys, case, grids[case.name], f"targets[{index}]")
                _check_size(plan.keys, case)
                path = plan.roi_file(case)
                if path is not None:
                    check_case(replace(case, label=path), reading)


def _check_inside(keys: TargetKeys, case: Case, grid: Grid, place: str) -> None:
    """Refuse a box or point that holds no voxel of the image."""
    fault = ""
    if keys.box is not None:
        sides = zip(*keys.box, grid.shape, strict=True)
        if any(stop <= 0 or start >= length for start, stop, length in sides):
            fault = f"box {[list(corner) for corner in keys.box]}"
    if keys.point is not None:
        indices = zip(keys.point, grid.shape, strict=True)
        if any(not 0 <= round(value) < length for value, length in indices):
            fault = f"point [{', '.join(f'{value:g}' for value in keys.point)}]"
    if fault:
        raise TargetError(
            f"{place}: {fault} lies outside {case.name}",
            hint=f"its axes have {' x '.join(str(length) for length in grid.shape)} voxels, "
            "counted from 0 as in the file",
        )


def _check_size(keys: TargetKeys, case: Case) -> None:
    """Refuse quantities in ml for a picture, whose pixels have no size."""
    asked = {"of: volume_ml": keys.of == "volume_ml", "min_volume_ml": keys.min_volume_ml > 0}
    for key, is_asked in asked.items():
        if is_asked and is_picture(case.images[0]):
            raise without_size(case.name, key)
