"""How many windows go through a network at a time: as many as fit into what memory there is.

    peak = held by now + volumes + slabs + batch * window

`batch_size: auto` takes what is free, `memory_gb: N` promises that the peak stays below N: what
cannot be done in it is refused before anything runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import torch

from esegeta.config import blamed_on
from esegeta.errors import ConfigError, is_out_of_memory
from esegeta.explain.cost import measure
from esegeta.model import held_still, only_batch
from esegeta.predict import Predictor, empty_window
from esegeta.predict.slabs import slab_axis
from esegeta.workflow.memory import free_bytes, held_bytes, limit_memory, release_heap

if TYPE_CHECKING:
    from esegeta.workflow.build import Basis

OfAnyKind = TypeVar("OfAnyKind", bound=Predictor)

GB = 1e9
MIB = 2**20
FLOAT32 = 4
SHARE = 0.8
"""Share of the free memory that `auto` takes."""

HELD_SHARE = 0.125
"""Share of `memory_gb` up to which a whole prediction is held."""

MOST = {"cpu": 4, "other": 32}
"""Most windows at a time: a processor is busy with few of them."""

VOLUMES = 8
"""Buffers of one channel of the volume that lie beside each other, and two for each channel."""

CURVED_SLABS = 1.5
"""What is held of the prediction for a target that is not linear, in slabs."""

WHOLE = 3
"""Predictions of the volume that lie beside each other where a method needs all of it."""

ROLLING = ("gradient", "null")
"""Families of methods that form slopes of curved targets slab by slab."""


@dataclass(frozen=True)
class Room:
    """What a run takes at a time, in bytes.

    Args:
        held: by the process before it starts: libraries, networks.
        volumes: image, gradient, masks and their like, of the largest case.
        slabs: what is held of the prediction.
        window: one window, there and back, with its logits.
        batch: windows at a time.
    """

    held: float
    volumes: float
    slabs: float
    window: float
    batch: int

    @property
    def peak(self) -> float:
        """All of it together."""
        return self.held + self.volumes + self.slabs + self.batch * self.window

    def batch_within(self, limit: float) -> int:
        """Return how many windows fit into a limit; 0 where none does."""
        return max(0, math.floor((limit - replace(self, batch=0).peak) / self.window))

    def words(self) -> str:
        """Return what it is made of, for a message."""
        parts = {
            "held by libraries and network": self.held,
            "volumes": self.volumes,
            "predictions": self.slabs,
            "per window": self.window,
        }
        return ", ".join(f"{size / GB:.2g} GB {name}" for name, size in parts.items())


def fitted(basis: Basis) -> Basis:
    """Return the same with the batch size that `auto` and `memory_gb` come to, and notes on it.

    Raises:
        ConfigError: not even one window at a time stays within `memory_gb`; says what it takes.
    """
    keys = basis.config.keys.inference
    if keys.batch_size != "auto" and keys.memory_gb is None:
        return basis
    predictor, notes = basis.predictor, []
    if keys.memory_gb is not None:
        most_mb = HELD_SHARE * keys.memory_gb * GB / MIB
        predictor = replace(predictor, held_mb=min(predictor.held_mb, most_mb))
        limit_memory(basis.device, keys.memory_gb * GB)
    basis = replace(basis, predictor=predictor)
    room = room_of(basis)
    if keys.batch_size == "auto":
        limit = room.held + SHARE * free_bytes(basis.device)
        limit = limit if keys.memory_gb is None else min(limit, keys.memory_gb * GB)
        room = replace(room, batch=_batch_of(predictor, room, limit, basis.device))
        notes.append(f"inference.batch_size: {_auto_words(room)}")
        basis = replace(basis, predictor=replace(predictor, batch_size=room.batch))
    _require_room(basis, room)
    return replace(basis, notes=(*basis.notes, *notes))


def fitted_alone(predictor: OfAnyKind, num_channels: int) -> tuple[OfAnyKind, str]:
    """Return a predictor whose batch size fits into what is free now, and a note on it.

    No image is known yet: of volumes nothing is reckoned, of a prediction the most that is held.

    Args:
        predictor: model, with any batch size.
        num_channels: channels of its input.
    """
    device = empty_window(predictor.network, predictor.plan.size, num_channels).device
    window = window_bytes(predictor, num_channels)
    room = Room(held_bytes(device), 0.0, predictor.held_mb * MIB, window, 1)
    limit = room.held + SHARE * free_bytes(device)
    room = replace(room, batch=_batch_of(predictor, room, limit, device))
    return replace(predictor, batch_size=room.batch), f"batch_size: {_auto_words(room)}"


def _batch_of(predictor: Predictor, room: Room, limit: float, device: torch.device) -> int:
    """Return how many windows go at a time: as many as fit, unless the network takes one number."""
    most = MOST.get(device.type, MOST["other"])
    return only_batch(predictor.network) or max(1, min(most, room.batch_within(limit)))


def _auto_words(room: Room) -> str:
    windows = "window" if room.batch == 1 else "windows"
    return f"auto: {room.batch} {windows} at a time ({room.words()})"


def _require_room(basis: Basis, room: Room) -> None:
    """Refuse what does not stay within `memory_gb`.

    Raises:
        ConfigError: it takes more; says about how much.
    """
    keys = basis.config.keys.inference
    if keys.memory_gb is None or room.peak <= keys.memory_gb * GB:
        return
    fits = room.batch_within(keys.memory_gb * GB)
    smaller = f"batch_size: {fits} fits" if fits else "take a smaller window, or precision: bf16"
    windows = "window" if room.batch == 1 else "windows"
    with blamed_on(basis.config, "inference", "memory_gb"):
        raise ConfigError(
            f"inference.memory_gb: about {room.peak / GB:.3g} GB are needed with {room.batch} "
            f"{windows} at a time, but {keys.memory_gb:g} are allowed ({room.words()})",
            hint=f"{smaller}, or allow more",
        )


def room_of(basis: Basis) -> Room:
    """Return about what a run takes at a time; one window goes through the network and back."""
    predictor, channels = basis.predictor, basis.reading.num_channels
    held = held_bytes(basis.device)
    window = window_bytes(predictor, channels)
    volumes = slabs = 0.0
    for grid in basis.network_grids().values():
        voxels = math.prod(grid.shape)
        volumes = max(volumes, voxels * FLOAT32 * (VOLUMES + 2 * channels))
        slabs = max(slabs, slab_bytes(predictor, grid.shape) * _slabs_of(basis, grid.shape))
    return Room(held, volumes, slabs, window, predictor.batch_size)


def window_bytes(predictor: Predictor, num_channels: int) -> float:
    """Return what one window takes there and back: measured, workspaces included.

    Raises:
        RuntimeError: the network cannot be run.
    """
    network, plan = predictor.network, predictor.plan
    window = empty_window(network, plan.size, num_channels)
    device = window.device
    logits = predictor.labels.num_outputs * math.prod(plan.size) * FLOAT32
    release_heap()
    before = held_bytes(device)
    try:
        with measure(device) as meter, held_still(network), torch.enable_grad():
            found = predictor.output.of(network(window.requires_grad_(predictor.gradients)))
            if predictor.gradients and found is not None:
                torch.autograd.grad(found.sum(), window)
            del found
    except RuntimeError as error:
        if is_out_of_memory(error):
            return float("inf")
        raise
    # What the allocator held before may have been used again: never less than the logits, twice.
    return max(meter.peak_memory_mb * MIB - before, 2.0 * logits)


def slab_bytes(predictor: Predictor, shape: tuple[int, ...]) -> float:
    """Return what is held of the prediction of a volume at a time, of all networks."""
    if predictor.holds(shape):
        return predictor.labels.num_outputs * math.prod(shape) * FLOAT32
    windows = predictor.plan.lay(shape)
    axis = slab_axis(windows)
    lengths = [*windows.padded_shape]
    lengths[axis] = windows.output[axis]
    return predictor.labels.num_outputs * windows.num_blends * math.prod(lengths) * FLOAT32


def _slabs_of(basis: Basis, shape: tuple[int, ...]) -> float:
    """Return how many slabs, or whole predictions, lie beside each other for a basis's targets."""
    predictor = basis.predictor
    if not any(_is_curved(basis)):
        return 1.0
    if predictor.holds(shape):
        return WHOLE
    if all(method.traits.family in ROLLING for method in basis.config.methods.values()):
        return CURVED_SLABS
    whole = predictor.labels.num_outputs * math.prod(shape) * FLOAT32
    return WHOLE * whole / slab_bytes(predictor, shape)


def _is_curved(basis: Basis) -> list[bool]:
    """Return of each entry of targets whether it may not be linear in the logits."""
    return [
        one.of not in ("logit", "unit") or one.mask == "live" for one in basis.config.keys.targets
    ]
