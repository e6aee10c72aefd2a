"""Networks: by name (MONAI) or class (your own), unwrapped, or cut off at a layer.

A class is code: importing it runs it. Weights are data and are loaded elsewhere, as data only.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esegeta.axes import Shape
from esegeta.errors import LayerError, ModelError, suggest
from esegeta.model.building import of_bounded_size, without_connections
from esegeta.model.export import ExportedNetwork
from esegeta.model.hooks import run_up_to
from esegeta.model.inspection import no_map
from esegeta.model.torchscript import script_convolution
from esegeta.own_classes import classes_of, module_at

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

Fetch = Literal["never", "allowed"]
FETCHED = ("pretrained", "pretrained_url")
"""Arguments of MONAI's networks that make them fetch weights."""

Make = Callable[..., Any]
"""A class, or a function that returns a network."""


def build_monai_network(
    network: str, args: Mapping[str, Any], *, fetch: Fetch = "never"
) -> nn.Module:
    """Build `monai.networks.nets.<network>(**args)`, of a class or of a function such as MedNeXtS.

    What is pretrained by default is built without, for its weights would be fetched.

    Raises:
        ModelError: MONAI has no such network, it does not take these arguments, it needs a
            package that is not installed, or it would fetch something.
    """
    from monai.networks import nets

    makers = _makers(nets)
    if network not in makers:
        raise ModelError(
            f'model.network: MONAI has no network "{network}"', hint=suggest(network, makers)
        )
    name = f"model.network {network}"
    if fetch == "never":
        args = _without_fetching(makers[network], name, args)
    return _construct(makers[network], name, args, fetch)


def _without_fetching(make: Make, name: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
    asked = [key for key in args if key in FETCHED and args[key]]
    if asked:
        raise ModelError(
            f"{name}: args.{asked[0]} would fetch weights from a network",
            hint="name a file of `weights` instead, or write `allow_download: true` next to it",
        )
    known = inspect.signature(make).parameters
    usual = {key: False for key in FETCHED if key in known and known[key].default is True}
    return {**usual, **args}


def build_module_network(
    class_path: str, args: Mapping[str, Any], folder: Path, *, fetch: Fetch = "never"
) -> nn.Module:
    """Import `package.module:Class` and build it; this runs the module's code.

    Args:
        class_path: module and class, with a colon between them; a function that returns a network
            will do as well.
        args: keyword arguments of the class.
        folder: searched for the module first, beside the installed packages.
        fetch: whether it may open connections while it is built.

    Raises:
        ModelError: there is no such module or class, or it cannot be built.
    """
    try:
        module, class_name = module_at(class_path, folder, what="model.class", refusal=ModelError)
    except ModelError as refused:
        error, module_name = refused.__cause__, class_path.partition(":")[0]
        if isinstance(error, ModuleNotFoundError) and error.name:
            package = error.name.partition(".")[0]
            if package != module_name.partition(".")[0]:
                raise _missing_package(f'model.class: module "{module_name}"', package) from error
        raise
    classes = classes_of(module)
    makers: dict[str, Make] = {**classes, **_functions_of(module)}
    if class_name not in makers:
        raise ModelError(
            f'model.class: module {module.__name__} has no class "{class_name}"',
            hint=suggest(class_name, classes or makers),
        )
    return _construct(makers[class_name], f"model.class {class_path}", args, fetch)


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
        if isinstance(module, ExportedNetwork):
            return _exported_signature(module)
        scripted = script_convolution(module)
        if scripted is not None:
            return scripted
        for kind, ndim in ndims:
            if isinstance(module, kind) and isinstance(module.in_channels, int):
                return ndim, module.in_channels
    return None


def _exported_signature(network: ExportedNetwork) -> tuple[int, int] | None:
    _, channels, *lengths = network.shape
    return None if channels is None else (len(lengths), channels)


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


def _construct(make: Make, name: str, args: Mapping[str, Any], fetch: Fetch) -> nn.Module:
    closed = without_connections() if fetch == "never" else nullcontext()
    try:
        with closed, of_bounded_size():
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
        name: name of what failed.
        error: the error that was raised, in Python's or in MONAI's words.

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


RESAMPLING = {1: "linear", 2: "bilinear", 3: "trilinear"}


class UnitNetwork(nn.Module):
    """A network that stops at a layer and returns some of its units, `N K *W`.

    The units' maps are resampled linearly to the voxels of the window that they cover. What lies
    behind the layer is not run. Layers keep the names that they have in the whole network, and the
    modules of this one are those of the whole network: code that hooks or lists them need not know.

    Args:
        network: the whole one, `N C *W` in; it is not changed.
        layer: name of the layer.
        channels: channels of the layer's output, from 0; they become the outputs in this order.
        extent: voxels in the middle of a window that the layer covers; None for all of them.
    """

    def __init__(
        self,
        network: nn.Module,
        layer: str,
        channels: tuple[int, ...],
        extent: Shape | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.layer = layer
        self.channels = channels
        self.extent = extent

    def forward(self, x: Tensor) -> Tensor:
        """Return the units' maps on the voxels of the window."""
        activation = self._activation(x)
        first, last = self.channels[0], self.channels[-1]
        if self.channels == tuple(range(first, last + 1)):
            units = activation[:, first : last + 1]
        else:
            units = activation[:, list(self.channels)]
        # In full precision, also under autocast: as logits are blended.
        units = units.to(x.dtype)
        size = self.extent or tuple(x.shape[2:])
        if tuple(units.shape[2:]) == size:
            return units
        return F.interpolate(units, size=size, mode=RESAMPLING[len(size)], align_corners=False)

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """Yield the modules of the whole network, by the names that they have there."""
        yield from self.network.named_modules(memo, prefix, remove_duplicate)

    def get_submodule(self, target: str) -> nn.Module:
        """Return a module of the whole network by its name there."""
        return self.network.get_submodule(target)

    def _activation(self, x: Tensor) -> Tensor:
        output = run_up_to(self.network, [self.layer], lambda: self.network(x))[self.layer]
        if output.ndim != x.ndim or len(output) != len(x):
            raise no_map(self.layer, tuple(output.shape))
        if torch.is_grad_enabled() and x.requires_grad and not output.requires_grad:
            raise LayerError(
                f'layer "{self.layer}" has no gradient with respect to the input: it runs '
                "under torch.no_grad, or in an autograd function of the network's own, or does not "
                "see the input",
                hint="name another layer",
            )
        return output
