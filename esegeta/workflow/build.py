"""From a config to an experiment: everything built and checked before anything is run."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from esegeta.axes import shape_text
from esegeta.config import RunConfig, list_cases
from esegeta.config.inference import InferenceKeys
from esegeta.config.schema import Config, PreprocessKeys
from esegeta.errors import ConfigError
from esegeta.explain import NULL, EdgeMap, Explainer, RandomMap
from esegeta.model import (
    Labels,
    State,
    build_module_network,
    build_monai_network,
    convolution_signature,
    file_sha256,
    load_members,
    load_weights,
    network_sha256,
    resolve_device,
    seeded,
)
from esegeta.predict import Predictor, WindowPlan, list_passes, probe_window
from esegeta.score import RandomMapBaseline, Score
from esegeta.volume import Case, Grid, Intensity, Preprocess, Reading
from esegeta.workflow.atlases import AtlasPlan, plan_atlases
from esegeta.workflow.checks import (
    blamed_on,
    check_case_fits,
    check_layers,
    check_methods,
    check_scores,
    check_served,
    check_targets,
    check_unit_targets,
    check_writable,
)
from esegeta.workflow.targets import TargetPlan, plan_targets


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
        config: what it came from.
        predictor: the network over windows, on its device.
        reading: how image files are read.
        preprocess: what happens to images.
        cases: the files of each case.
        grids: of the image of each case, by its name.
        root: the output folder.
        weights_sha256: of the weights file, or of each of an ensemble; of all parameters where
            there is none.
        code_sha256: of the file that holds a `module` network's class, or None.
        notes: what the user should know before it starts.
    """

    config: RunConfig
    predictor: Predictor
    reading: Reading
    preprocess: Preprocess
    cases: list[Case]
    grids: Mapping[str, Grid]
    root: Path
    weights_sha256: str | list[str]
    code_sha256: str | None
    notes: tuple[str, ...]

    @property
    def device(self) -> torch.device:
        """Where volumes and network are."""
        return resolve_device(self.config.keys.device)


@dataclass(frozen=True, eq=False, kw_only=True)
class Experiment(Basis):
    """Everything that a run needs, built and checked.

    Args:
        targets: what to explain.
        methods: explainers by id; null competitors among them where a score asks for them.
        scores: scores by id.
        atlases: by whose regions maps are summed up; None where they are not.
    """

    targets: list[TargetPlan]
    methods: Mapping[str, Explainer]
    scores: Mapping[str, Score]
    atlases: tuple[AtlasPlan, ...] | None


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
    missing = config.keys.missing_of_run
    if missing and config.keys.dissection is None:
        place = config.document.place(())
        raise ConfigError("\n".join(f"{place}: {key}: missing" for key in missing))
    if missing:
        place = config.document.place(("dissection",))
        raise ConfigError(
            f"{place}: there are no targets and methods to run, only a `dissection`",
            hint="`esegeta dissect CONFIG` does that; give `targets` and `methods` for a run",
        )
    basis = build_basis(config, output=output, device=device)
    config, reading, cases = basis.config, basis.reading, basis.cases
    network, plan, labels = basis.predictor.network, basis.predictor.plan, basis.predictor.labels
    check_layers(config, network, plan, reading)
    check_unit_targets(config, network, plan, reading)
    check_methods(config, cases, reading, basis.grids)
    check_served(config, basis.predictor)
    check_scores(config, cases, reading, basis.grids)
    targets = plan_targets(config, labels, cases)
    check_targets(config, targets, cases, reading, basis.grids)
    atlases = plan_atlases(config, labels, cases, reading)
    methods, nulls = join_null_competitors(config)
    check_writable(basis.root)
    return Experiment(
        **{**vars(basis), "notes": (*basis.notes, *nulls)},
        targets=targets,
        methods=methods,
        scores=config.scores,
        atlases=atlases,
    )


def build_basis(
    config: RunConfig, *, output: Path | None = None, device: str | None = None
) -> Basis:
    """Build the network and check it against the cases; see `build_experiment`."""
    given = {"device": device, "output": str(output) if output is not None else None}
    changes = {key: value for key, value in given.items() if value is not None}
    config = replace(config, keys=config.keys.model_copy(update=changes))
    keys = config.keys
    with blamed_on(config, "device"):
        place = resolve_device(keys.device)
    network, notes = build_network(config)
    network = network.to(place)
    states = _load_ensemble(config, network)
    reading, plan, num_outputs = probe_network(config, network)
    with blamed_on(config, "labels"):
        labels = Labels(dict(keys.labels), keys.activation, num_outputs)
    with blamed_on(config, "data", "preprocess"):
        preprocess = _preprocess(keys.data.preprocess)
    cases = list_cases(config)
    grids: dict[str, Grid] = {}
    for index, case in enumerate(cases):
        with blamed_on(config, "data", "cases", index):
            grids[case.name] = check_case_fits(case, reading, keys, plan)
    plan = replace(plan, passes=list_passes(keys.inference.mirror, max(1, len(states))))
    _check_spread(config, plan)
    return Basis(
        config=config,
        predictor=Predictor(
            network,
            plan,
            labels,
            keys.inference.batch_size,
            keys.inference.precision,
            states=states,
        ),
        reading=reading,
        preprocess=preprocess,
        cases=cases,
        grids=grids,
        root=Path(keys.output).expanduser() / keys.name,
        weights_sha256=_weights_sha256(config, network),
        code_sha256=(
            _code_sha256(network, config.folder.resolve()) if keys.model.kind == "module" else None
        ),
        notes=(*notes, *notes_on_windows(plan, keys.inference)),
    )


