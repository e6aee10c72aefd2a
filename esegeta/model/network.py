"""Networks by name (MONAI) or by class (your own module), and out of what wraps them.

A class is code: importing it runs it. Weights are data and are loaded elsewhere, as data only.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FunctionType, ModuleType
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


INSTALLED_AS = {
    "PIL": "pillow",
    "cv2": "opencv-python",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Packages whose name for pip is not the one that is imported."""

COMPILED = "_orig_mod"
"""Where torch.compile keeps the module that it compiled."""

COMPILED_NOTE = "the network is compiled; it runs as it was written, so that layers can be watched"

Make = Callable[..., Any]
"""A class, or a function that returns a network."""


def build_monai_network(network: str, args: Mapping[str, Any]) -> nn.Module:
    """Build `monai.networks.nets.<network>(**args)`, of a class or of a function such as MedNeXtS.

    Raises:
        ModelError: MONAI has no such network, it does not take these arguments, or it needs a
            package that is not installed.
    """
    from monai.networks import nets

    makers = _makers(nets)
    if network not in makers:
        raise ModelError(
            f'model.network: MONAI has no network "{network}"', hint=suggest(network, makers)
        )
    return _construct(makers[network], f"model.network {network}", args)


def build_module_network(class_path: str, args: Mapping[str, Any], folder: Path) -> nn.Module:
    """Import `package.module:Class` and build it; this runs the module's code.

    Args:
        class_path: module and class, with a colon between them; a function that returns a network
            will do as well.
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
        package = str(error.name).partition(".")[0]
        if error.name and package != module_name.partition(".")[0]:
            raise _missing_package(f'model.class: module "{module_name}"', package) from error
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
    makers: dict[str, Make] = {**classes, **_functions_of(module)}
    if class_name not in makers:
        raise ModelError(
            f'model.class: module {module_name} has no class "{class_name}"',
            hint=suggest(class_name, classes or makers),
        )
    return _construct(makers[class_name], f"model.class {class_path}", args)


def without_wrappers(network: nn.Module) -> nn.Module:
    """Return the network that torch.compile or a (distributed) data parallel wraps, or itself.

    Its layers go by the names that they have in it, and hooks see them run.
    """
    while True:
        inner = _wrapped_in(network)
        if inner is None:
            return network
        network = inner


def is_compiled(network: nn.Module) -> bool:
    """Tell whether a network, or a part of it, goes through torch.compile."""
    return any(
        getattr(module, "_compiled_call_impl", None) is not None or COMPILED in module._modules
        for module in network.modules()
    )


def _wrapped_in(network: nn.Module) -> nn.Module | None:
    if COMPILED in network._modules:
        return network._modules[COMPILED]
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    return network.module if isinstance(network, parallel) else None


def convolution_signature(network: nn.Module) -> tuple[int, int] | None:
    """Return (spatial axes, input channels) of the first convolution, or None without one."""
    ndims: tuple[tuple[type[nn.Module], int], ...] = ((nn.Conv2d, 2), (nn.Conv3d, 3))
    for module in network.modules():
        for kind, ndim in ndims:
            if isinstance(module, kind) and isinstance(module.in_channels, int):
                return ndim, module.in_channels
    return None


def _makers(module: ModuleType) -> dict[str, Make]:
    """Return the networks of a module of MONAI by name: classes, and functions that return one."""
    classes = {
        name: item
        for name, item in vars(module).items()
        if isinstance(item, type) and issubclass(item, nn.Module)
    }
    makers: dict[str, Make] = {**classes}
    for name, function in _functions_of(module).items():
        returned = inspect.signature(function).return_annotation
        is_known = returned is inspect.Signature.empty or returned in classes
        if is_known and not name.startswith("get_"):
            makers[name] = function
    return makers


def _functions_of(module: ModuleType) -> dict[str, Make]:
    return {
        name: item
        for name, item in vars(module).items()
        if isinstance(item, FunctionType) and not name.startswith("_")
    }


def _construct(make: Make, name: str, args: Mapping[str, Any]) -> nn.Module:
    try:
        network = make(**args)
    except REFUSALS as error:
        require_packages(name, error)
        raise ModelError(
            f"{name}: cannot be built with these args ({error})", hint="check model.args"
        ) from error
    if not isinstance(network, nn.Module):
        what = make.__name__ if isinstance(make, type) else type(network).__name__
        raise ModelError(f"{name}: a {what} is not a torch.nn.Module")
    return network.eval()


def require_packages(name: str, error: Exception) -> None:
    """Refuse a network that fails because a package is not installed, and name it.

    Args:
        name: what failed.
        error: what it raised, in Python's or in MONAI's words.

    Raises:
        ModelError: the error is about a package.
    """
    found = re.search(r"No module named '(\w+)", str(error))
    if isinstance(error, ImportError) and found:
        raise _missing_package(name, found[1]) from error


def _missing_package(name: str, package: str) -> ModelError:
    return ModelError(
        f'{name}: needs the package "{package}", which is not installed',
        hint=f"pip install {INSTALLED_AS.get(package, package)}",
    )


def make_importable(folder: Path) -> None:
    """Let modules of a folder be found first; for good, since networks import as they run too."""
    entry = str(folder)
    if entry not in sys.path:
        sys.path.insert(0, entry)
