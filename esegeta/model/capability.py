"""What can be done with a network: gradients, watching its layers, training it anew, any window.

A network that is read from a file of its own, a TorchScript archive or an exported program, is one
closed function. It has gradients, but its layers cannot be watched, and what happens in them on
the way back cannot be rewritten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from esegeta.axes import Shape, shape_text
from esegeta.errors import ModelError, WindowError
from esegeta.model.export import ExportedNetwork, is_program

KINDS: Mapping[str, str] = {
    "torchscript": "a TorchScript network",
    "export": "an exported program",
    "module": "a network in Python",
    "pickle": "a pickled network",
}
"""What networks are, and what they are called in sentences."""


@dataclass(frozen=True)
class Capability:
    """What can be done with a network.

    Args:
        kind: a key of `KINDS`.
        gradients: whether slopes flow from its outputs back to its input.
        hooks: whether its layers can be watched and changed while it runs.
        retrainable: whether it can be built anew with other weights, and trained.
        batchable: whether it takes any number of windows at a time.
        batch: the number of windows that it takes otherwise, or None.
        fixed_shape: the only window that it takes, with None for lengths that are free; None where
            it is not known.
    """

    kind: str
    gradients: bool = True
    hooks: bool = True
    retrainable: bool = True
    batchable: bool = True
    batch: int | None = None
    fixed_shape: tuple[int | None, ...] | None = None

    @property
    def what(self) -> str:
        """The network in words, such as `a TorchScript network`."""
        return KINDS[self.kind]

    def of_pickle(self) -> Capability:
        """Return what is left where the network came out of a pickle as a whole."""
        kind = "pickle" if self.kind == "module" else self.kind
        return replace(self, kind=kind, retrainable=False)

    def words(self) -> str:
        """Return all of this on one line, as `validate` prints it."""
        window = "any size the network takes"
        if self.fixed_shape is not None and any(self.fixed_shape):
            window = " x ".join("any" if n is None else str(n) for n in self.fixed_shape)
        parts = {
            "gradients": _yes(self.gradients),
            "layers": _yes(self.hooks),
            "retraining": _yes(self.retrainable),
            "window": window,
            "batch": "any size" if self.batchable else f"{self.batch}, as exported",
        }
        return ", ".join(f"{name}: {value}" for name, value in parts.items())

    def require_hooks(self, what: str, *, hint: str = "") -> None:
        """Refuse a method that watches layers, where that is impossible.

        Args:
            what: what needs them, such as `grad_cam`.
            hint: what can be used instead.

        Raises:
            ModelError: the network does not let its layers be watched.
        """
        if not self.hooks:
            raise ModelError(
                f"{what} needs the layers of a network, and those of {self.what} cannot be "
                "watched or changed",
                hint=hint
                or "build the network from its class (model.kind: monai or module) for that",
            )

    def require_retrainable(self, what: str) -> None:
        """Refuse to train a network from scratch that cannot be built anew.

        Raises:
            ModelError: it is read as a whole from a file.
        """
        if not self.retrainable:
            raise ModelError(
                f"{what} builds the network again with other weights, but {self.what} is read from "
                "its file as a whole",
                hint="build it from its class, with kind: monai or kind: module and `class`",
            )

    def require_gradients(self, what: str, *, hint: str) -> None:
        """Refuse a method that needs gradients, where there are none; see `require_hooks`.

        Raises:
            ModelError: no slope reaches the network's input.
        """
        if not self.gradients:
            raise ModelError(
                f"{what} needs gradients, and none flow from the outputs of {self.what} back to "
                "its input",
                hint=hint,
            )


def capability_of(network: nn.Module) -> Capability:
    """Return what can be done with a network, as far as the network itself tells.

    Whether gradients flow is learned from a run; see `predict.try_gradients`.
    """
    for module in network.modules():
        if isinstance(module, torch.jit.ScriptModule):
            return Capability("torchscript", hooks=False, retrainable=False)
        if isinstance(module, ExportedNetwork):
            batch, _, *window = module.shape
            return Capability(
                "export",
                hooks=False,
                retrainable=False,
                batchable=batch is None,
                batch=batch,
                fixed_shape=tuple(window),
            )
        if is_program(module):
            return Capability("export", hooks=False, retrainable=False)
    return Capability("module")


def require_window(network: nn.Module, window: Shape, *, key: str = "inference.window") -> None:
    """Refuse windows that an exported program was not exported for.

    Raises:
        WindowError: a length is not the one that it was exported with.
    """
    fixed = capability_of(network).fixed_shape
    if fixed is None:
        return
    matches = len(fixed) == len(window) and all(
        wanted in (None, given) for wanted, given in zip(fixed, window, strict=True)
    )
    if not matches:
        shown = " x ".join("any" if n is None else str(n) for n in fixed)
        lengths = [given if n is None else n for n, given in zip(fixed, window, strict=False)]
        lengths += [n or 64 for n in fixed[len(lengths) :]]
        raise WindowError(
            f"{key}: the program was exported for windows of {shown}, and this is "
            f"{shape_text(window)}",
            hint=f"give {lengths}, or export it with dynamic_shapes",
        )


def require_batch(network: nn.Module, batch_size: int, *, key: str = "batch_size") -> None:
    """Refuse a number of windows at a time that would change what the network says of each.

    Raises:
        ModelError: an exported program takes another number, or a batch norm without running
            statistics normalises all windows of a batch together.
    """
    if batch_size > 1 and _normalises_batches(network):
        raise ModelError(
            f"{key}: a batch norm without running statistics normalises the {batch_size} windows "
            "of a batch together, so that what is predicted for one depends on the others",
            hint="give 1, by which each window is normalised by itself; or train with "
            "track_running_stats",
        )
    capability = capability_of(network)
    if capability.batch not in (None, batch_size):
        raise ModelError(
            f"{key}: the program was exported for {capability.batch} "
            f"{'window' if capability.batch == 1 else 'windows'} at a time, and this is "
            f"{batch_size}",
            hint=f"give {capability.batch}, or export it with a dynamic first axis",
        )


def only_batch(network: nn.Module) -> int | None:
    """Return the one number of windows at a time that a network may be given; None for any."""
    return 1 if _normalises_batches(network) else capability_of(network).batch


def _normalises_batches(network: nn.Module) -> bool:
    return any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None
        for module in network.modules()
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"
