"""Small networks, each with one thing in it that has gone wrong somewhere, and their plain twins.

A twin computes the same function of the same weights without that thing: every method must give
the same map for both.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

WIDTH = 4
SIDE = 8


class Block(nn.Module):
    """Two convolutions with an activation each, perhaps with a function around the second."""

    def __init__(self, activation: Callable[[Tensor], Tensor], width: int = WIDTH) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.InstanceNorm2d(width, affine=True)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.second(self.activation(self.norm(self.first(x)))))


class Around(nn.Module):
    """A stem, a middle at half the resolution, and a head that sees the stem as well."""

    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, WIDTH, 3, padding=1)
        self.down = nn.Conv2d(WIDTH, WIDTH, 2, stride=2)
        self.middle = middle
        self.up = nn.ConvTranspose2d(WIDTH, WIDTH, 2, stride=2)
        self.head = nn.Conv2d(2 * WIDTH, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        stem = torch.tanh(self.stem(x))
        low = self.middle(self.down(stem))
        return self.head(torch.cat([stem, self.up(low)], dim=1))


class Checkpointed(nn.Module):
    """Runs a block under activation checkpointing."""

    def __init__(self, block: nn.Module, use_reentrant: bool) -> None:
        super().__init__()
        self.block = block
        self.use_reentrant = use_reentrant

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.block, x, use_reentrant=self.use_reentrant)


class Functional(nn.Module):
    """The same as `Modules`, all by functions, in place where they can be."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.second = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.first.weight, self.first.bias, padding=1)
        x = F.relu_(F.instance_norm(x))
        x = F.conv2d(x, self.second.weight, self.second.bias, padding=1)
        x += 0.5
        return F.leaky_relu(F.dropout(x, 0.5, self.training), 0.1, inplace=True)


class Shift(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.5


class Modules(nn.Module):
    """A chain of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.norm = nn.InstanceNorm2d(WIDTH)
        self.relu = nn.ReLU()
        self.second = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.shift = Shift()
        self.leaky = nn.LeakyReLU(0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.relu(self.norm(self.first(x))))
        return self.leaky(self.shift(x))


class Gated(nn.Module):
    """A convolution whose second half of channels gates the first."""

    def __init__(self, by_hand: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(WIDTH, 2 * WIDTH, 3, padding=1)
        self.by_hand = by_hand

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if not self.by_hand:
            return F.glu(x, dim=1)
        value, gate = x.chunk(2, dim=1)
        return value * torch.sigmoid(gate)


class Attention(nn.Module):
    """Self-attention over positions, one head, in one of several spellings."""

    def __init__(self, spelling: str) -> None:
        super().__init__()
        self.spelling = spelling
        self.norm = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm(tokens)).chunk(3, dim=-1)
        if self.spelling == "sdpa":
            mixed = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        elif self.spelling == "einsum":
            scores = torch.einsum("bqc,bkc->bqk", q, k) * WIDTH**-0.5
            mixed = torch.einsum("bqk,bkc->bqc", scores.softmax(dim=-1), v)
        else:
            mixed = ((q @ k.transpose(1, 2)) * WIDTH**-0.5).softmax(dim=-1) @ v
        tokens = tokens + self.out(mixed)
        return tokens.transpose(1, 2).reshape(x.shape)


class MultiHead(nn.Module):
    """Torch's own attention, one fused module, or what it computes of its weights."""

    def __init__(self, by_hand: bool) -> None:
        super().__init__()
        self.by_hand = by_hand
        self.norm = nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        normed = self.norm(tokens)
        if self.by_hand:
            mixed = self._mixed(normed)
        else:
            mixed, _ = self.attention(normed, normed, normed, need_weights=False)
        return (tokens + mixed).transpose(1, 2).reshape(x.shape)

    def _mixed(self, x: Tensor) -> Tensor:
        fused, (batch, length, width) = self.attention, x.shape
        parts = F.linear(x, fused.in_proj_weight, fused.in_proj_bias)
        parts = parts.reshape(batch, length, 3, fused.num_heads, -1).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(*parts.unbind())
        seen = seen.transpose(1, 2).reshape(batch, length, width)
        return F.linear(seen, fused.out_proj.weight, fused.out_proj.bias)


def gelu(x: Tensor) -> Tensor:
    """By its definition."""
    return F.gelu(x)


def softplus(x: Tensor) -> Tensor:
    """As a function."""
    return F.softplus(x)


def functional() -> nn.Module:
    return Around(Functional())


def modules() -> nn.Module:
    return Around(Modules())


def gated(by_hand: bool = False) -> nn.Module:
    return Around(Gated(by_hand))


def plain(activation: Callable[[Tensor], Tensor]) -> nn.Module:
    return Around(Block(activation))


def parametrized(kind: str) -> nn.Module:
    network = plain(nn.ReLU())
    rule = parametrizations.weight_norm if kind == "weight" else parametrizations.spectral_norm
    for conv in (network.middle.first, network.middle.second):
        rule(conv)
    return network


def baked(kind: str) -> nn.Module:
    network = parametrized(kind).eval()
    for conv in (network.middle.first, network.middle.second):
        parametrize.remove_parametrizations(conv, "weight")
    return network


def attention(spelling: str) -> nn.Module:
    return Around(Attention(spelling))


def multi_head(by_hand: bool = False) -> nn.Module:
    return Around(MultiHead(by_hand))


def checkpointed(use_reentrant: bool | None) -> nn.Module:
    network = plain(nn.ReLU())
    if use_reentrant is not None:
        network.middle = Checkpointed(network.middle, use_reentrant)
    return network


def dropped() -> nn.Module:
    return Around(nn.Sequential(Block(nn.ReLU()), nn.Dropout2d(0.5)))
