"""From a config to built objects; whatever can be known before computing is checked here."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from esegeta.config import RunConfig, list_cases
from esegeta.config.schema import Config, PreprocessKeys
from esegeta.errors import ConfigError, EsegetaError, GridError, OutputError, TargetError
from esegeta.explain import Baseline, Explainer
from esegeta.model import (
    Labels,
    build_module_network,
    build_monai_network,
    convolution_signature,
    file_sha256,
    find_layer,
    load_weights,
    network_sha256,
    resolve_device,
)
from esegeta.predict import Predictor, WindowPlan, count_outputs
from esegeta.run.targets import TargetPlan, plan_targets
from esegeta.score import Score
from esegeta.volume import Case, Grid, Intensity, Preprocess, Reading, check_case


@dataclass(frozen=True, eq=False)
class Experiment:
    """Everything that a run needs, built and checked.

    Args:
        config: what it came from.
        predictor: the network over windows, on its device.
        reading: how image files are read.
        preprocess: what happens to images.
        cases: the files of each case.
        targets: what to explain.
        methods: explainers by id.
        scores: scores by id.
        root: the run's output folder.
        weights_sha256: of the weights file, or of all parameters where there is none.
        code_sha256: of the file that holds a `module` network's class, or None.
        notes: what the user should know before it starts.
    """

    config: RunConfig
    predictor: Predictor
    reading: Reading
    preprocess: Preprocess
    cases: list[Case]
    targets: list[TargetPlan]
    methods: Mapping[str, Explainer]
    scores: Mapping[str, Score]
    root: Path
    weights_sha256: str
    code_sha256: str | None
    notes: tuple[str, ...]

    @property
    def device(self) -> torch.device:
        """Where volumes and network are."""
        return resolve_device(self.config.keys.device)


def build_experiment(
    config: RunConfig, *, output: Path | None = None, device: str | None = None
) -> Experiment:
    """Build and check an experiment without computing anything but one window of zeros.

    Args:
        config: the checked config.
        output: replaces the config's `output`.
        device: replaces the config's `device`.

    Raises:
        EsegetaError: the first thing found wrong with files, headers, weights, layers, labels,
            window or device.
    """
    given = {"device": device, "output": str(output) if output is not None else None}
    changes = {key: value for key, value in given.items() if value is not None}
    config = replace(config, keys=config.keys.model_copy(update=changes))
    keys = config.keys
    with _at(config, "device"):
        place = resolve_device(keys.device)
    network, notes = build_network(config)
    network = network.to(place)
    reading, plan, num_outputs = probe_network(config, network)
    with _at(config, "labels"):
        labels = Labels(dict(keys.labels), keys.activation, num_outputs)
    with _at(config, "data", "preprocess"):
        preprocess = _preprocess(keys.data.preprocess)
    cases = list_cases(config)
    grids: dict[str, Grid] = {}
    for index, case in enumerate(cases):
        with _at(config, "data", "cases", index):
            grids[case.name] = _check_case(case, reading, keys, plan)
    _check_methods(config, network, cases, reading, grids)
    targets = plan_targets(config, labels, cases)
    _check_targets(config, targets, cases, reading, grids)
    root = Path(keys.output).expanduser() / keys.name
    _check_writable(root)
    weights = keys.model.weights
    return Experiment(
        config=config,
        predictor=Predictor(
            network, plan, labels, keys.inference.batch_size, keys.inference.precision
        ),
        reading=reading,
        preprocess=preprocess,
        cases=cases,
        targets=targets,
        methods=config.methods,
        scores=config.scores,
        root=root,
        weights_sha256=(
            file_sha256(config.find_file(weights)) if weights else network_sha256(network)
        ),
        code_sha256=_code_sha256(network) if keys.model.kind == "module" else None,
        notes=notes,
    )


def build_network(config: RunConfig) -> tuple[nn.Module, tuple[str, ...]]:
    """Build the config's network with its weights, and say what should be known about it."""
    keys = config.keys.model
    notes = []
    with _at(config, "model"), torch.random.fork_rng(devices=()):
        torch.manual_seed(config.keys.seed)  # of what the weights do not set
        if keys.kind == "monai":
            network = build_monai_network(str(keys.network), keys.args)
        else:
            notes.append(f"model.class {keys.class_path} is code and was run to build the network")
            network = build_module_network(str(keys.class_path), keys.args, config.folder.resolve())
        if keys.weights is not None:
            load_weights(network, config.find_file(keys.weights))
        elif keys.kind == "monai":
            notes.append("no model.weights: the network has random weights and explains nothing")
    return network.eval(), tuple(notes)


def probe_network(config: RunConfig, network: nn.Module) -> tuple[Reading, WindowPlan, int]:
    """Return how images are read for a network, its windows, and its output channels.

    Raises:
        WindowError: it cannot take the config's window.
    """
    reading = _reading(config, network)
    with _at(config, "inference"):
        plan = _window_plan(config.keys)
        return reading, plan, count_outputs(network, plan.size, reading.num_channels)


def _code_sha256(network: nn.Module) -> str | None:
    try:
        path = inspect.getsourcefile(type(network))
    except TypeError:
        return None
    return file_sha256(Path(path)) if path is not None and Path(path).is_file() else None


