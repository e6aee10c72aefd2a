"""A network that ends at some units of one of its layers: how their maps become a prediction."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esegeta.axes import Shape
from esegeta.errors import LayerError
from esegeta.model.hooks import run_up_to
from esegeta.model.inspection import no_map

RESAMPLING = {1: "linear", 2: "bilinear", 3: "trilinear"}


class UnitNetwork(nn.Module):
    """A network that stops at a layer and returns some of its units, `N K *W`.

    The units' maps are resampled linearly to the voxels of the window that they cover. What lies
    behind the layer is not run. Layers keep the names that they have in the whole network, and the
    modules of this one are those of the whole network: whoever holds still, hooks or lists them
    need not know.

    Args:
        network: the whole one, `N C *W` in; it is not changed.
        layer: name of the layer.
        channels: of the layer's output, from 0; they become the outputs in this order.
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
                "under torch.no_grad, or activation checkpointing with use_reentrant=True, or "
                "does not see the input",
                hint="give the network's checkpoint use_reentrant=False, or name another layer",
            )
        return output
