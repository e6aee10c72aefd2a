"""TorchScript networks: an archive that holds code and weights, and runs its own code."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from esegeta.errors import ModelError
from esegeta.model.checkpoint import reason_of, require_kind


def load_torchscript(path: Path, *, device: torch.device | None = None) -> nn.Module:
    """Read a network that `torch.jit.save` wrote.

    What it runs is TorchScript's own language, which cannot open files or call Python.

    Args:
        path: the file.
        device: device that it is to run on; the constants of a frozen one lie where they are
            loaded.

    Raises:
        ModelError: it is missing, of another kind (which is named), or damaged.
    """
    require_kind(path, "torchscript")
    try:
        with warnings.catch_warnings():
            # Of its deprecation, which whoever has such a file can do nothing about.
            warnings.simplefilter("ignore")
            load: Callable[..., nn.Module] = torch.jit.load
            network = load(path, map_location=device or torch.device("cpu"))
    except Exception as error:  # whatever torch meets in a damaged or newer archive
        raise ModelError(
            f"{path}: torch {torch.__version__} cannot load this TorchScript network "
            f"({reason_of(error)})",
            hint="save it again with torch.jit.save; what torch.jit.optimize_for_inference made "
            "is for one machine",
        ) from error
    return network


def script_convolution(module: nn.Module) -> tuple[int, int] | None:
    """Return (spatial axes, input channels) of a scripted or traced convolution, else None."""
    ndim = {"Conv2d": 2, "Conv3d": 3}.get(getattr(module, "original_name", ""))
    weight = getattr(module, "weight", None) if ndim is not None else None
    if ndim is None or not isinstance(weight, torch.Tensor) or weight.ndim != ndim + 2:
        return None
    groups = getattr(module, "groups", 1)  # a traced one does not know them
    return ndim, int(weight.shape[1]) * (groups if isinstance(groups, int) else 1)
