"""From any network, or an ensemble of them, to a model that explainers take."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from esegeta.api.model import SegmentationModel
from esegeta.errors import ConfigError, EsegetaError, name_differently, suggest
from esegeta.model import (
    COMPILED_NOTE,
    Activation,
    Labels,
    LabelsGiven,
    OutputChoice,
    State,
    convolution_signature,
    from_program,
    is_compiled,
    join_members,
    load_members,
    require_batch,
    require_finite_parameters,
    require_window,
    resolve_devices,
    to_single,
    without_wrappers,
)
from esegeta.model.label_forms import OrderEntry
from esegeta.predict import (
    Average,
    Blend,
    Copies,
    Padding,
    Placing,
    Precision,
    WindowPlan,
    gradients_flow,
    list_passes,
    notes_on,
    probe_output,
    require_same_function,
)
from esegeta.workflow.room import fitted_alone

AUTO = "auto"


def load_model(
    network: nn.Module | torch.export.ExportedProgram | Sequence[nn.Module],
    *,
    window: Sequence[int],
    labels: LabelsGiven,
    overlap: float = 0.5,
    blend: Blend = "gaussian",
    activation: Activation = "softmax",
    region_order: Sequence[OrderEntry] | None = None,
    ignore_label: int | None = None,
    threshold: float | Mapping[str, float] | None = None,
    postprocessing: Mapping[str, Any] | None = None,
    weights: str | Path | Sequence[str | Path] | None = None,
    weights_key: str | None = None,
    output: int | str | None = None,
    batch_size: int | Literal["auto"] = 1,
    precision: Precision = "fp32",
    device: str = "auto",
    in_channels: int | None = None,
    slice_axis: int = 2,
    padding: Padding = "zeros",
    mirror: Sequence[int] = (),
    average: Average = "logits",
    positions: Placing = "fixed",
) -> SegmentationModel:
    """Wrap any segmentation network for explanation, or an ensemble of one architecture.

    Args:
        network: module from `B C *S` to logits `B L *S`, or several; TorchScript or exported too.
        window: lengths of the input; two for a 2D network. Outputs may be smaller.
        labels: name of each label integer, or the integers of each name: `{"core": [1, 4], ...}`.
        overlap: overlap of neighbouring windows, in [0, 1).
        blend: `gaussian` or `constant`, or `nnunet`, its Gaussian without a floor.
        activation: `softmax` or `sigmoid`.
        region_order: labels in the order in which they are painted, so that later ones win; or the
            integers that they paint, as nnU-Net's `regions_class_order`.
        ignore_label: integer that marks voxels of unknown label in a ground truth.
        threshold: probability above which labels are predicted under sigmoid: one, or by label.
        postprocessing: steps by label: `keep_largest`, `min_volume_ml` and `fill_holes`.
        weights: safetensors or checkpoint to load first; several for an ensemble of folds.
        weights_key: key of the weights in the checkpoint, such as `ema.state`.
        output: index, key or attribute of the logits, where the network returns several tensors.
        batch_size: number of windows at a time; `auto`: as many as fit into free memory.
        precision: fp32, bf16 or fp16.
        device: auto, cpu, cuda or cuda:1; of `cuda:0,cuda:1` each takes a part of the windows.
        in_channels: number of input channels, where the first convolution does not tell.
        slice_axis: axis along which a 2D network goes through a volume.
        padding: what windows see outside the image: `zeros`, its `edge`, or `reflect`.
        mirror: axes to mirror; windows are predicted once for every subset of them.
        average: what mirrored passes and networks average: `logits` or `probabilities`.
        positions: how windows are placed: `fixed` steps, as in MONAI, or `even`, as in nnU-Net.

    Raises:
        ConfigError: an argument is not known, or does not fit the network.
        DeviceError: the device is not there.
        ModelError: the network cannot run, or cannot take the window or the weights.
    """
    for key, word, words in (
        ("activation", activation, get_args(Activation)),
        ("precision", precision, get_args(Precision)),
    ):
        if word not in words:
            raise ConfigError(f'{key}: "{word}" is not known', hint=suggest(word, words))
    size = _window_of(window)
    at_a_time = _batch_of(batch_size)
    place, *further = resolve_devices(device)
    several = _networks_of(network)
    given = [
        from_program(one, device=place) if isinstance(one, torch.export.ExportedProgram) else one
        for one in several
    ]
    notes = [COMPILED_NOTE] if any(is_compiled(one) for one in given) else []
    networks = [without_wrappers(one).to(place) for one in given]
    notes += dict.fromkeys(filter(None, [to_single(one) for one in networks]))
    network = networks[0]
    states, said = _load(networks, weights, weights_key)
    notes += said
    passes = list_passes(mirror, max(1, len(states)))
    signature = convolution_signature(network)
    channels = in_channels or (signature[1] if signature is not None else 1)
    chosen = OutputChoice(output)
    with _keys_as_arguments():
        plan = WindowPlan(
            size,
            overlap,
            blend,
            slice_axis,
            padding,
            passes=passes,
            average=average,
            positions=positions,
        )
        require_window(network, plan.size)
        if batch_size != AUTO:
            require_batch(network, at_a_time)
        probe = probe_output(network, plan.size, channels, output=chosen)
    plan = replace(plan, coverage=probe.coverage)
    found = Labels.of(
        labels,
        activation,
        probe.num_outputs,
        region_order=region_order,
        ignore_label=ignore_label,
        threshold=threshold,
        postprocessing=postprocessing,
    )
    if len(networks) > 1:
        generator = torch.Generator().manual_seed(0)
        trial = torch.randn((1, channels, *plan.size), generator=generator).to(place)
        require_same_function(networks, states, _names(networks), trial, output=chosen)
    model = SegmentationModel(
        network,
        plan,
        found,
        at_a_time,
        precision,
        output=chosen,
        states=states,
        gradients=gradients_flow(network, plan.size, channels, output=chosen),
        copies=Copies.on(further, network),
    )
    if batch_size == AUTO:
        model, fits = fitted_alone(model, channels)
        notes.append(fits)
    return replace(model, notes=(*notes, *notes_on(model, probe, channels)))


@contextmanager
def _keys_as_arguments() -> Iterator[None]:
    """Name arguments of `load_model` in errors, where the keys of a config are named."""
    try:
        yield
    except EsegetaError as error:
        channels = "model.args (in_channels, spatial_dims), data.channels"
        name_differently(error, channels, "in_channels")
        for argument in inspect.signature(load_model).parameters:
            name_differently(error, f"inference.{argument}", argument)
        raise


def _batch_of(given: object) -> int:
    """Return how many windows go at a time, 1 for `auto` until that is found; or refuse it."""
    if given == AUTO:
        return 1
    if isinstance(given, bool) or not isinstance(given, Integral):
        raise ConfigError(
            f"batch_size: should be a whole number or auto (found {given!r})",
            hint='give a number of windows, such as 2, or "auto"',
        )
    if given < 1:
        raise ConfigError(f"batch_size: must be at least 1 (found {given})")
    return int(given)


def _window_of(window: object) -> tuple[int, ...]:
    """Return the lengths of a window, or refuse what is not a list of whole numbers."""
    lengths = tuple(window) if isinstance(window, Sequence) else ()
    if not lengths or not all(isinstance(length, Integral) for length in lengths):
        raise ConfigError(
            f"window: should be a list of whole numbers (found {window!r})",
            hint="give one length per axis, such as (64, 64, 64)",
        )
    return tuple(int(length) for length in lengths)


def _networks_of(given: Any) -> list[nn.Module | torch.export.ExportedProgram]:
    """Return the networks that are given, or refuse what is none."""
    several = list(given) if isinstance(given, (list, tuple)) else [given]
    for one in several:
        if not isinstance(one, (nn.Module, torch.export.ExportedProgram)):
            raise ConfigError(
                f"network: should be a torch.nn.Module (found {one!r})",
                hint="a folder or a file is loaded by load_nnunet or load_bundle",
            )
    if not several:
        raise ConfigError("network: the list is empty", hint="give at least one network")
    return several


def _load(
    networks: Sequence[nn.Module],
    weights: str | Path | Sequence[str | Path] | None,
    key: str | None,
) -> tuple[tuple[State, ...], list[str]]:
    """Load weights; return the states of an ensemble's networks, and notes for the user."""
    if weights is None:
        for network in networks:  # others are looked at when they are loaded
            require_finite_parameters(network)
        return join_members(networks, _names(networks)), []
    files = [weights] if isinstance(weights, (str, Path)) else list(weights)
    if not files:
        raise ConfigError(
            "weights: the list names no file", hint="name at least one file, or leave weights out"
        )
    if len(networks) > 1:
        word = "1 file" if len(files) == 1 else f"{len(files)} files"
        raise ConfigError(
            f"weights: {word} of weights for {len(networks)} networks",
            hint="give one network and the files of its folds, or networks with their weights",
        )
    loaded = load_members(networks[0], [Path(file) for file in files], key=key)
    return loaded.states, list(loaded.notes)


def _names(networks: Sequence[nn.Module]) -> list[str]:
    return [f"network[{number}]" for number in range(len(networks))]
