"""From a config to an experiment: everything built and checked before anything is run."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from esegeta.config import RunConfig, blamed_on, list_cases
from esegeta.config.schema import Config
from esegeta.errors import (
    ConfigError,
    ModelError,
    OutputChoiceError,
    WeightsError,
    WeightsKeyError,
)
from esegeta.explain import NULL, EdgeMap, Explainer, RandomMap
from esegeta.model import (
    COMPILED_NOTE,
    Capability,
    Labels,
    LoadedWeights,
    OutputChoice,
    capability_of,
    convolution_signature,
    is_compiled,
    load_weights,
    resolve_device,
    seeded,
    without_wrappers,
)
from esegeta.predict import (
    Predictor,
    Probe,
    WindowPlan,
    empty_window,
    probabilities_in,
    probe_output,
    try_gradients,
)
from esegeta.report import PredictionFiles
from esegeta.score import RandomMapBaseline, Score
from esegeta.volume import Case, Grid, Preprocess, Reading, Volume, read_case
from esegeta.workflow.atlases import AtlasPlan, plan_atlases
from esegeta.workflow.checks import (
    check_case_fits,
    check_layers,
    check_methods,
    check_scores,
    check_targets,
    check_unit_targets,
    check_writable,
)
from esegeta.workflow.kinds import (
    capability_in,
    check_fixed_shape,
    code_notes,
    construct,
    weights_sha256,
)
from esegeta.workflow.plans import TargetPlan, plan_targets
from esegeta.workflow.preprocess import (
    blamed_on_steps,
    build_preprocess,
    check_steps_fit,
    network_grid,
)
from esegeta.workflow.serves import check_served


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
        weights_sha256: of the weights file, or of all parameters where there is none.
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
    weights_sha256: str
    code_sha256: str | None
    notes: tuple[str, ...]

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

    def network_grids(self) -> dict[str, Grid]:
        """Return the grid of each case as the network sees it; see `network_grid`."""
        return {
            case.name: network_grid(
                self.config, case, self.grids[case.name], self.preprocess, self.reading
            )
            for case in self.cases
        }


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
    check_served(config, basis.predictor)
    check_layers(config, network, plan, reading)
    check_unit_targets(config, network, plan, reading)
    check_methods(config, cases, reading, basis.grids)
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
    reading, plan, probe = probe_network(config, network)
    with blamed_on(config, "labels"):
        labels = keys.labels_over(probe.num_outputs)
        _check_mask_files(labels)
    preprocess = build_preprocess(config, reading)
    cases = list_cases(config)
    grids: dict[str, Grid] = {}
    for index, case in enumerate(cases):
        with blamed_on(config, "data", "cases", index):
            grids[case.name] = check_case_fits(case, reading, keys, plan)
        check_steps_fit(config, case.name, grids[case.name])
    predictor = Predictor(
        network,
        plan,
        labels,
        keys.inference.batch_size,
        keys.inference.precision,
        output=chosen_output(config),
        gradients=_has_gradients(config, network, plan, reading),
    )
    window = empty_window(network, plan.size, reading.num_channels)
    outputs = (probe.note, probabilities_in(predictor, window, probe.logits))
    return Basis(
        config=config,
        predictor=predictor,
        reading=reading,
        preprocess=preprocess,
        cases=cases,
        grids=grids,
        root=Path(keys.output).expanduser() / keys.name,
        weights_sha256=weights_sha256(config, network),
        code_sha256=(
            _code_sha256(network, config.folder.resolve()) if keys.model.kind == "module" else None
        ),
        notes=(*notes, *(note for note in outputs if note), *labels.notes()),
    )


def chosen_output(config: RunConfig) -> OutputChoice:
    """Return which of the tensors that the config's network returns the logits are."""
    return OutputChoice(config.keys.model.output)


def build_network(config: RunConfig) -> tuple[nn.Module, tuple[str, ...]]:
    """Build the config's network with its weights, and say what should be known about it."""
    keys = config.keys.model
    network = _construct(config, seed=config.keys.seed)  # of what the weights do not set
    notes = [*code_notes(config)]
    if is_compiled(network):
        notes.append(COMPILED_NOTE)
    network = without_wrappers(network)
    if keys.weights is not None:
        notes.extend(f"model.weights: {note}" for note in _load(config, network).notes)
    elif keys.kind == "monai":
        notes.append(
            "no model.weights: the network has random weights, so its maps explain nothing"
        )
    return network.eval(), tuple(notes)


def _load(config: RunConfig, network: nn.Module) -> LoadedWeights:
    keys = config.keys.model
    path = config.find_file(str(keys.weights))
    try:
        return load_weights(network, path, key=keys.weights_key)
    except WeightsKeyError:
        with blamed_on(config, "model", "weights_key"):
            raise
    except WeightsError:
        with blamed_on(config, "model"):
            raise


def construct_network(config: RunConfig, *, seed: int) -> nn.Module:
    """Construct the config's network as it is before any weights are loaded, under a seed.

    The random state of the caller is left as it was; what a compiled network was made of is
    returned.
    """
    return without_wrappers(_construct(config, seed=seed))


def _construct(config: RunConfig, *, seed: int) -> nn.Module:
    # A network may draw its weights where it is to run.
    device = resolve_device(config.keys.device)
    with blamed_on(config, "model"), seeded(seed, device):
        return construct(config, device)


def probe_network(config: RunConfig, network: nn.Module) -> tuple[Reading, WindowPlan, Probe]:
    """Return how images are read for a network, its windows, and what it makes of an empty one.

    Raises:
        OutputChoiceError: it does not return the output that the config chooses.
        WindowError: it cannot take the config's window.
    """
    reading = _reading(config, network)
    with blamed_on(config, "inference"):
        plan = _window_plan(config.keys)
    check_fixed_shape(config, network)
    output = chosen_output(config)
    try:
        return reading, plan, probe_output(network, plan.size, reading.num_channels, output=output)
    except OutputChoiceError:
        with blamed_on(config, "model", "output"):
            raise
    except ModelError:
        with blamed_on(config, "inference"):
            raise


def _has_gradients(
    config: RunConfig, network: nn.Module, plan: WindowPlan, reading: Reading
) -> bool:
    """Tell whether slopes flow back through a closed network; others are as they were written."""
    if capability_of(network).hooks:
        return True
    with blamed_on(config, "model"):
        return try_gradients(network, plan.size, reading.num_channels, output=chosen_output(config))


def _check_mask_files(labels: Labels) -> None:
    """Refuse two labels whose masks would be written to one file."""
    files: dict[str, str] = {}
    for name in labels.foreground if labels.may_overlap else ():
        file = PredictionFiles(Path(), "").mask(name).name
        if file in files:
            raise ConfigError(
                f'labels: the masks of "{files[file]}" and "{name}" would have the same file',
                hint="give one of them another name",
            )
        files[file] = name


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
    return Reading(num_channels, ndim, keys.data.nan == "zero", channels, keys.data.picture_axes)


def _window_plan(keys: Config) -> WindowPlan:
    block = keys.inference
    return WindowPlan(block.window, block.overlap, block.blend, block.slice_axis)
