"""Networks by name (MONAI) or by class (your own module).

A class is code: importing it runs it. Weights are data and are loaded elsewhere, as data only.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from esegeta.errors import ModelError, suggest

REFUSALS = (
    AssertionError,
    AttributeError,
    ImportError,  # of a package that only this network needs
    LookupError,
    RuntimeError,  # NotImplementedError is one of them
    TypeError,
    ValueError,
)
"""How constructors refuse arguments."""


def build_monai_network(network: str, args: Mapping[str, Any]) -> nn.Module:
    """Build `monai.networks.nets.<network>(**args)`.

    Raises:
        ModelError: MONAI has no such network, or it does not take these arguments.
    """
    from monai.networks import nets

    classes = {
        name: item
        for name, item in vars(nets).items()
        if isinstance(item, type) and issubclass(item, nn.Module)
    }
    if network not in classes:
        raise ModelError(
            f'model.network: MONAI has no network "{network}"', hint=suggest(network, classes)
        )
    return _construct(classes[network], f"model.network {network}", args)


def build_module_network(class_path: str, args: Mapping[str, Any], folder: Path) -> nn.Module:
    """Import `package.module:Class` and build it; this runs the module's code.

    Args:
        class_path: module and class, with a colon between them.
        args: keyword arguments of the class.
        folder: searched for the module first, beside the installed packages.

    Raises:
        ModelError: there is no such module or class, or it cannot be built.
    """
    module_name, _, class_name = class_path.partition(":")
    if not module_name or not class_name:
        raise ModelError(
            f'model.class: "{class_path}" names no class', hint='write "package.module:Class"'
        )
    make_importable(folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ModelError(
            f'model.class: no module "{module_name}" ({error})',
            hint=f"put it beside the config ({folder}) or install it",
        ) from error
    except Exception as error:
        raise ModelError(
            f'model.class: importing "{module_name}" fails: {type(error).__name__}: {error}',
            hint=f"fix the module; `python -c 'import {module_name}'` shows where",
        ) from error
    classes = {name: item for name, item in vars(module).items() if isinstance(item, type)}
    if class_name not in classes:
        raise ModelError(
            f'model.class: module {module_name} has no class "{class_name}"',
            hint=suggest(class_name, classes),
        )
    return _construct(classes[class_name], f"model.class {class_path}", args)


def convolution_signature(network: nn.Module) -> tuple[int, int] | None:
    """Return (spatial axes, input channels) of the first convolution, or None without one."""
    ndims: tuple[tuple[type[nn.Module], int], ...] = ((nn.Conv2d, 2), (nn.Conv3d, 3))
    for module in network.modules():
        for kind, ndim in ndims:
            if isinstance(module, kind) and isinstance(module.in_channels, int):
                return ndim, module.in_channels
    return None


def _construct(kind: type, name: str, args: Mapping[str, Any]) -> nn.Module:
    try:
        network = kind(**args)
    except REFUSALS as error:
        raise ModelError(
            f"{name}: cannot be built with these args ({error})", hint="check model.args"
        ) from error
    if not isinstance(network, nn.Module):
        raise ModelError(f"{name}: a {kind.__name__} is not a torch.nn.Module")
    return network.eval()


def make_importable(folder: Path) -> None:
    """Let modules of a folder be found first; for good, since networks import as they run too."""
    entry = str(folder)
    if entry not in sys.path:
        sys.path.insert(0, entry)
