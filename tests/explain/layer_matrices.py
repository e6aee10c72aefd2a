"""Relevance and excitation by a rewrite that takes each layer of a block as a matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from esegeta.explain import ExcitationBackprop, LayerwiseRelevance
from tests.builders import predictor, volume
from tests.oracles import frozen, relative_gap, with_coefficients

KINDS = ("excitation_backprop", "lrp")

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


def assert_written_out(
    network: nn.Module, shape: tuple[int, ...], kind: str, written_out: Callable[..., Tensor]
) -> None:
    """Assert that a method's map of a network of two outputs is what its rewrite gives.

    Args:
        network: network in evaluation mode.
        shape: shape of an image, one window.
        kind: one of KINDS.
        written_out: takes network, image, what arrives at the logits, and the share of a layer.
    """
    model = predictor(network, shape, overlap=0.0, blend="constant")
    image = volume(shape)
    coefficients = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1)) - 0.3
    target = with_coefficients(frozen(model, image), coefficients)
    with torch.no_grad():
        logits = network(image.batch)[0]
    method: Any = ExcitationBackprop()
    start, share = coefficients / coefficients.abs().sum(), excites
    if kind == "lrp":
        method = LayerwiseRelevance(rule="epsilon", epsilon=1e-9)
        start, share = coefficients * logits, contributes
    found = method.explain(model, image, target).data
    with torch.no_grad():
        expected = written_out(network, image.batch, start[None], share)[0]
    assert float(expected.abs().max()) > 0
    assert relative_gap(found, expected) < 1e-3
