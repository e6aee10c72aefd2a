"""Programs of `torch.export`: read from a file, and run as a network on any number of windows.

A program computes what was traced, on tensors of the shape that it was exported with; only axes
that were declared dynamic are free. Its calls have no modules, so that no layer can be watched.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from esegeta.errors import ModelError
from esegeta.model.checkpoint import reason_of, require_kind

Axis = int | None
"""A length that a program was exported with, or None where it is dynamic."""


class ExportedNetwork(nn.Module):
    """A program as a network from `B C *W` to what the program returns.

    A program that was exported for a fixed number of windows is given that many: more are handed
    over in groups, and a group that is not full is filled up with zeros, whose outputs are dropped.

    Args:
        program: program with its weights, as `ExportedProgram.module()` gives it.
        shape: shape of its input, `B C *W`; None for axes that are dynamic.
    """

    def __init__(self, program: nn.Module, shape: tuple[Axis, ...]) -> None:
        super().__init__()
        self.program = program
        self.shape = shape

    def forward(self, x: Tensor) -> Any:
        """Return what the program makes of some windows."""
        batch = self.shape[0]
        if batch is None or len(x) == batch:
            return self.program(x)
        found = [
            _first(self.program(_filled(part, batch)), len(part)) for part in torch.split(x, batch)
        ]
        return found[0] if len(found) == 1 else _joined(found)

    def train(self, mode: bool = True) -> ExportedNetwork:
        """Note the mode; the program runs as it was exported."""
        self.training = mode
        return self


def load_exported(path: Path, *, device: torch.device | None = None) -> ExportedNetwork:
    """Read a program that `torch.export.save` wrote, with its weights.

    Args:
        path: the file, usually `.pt2`.
        device: device that it is to run on; constants in its code move there too.

    Raises:
        ModelError: it is missing, of another kind (which is named), damaged, or takes anything
            but one tensor `B C *W`.
    """
    require_kind(path, "export")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return from_program(torch.export.load(path), device=device)
    except ModelError as error:
        error.message = f"{path}: {error.message}"
        raise
    except Exception as error:  # whatever torch meets in a damaged or newer archive
        raise ModelError(
            f"{path}: torch {torch.__version__} cannot load this program ({reason_of(error)})",
            hint="export it again with this version of torch",
        ) from error


def from_program(
    program: torch.export.ExportedProgram, *, device: torch.device | None = None
) -> ExportedNetwork:
    """Return an exported program as a network.

    Raises:
        ModelError: it takes anything but one tensor `B C *W`.
    """
    shape = _input_shape(program)
    if device is not None and device.type != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    return ExportedNetwork(program.module(), shape)


def is_program(module: nn.Module) -> bool:
    """Tell whether a module is a program itself, as `ExportedProgram.module()` gives it."""
    if not isinstance(module, fx.GraphModule):
        return False
    return any(isinstance(node.target, torch._ops.OpOverload) for node in module.graph.nodes)


def _input_shape(program: torch.export.ExportedProgram) -> tuple[Axis, ...]:
    wanted = program.graph_signature.user_inputs
    inputs = [
        node.meta.get("val")
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in wanted
    ]
    if len(wanted) != 1 or not isinstance(inputs[0], Tensor) or inputs[0].ndim not in (4, 5):
        shown = ", ".join(
            f"a tensor with {item.ndim} axes" if isinstance(item, Tensor) else type(item).__name__
            for item in inputs
        )
        raise ModelError(
            f"the program takes {shown or 'nothing'}, not one batch of windows B C *W",
            hint="export the part of it that takes the image alone",
        )
    return tuple(length if isinstance(length, int) else None for length in inputs[0].shape)


def _filled(x: Tensor, batch: int) -> Tensor:
    missing = batch - len(x)
    return torch.cat([x, x.new_zeros((missing, *x.shape[1:]))]) if missing else x


def _first(output: Any, count: int) -> Any:
    """Return an output for the first of its windows."""
    if isinstance(output, Tensor):
        return output[:count]
    if isinstance(output, dict):
        return {key: _first(item, count) for key, item in output.items()}
    if isinstance(output, (list, tuple)):
        return [_first(item, count) for item in output]
    return output


def _joined(outputs: list[Any]) -> Any:
    """Return the outputs of groups of windows as that of all of them."""
    first = outputs[0]
    if isinstance(first, Tensor):
        return torch.cat(outputs)
    if isinstance(first, dict):
        return {key: _joined([item[key] for item in outputs]) for key in first}
    if isinstance(first, list):
        return [_joined(list(items)) for items in zip(*outputs, strict=True)]
    return first
