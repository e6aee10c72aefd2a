"""A cut-down DeepLabV3+: relevance and excitation by a rewrite with a matrix for each layer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.builders import randomise_norms
from tests.explain.layer_matrices import (
    KINDS,
    Backwards,
    Share,
    assert_written_out,
    excites,
    matrix_of,
    shares,
)

SHAPE, WIDTH = (8, 8), 3


def separable(inputs: int, dilation: int = 1) -> nn.Sequential:
    """Return a depthwise convolution, a pointwise one, and their norm."""
    depthwise = nn.Conv2d(
        inputs, inputs, 3, padding=dilation, dilation=dilation, groups=inputs, bias=False
    )
    pointwise = nn.Conv2d(inputs, WIDTH, 1, bias=False)
    return nn.Sequential(depthwise, pointwise, nn.BatchNorm2d(WIDTH))


def normed(inputs: int, size: int = 1, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, WIDTH, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(WIDTH))


def enlarged(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


def spread_over(size: torch.Size) -> Callable[[Tensor], Tensor]:
    return lambda x: F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class Block(nn.Module):
    """A stem, a pyramid of dilations and of the mean of all, the stem once more, a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.down = normed(1, 3), normed(WIDTH, 3, stride=2)
        self.one, self.wide, self.wider = normed(WIDTH), separable(WIDTH, 2), separable(WIDTH, 3)
        self.pooled = normed(WIDTH)
        self.project, self.skip = normed(4 * WIDTH), normed(WIDTH)
        self.fuse = separable(2 * WIDTH)
        self.head = nn.Conv2d(WIDTH, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        high = F.relu(self.stem(F.avg_pool2d(x, 2)))
        low = F.relu(self.down(high))
        mean = F.relu(self.pooled(F.adaptive_avg_pool2d(low, 1)))
        parts = [F.relu(branch(low)) for branch in (self.one, self.wide, self.wider)]
        pyramid = torch.cat([*parts, spread_over(low.shape[2:])(mean)], dim=1)
        deep = enlarged(F.relu(self.project(pyramid)))
        fused = F.relu(self.fuse(torch.cat([deep, F.relu(self.skip(high))], dim=1)))
        return enlarged(self.head(fused))


class Backwards2d(Backwards):
    """The same, of resampling too, which hands on evenly by its weights where nothing is."""

    def resampled(self, function: Callable[[Tensor], Tensor], x: Tensor, given: Tensor) -> Tensor:
        matrix = matrix_of(function, x)
        kept = x.clamp(min=0) if self.share is excites else x
        parts = matrix * kept.flatten()
        parts = torch.where(parts.sum(dim=1, keepdim=True) == 0, matrix, parts)
        found = shares(parts, parts.sum(dim=1)).T @ given.flatten()
        return found.reshape(x.shape)

    def chain(self, layers: nn.Sequential, x: Tensor, given: Tensor) -> Tensor:
        """Of convolutions, the last one with the norm behind it."""
        *first, last, norm = layers
        inputs = [x]
        for layer in first:
            inputs.append(layer(inputs[-1]))
        given = self.layer(nn.Sequential(last, norm), inputs.pop(), given)
        for layer in reversed(first):
            given = self.layer(layer, inputs.pop(), given)
        return given


def written_out(net: Block, x: Tensor, start: Tensor, share: Share) -> Tensor:
    """Return what arrives at the image, from the logits' share or relevance."""
    back = Backwards2d(share)
    halved = F.avg_pool2d(x, 2)
    high = net.stem(halved).relu()
    low = net.down(high).relu()
    mean_of_low = low.mean((2, 3), keepdim=True)
    mean = net.pooled(mean_of_low).relu()
    branches = (net.one, net.wide, net.wider)
    spread = spread_over(low.shape[2:])
    pyramid = torch.cat([*(branch(low).relu() for branch in branches), spread(mean)], dim=1)
    projected = net.project(pyramid).relu()
    both = torch.cat([enlarged(projected), net.skip(high).relu()], dim=1)
    fused = net.fuse(both).relu()

    on_logits = back.resampled(enlarged, net.head(fused), start)
    on_both = back.chain(net.fuse, both, back.layer(net.head, fused, on_logits))
    on_deep, on_skip = on_both.split(WIDTH, dim=1)
    on_projected = back.resampled(enlarged, projected, on_deep)
    parts = back.chain(net.project, pyramid, on_projected).split(WIDTH, dim=1)
    on_low = sum(
        (back.chain(branch, low, part) for branch, part in zip(branches, parts, strict=False)),
        torch.zeros_like(low),
    )
    on_mean = back.chain(net.pooled, mean_of_low, back.resampled(spread, mean, parts[3]))
    on_low = on_low + back.resampled(lambda t: t.mean((2, 3), keepdim=True), low, on_mean)
    on_high = back.chain(net.skip, high, on_skip) + back.chain(net.down, high, on_low)
    if share is not excites:
        on_halved = back.chain(net.stem, halved, on_high)
        return back.resampled(lambda t: F.avg_pool2d(t, 2), x, on_halved)
    lifted = halved - halved.amin()  # what the network made of the image has its own least value
    on_halved = back.by(matrix_of(net.stem, halved), lifted, high, on_high)
    return back.resampled(lambda t: F.avg_pool2d(t, 2), x, on_halved)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pyramid_of_dilations_written_out(kind: str) -> None:
    network = randomise_norms(Block()).eval()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.bias.data += 0.5  # units that live
    assert_written_out(network, SHAPE, kind, written_out)
