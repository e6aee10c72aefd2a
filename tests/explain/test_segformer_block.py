"""A cut-down Segformer: relevance and excitation by a rewrite that takes each layer as a matrix."""

from __future__ import annotations

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
)

SHAPE, WIDTH = (8, 4), 3
GRID = (4, 2)


def as_map(tokens: Tensor) -> Tensor:
    return tokens.transpose(1, 2).reshape(len(tokens), tokens.shape[2], *GRID)


def as_tokens(grid: Tensor) -> Tensor:
    return grid.flatten(2).transpose(1, 2)


class Block(nn.Module):
    """Overlapping patches, attention to reduced keys and values, a mix-FFN, a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Conv2d(1, WIDTH, 3, stride=2, padding=1)
        self.norm, self.second_norm, self.reduced_norm = (nn.LayerNorm(WIDTH) for _ in range(3))
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.reduce = nn.Conv2d(WIDTH, WIDTH, 2, stride=2)
        self.wide, self.narrow = nn.Linear(WIDTH, 4), nn.Linear(4, WIDTH)
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.head = nn.ConvTranspose2d(WIDTH, 2, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = as_tokens(self.embed(x))
        normed = self.norm(tokens)
        less = self.reduced_norm(as_tokens(self.reduce(as_map(normed))))
        query, key, value = self.query(normed), self.key(less), self.value(less)
        seen = F.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.out(seen)
        hidden = as_tokens(self.depthwise(as_map(self.wide(self.second_norm(tokens)))))
        return self.head(as_map(tokens + self.narrow(F.gelu(hidden))))


def written_out(net: Block, x: Tensor, start: Tensor, share: Share) -> Tensor:
    """Return what arrives at the image, from the logits' share or relevance."""
    back = Backwards(share)
    tokens = as_tokens(net.embed(x))
    normed = net.norm(tokens)
    reduced = as_tokens(net.reduce(as_map(normed)))
    less = net.reduced_norm(reduced)
    scores = net.query(normed) @ net.key(less).transpose(1, 2) * WIDTH**-0.5
    weights, value = scores.softmax(-1), net.value(less)
    seen = weights @ value
    attended = net.out(seen)
    mixed = tokens + attended
    second = net.second_norm(mixed)
    wide = net.wide(second)
    active = F.gelu(as_tokens(net.depthwise(as_map(wide))))
    fed = net.narrow(active)

    last = back.layer(lambda t: net.head(as_map(t)), mixed + fed, start)
    on_mixed, on_fed = back.total(mixed, fed, last)
    on_hidden = back.layer(net.narrow, active, on_fed)  # GELU hands on what it gets
    on_wide = back.layer(lambda t: as_tokens(net.depthwise(as_map(t))), wide, on_hidden)
    on_second = back.layer(net.wide, second, on_wide)
    on_mixed = on_mixed + back.norm(net.second_norm, mixed, on_second)
    on_tokens, on_attended = back.total(tokens, attended, on_mixed)
    on_seen = back.layer(net.out, seen, on_attended)
    matrix = torch.kron(weights[0], torch.eye(WIDTH))  # the weights of an attention are held
    on_value = back.by(matrix, value, seen, on_seen)
    on_less = back.layer(net.value, less, on_value)
    on_reduced = back.norm(net.reduced_norm, reduced, on_less)
    on_normed = back.layer(lambda t: as_tokens(net.reduce(as_map(t))), normed, on_reduced)
    on_tokens = on_tokens + back.norm(net.norm, tokens, on_normed)
    lifted = x - x.amin() if share is excites else x
    matrix = matrix_of(lambda t: as_tokens(net.embed(t)), x)
    return back.by(matrix, lifted, tokens, on_tokens)


@pytest.mark.parametrize("kind", KINDS)
def test_a_block_of_segformer_written_out(kind: str) -> None:
    assert_written_out(randomise_norms(Block()).eval(), SHAPE, kind, written_out)
