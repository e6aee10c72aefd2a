"""Networks of nnU-Net v2, built from their plans without nnunetv2.

Only classes of `dynamic_network_architectures`, and of torch.nn among their arguments, are
looked up: plans are data, and name nothing else that could be run.
"""

from __future__ import annotations

import importlib.util
import pkgutil
from collections.abc import Mapping
from typing import Any

from torch import nn

from esegeta.errors import ModelError, suggest
from esegeta.model.network import REFUSALS, require_packages

PACKAGE = "dynamic_network_architectures"
NETWORKS = f"{PACKAGE}.architectures"
BUILDING_BLOCKS = ("torch.nn", PACKAGE)
"""Packages that arguments of a network may name classes of."""


def build_nnunet_network(class_path: str, args: Mapping[str, Any]) -> nn.Module:
    """Build a network of plans; convolutions, norms and their like are named by dotted paths.

    Args:
        class_path: such as `dynamic_network_architectures.architectures.unet.PlainConvUNet`; a
            class that has moved is found by its name.
        args: keyword arguments, with `input_channels` and `num_classes`.

    Raises:
        ModelError: there is no such class, it does not take these arguments, or the package is
            not installed.
    """
    make = _network_class(class_path)
    try:
        network = make(**{key: _class_of(key, value) for key, value in args.items()})
    except REFUSALS as error:
        require_packages(f"plans.json: {class_path}", error)
        raise ModelError(
            f"plans.json: {class_path} cannot be built with its arch_kwargs ({error})",
            hint=f"was it planned for another version of {PACKAGE}?",
        ) from error
    if not isinstance(network, nn.Module):
        raise ModelError(f"plans.json: {class_path} is not a torch.nn.Module")
    initialize = getattr(network, "initialize", None)
    if callable(initialize):
        # What the training starts from, and so does a retraining.
        network.apply(initialize)
    return network.eval()


def _network_class(class_path: str) -> type:
    if importlib.util.find_spec(PACKAGE) is None:
        raise ModelError(
            f'kind: nnunet needs the package "{PACKAGE}", which is not installed',
            hint=f'pip install "{PACKAGE}<0.4"; from 0.4 on it requires timm, which requires a '
            "torchvision that may replace your torch",
        )
    module_path, _, name = class_path.rpartition(".")
    found = _member(module_path, name) if _is_inside(module_path, PACKAGE) else None
    if isinstance(found, type):
        return found
    known = _architectures()
    if name not in known:
        raise ModelError(
            f'plans.json: network class "{class_path}" is not one of {PACKAGE}',
            hint=f"{suggest(name, known)} For a class of your own, use model.kind: module",
        )
    return known[name]


def _architectures() -> dict[str, type]:
    """Return the networks of the package by name; those that need other packages may be missing."""
    package = importlib.import_module(NETWORKS)
    found: dict[str, type] = {}
    for entry in pkgutil.iter_modules(package.__path__):
        path = f"{NETWORKS}.{entry.name}"
        try:
            module = importlib.import_module(path)
        except ImportError:
            continue
        own = {
            name: item
            for name, item in vars(module).items()
            if isinstance(item, type) and issubclass(item, nn.Module) and item.__module__ == path
        }
        found.update(own)
    return found


def _class_of(key: str, value: Any) -> Any:
    """Return the class that an argument names by a dotted path; other values as they are."""
    if isinstance(value, dict):
        return {name: _class_of(f"{key}.{name}", item) for name, item in value.items()}
    if not isinstance(value, str) or "." not in value:
        return value
    module_path, _, name = value.rpartition(".")
    inside = any(_is_inside(module_path, package) for package in BUILDING_BLOCKS)
    found = _member(module_path, name) if inside else None
    if not isinstance(found, type):
        raise ModelError(
            f'plans.json: arch_kwargs.{key}: "{value}" is not a class of '
            f"{' or '.join(BUILDING_BLOCKS)}",
            hint="for a network with parts of your own, use model.kind: module",
        )
    return found


def _is_inside(module_path: str, package: str) -> bool:
    return module_path == package or module_path.startswith(f"{package}.")


def _member(module_path: str, name: str) -> Any:
    try:
        module = importlib.import_module(module_path)
    except ModuleNotFoundError as error:
        missing = str(error.name)
        if not _is_inside(missing, PACKAGE) and not _is_inside(module_path, missing):
            require_packages(f"plans.json: {module_path}.{name}", error)
        return None
    return getattr(module, name, None)
