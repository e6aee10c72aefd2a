"""Networks whose best picture is known."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.builders import convolution


class Linear(nn.Module):
    """One unit at every voxel: <w, x>."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.register_buffer("w", w)
        self.unit = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        value = (x * self.w).flatten(1).sum(1)
        shown = value.reshape(-1, 1, *[1] * (x.ndim - 2))
        return self.unit(shown.expand(-1, 1, *x.shape[2:]))


def blob(ndim: int, side: int = 7) -> Tensor:
    """Return a smooth blob of mean zero."""
    places = torch.arange(side) - side // 2
    line = torch.exp(-0.5 * (places / 1.5) ** 2)
    found = line
    for _ in range(ndim - 1):
        found = found[..., None] * line
    return found - found.mean()


def pattern(kind: str, ndim: int, side: int = 7) -> Tensor:
    """Return a blob, an edge or a ring of mean zero."""
    if kind == "blob":
        return blob(ndim, side)
    places = torch.arange(side, dtype=torch.float32) - side // 2
    grids = torch.meshgrid(*[places] * ndim, indexing="ij")
    radius = torch.stack([grid.square() for grid in grids]).sum(0).sqrt()
    edge = torch.tanh(grids[0]) * torch.exp(-0.5 * (radius / 2) ** 2)
    found = edge if kind == "edge" else torch.exp(-0.5 * ((radius - 2) / 0.9) ** 2)
    return found - found.mean()


class BlobDetector(nn.Module):
    """A strided convolution with a blob, or another pattern, and grain; then a ReLU."""

    def __init__(
        self, ndim: int, grain: float = 0.0, stride: int = 1, *, kind: str = "blob", seed: int = 0
    ) -> None:
        super().__init__()
        kernel = pattern(kind, ndim)
        noise = torch.randn(kernel.shape, generator=torch.Generator().manual_seed(seed))
        self.conv = convolution(ndim)(1, 1, 7, stride=stride, padding=3, bias=False)
        self.conv.weight.data[0, 0] = kernel / kernel.norm() + grain * noise / noise.norm()
        self.act = nn.ReLU()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        found = self.act(self.conv(x))
        return nn.functional.interpolate(found, size=x.shape[2:])