@contextmanager
def _at(config: RunConfig, *place: str | int) -> Iterator[None]:
    """Say where in the file an error comes from."""
    try:
        yield
    except EsegetaError as error:
        error.message = f"{config.document.place(place)}: {error.message}"
        raise


def _reading(config: RunConfig, network: nn.Module) -> Reading:
    keys = config.keys
    ndim = len(keys.inference.window)
    signature = convolution_signature(network)
    if signature is not None and signature[0] != ndim:
        raise ConfigError(
            f"{config.document.place(('inference', 'window'))}: inference.window has {ndim} "
            f"lengths, the network is {signature[0]}D",
            hint=f"give {signature[0]} lengths; a 2D network goes through a volume in slices",
        )
    declared = keys.model.args.get("in_channels")
    num_channels = signature[1] if signature is not None else declared
    if not isinstance(num_channels, int):
        num_channels = len(keys.data.channels) or 1
    channels = tuple(keys.data.channels)
    if channels and len(channels) != num_channels:
        raise ConfigError(
            f"{config.document.place(('data', 'channels'))}: data.channels names "
            f"{len(channels)}, the network takes {num_channels}"
        )
    return Reading(num_channels, ndim, keys.data.nan == "zero", channels)


def _window_plan(keys: Config) -> WindowPlan:
    block = keys.inference
    return WindowPlan(block.window, block.overlap, block.blend, block.slice_axis)


def _preprocess(keys: PreprocessKeys) -> Preprocess:
    rule = next(iter(keys.intensity.model_fields_set))
    bounds = getattr(keys.intensity, rule)
    low, high = bounds if isinstance(bounds, tuple) else (0.0, 0.0)
    return Preprocess(keys.orientation, keys.spacing_mm, Intensity(rule, low, high))  # type: ignore[arg-type]


def _check_case(case: Case, reading: Reading, keys: Config, plan: WindowPlan) -> Grid:
    grid = check_case(case, reading)
    spacing = keys.data.preprocess.spacing_mm
    if spacing is not None and len(spacing) != grid.ndim:
        raise ConfigError(
            f"preprocess.spacing_mm has {len(spacing)} values, {case.name} is {grid.ndim}D",
            hint=f"give {grid.ndim} values",
        )
    orientation = keys.data.preprocess.orientation
    if orientation is not None and len(orientation) < grid.ndim:
        raise ConfigError(
            f'preprocess.orientation "{orientation}" names 2 axes, {case.name} is {grid.ndim}D',
            hint="name each axis, such as RAS",
        )
    plan.lay(grid.shape)
    return grid


def _check_methods(
    config: RunConfig,
    network: nn.Module,
    cases: list[Case],
    reading: Reading,
    grids: Mapping[str, Grid],
) -> None:
    for index, explainer in enumerate(config.methods.values()):
        with _at(config, "methods", index):
            for part in nested_explainers(explainer):
                layer = getattr(part, "layer", None)
                if layer is not None:
                    find_layer(network, layer)
                for case in cases:
                    path = baseline_file(part, case, config)
                    if path is not None:
                        found = check_case(Case(case.name, (path,)), reading)
                        _require_grid(case, grids[case.name], path, found)


def _check_targets(
    config: RunConfig,
    plans: list[TargetPlan],
    cases: list[Case],
    reading: Reading,
    grids: Mapping[str, Grid],
) -> None:
    for index, plan in enumerate(plans):
        corners = [*(plan.keys.box or ()), *([plan.keys.point] if plan.keys.point else [])]
        for case in cases:
            with _at(config, "targets", index):
                for corner in corners:
                    if len(corner) != grids[case.name].ndim:
                        raise TargetError(
                            f"targets[{index}]: {list(corner)} has {len(corner)} indices, "
                            f"{case.name} is {grids[case.name].ndim}D"
                        )
                path = plan.roi_file(case)
                if path is not None:
                    check_case(replace(case, label=path), reading)


def _require_grid(case: Case, grid: Grid, path: Path, found: Grid) -> None:
    if not found.same_as(grid):
        raise GridError(
            f"{case.name}: different grids: the image has {grid.describe()}; "
            f"{path} has {found.describe()}",
            hint="resample one onto the other first",
        )


def baseline_file(explainer: Explainer, case: Case, config: RunConfig) -> Path | None:
    """Return the file of an explainer's baseline for a case, or None where it has none."""
    baseline = getattr(explainer, "baseline", None)
    if not isinstance(baseline, Baseline) or baseline.file is None:
        return None
    return config.find_file(baseline.file.replace("{case}", case.name))


def nested_explainers(explainer: Explainer) -> Iterator[Explainer]:
    """Yield an explainer and those that it is built on."""
    yield explainer
    for item in fields(explainer):
        value: Any = getattr(explainer, item.name)
        if isinstance(value, Explainer):
            yield from nested_explainers(value)


def _check_writable(root: Path) -> None:
    """Refuse an output folder that cannot be written, before hours of work; leaves nothing."""
    existing = root
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError(
            f"{root}: cannot be written ({existing} is not a folder that you may write)",
            hint="choose another folder with `output:` or -o",
        )
