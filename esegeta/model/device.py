"""Where and how a network runs: device, full float32, held still, seeded; all is restored."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from esegeta.errors import DeviceError
from esegeta.model.checkpointing import with_any_gradient
from esegeta.model.members import Held

FULL_FLOAT32 = "ieee"

DEVICE_TYPES = ("cpu", "cuda")
"""What a config may ask for."""


@contextmanager
def full_float32() -> Iterator[None]:
    """Keep convolutions and products on CUDA in full float32 instead of TF32's ten bits.

    TF32 is torch's default for convolutions; its error would be a thousand times that of the
    exact gradient. The settings are as before on leaving.
    """
    backends: Any = torch.backends
    switches = [backends.cudnn.conv, backends.cuda.matmul]
    before = [switch.fp32_precision for switch in switches]
    try:
        for switch in switches:
            switch.fp32_precision = FULL_FLOAT32
        yield
    finally:
        for switch, precision in zip(switches, before, strict=True):
            switch.fp32_precision = precision


def uncompiled() -> AbstractContextManager[object]:
    """Run code that torch.compile has compiled as it was written, so that layers can be watched.

    Without it a part that is compiled would run past the hooks of its layers.
    """
    # Loading the compiler takes seconds; where nothing has, nothing is compiled.
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance


@contextmanager
def held_still(network: nn.Module) -> Iterator[nn.Module]:
    """Hold a network in eval mode with its parameters out of the graph and TF32 switched off.

    Compiled parts of it run as they were written. Parameters that need no gradient let
    convolutions drop the input they would keep for their weights' gradient. Train flags,
    `requires_grad`, and the tensors that the network holds, are as before on leaving, also after
    an exception.
    """
    own = Held.of(network)
    # A frozen TorchScript network has no flag.
    flags = [(module, module.training) for module in own.modules if hasattr(module, "training")]
    learning = [tensor for tensor in own.parameters if tensor.requires_grad]
    try:
        _set_flags((module, False) for module, _ in flags)
        for parameter in learning:
            parameter.requires_grad_(False)
        with full_float32(), uncompiled(), with_any_gradient():
            yield network
    finally:
        own.put_back()
        _set_flags(flags)
        for parameter in learning:
            parameter.requires_grad_(True)


def _set_flags(flags: Iterable[tuple[nn.Module, bool]]) -> None:
    for module, flag in flags:
        if module.training != flag:  # setting an attribute of a module is slow
            module.training = flag


def resolve_devices(names: str) -> tuple[torch.device, ...]:
    """Turn `cuda:0,cuda:1`, or a single one, into devices that exist.

    Raises:
        DeviceError: one is not there, is named twice, or is left to be found beside others.
    """
    words = [word.strip() for word in names.split(",")]
    if len(words) > 1 and "auto" in words:
        raise DeviceError(
            f'device: "auto" among several ({names})', hint="name each: [cuda:0, cuda:1]"
        )
    found = tuple(resolve_one(word) for word in words)
    places = [(one.type, one.index or 0) for one in found]
    if len(set(places)) < len(places):
        raise DeviceError(f"device: {names} names a device twice", hint="name each once")
    return found


def resolve_device(names: str) -> torch.device:
    """Return the first of some devices, which holds volumes and their buffers.

    Raises:
        DeviceError: see `resolve_devices`.
    """
    return resolve_devices(names)[0]


def resolve_one(name: str) -> torch.device:
    """Turn auto | cpu | cuda | cuda:1 into a device that exists.

    Raises:
        DeviceError: CUDA was asked for and is not available, or has fewer devices.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(
            f'device: "{name}" is not a device', hint="use auto, cpu, cuda or cuda:1"
        ) from error
    if device.type not in DEVICE_TYPES:
        raise DeviceError(f'device: "{name}" is not supported', hint="use auto, cpu, cuda, cuda:1")
    if device.type == "cpu":
        return device
    devices, kind = torch.get_device_module(device), device.type.upper()
    if not devices.is_available():
        raise DeviceError(
            f"device: {name} was asked for, but torch {torch.__version__} finds no {kind}",
            hint=f"use `device: auto` or cpu, or install a {kind} build of torch",
        )
    if (device.index or 0) >= devices.device_count():
        raise DeviceError(
            f"device: {name} was asked for, but there are {devices.device_count()} devices"
        )
    return device


HOST = torch.device("cpu")


def modules_in_use() -> list[Any]:
    """Return torch's modules of the kinds of accelerators that this process has computed on."""
    modules = [torch.get_device_module(kind) for kind in DEVICE_TYPES if kind != HOST.type]
    return [module for module in modules if module.is_initialized()]


@contextmanager
def seeded(seed: int, device: torch.device = HOST) -> Iterator[None]:
    """Seed torch's own generators of the host and one device; states are restored on leaving.

    `torch.manual_seed` would seed those of all devices, and nothing would restore them.
    """
    devices = [] if device.type == HOST.type else [device]
    with torch.random.fork_rng(devices=devices, device_type=device.type):
        torch.default_generator.manual_seed(seed)
        for one in devices:
            module = torch.get_device_module(one)
            with module.device(one):
                module.manual_seed(seed)
        yield
