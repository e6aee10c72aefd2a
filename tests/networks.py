"""Networks that make a point: smooth, symmetric, polynomial, counting, failing, of many outputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.builders import convolution


class Smooth(nn.Module):
    """A differentiable two-level network; a logit sees at most `REACH` voxels to each side.

    Windows must be of even lengths and start at even voxels for that reach to hold.
    """

    REACH = 2

    def __init__(self, ndim: int, in_channels: int = 1, out_channels: int = 2) -> None:
        super().__init__()
        conv = convolution(ndim)
        transposed = nn.ConvTranspose2d if ndim == 2 else nn.ConvTranspose3d
        torch.manual_seed(0)
        self.down = conv(in_channels, 4, 3, stride=2, padding=1)
        self.up = transposed(4, 4, 2, stride=2)
        self.skip = conv(in_channels, 4, 3, padding=1)
        self.head = conv(4, out_channels, 1)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        low = torch.tanh(self.up(torch.tanh(self.down(x))))
        return self.head(torch.tanh(low + self.skip(x)))


class Power(nn.Module):
    """The logits of one convolution, each raised to a power: a polynomial of the input."""

    def __init__(self, convolved: nn.Module, power: int) -> None:
        super().__init__()
        self.convolved = convolved
        self.power = power

    def forward(self, x: Tensor) -> Tensor:
        return self.convolved(x) ** self.power


class Strided(nn.Module):
    """Halves `levels` times, doubles as often, and concatenates with what came before, as U-Nets.

    It takes only windows whose lengths are multiples of `2 ** levels`.
    """

    def __init__(self, ndim: int, levels: int, in_channels: int = 1) -> None:
        super().__init__()
        conv = convolution(ndim)
        self.downs = nn.ModuleList(
            conv(in_channels, in_channels, 3, stride=2, padding=1) for _ in range(levels)
        )
        self.merges = nn.ModuleList(conv(2 * in_channels, in_channels, 1) for _ in range(levels))
        self.head = conv(in_channels, 2, 1)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        for merge, skip in zip(self.merges, reversed(skips), strict=True):
            x = merge(torch.cat([skip, nn.functional.interpolate(x, scale_factor=2)], dim=1))
        return self.head(x)


class Counting(nn.Module):
    """Counts the windows that go through a network."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.windows = 0

    def forward(self, x: Tensor) -> Any:
        self.windows += len(x)
        return self.inner(x)


class Failing(nn.Module):
    """Raises `BrokenError` on its n-th forward pass, or in its n-th backward pass."""

    class BrokenError(Exception):
        """What it raises."""

    def __init__(self, inner: nn.Module, nth: int, *, in_backward: bool = False) -> None:
        super().__init__()
        self.inner = inner
        self.calls_left = nth
        self.in_backward = in_backward

    def forward(self, x: Tensor) -> Tensor:
        output = self.inner(x)
        if not self.in_backward:
            self._count()
        elif output.requires_grad:
            output.register_hook(lambda slope: self._count())
        return output

    def _count(self) -> None:
        self.calls_left -= 1
        if self.calls_left == 0:
            raise self.BrokenError


class Wrapped(nn.Module):
    """Returns the logits first in a list, tuple or dict, with a coarser output behind them."""

    def __init__(self, inner: nn.Module, kind: type) -> None:
        super().__init__()
        self.inner = inner
        self.kind = kind

    def forward(self, x: Tensor) -> Any:
        logits = self.inner(x)
        coarse = 7.0 + logits[:, :, ::2, ::2]
        if self.kind is dict:
            return {"logits": logits, "deep": coarse}
        return self.kind([logits, coarse])


def symmetric(ndim: int, in_channels: int = 1) -> nn.Module:
    """Return a nonlinear network that commutes with flips: its kernels are their own mirrors."""
    torch.manual_seed(3)
    conv = convolution(ndim)
    network = nn.Sequential(conv(in_channels, 4, 3, padding=1), nn.ReLU(), conv(4, 2, 3, padding=1))
    for layer in (network[0], network[2]):
        weight = layer.weight.data
        for axis in range(2, ndim + 2):
            weight = (weight + weight.flip(axis)) / 2
        layer.weight.data = weight
    return network.eval()


class Valid(nn.Module):
    """A U-Net of valid convolutions: a window of `W` voxels becomes the `W - 8` in its middle.

    Windows must be of even lengths, from 12 on.
    """

    def __init__(self, ndim: int, in_channels: int = 1, out_channels: int = 2) -> None:
        super().__init__()
        conv = convolution(ndim)
        transposed = nn.ConvTranspose2d if ndim == 2 else nn.ConvTranspose3d
        pool = nn.AvgPool2d if ndim == 2 else nn.AvgPool3d
        torch.manual_seed(1)
        self.enter = conv(in_channels, 4, 3)
        self.act = nn.Tanh()
        self.pool = pool(2)
        self.deep = conv(4, 5, 3)
        self.deep_act = nn.ReLU()
        self.up = transposed(5, 4, 2, stride=2)
        self.merge = conv(8, 4, 3)
        self.merge_act = nn.ReLU()
        self.head = conv(4, out_channels, 1)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        skip = self.act(self.enter(x))
        up = self.up(self.deep_act(self.deep(self.pool(skip))))
        middle = tuple(
            slice((n - m) // 2, (n - m) // 2 + m)
            for n, m in zip(skip.shape[2:], up.shape[2:], strict=True)
        )
        merged = torch.cat([skip[(..., *middle)], up], dim=1)
        return self.head(self.merge_act(self.merge(merged)))


def half_resolution(ndim: int, in_channels: int = 1) -> nn.Module:
    """Return a smooth network with an output position for two voxels along each axis."""
    torch.manual_seed(2)
    conv = convolution(ndim)
    return nn.Sequential(
        conv(in_channels, 4, 4, stride=2, padding=1), nn.Tanh(), conv(4, 2, 3, padding=1)
    ).eval()


def double_resolution(ndim: int, in_channels: int = 1) -> nn.Module:
    """Return a smooth network with two output positions for a voxel along each axis."""
    torch.manual_seed(3)
    conv = convolution(ndim)
    transposed = nn.ConvTranspose2d if ndim == 2 else nn.ConvTranspose3d
    return nn.Sequential(
        conv(in_channels, 4, 3, padding=1), nn.Tanh(), transposed(4, 2, 2, stride=2)
    ).eval()


def half_of_the_middle(ndim: int, in_channels: int = 1) -> nn.Module:
    """Return a smooth network of valid convolutions with an output position for two voxels."""
    torch.manual_seed(4)
    conv = convolution(ndim)
    return nn.Sequential(conv(in_channels, 4, 3), nn.Tanh(), conv(4, 2, 2, stride=2)).eval()


def beyond_the_window(ndim: int, in_channels: int = 1) -> nn.Module:
    """Return a smooth network that pads by one voxel more than its kernel takes."""
    torch.manual_seed(5)
    conv = convolution(ndim)
    return nn.Sequential(conv(in_channels, 4, 3, padding=2), nn.Tanh(), conv(4, 2, 1)).eval()
