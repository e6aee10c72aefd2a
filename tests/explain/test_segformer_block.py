"""A cut-down Segformer: relevance and excitation by a rewrite that takes each layer as a matrix."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esegeta.explain import ExcitationBackprop, LayerwiseRelevance
from tests.builders import predictor, randomise_norms, volume
from tests.oracles import frozen, relative_gap, with_coefficients

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


Share = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""From a matrix without its bias, inputs, outputs with it, and what these have, to the inputs'."""


def excites(matrix: Tensor, x: Tensor, y: Tensor, given: Tensor) -> Tensor:
    parts = x.clamp(min=0) * matrix.clamp(min=0)
    return shares(parts, parts.sum(dim=1)).T @ given


def contributes(matrix: Tensor, x: Tensor, y: Tensor, given: Tensor) -> Tensor:
    return shares(matrix * x, y).T @ given


def shares(parts: Tensor, totals: Tensor) -> Tensor:
    """Return the parts of each row as fractions of its total; nothing where that is nothing."""
    none = totals[:, None] == 0
    return torch.where(none, 0.0, parts / torch.where(none, 1.0, totals[:, None]))


def matrix_of(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the outputs' slopes by the inputs, `outputs inputs`."""
    slopes = torch.autograd.functional.jacobian(function, x, vectorize=True)
    return slopes.reshape(-1, x.numel())


class Backwards:
    """What goes back through a layer, by its matrix at an input."""

    def __init__(self, share: Share) -> None:
        self.share = share

    def layer(self, layer: Callable[[Tensor], Tensor], x: Tensor, given: Tensor) -> Tensor:
        return self.by(matrix_of(layer, x), x, layer(x), given)

    def by(self, matrix: Tensor, x: Tensor, y: Tensor, given: Tensor) -> Tensor:
        found = self.share(matrix, x.flatten(), y.flatten(), given.flatten())
        return found.reshape(x.shape)

    def norm(self, norm: nn.LayerNorm, x: Tensor, given: Tensor) -> Tensor:
        """Of a norm whose mean and deviation are numbers: one input an output."""
        if self.share is excites:
            return given
        sigma = (x.var(dim=-1, correction=0, keepdim=True) + norm.eps).sqrt()
        return norm.weight * x / sigma / norm(x) * given

    def total(self, left: Tensor, right: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        if self.share is excites:
            left, right = left.clamp(min=0), right.clamp(min=0)
        whole = left + right
        ratio = torch.where(whole == 0, 0.0, given / torch.where(whole == 0, 1.0, whole))
        return left * ratio, right * ratio


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


@pytest.mark.parametrize("kind", ["excitation_backprop", "lrp"])
def test_a_block_of_segformer_written_out(kind: str) -> None:
    network = randomise_norms(Block()).eval()
    model = predictor(network, SHAPE, overlap=0.0, blend="constant")
    image = volume(SHAPE)
    coefficients = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(1)) - 0.3
    target = with_coefficients(frozen(model, image), coefficients)
    with torch.no_grad():
        logits = network(image.batch)[0]
    if kind == "lrp":
        method = LayerwiseRelevance(rule="epsilon", epsilon=1e-9)
        start, share = coefficients * logits, contributes
    else:
        method, share = ExcitationBackprop(), excites
        start = coefficients / coefficients.abs().sum()
    found = method.explain(model, image, target).data
    with torch.no_grad():
        expected = written_out(network, image.batch, start[None], share)[0]
    assert float(expected.abs().max()) > 0
    assert relative_gap(found, expected) < 1e-3
