"""Where the network runs."""

from __future__ import annotations

import torch

from esegeta.errors import DeviceError


def resolve_device(name: str) -> torch.device:
    """Turn auto | cpu | cuda | cuda:1 into a device that is there.

    Raises:
        DeviceError: CUDA was asked for and is not there, or has fewer devices.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(
            f'device: "{name}" is not a device', hint="use auto, cpu, cuda or cuda:1"
        ) from error
    if device.type not in ("cpu", "cuda"):
        raise DeviceError(f'device: "{name}" is not supported', hint="use auto, cpu, cuda, cuda:1")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            f"device: {name} was asked for, but torch {torch.__version__} finds no CUDA",
            hint="use `device: auto` or cpu, or install a CUDA build of torch",
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"device: {name} was asked for, but there are {torch.cuda.device_count()} devices"
        )
    return device
