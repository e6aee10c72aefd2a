"""What a run takes, known beforehand: windows and passes, and about how much memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from esegeta.model import held_still
from esegeta.predict import Predictor, empty_window
from esegeta.volume import Grid
from esegeta.workflow.build import Basis, Experiment
from esegeta.workflow.room import slab_bytes

FLOAT32 = 4
MB = 2**20
BUFFERS = 3
"""Of the logits' size, at a time: the prediction, the slope of the target, and the blend."""

SLABS = 1.5
"""Of a prediction that is not held, at a time, where the target is not linear."""


@dataclass(frozen=True)
class Memory:
    """What lies in memory at a time, about, in MB.

    Args:
        parameters: parameters of the network, or of the networks of an ensemble.
        activations: activations that a batch of windows keeps for its backward pass, or that pass
            forward; measured with one window. None where they are hidden, as in TorchScript.
        volume: image, map, and what is held of the prediction, of the largest case.
    """

    parameters: float
    activations: float | None
    volume: float

    def words(self) -> str:
        """Return it on one line, as `validate` prints it."""
        parts = f"{self.parameters:.3g} MB parameters, {self.volume:.3g} MB volumes"
        if self.activations is None:
            return f"{parts}, and activations, which cannot be seen inside this network"
        total = self.parameters + self.activations + self.volume
        return (
            f"about {total:.3g} MB, without libraries: {parts}, {self.activations:.3g} MB "
            "activations of a batch of windows (measured with one), without scores and "
            "workspaces of convolutions"
        )


def memory_of(basis: Basis, grids: Mapping[str, Grid]) -> Memory:
    """Return about what a gradient takes at a time; one window goes through the network.

    Args:
        basis: network and cases.
        grids: grid of each case, as the network sees it.
    """
    predictor = basis.predictor
    num_channels = basis.reading.num_channels
    own = sum(t.numel() * t.element_size() for t in predictor.network.state_dict().values())
    others = sum(t.numel() * t.element_size() for state in predictor.states for t in state.values())
    one = _one_window(predictor, num_channels)
    volume = 0.0
    for grid in grids.values():
        beside = BUFFERS if predictor.holds(grid.shape) else SLABS
        images = 2 * num_channels * math.prod(grid.shape) * FLOAT32
        volume = max(volume, images + beside * slab_bytes(predictor, grid.shape))
    return Memory(
        (own + others) / MB,
        None if one is None else one * predictor.batch_size / MB,
        volume / MB,
    )


def _one_window(predictor: Predictor, num_channels: int) -> float | None:
    """Return the bytes that one window keeps for its backward pass; None where they are hidden."""
    network = predictor.network
    window = empty_window(network, predictor.plan.size, num_channels)
    with held_still(network), torch.enable_grad(), _kept() as sizes:
        network(window.requires_grad_(predictor.gradients))
    return float(sum(sizes.values())) if predictor.capability.hooks else None


@contextmanager
def _kept() -> Iterator[dict[int, int]]:
    """Collect the bytes of each storage that is kept for a backward pass, once."""
    sizes: dict[int, int] = {}
    tensors: list[Tensor] = []  # held, so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
            tensors.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes


def passes_of(experiment: Experiment, grids: Mapping[str, Grid]) -> list[str]:
    """Return lines on the windows of each case, and the passes of each method over them."""
    plan = experiment.predictor.plan
    windows = {name: len(plan.lay(grid.shape)) for name, grid in grids.items()}
    lines = [
        f"{name}: {count} windows at most, for a prediction" for name, count in windows.items()
    ]
    most = max(windows.values(), default=0)
    for name, method in experiment.methods.items():
        cost, count = method.cost, method.cost.windows(most, most, is_linear=True)
        backwards = sum(one.backwards for one in cost.passes)
        known = "" if count is None else f"; at most {count} forward"
        if count is not None and backwards:
            known += f" and {backwards * most} backward windows per target"
        lines.append(f"{name}: {cost}{known}")
    return lines
