"""Networks as files of their own: TorchScript archives, exported programs, pickles."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn

from esegeta.axes import Shape

DYNAMIC = torch.export.Dim.DYNAMIC


def save_script(network: nn.Module, path: Path) -> Path:
    """Script a network and save it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(network.eval()).save(path)
    return path


def save_trace(network: nn.Module, shape: Shape, path: Path, *, freeze: bool = False) -> Path:
    """Trace a network on a batch `B C *W` and save it; frozen, its weights are constants."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network.eval(), torch.zeros(shape))
        (torch.jit.freeze(traced) if freeze else traced).save(path)
    return path


def exported(
    network: nn.Module, shape: Shape, *, dynamic: tuple[int, ...] = ()
) -> torch.export.ExportedProgram:
    """Export a network for a batch `B C *W`; axes in `dynamic` stay free."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        free = dict.fromkeys(dynamic, DYNAMIC)
        return torch.export.export(
            network.eval(), (torch.zeros(shape),), dynamic_shapes=(free,) if dynamic else None
        )


def save_export(
    network: nn.Module, shape: Shape, path: Path, *, dynamic: tuple[int, ...] = ()
) -> Path:
    """Export a network and save the program."""
    program = exported(network, shape, dynamic=dynamic)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, path)
    return path


class Canary:
    """An object whose pickle writes a file as it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (_sing, (str(self.path), "dead"))


def _sing(path: str, text: str) -> nn.Module:
    Path(path).write_text(text, encoding="utf-8")
    return nn.Conv3d(1, 2, 1)
