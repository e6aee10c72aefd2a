"""A config's network: built, its weights loaded, and how windows go through it."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from esegeta.config import RunConfig, blamed_on
from esegeta.config.schema import Config
from esegeta.errors import (
    ConfigError,
    ModelError,
    OutputChoiceError,
    WeightsError,
    WeightsKeyError,
)
from esegeta.model import (
    COMPILED_NOTE,
    LoadedMembers,
    LoadedWeights,
    OutputChoice,
    convolution_signature,
    file_sha256,
    is_compiled,
    load_members,
    load_weights,
    network_sha256,
    open_bundle,
    resolve_device,
    seeded,
    to_single,
    without_wrappers,
)
from esegeta.predict import (
    Probe,
    WindowPlan,
    gradients_flow,
    probe_output,
)
from esegeta.volume import Reading, require_size, usual_max_voxels
from esegeta.workflow.kinds import check_fixed_shape, code_notes, construct, network_file


def chosen_output(config: RunConfig) -> OutputChoice:
    """Return which of the tensors that the config's network returns the logits are."""
    return OutputChoice(config.keys.model.output)


@dataclass(frozen=True, eq=False)
class BuiltNetwork:
    """A config's network with its weights.

    Args:
        network: the network; of an ensemble, the first.
        loaded: what was loaded from its file of weights; None where there is none.
        notes: notes about it for the user.
    """

    network: nn.Module
    loaded: LoadedWeights | None
    notes: tuple[str, ...]


def build_network(config: RunConfig) -> BuiltNetwork:
    """Build the config's network with its weights."""
    keys = config.keys.model
    network = _construct(config, seed=config.keys.seed)  # of what the weights do not set
    notes = [*code_notes(config)]
    if is_compiled(network):
        notes.append(COMPILED_NOTE)
    network = without_wrappers(network)
    converted = to_single(network)
    notes += [converted] if converted else []
    loaded = _load(config, network) if keys.weights_files else None
    if loaded is not None:
        if len(keys.weights_files) == 1:  # of an ensemble all files have notes: load_ensemble
            notes.extend(f"model.weights: {note}" for note in loaded.notes)
    elif keys.kind == "monai":
        notes.append(
            "no model.weights: the network has random weights, so its maps explain nothing"
        )
    return BuiltNetwork(network.eval(), loaded, tuple(notes))


def _load(config: RunConfig, network: nn.Module) -> LoadedWeights:
    keys = config.keys.model
    with blamed_on(config, "model", "weights"):
        path = config.find_file(keys.weights_files[0])
    try:
        return load_weights(network, path, key=keys.weights_key)
    except WeightsKeyError:
        with blamed_on(config, "model", "weights_key"):
            raise
    except OSError:
        with blamed_on(config, "model", "weights"):
            raise
    except WeightsError as error:
        if keys.kind == "nnunet":
            error.hint = (
                "the network was built as the folder's plans.json says; if your own trainer "
            )
            error.hint += "builds another network, use model.kind: module"
        with blamed_on(config, "model"):
            raise


def load_ensemble(config: RunConfig, network: nn.Module) -> LoadedMembers | None:
    """Load the states of all networks of an ensemble; None for a single network."""
    keys = config.keys.model
    files = keys.weights_files
    if len(files) < 2:
        return None
    with blamed_on(config, "model", "weights"):
        return load_members(
            network, [config.find_file(name) for name in files], key=keys.weights_key
        )


def weights_sha256(config: RunConfig, network: nn.Module) -> str | list[str]:
    """Return the SHA-256 of the weights file, of each of an ensemble, or of all parameters."""
    keys = config.keys.model
    hashes = [file_sha256(config.find_file(name)) for name in keys.weights_files]
    if not hashes and keys.path is not None:
        return file_sha256(network_file(config))
    if not hashes:
        return network_sha256(network)
    return hashes if len(hashes) > 1 else hashes[0]


def check_spread(config: RunConfig, plan: WindowPlan) -> None:
    """Refuse a spread over members where there is only one."""
    if config.keys.inference.spread is not None and len(plan.passes) == 1:
        place = config.document.place(("inference", "spread"))
        raise ConfigError(
            f"{place}: inference.spread: there is one network and no mirrored pass, so there "
            "is no spread",
            hint="give model.weights as a list of files, or inference.mirror, or leave spread out",
        )


def construct_network(config: RunConfig, *, seed: int) -> nn.Module:
    """Construct the config's network as it is before any weights are loaded, under a seed.

    The random state of the caller is left as it was; what a compiled network was made of is
    returned.
    """
    network = without_wrappers(_construct(config, seed=seed))
    to_single(network)
    return network


def _construct(config: RunConfig, *, seed: int) -> nn.Module:
    # A network may draw its weights where it is to run.
    device = resolve_device(config.keys.device)
    with blamed_on(config, "model"), seeded(seed, device):
        return construct(config, device)


def probe_network(config: RunConfig, network: nn.Module) -> tuple[Reading, WindowPlan, Probe]:
    """Return how images are read for a network, its windows, and its output for an empty one.

    Raises:
        OutputChoiceError: it does not return the output that the config chooses.
        WindowError: it cannot take the config's window.
    """
    reading = _reading(config, network)
    with blamed_on(config, "inference", "window"):
        require_size(config.keys.inference.window, "inference.window", reading.max_voxels)
    with blamed_on(config, "inference"):
        plan = _window_plan(config.keys)
    check_fixed_shape(config, network)
    output = chosen_output(config)
    try:
        probe = probe_output(network, plan.size, reading.num_channels, output=output)
    except OutputChoiceError:
        with blamed_on(config, "model", "output"):
            raise
    except ModelError:
        with blamed_on(config, "inference"):
            raise
    return reading, replace(plan, coverage=probe.coverage), probe


def has_gradients(
    config: RunConfig, network: nn.Module, plan: WindowPlan, reading: Reading
) -> bool:
    """Tell whether slopes flow back through the network; see `gradients_flow`."""
    with blamed_on(config, "model"):
        return gradients_flow(
            network, plan.size, reading.num_channels, output=chosen_output(config)
        )


def code_sha256(config: RunConfig, network: nn.Module) -> str | None:
    """Return the SHA-256 of the code that a network is made of, or None where there is none.

    That is its own module, and all that were loaded from the config's folder; or a bundle's.
    """
    keys, folder = config.keys.model, config.folder.resolve()
    if keys.kind == "bundle":
        return open_bundle(config.find_file(str(keys.path))).code_sha256()
    if keys.kind != "module":
        return None
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
            f"{len(channels)}, the network takes {num_channels}",
            hint="name each channel that the network takes in data.channels, or leave it out",
        )
    data = keys.data
    return Reading(
        num_channels,
        ndim,
        data.nan == "zero",
        channels,
        data.picture_axes,
        layout=data.layout,
        align=data.align,
        max_voxels=max_voxels(keys),
    )


def max_voxels(keys: Config) -> int:
    """Return how many voxels an image, a window or a network's grid may have."""
    return keys.data.max_voxels or usual_max_voxels()


def _window_plan(keys: Config) -> WindowPlan:
    block = keys.inference
    return WindowPlan(
        block.window,
        block.overlap,
        block.blend,
        block.slice_axis,
        block.padding,
        average=block.average,
        positions=block.positions,
    )
