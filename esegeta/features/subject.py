"""The network that pictures are made for, and what of it is read in one pass."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from esegeta.axes import Batch, Scalars
from esegeta.features.objective import PictureObjective
from esegeta.model import FIRST, OutputChoice, held_still, run_up_to, tap
from esegeta.predict import OUTPUT, Coverage, MemoryFormat, Precision
from esegeta.predict.forward import run_network


@dataclass(frozen=True, eq=False)
class Subject:
    """A network that takes a whole picture as one window.

    Args:
        network: from `B C *S` to logits.
        output: which of several tensors that it returns the logits are.
        coverage: which voxels its output covers; None for all, one position a voxel.
        precision: of the network's own arithmetic.
        memory_format: how its activations lie in memory.
    """

    network: nn.Module
    output: OutputChoice = FIRST
    coverage: Coverage | None = None
    precision: Precision = "fp32"
    memory_format: MemoryFormat = "contiguous"

    def see(self, x: Batch, layers: Collection[str]) -> dict[str, Tensor]:
        """Return outputs of layers by name in their graph; the network runs no further than needed.

        Raises:
            LayerError: there is no such layer, or one does not run or returns no tensor.
        """
        inner = [name for name in layers if name != OUTPUT]
        if OUTPUT not in layers:
            found = run_up_to(self.network, inner, lambda: self._run(x))
            return {name: value.to(x.dtype) for name, value in found.items()}
        with tap(self.network, *inner) as read:
            logits = self._run(x)
        return {**{name: read[name].to(x.dtype) for name in inner}, OUTPUT: logits}

    def values(
        self, x: Batch, objective: PictureObjective, *, batch_size: int, device: torch.device
    ) -> Scalars:
        """Return an objective's number for each of many pictures, without a graph, on the host.

        Args:
            x: pictures, wherever they are.
            objective: without a part that compares the pictures of a batch.
            batch_size: pictures at a time.
            device: where the network is.
        """
        parts = []
        with torch.no_grad(), held_still(self.network):
            for chunk in torch.split(x, batch_size):
                seen = self.see(chunk.to(device), objective.layers)
                parts.append(objective(seen).float().cpu())
        return torch.cat(parts)

    def _run(self, x: Batch) -> Tensor:
        return run_network(
            self.network,
            x,
            choice=self.output,
            coverage=self.coverage,
            precision=self.precision,
            memory_format=self.memory_format,
        )