def notes_on_windows(plan: WindowPlan, keys: InferenceKeys) -> tuple[str, ...]:
    """Say what a window costs, and what is made of an output that is not of its shape."""
    notes = []
    if len(plan.passes) > 1:
        members, flips = plan.num_members, len(plan.passes) // plan.num_members
        notes.append(
            f"{flips} mirrored {'pass' if flips == 1 else 'passes'} x {members} "
            f"{'member' if members == 1 else 'members'} = {len(plan.passes)} forward passes a "
            f"window; the mean of their {plan.average} is explained"
        )
        if keys.spread is not None:
            notes.append("inference.spread: each map is made once more for its members")
    if plan.coverage is None:
        return tuple(notes)
    positions = shape_text(plan.coverage.positions)
    text = f"the network turns a window of {shape_text(plan.size)} into {positions}"
    if plan.output != plan.size:
        text += (
            f", which cover the {shape_text(plan.output)} voxels in its middle: those tile the "
            f"volume, and windows reach beyond them (inference.padding: {plan.padding})"
        )
    if plan.coverage.positions != plan.coverage.voxels:
        text += ", which are interpolated linearly to voxels"
    return (*notes, text)


def build_network(config: RunConfig) -> tuple[nn.Module, tuple[str, ...]]:
    """Build the config's network with its weights, and say what should be known about it."""
    keys = config.keys.model
    notes = []
    network = construct_network(config, seed=config.keys.seed)  # of what the weights do not set
    if keys.kind == "module":
        notes.append(f"model.class {keys.class_path} is code and was run to build the network")
    with blamed_on(config, "model"):
        if keys.weights_files:
            load_weights(network, config.find_file(keys.weights_files[0]))
        elif keys.kind == "monai":
            notes.append(
                "no model.weights: the network has random weights, so its maps explain nothing"
            )
    return network.eval(), tuple(notes)


def _load_ensemble(config: RunConfig, network: nn.Module) -> tuple[State, ...]:
    """Return the states of all networks of an ensemble; of one network there are none."""
    files = config.keys.model.weights_files
    if len(files) < 2:
        return ()
    with blamed_on(config, "model", "weights"):
        return load_members(network, [config.find_file(name) for name in files])


def _weights_sha256(config: RunConfig, network: nn.Module) -> str | list[str]:
    hashes = [file_sha256(config.find_file(name)) for name in config.keys.model.weights_files]
    if not hashes:
        return network_sha256(network)
    return hashes if len(hashes) > 1 else hashes[0]


def _check_spread(config: RunConfig, plan: WindowPlan) -> None:
    if config.keys.inference.spread is not None and len(plan.passes) == 1:
        place = config.document.place(("inference", "spread"))
        raise ConfigError(
            f"{place}: inference.spread: there is one network and no mirrored pass, so nothing "
            "spreads",
            hint="give model.weights as a list of files, or inference.mirror, or leave spread out",
        )


def construct_network(config: RunConfig, *, seed: int) -> nn.Module:
    """Construct the config's network as it is before any weights are loaded, under a seed.

    The random state of the caller is left as it was.
    """
    keys = config.keys.model
    # A network may draw its weights where it is to run.
    device = resolve_device(config.keys.device)
    with blamed_on(config, "model"), seeded(seed, device):
        if keys.kind == "monai":
            return build_monai_network(str(keys.network), keys.args)
        return build_module_network(str(keys.class_path), keys.args, config.folder.resolve())


def probe_network(config: RunConfig, network: nn.Module) -> tuple[Reading, WindowPlan, int]:
    """Return how images are read for a network, its windows, and its output channels.

    Raises:
        WindowError: it cannot take the config's window.
    """
    reading = _reading(config, network)
    with blamed_on(config, "inference"):
        plan = _window_plan(config.keys)
        probe = probe_window(network, plan.size, reading.num_channels)
        return reading, replace(plan, coverage=probe.coverage), probe.num_outputs


def _code_sha256(network: nn.Module, folder: Path) -> str:
    """Return the SHA-256 of the network's own module and of all that were loaded from a folder."""
    own = sys.modules.get(type(network).__module__)
    files = {
        str(file)
        for module in list(sys.modules.values())
        if (file := getattr(module, "__file__", None))
        and (module is own or (str(file).startswith(str(folder)) and "site-packages" not in file))
    }
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()


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
    return WindowPlan(
        block.window,
        block.overlap,
        block.blend,
        block.slice_axis,
        block.padding,
        average=block.average,
    )


def _preprocess(keys: PreprocessKeys) -> Preprocess:
    rule = next(iter(keys.intensity.model_fields_set))
    bounds = getattr(keys.intensity, rule)
    low, high = bounds if isinstance(bounds, tuple) else (0.0, 0.0)
    return Preprocess(keys.orientation, keys.spacing_mm, Intensity(rule, low, high))  # type: ignore[arg-type]
